"""Networks of the frameworks: in, with equal parameters and outputs, and out again."""

import numpy as np
import pytest

import patterndim as pdm
from patterndim.formats import imported, read
from tests.framework_cases import CASES

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@pytest.mark.compiled
@pytest.mark.parametrize("name", CASES)
def test_networks_come_in_with_equal_parameters_and_outputs(name):
    case = CASES[name]()
    found = read(case.source)
    assert {part.name for part in found.parameters} == set(case.arrays)
    places = np.zeros(found.network.parameter_count, dtype=int)
    for part in found.parameters:
        array = case.arrays[part.name]
        assert part.shape == array.shape
        expected = (array.T if part.transposed else array).astype(np.float64).reshape(-1)
        assert np.array_equal(found.network.theta[part.start : part.stop], expected)
        places[part.start : part.stop] += 1
    assert (places == 1).all()
    assert found.dtype == np.dtype("float32" if case.dtype == "bfloat16" else case.dtype)
    assert found.head == case.head
    assert found.output == ("softmax" if "softmax" in case.head else "affine")
    assert not case.widths or found.network.widths == case.widths

    X = np.random.default_rng(1).normal(size=(50, found.network.widths[0]))
    X = X.astype(found.dtype if case.dtype != "bfloat16" else np.float16).astype(np.float64)
    expected = case.run(X)
    outputs = imported.HEADS[found.head](pdm.outputs(found.network, X))
    scale = max(1.0, np.abs(expected).max())
    assert np.abs(outputs - expected).max() < 30 * EPSILON[case.dtype] * scale
    if found.outputs is not None:
        assert np.array_equal(found.outputs(X).astype(np.float64), expected)
