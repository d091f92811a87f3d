"""Identities of the local dimension and its bounds; each test is named after its identity."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.heads import output_map
from patterndim.training import gradient
from tests import oracles
from tests.strategies import networks, sample


@given(networks(), st.integers(0, 1000))
def test_U1_dimension_is_at_most_the_number_of_outputs(network, seed):
    X = sample(network, seed, 3)
    found = pdm.local_dimension(network, X)
    assert found.value <= found.upper <= len(X) * network.widths[-1]
    if network.widths[-1] > 1:
        soft = pdm.local_dimension(network, X, output="softmax")
        assert soft.value <= soft.upper <= len(X) * (network.widths[-1] - 1)


@given(networks(skips=False), st.integers(0, 1000))
def test_U2_dimension_is_at_most_parameters_minus_hidden_neurons(network, seed):
    X = sample(network, seed, 40)
    most = network.parameter_count - network.hidden_neurons
    found = pdm.local_dimension(network, X)
    assert found.value <= found.upper <= most
    if any(layer.slope == 1.0 for layer in network.architecture.layers):
        assert found.value <= pdm.dimension_bound(network).value <= most
    else:
        assert pdm.dimension_bound(network).value == most


@given(st.integers(0, 300))
def test_U4_dimension_is_at_most_outputs_times_the_rank_of_the_path_activations(seed):
    network, X, masks = tiny(seed)
    alpha, _, _ = oracles.path_lifting(network, X, masks)
    bound = network.widths[-1] * oracles.rational_rank(alpha)
    assert pdm.local_dimension(network, X).value <= bound


def tiny(seed):
    """Network with few paths, integers throughout, and a sample."""
    rng = np.random.default_rng(seed)
    widths = [int(n) for n in rng.integers(1, 4, rng.integers(3, 5))]

    def values(*shape):
        return rng.integers(-3, 4, shape)

    pairs = list(itertools.pairwise(widths))
    network = pdm.Network.from_layers(
        [values(v, u) for u, v in pairs],
        [values(v) if rng.random() < 0.8 else None for _, v in pairs],
    )
    X = sample(network, rng, 4)
    return network, X, pdm.activation_pattern(network, X).masks


@given(st.integers(0, 300))
def test_path_lifting_gives_the_outputs_and_the_jacobian(seed):
    """F = alpha Phi and J = (alpha kron I) D Phi: another way to both, exactly."""
    network, X, masks = tiny(seed)
    alpha, Phi, D = (np.array(a, dtype=object) for a in oracles.path_lifting(network, X, masks))
    outputs = alpha @ Phi
    assert np.array_equal(outputs.astype(float), pdm.outputs(network, X))
    J = np.tensordot(alpha, D, axes=1).reshape(outputs.size, -1)
    assert np.array_equal(J.astype(float), pdm.parameter_jacobian(network, X))


@pytest.mark.parametrize(
    ("widths", "paths", "rank"), [((3, 2, 2, 1), 19, 13), ((2, 3, 2, 2), 21, 18)]
)
def test_path_lifting_has_rank_parameters_minus_hidden_neurons(widths, paths, rank):
    rng = np.random.default_rng(0)
    pairs = list(itertools.pairwise(widths))
    network = pdm.Network.from_layers(
        [rng.integers(1, 9, (v, u)) for u, v in pairs], [rng.integers(1, 9, v) for _, v in pairs]
    )
    masks = [np.ones((1, n), dtype=bool) for n in widths[1:-1]]
    _, Phi, D = oracles.path_lifting(network, np.ones((1, widths[0])), masks)
    assert len(Phi) == paths
    rows = [row for path in D for row in path]
    assert oracles.rational_rank(rows) == rank
    assert rank == network.parameter_count - network.hidden_neurons


def smooth():
    """A network, a sample on which no sign is close, and J there."""
    network = pdm.Network.random((2, 4, 3, 2), rng=4, bias_std=0.5)
    X = np.random.default_rng(1).standard_normal((12, 2))
    return network, X, pdm.parameter_jacobian(network, X)


def test_T3_outputs_near_theta_form_a_manifold_of_that_dimension():
    """The rank is constant near theta, and outputs leave the tangent space to second order."""
    network, X, J = smooth()
    rng = np.random.default_rng(0)
    value = pdm.local_dimension(network, X).value
    assert value < min(J.shape)
    left = np.linalg.svd(J)[0][:, value:]  # orthogonal to the range of J
    direction = rng.standard_normal(network.parameter_count)
    errors = []
    for step in (1e-3, 1e-4):
        other = network.replace(theta=network.theta + step * direction)
        assert pdm.local_dimension(other, X).value == value
        change = (pdm.outputs(other, X) - pdm.outputs(network, X)).ravel()
        errors.append(np.linalg.norm(left.T @ change) / step)
    assert errors[1] < 0.2 * errors[0] < 0.02 * np.linalg.norm(J @ direction)


def test_T3_parameters_with_the_same_outputs_form_a_manifold_of_the_rest():
    """From any invisible step a correction of second order leads back to the same outputs."""
    network, X, J = smooth()
    space = pdm.null_space(network, X)
    assert len(space.basis) == network.parameter_count - space.dimension.value
    target = pdm.outputs(network, X)
    for v in space.basis:
        theta = network.theta + 1e-3 * v
        for _ in range(4):
            error = (pdm.outputs(network.replace(theta=theta), X) - target).ravel()
            theta = theta - np.linalg.lstsq(J, error, rcond=1e-9)[0]
        assert np.abs(pdm.outputs(network.replace(theta=theta), X) - target).max() < 1e-13
        moved = theta - network.theta
        assert np.linalg.norm(moved - 1e-3 * v) < 1e-4
        assert moved @ v > 0.9e-3


def test_T5_targets_that_make_theta_critical_are_those_orthogonal_to_the_range():
    network, X, J = smooth()
    value = pdm.local_dimension(network, X).value
    U = np.linalg.svd(J)[0]
    outputs = pdm.outputs(network, X)
    sizes = []
    for u in U.T:
        g = gradient(network, X, outputs + u.reshape(outputs.shape), "square")
        sizes.append(np.linalg.norm(g))
    critical = np.array(sizes) < 1e-12
    assert critical.sum() == outputs.size - value  # n n_L - r dimensions of targets
    assert not critical[:value].any()


def test_T8_full_dimension_means_identifiable_up_to_rescaling():
    """At r = P - H the only invisible directions are the tangents of the rescaling orbit."""
    network = pdm.Network.random((3, 4, 3, 2), rng=0, bias_std=0.5)
    X = 3 * np.random.default_rng(0).standard_normal((200, 3))
    space = pdm.null_space(network, X)
    H = network.hidden_neurons
    assert space.dimension.value == network.parameter_count - H
    tangents = pdm.rescaling_tangents(network)
    both = np.concatenate([space.basis, tangents])
    assert np.linalg.matrix_rank(tangents) == np.linalg.matrix_rank(both) == H


def test_softmax_map_and_dimension_agree_with_the_jacobian_of_the_softmax():
    """diag(q) - q q^T times J has the rank of C J for every q > 0."""
    network, X, J = smooth()
    z = pdm.outputs(network, X)
    q = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    rows = J.reshape(len(X), 2, -1)
    S = np.einsum("xc,xcp->xcp", q, rows) - np.einsum("xc,xd,xdp->xcp", q, q, rows)
    rank = np.linalg.matrix_rank(S.reshape(J.shape), rtol=1e-9)
    assert rank == pdm.local_dimension(network, X, output="softmax").value
    assert output_map(2, "softmax").tolist() == [[1.0, -1.0]]


def test_the_fraction_oracle_of_j_agrees_with_path_lifting():
    network, X, masks = tiny(7)
    alpha, _, D = oracles.path_lifting(network, X, masks)
    J = np.tensordot(np.array(alpha, dtype=object), np.array(D, dtype=object), axes=1)
    rows = oracles.jacobian(network, X, Fraction)
    assert J.reshape(len(rows), -1).tolist() == rows
