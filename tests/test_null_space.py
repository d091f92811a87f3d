import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.errors import KindError, MemoryLimitError, ShapeError
from tests import oracles
from tests.strategies import networks, sample


def integers(J):
    """J of a network of small integers and slopes 1/4, scaled to integers."""
    scaled = J * 4.0**4
    assert np.array_equal(scaled, np.rint(scaled))
    return scaled.astype(np.int64)


@given(networks(), st.integers(0, 1000))
def test_the_exact_basis_is_a_basis_of_the_kernel_modulo_p(network, seed):
    X = sample(network, seed, 6)
    space = pdm.null_space(network, X)
    J = integers(pdm.parameter_jacobian(network, X)).astype(object)
    assert not ((J @ space.residues.T.astype(object)) % space.modulus).any()
    assert len(space.residues) == network.parameter_count - oracles.exact_rank(J.astype(float))
    if len(space.residues):
        assert oracles.flint_rank(space.residues, space.modulus) == len(space.residues)


@given(networks(), st.integers(0, 1000))
def test_the_float_basis_is_orthonormal_and_invisible(network, seed):
    X = sample(network, seed, 6)
    space = pdm.null_space(network, X)
    J = pdm.parameter_jacobian(network, X)
    assert space.basis.shape == (network.parameter_count - space.dimension.value, J.shape[1])
    np.testing.assert_allclose(space.basis @ space.basis.T, np.eye(len(space.basis)), atol=1e-12)
    assert np.abs(J @ space.basis.T).max(initial=0.0) <= 1e-12 * max(1.0, np.abs(J).max())
    assert space.residual < 1e-13
    assert space.gap is None or space.gap > 1e6


@given(networks(), st.integers(0, 1000))
def test_the_rank_profile_carries_the_rank(network, seed):
    X = sample(network, seed, 6)
    space = pdm.null_space(network, X)
    J = pdm.parameter_jacobian(network, X)
    rows = space.rows[:, 0] * network.widths[-1] + space.rows[:, 1]
    minor = J[np.ix_(rows, space.parameters)]
    assert minor.shape == (space.dimension.value,) * 2
    if len(rows):
        assert oracles.exact_rank(minor) == len(rows)
    # A row is in the profile exactly if the rows before it do not span it.
    ranks = [0, *(oracles.exact_rank(J[: i + 1]) for i in range(len(J)))]
    assert rows.tolist() == np.flatnonzero(np.diff(ranks)).tolist()


def test_a_larger_network_has_a_clear_gap():
    network = pdm.Network.random((10, 8, 6, 4), rng=0, bias_std=0.2)
    X = np.random.default_rng(0).standard_normal((100, 10))
    space = pdm.null_space(network, X)
    assert space.dimension.kind == "proved"
    assert space.gap > 1e8
    assert space.residual < 1e-14
    assert pdm.null_space(network, X).residues.tolist() == space.residues.tolist()


def test_a_network_without_invisible_directions_has_an_empty_basis():
    network, X = pdm.Network.random((3, 2), rng=0), np.random.default_rng(0).standard_normal((9, 3))
    space = pdm.null_space(network, X)
    assert space.basis.shape == space.residues.shape == (0, 8)
    assert space.residual == 0.0
    assert space.gap is None


def test_bad_arguments_are_refused():
    network, X = pdm.Network.random((3, 4, 2)), np.ones((2, 3))
    with pytest.raises(ShapeError, match=r"inputs must have shape \(N, 3\)"):
        pdm.null_space(network, X[0])
    with pytest.raises(MemoryLimitError, match=r"memory must be at least \d+ bytes here, got 10"):
        pdm.null_space(network, X, memory=10)
    with pytest.raises(KindError, match="progress must be callable"):
        pdm.null_space(network, X, progress=1)
