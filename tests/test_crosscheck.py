"""Cross-checks of plain arrays: faults are named, correct Jacobians never are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patterndim as pdm
from tests.planted import PLANTED, Pipeline, mantissa
from tests.strategies import networks, sample

FEW = ("W2 transposed", "bias first", "last batch zero", "slope 0.2", "one entry wrong", "TF32")


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline()


@pytest.mark.parametrize(
    "planted",
    [
        pytest.param(p, id=p.title, marks=[] if p.title in FEW else pytest.mark.compiled)
        for p in PLANTED
    ],
)
def test_planted_faults_are_found_and_named(planted, pipeline):
    found = pdm.crosscheck(pipeline.network, pipeline.X, planted.plant(pipeline), ranks=False)
    assert not found.agrees
    assert [fault.name for fault in found.faults] == [planted.name]
    assert planted.says in found.faults[0].message
    assert f"FAULT  {planted.name}: " in str(found)


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(1, 4))
def test_faults_are_named_on_other_networks(seed):
    pipeline = Pipeline(seed)
    for planted in PLANTED:
        found = pdm.crosscheck(pipeline.network, pipeline.X, planted.plant(pipeline), ranks=False)
        assert [fault.name for fault in found.faults] == [planted.name], planted.title


@pytest.mark.compiled
@settings(max_examples=60)
@given(networks(), st.integers(0, 2**32), st.booleans())
def test_correct_jacobians_agree_in_every_precision(network, rng, integers):
    X = sample(network, rng, 5, integers)
    J = pdm.parameter_jacobian(network, X)
    for values in (J, J.astype(np.float32), mantissa(J, 11), mantissa(J, 8)):
        found = pdm.crosscheck(network, X, values, precision="bfloat16", ranks=False)
        assert found.agrees, found
    noise = 1 + 2.0**-53 * np.random.default_rng(rng).uniform(-4, 4, J.shape)
    assert pdm.crosscheck(network, X, J * noise, ranks=False).agrees
