"""The project's own rules: where facts live, import contracts that bite, imports that are quick."""

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import patterndim as pdm

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs a checkout")


def run(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_setup_cfg_holds_the_architecture_and_nothing_else():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config.sections()
    assert all(section.startswith("importlinter") for section in config.sections())


def test_version_and_dependencies_have_one_home():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == pdm.__version__
    names = sorted(re.match(r"[a-z]+", line)[0] for line in project["dependencies"])
    assert names == ["numba", "numpy", "scipy"]


def test_every_module_is_in_the_layers():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(re.findall(r"\w+", config["importlinter:contract:layers"]["layers"]))
    present = {p.stem for p in (ROOT / "patterndim").iterdir() if p.suffix == ".py" or p.is_dir()}
    assert listed == present - {"__init__", "__pycache__"}


BREAKS = [
    ("kernels/residues.py", "from patterndim.kernels import propagation", "cached kernel"),
    ("kernels/residues.py", "import patterndim.network", "command line down"),
    ("network.py", "import patterndim.dimension", "command line down"),
    ("rank/modular.py", "import patterndim.network", "ranks are of matrices"),
    ("jacobian.py", "import patterndim.rank", "know no ranks"),
    ("dimension.py", "import numba", "only the kernels know numba"),
]


@pytest.mark.compiled
@pytest.mark.parametrize(("where", "line", "contract"), BREAKS)
def test_contracts_break_when_they_should(where, line, contract, tmp_path):
    shutil.copytree(ROOT / "patterndim", tmp_path / "patterndim")
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    path = tmp_path / "patterndim" / where
    path.write_text(path.read_text() + f"\n{line}\n")
    lint = "from importlinter.cli import lint_imports as run; raise SystemExit(run(no_cache=True))"
    command = [sys.executable, "-c", lint]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 1
    broken = re.findall(r"^(.*?) BROKEN", found.stdout, re.MULTILINE)
    assert any(contract in name for name in broken), found.stdout


def test_no_file_is_long():
    for path in [*ROOT.glob("patterndim/**/*.py"), *ROOT.glob("bench/**/*.py")]:
        assert len(path.read_text().splitlines()) <= 300, path


def test_importing_loads_no_optional_package_and_no_more_of_scipy_than_numba_does():
    code = "import sys, numba; before = set(sys.modules); import patterndim; "
    code += "[getattr(patterndim, name) for name in patterndim.__all__]; "
    added = run(code + "print(*set(sys.modules) - before)").stdout.split()
    loaded = {name.split(".")[0] for name in added}
    optional = {"scipy", "matplotlib", "jax", "flax", "torch", "keras", "flint", "sklearn"}
    optional |= {"threadpoolctl", "tqdm", "dask", "distributed", "pandas", "pyarrow"}
    optional |= {"safetensors", "h5py", "onnx"}
    assert "patterndim" in loaded
    assert not loaded & optional


def test_importing_loads_only_what_is_used():
    """What quick import rests on; seconds themselves are `python -m bench import`."""
    code = "import sys{}; before = set(sys.modules); {}; print(*set(sys.modules) - before)"
    alone = run(code.format("", "import patterndim")).stdout.split()
    assert [name for name in alone if name.startswith("patterndim")] == ["patterndim"]
    assert not {"numpy", "numba"} & set(alone)
    used = "from patterndim import Network, local_dimension"
    added = run(code.format(", numba, concurrent.futures, numpy.typing", used)).stdout.split()
    assert {name.split(".")[0] for name in added} == {"patterndim"}
    layers = configparser.ConfigParser()
    layers.read(ROOT / "setup.cfg")
    text = layers["importlinter:contract:layers"]["layers"]
    above = set(re.findall(r"\w+", text[: text.index("\ndimension")]))
    assert {"cli", "sweeps", "plot", "tracing"} < above
    aside = {"formats", "data", "learning_space", "training", "regions", "bulk"}
    assert not {name.split(".")[1] for name in added if "." in name} & (above | aside)


@pytest.mark.compiled
def test_importing_compiles_no_kernel():
    code = "import patterndim, inspect, pkgutil, importlib, patterndim.kernels as all; "
    code += "names = [m.name for m in pkgutil.iter_modules(all.__path__)]; "
    code += "found = [importlib.import_module('patterndim.kernels.' + n) for n in names]; "
    code += "kernels = [f for m in found for f in vars(m).values() if hasattr(f, 'signatures')]; "
    code += "print(len(kernels), sum(len(f.signatures) for f in kernels))"
    kernels, compiled = map(int, run(code).stdout.split())
    assert kernels > 50
    assert compiled == 0


def test_the_digits_are_the_uci_ones():
    X, y = pdm.data.digits()
    assert X.shape == (1797, 64)
    assert [int(n) for n in (y == y).nonzero()[0][[0, -1]]] == [0, 1796]
    datasets = pytest.importorskip("sklearn.datasets")
    original = datasets.load_digits()
    assert (original.data == X * 16).all()
    assert (y == original.target).all()


def test_every_public_name_is_where_it_is_said_to_be():
    assert sorted(pdm._HOMES) == pdm.__all__ == sorted(set(dir(pdm)) & set(pdm.__all__))
    modules = {p.stem for p in (ROOT / "patterndim").iterdir() if p.suffix == ".py" or p.is_dir()}
    for name, home in pdm._HOMES.items():
        assert getattr(pdm, name) is not None
        # A name like that of another module would be overwritten when that one is imported.
        assert name == home or name not in modules
    with pytest.raises(AttributeError, match="module 'patterndim' has no attribute 'nothing'"):
        _ = pdm.nothing


def test_names_come_out_the_same_whatever_was_imported_before():
    modules = [p.stem for p in (ROOT / "patterndim").glob("[!_]*.py")]
    code = f"import importlib; [importlib.import_module('patterndim.' + m) for m in {modules}]; "
    run(code + "import patterndim as p; assert callable(p.ntk) and callable(p.explain)")
