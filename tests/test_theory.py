"""Identities and hand-checkable cases of the theory; each test is named after its identity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.rank import modular_rank
from tests import oracles
from tests.strategies import networks, sample


def shallow(rng, n0, n1, outputs=1, biased=True):
    """Shallow network whose output weights are not zero."""

    def values(*shape):
        return rng.integers(-3, 4, shape)

    V = values(outputs, n1)
    V = np.where(V == 0, 1, V)
    bias = values(outputs) if biased else None
    return pdm.Network.from_layers([values(n1, n0), V], [values(n1), bias])


def affine_rows(X):
    """X with a column of ones: X~."""
    return np.column_stack([X, np.ones(len(X))])


def khatri_rao(rows, X):
    """Column-wise Khatri-Rao product of 0/1 rows with X~, shape (N, rows * (n_0 + 1))."""
    return np.einsum("kx,xi->xki", rows, affine_rows(X)).reshape(len(X), -1)


def distinct_rows(network, X):
    """Distinct nonzero rows of the activation matrix (neurons against samples)."""
    rows = np.unique(pdm.activation_pattern(network, X).masks[0].T, axis=0)
    return rows[rows.any(axis=1)].astype(float)


def region_ranks(network, X):
    """Ranks of X~ restricted to each perceived region."""
    regions = pdm.activation_pattern(network, X).regions()
    return [oracles.exact_rank(affine_rows(X)[regions == r]) for r in range(regions.max() + 1)]


@given(st.integers(0, 10_000))
def test_S1_scalar_shallow_dimension_is_a_khatri_rao_rank(seed):
    rng = np.random.default_rng(seed)
    network = shallow(rng, int(rng.integers(1, 4)), int(rng.integers(1, 6)))
    X = sample(network, rng, int(rng.integers(1, 12)))
    columns = np.column_stack([np.ones(len(X)), khatri_rao(distinct_rows(network, X), X)])
    assert pdm.local_dimension(network, X).value == oracles.exact_rank(columns)


@given(st.integers(0, 10_000))
def test_S1_a_neuron_with_zero_output_weight_adds_one_vector(seed):
    rng = np.random.default_rng(seed)
    network = shallow(rng, 2, 4)
    theta = network.theta.copy()
    theta[-2] = 0.0  # output weight of the last neuron
    network = network.replace(theta=theta)
    X = sample(network, rng, 10)
    a = pdm.activation_pattern(network, X).masks[0].astype(float)
    kept = np.column_stack([np.ones(10), khatri_rao(a[:, :3].T, X)])
    vector = a[:, 3] * (X @ network.weights[0][3] + network.biases[0][3])
    expected = oracles.exact_rank(np.column_stack([kept, vector]))
    assert pdm.local_dimension(network, X).value == expected


@given(st.integers(0, 10_000))
def test_S2_first_layer_alone_gives_the_khatri_rao_rank(seed):
    rng = np.random.default_rng(seed)
    network = shallow(rng, 2, 5, biased=False)
    X = sample(network, rng, 10)
    rows = pdm.activation_pattern(network, X).masks[0].T.astype(float)
    J = pdm.parameter_jacobian(network, X)[:, : 5 * 3]  # columns of W_1 and b_1
    assert oracles.exact_rank(J) == oracles.exact_rank(khatri_rao(rows, X))


@given(st.integers(0, 10_000))
def test_S3_scalar_shallow_dimension_lies_between_region_counts(seed):
    rng = np.random.default_rng(seed)
    n0 = int(rng.integers(1, 4))
    network = shallow(rng, n0, int(rng.integers(1, 6)))
    X = sample(network, rng, 12)
    ranks = region_ranks(network, X)
    value = pdm.local_dimension(network, X).value
    assert value <= sum(ranks) <= (n0 + 1) * len(ranks)
    if n0 == 1:
        assert len(ranks) <= value <= 2 * len(ranks)


@given(st.integers(0, 10_000))
def test_S4_vector_shallow_dimension_is_below_the_determinantal_bound(seed):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 4))
    network = shallow(rng, 2, int(rng.integers(1, 6)), outputs=m)
    X = sample(network, rng, 10)
    masks = pdm.activation_pattern(network, X).masks[0].T
    rows, counts = np.unique(masks, axis=0, return_counts=True)
    bound = m
    for row, k in zip(rows, counts, strict=True):
        if row.any():
            q = oracles.exact_rank(affine_rows(X)[row])
            bound += k * (m + q - k) if k <= min(m, q) else m * q
    assert pdm.local_dimension(network, X).value <= min(bound, 10 * m)


@pytest.mark.parametrize("widths", [(1, 3, 1), (1, 6, 1), (2, 3, 1), (2, 4, 1), (2, 3, 2)])
def test_S5_generic_shallow_networks_have_no_hidden_symmetries(widths):
    network = pdm.Network.random(widths, rng=3, bias_std=1.0)
    X = 5 * np.random.default_rng(0).standard_normal((400, widths[0]))
    dimension = pdm.local_dimension(network, X)
    n0, n1, n2 = widths
    assert (dimension.value, dimension.kind) == (n1 * (n0 + n2) + n2, "proved")
    assert dimension.value == network.parameter_count - network.hidden_neurons


# Kinks on the line: right-facing relu(x - k), left-facing relu(k - x); X = 0, 1, ..., 5.
HAND_CASES = [
    ([(2.5, 1)], [1], 3, 2, 1),
    ([(1.5, 1), (3.5, 1)], [1, 1], 5, 3, 2),
    ([(1.5, 1), (1.2, 1)], [1, 1], 3, 2, 1),
    ([(2.5, 1), (2.6, -1)], [1, 1], 4, 2, 2),
    ([(1.5, -1), (3.5, 1)], [1, 1], 5, 3, 2),
    ([(0.5, 1), (2.5, 1), (4.5, 1)], [1, 1, 1], 6, 4, 3),
    ([(9.0, 1), (2.5, 1)], [1, 1], 3, 2, 1),
    ([(1.5, 1), (3.5, 1)], [1, 0], 4, 3, 2),
]


@pytest.mark.parametrize(("kinks", "v", "value", "regions", "rows"), HAND_CASES)
@pytest.mark.parametrize("method", ["modular", "sketched", "numerical"])
def test_hand_checkable_cases_on_the_line(kinks, v, value, regions, rows, method):
    W = [[float(direction)] for _, direction in kinks]
    b = [-direction * kink for kink, direction in kinks]
    network = pdm.Network.from_layers([W, [v]], [b, [0.0]])
    X = np.arange(6.0)[:, np.newaxis]
    assert pdm.local_dimension(network, X, method=method).value == value
    assert pdm.activation_pattern(network, X).regions().max() + 1 == regions
    assert len(distinct_rows(network, X)) == rows


@given(networks(skips=False))
def test_U3_dimension_is_below_the_ranks_of_the_regions(network):
    X = sample(network, 5, 10)
    ranks = region_ranks(network, X)
    outputs = network.widths[-1]
    assert pdm.local_dimension(network, X).value <= outputs * sum(ranks)


@given(networks(integers=False, skips=False))
def test_T1_the_pattern_determines_the_dimension(network):
    """At Gaussian parameters the local dimension is the generic dimension of the pattern."""
    X = sample(network, 5, 10, integers=False)
    assert pdm.local_dimension(network, X).value == pdm.generic_dimension(network, X).value


@given(networks(), st.integers(0, 1000))
def test_T1_the_generic_dimension_is_the_largest_in_the_cell(network, seed):
    X = sample(network, seed, 8)
    pattern = pdm.activation_pattern(network, X)
    generic = pdm.generic_dimension(network.architecture, X, pattern)
    assert pdm.local_dimension(network, X).value <= generic.value


@given(networks(skips=False), st.integers(0, 1000))
def test_T2_permutations_of_hidden_neurons_keep_the_dimension(network, seed):
    X = sample(network, seed, 8)
    order = np.random.default_rng(seed).permutation(network.widths[1])
    weights, biases = list(network.weights), list(network.biases)
    weights[0], weights[1] = weights[0][order], weights[1][:, order]
    biases[0] = None if biases[0] is None else biases[0][order]
    slope = [layer.slope for layer in network.architecture.layers[1:-1]]
    other = pdm.Network.from_layers(weights, biases, slope=slope)
    assert pdm.local_dimension(other, X).value == pdm.local_dimension(network, X).value


def test_T4_hessian_at_an_interpolating_minimum_has_the_rank_of_the_jacobian():
    """Square loss with the outputs as targets: the Hessian, by differences, is J^T J."""
    network = pdm.Network.random((2, 3, 3, 1), rng=4, bias_std=0.5)
    X = np.random.default_rng(0).standard_normal((40, 2))
    targets = pdm.outputs(network, X)

    def gradient(theta):
        other = network.replace(theta=theta)
        return pdm.parameter_jacobian(other, X).T @ (pdm.outputs(other, X) - targets).ravel()

    step = 1e-6
    steps = step * np.eye(network.parameter_count)
    theta = network.theta
    H = np.array([(gradient(theta + s) - gradient(theta - s)) / (2 * step) for s in steps])
    J = pdm.parameter_jacobian(network, X)
    np.testing.assert_allclose(H, J.T @ J, atol=1e-6 * np.abs(H).max())
    rank = pdm.local_dimension(network, X)
    assert pdm.rank.numerical_rank(H, rtol=1e-7).value == rank.value < network.parameter_count


def test_single_pattern_shallow_outputs_form_a_determinantal_variety():
    """One region, k active neurons: matrices m x q of rank at most k, so k (m + q - k)."""
    for m, k in ((1, 1), (2, 1), (3, 2), (2, 3)):
        X = np.random.default_rng(0).integers(-5, 6, (8, 3)).astype(float)
        q = oracles.exact_rank(affine_rows(X))
        architecture = pdm.Architecture(
            (pdm.Layer(3), pdm.Layer(k), pdm.Layer(m, bias=False)),
            (pdm.Connection(0, 1), pdm.Connection(1, 2)),
        )
        pattern = pdm.ActivationPattern.from_masks([np.ones((8, k), dtype=bool)])
        expected = k * (m + q - k) if k <= min(m, q) else m * q
        assert pdm.generic_dimension(architecture, X, pattern).value == expected


def test_the_tent_map_composed_with_itself_has_dimension_3m_plus_2():
    """Composition of m tent maps: 2**m regions on [0, 1] and functional dimension 3m + 2."""
    for m in (2, 3, 4):
        weights = [np.array([[1.0], [1.0]])]
        biases = [np.array([0.0, -0.5])]
        for _ in range(m - 1):
            weights.append(np.array([[2.0, -4.0], [2.0, -4.0]]))
            biases.append(np.array([0.0, -0.5]))
        network = pdm.Network.from_layers([*weights, [[2.0, -4.0]]], [*biases, [0.0]])
        inside = (np.arange(2**m * 8) + 0.5) / (2**m * 8)
        outside = np.array([-3.0, -2.0, -1.0, 1.5, 2.5, 3.5])
        X = np.concatenate([inside, outside])[:, np.newaxis]
        assert pdm.activation_pattern(network, inside[:, np.newaxis]).regions().max() + 1 == 2**m
        assert pdm.local_dimension(network, X).value == 3 * m + 2
        assert network.parameter_count - network.hidden_neurons == 4 * m + 1


def test_modular_rank_of_a_jacobian_with_integer_entries_is_that_of_the_network():
    network = pdm.Network.from_layers([[[1.0, 2.0], [-1.0, 3.0]], [[1.0, -2.0]]], [[1, 0], [0]])
    X = np.random.default_rng(0).integers(-5, 6, (9, 2)).astype(float)
    J = pdm.parameter_jacobian(network, X)
    assert modular_rank(J).value == pdm.local_dimension(network, X).value
