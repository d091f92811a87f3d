"""Failure probabilities are bounds: of the degree, the size and the denominators of minors."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.errors import NonFiniteError
from patterndim.failure import _degree, _largest_entry, _lowest_entry
from tests import oracles
from tests.strategies import networks, sample


@given(networks(integers=False), st.integers(0, 1000))
def test_every_entry_of_the_jacobian_is_within_the_stated_bits(network, seed):
    rng = np.random.default_rng(seed)
    scale = 2.0 ** rng.integers(-150, 150, network.parameter_count)
    network = network.replace(theta=network.theta * scale)
    X = sample(network, seed, 3, integers=False)
    C = np.eye(network.widths[-1])
    if seed % 2:
        shape = (3, 2, network.widths[-1])
        C = rng.standard_normal(shape) * 2.0 ** rng.integers(-150, 150, shape)
    lowest = _lowest_entry(network.architecture, network.theta, X, C)
    largest = _largest_entry(network.architecture, network.theta, X, C)
    for row in oracles.behind(C, oracles.jacobian(network, X, Fraction)):
        for entry in row:
            assert (entry / Fraction(2) ** lowest).denominator == 1
            assert abs(entry) <= Fraction(2) ** int(np.ceil(largest))


def test_magnitudes_that_floats_would_flush_to_zero_count():
    small, large = [[2.0**-600]], [[2.0**600]]
    weights = [[[1.0]], large, large, large, small, small]
    network = pdm.Network.from_layers(weights, [[2.0**-1074], *[None] * 5])
    # The bias of the first layer moves the output by 2**(3 * 600 - 2 * 600).
    X = np.zeros((2, 1))
    assert _largest_entry(network.architecture, network.theta, X, np.ones((1, 1))) >= 600
    assert _lowest_entry(network.architecture, network.theta, X, np.ones((1, 1))) <= -1200


@given(networks())
def test_no_entry_has_a_higher_degree_than_stated(network):
    """All gates open, parameters on a ray: the differences of that order are constant."""
    X = np.abs(sample(network, 0, 2)) + 1
    positive = np.abs(network.theta) + 1
    degree = _degree(network.architecture)
    differences = [
        np.array(oracles.jacobian(network.replace(theta=t * positive), X))
        for t in range(1, degree + 4)
    ]
    differences = np.diff(differences, n=degree, axis=0)
    assert (differences == differences[0]).all()


def test_biases_behind_identities_count_in_the_degree():
    chain = [(i, i + 1, "identity") for i in range(3)]
    only = pdm.Network.from_graph((1, 1, 1, 1), chain, [[9.0]] * 3)
    assert _degree(only.architecture) == 0
    last = pdm.Network.from_graph((1, 1, 1), [(0, 1, "identity"), (1, 2, [[2.0]])], [[9.0], None])
    assert _degree(last.architecture) == 1
    X = [[1.0], [2.0], [3.0]]
    generic, local = (f(only, X, primes=1) for f in (pdm.generic_dimension, pdm.local_dimension))
    assert generic.value == local.value == 1
    assert 0 <= generic.failure_probability <= 1


def test_float_methods_count_or_refuse_near_the_largest_float():
    X = 4e307 * np.sign(np.random.default_rng(0).standard_normal((10, 4)))
    network = pdm.Network.from_layers([np.ones((1, 4))])
    assert pdm.local_dimension(network, X, method="numerical").value == 4
    assert pdm.local_dimension(network, X).value == 4
    with pytest.raises(NonFiniteError, match="sketch overflow float64"):
        pdm.local_dimension(network, X, method="sketched")
