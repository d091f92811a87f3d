"""What the README shows runs, and shows what comes out."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import patterndim as pdm

README = Path(__file__).parent.parent / "README.md"


def blocks(language):
    """Fenced blocks of a language, or of none."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


@pytest.mark.compiled
def test_readme_examples_run():
    pytest.importorskip("torch")
    results = doctest.testfile(str(README), module_relative=False)
    assert results.attempted >= 30
    assert results.failed == 0


@pytest.mark.compiled
def test_readme_commands_run(tmp_path):
    network = pdm.Network.random((4, 6, 5, 2), rng=0, bias_std=0.5)
    pdm.save(network, tmp_path / "NET.npz")
    np.save(tmp_path / "X.npy", np.random.default_rng(0).standard_normal((50, 4)))
    (spec,) = blocks("toml")
    (tmp_path / "SPEC.toml").write_text(spec)
    lines = [line for block in blocks("") for line in block.splitlines()]
    commands = [line for line in lines if re.match(r"patterndim (?!demo|reproduce \w)", line)]
    assert len(commands) >= 7
    for line in commands:
        name, *arguments = shlex.split(line)
        run = subprocess.run(
            [sys.executable, "-m", name, *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert (run.returncode, run.stderr) == (0, ""), line
        assert run.stdout, line
    assert {path.suffix for path in tmp_path.iterdir()} >= {".jsonl", ".png"}
