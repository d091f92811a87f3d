"""An environment without any framework: what works there, and what says what to install."""

import subprocess
import sys

import numpy as np
import pytest

import patterndim as pdm

#: Packages that are optional, and those that some of them bring.
OPTIONAL = (
    "dask",
    "distributed",
    "flax",
    "flint",
    "h5py",
    "jax",
    "jaxlib",
    "joblib",
    "keras",
    "matplotlib",
    "ml_dtypes",
    "pandas",
    "pyarrow",
    "safetensors",
    "sklearn",
    "threadpoolctl",
    "torch",
    "tqdm",
)

BLOCKED = f"""
import sys
from importlib.abc import MetaPathFinder

class Blocker(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {OPTIONAL}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""

CORE = """
import numpy as np
import patterndim as pdm

for name in pdm.__all__:
    getattr(pdm, name)
folder, = sys.argv[1:]
network = pdm.load(f"{folder}/network.npz")
for other in ("network.safetensors", "half.safetensors", "model.keras"):
    loaded = pdm.load(f"{folder}/{other}")
    assert np.array_equal(loaded.theta, network.theta), other
pdm.save(network, f"{folder}/again.npz")
pdm.save(network, f"{folder}/again.safetensors")
assert np.array_equal(pdm.load(f"{folder}/again.safetensors").theta, network.theta)
X = np.random.default_rng(0).normal(size=(6, 3))
J = pdm.parameter_jacobian(network, X)
rank = int(np.linalg.matrix_rank(J))
for method in ("modular", "numerical"):
    assert pdm.local_dimension(network, X, method=method).value == rank
assert int(pdm.local_dimensions(network.architecture, network.theta[None], X).value[0]) == rank
assert pdm.generic_dimension(network, X).value >= rank
assert pdm.dimension_bound(network, X).value >= rank
assert pdm.functional_dimension(network).value >= rank
assert pdm.explain(network, X).dimension.value == rank
basis = pdm.null_space(network, X).basis
assert sorted(basis.shape) == sorted((network.parameter_count - rank, network.parameter_count))
assert np.allclose(pdm.ntk(network, X), J @ J.T)
assert np.allclose(pdm.jacobian_operator(network, X) @ np.ones(J.shape[1]), J.sum(axis=1))
assert pdm.outputs(network, X).shape == (6, 2)
assert pdm.activation_pattern(network, X).masks[0].shape == (6, 2)
assert pdm.input_jacobian(network, X).shape == (6, 2, 3)
assert len(pdm.data.digits()[0]) == 1797
print(rank)
"""

MISSING = """
from patterndim.errors import MissingPackageError
from patterndim.formats import load, to_flax, to_torch
from patterndim.formats.framework import framework

folder, = sys.argv[1:]
network = load(f"{folder}/network.npz")
assert to_flax(network)["params"]  # plain arrays
wanted = [
    lambda: load(f"{folder}/model.pt"),
    lambda: to_torch(network),
    lambda: framework("jax", "jax"),
    lambda: framework("flax.nnx", "jax"),
    lambda: framework("keras", "keras"),
]
for want in wanted:
    try:
        want()
    except MissingPackageError as error:
        print(error)
"""


@pytest.fixture
def folder(tmp_path):
    """One network in every format that needs nothing else; small integers, exact in bfloat16."""
    from tests import malformed

    pytest.importorskip("h5py")
    kernels = np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2)
    network = pdm.Network.from_layers([W.T for W in kernels], [np.zeros(2), np.zeros(2)])
    pdm.save(network, tmp_path / "network.npz")
    pdm.save(network, tmp_path / "network.safetensors")
    (tmp_path / "model.keras").write_bytes(malformed.keras_file())
    header, data = {}, b""
    for name, array in zip(
        ("0.weight", "0.bias", "1.weight", "1.bias"), parts(network), strict=True
    ):
        raw = (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        header[name] = malformed.entry(array.shape, len(data), len(data) + len(raw), "BF16")
        data += raw
    (tmp_path / "half.safetensors").write_bytes(malformed.safetensors(header, data))
    (tmp_path / "model.pt").write_bytes(malformed.torch_file(malformed.WEIGHT))
    return tmp_path


def parts(network):
    for W, b in zip(network.weights, network.biases, strict=True):
        yield from (W, b)


def run(code, folder):
    command = [sys.executable, "-W", "error", "-c", BLOCKED + code, str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.compiled
def test_the_core_works_without_any_optional_package(folder):
    assert int(run(CORE, folder)) > 5


@pytest.mark.compiled
def test_what_needs_a_package_says_what_to_install(folder):
    lines = run(MISSING, folder).splitlines()
    packages = [("torch", "torch"), ("torch", "torch"), ("jax", "jax"), ("flax", "jax")]
    for line, (package, extra) in zip(lines, [*packages, ("keras", "keras")], strict=True):
        message = f'{package} must be installed for this (pip install "patterndim[{extra}]"), got '
        assert line.startswith(message)


@pytest.mark.compiled
@pytest.mark.parametrize("package", ["torch", "safetensors"])
def test_the_blocker_blocks(package, folder):
    with pytest.raises(AssertionError, match=f"No module named '{package}'"):
        run(f"import {package}", folder)
