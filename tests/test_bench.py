"""The parts of the benchmarks that compute something; the cases themselves run by --smoke."""

import json

import numpy as np
import pytest

from bench import scaling
from bench.cases import CASES
from bench.peers import TASKS


def test_every_case_has_its_peers():
    for case in CASES.values():
        names = [peer.name for peer in TASKS[case.task]]
        assert names[0] == "patterndim"
        assert set(case.peers) < set(names)
        for size in case.sizes:
            assert {*size.once, *size.slow} <= {*case.peers, "numpy", "jax", "torch", "tensorflow"}


def test_exponents_are_those_of_the_larger_half():
    sizes = [1, 2, 4, 8, 16]
    assert scaling.exponent(sizes, [7.0, 7.0, 3.0 * 16, 3.0 * 64, 3.0 * 256]) == pytest.approx(2.0)
    assert scaling.exponent([3, 6], [1.0, 8.0]) == pytest.approx(3.0)


def test_the_scaling_command_measures_and_draws(tmp_path, monkeypatch):
    def quick(smoke):
        assert smoke
        return [scaling.Curve("size", "zeros", 1, (10, 20, 40), lambda n: lambda: np.zeros(n))]

    monkeypatch.setattr(scaling, "curves", quick)
    figure, out = tmp_path / "scaling.png", tmp_path / "scaling.json"
    assert scaling.main(["--smoke", "--figure", str(figure), "--out", str(out)]) == 0
    (curve,) = json.loads(out.read_text())["curves"]
    assert curve["sizes"] == [10, 20, 40]
    assert len(curve["seconds"]) == 3
    assert figure.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        scaling.main(["--rounds", "0"])


def test_smoke_takes_the_smallest_sizes_of_the_same_curves():
    full, smoke = scaling.curves(smoke=False), scaling.curves(smoke=True)
    assert [c.name for c in full] == [c.name for c in smoke]
    assert all(c.sizes[:2] == s.sizes for c, s in zip(full, smoke, strict=True))
    assert {c.variable for c in full} == {"inputs", "width", "depth", "rank"}


@pytest.mark.compiled
@pytest.mark.parametrize(
    "curve", scaling.curves(smoke=True), ids=lambda c: f"{c.variable}-{c.name}"
)
def test_every_curve_runs_at_its_smallest_size(curve):
    assert curve.prepare(curve.sizes[0])() is not None
