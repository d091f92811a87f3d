"""Layers without activation: slope 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.arithmetic import Modular
from patterndim.bounds import every_sample_bound, linear_symmetries
from patterndim.heads import Head
from patterndim.rank import modular_rank
from patterndim.tangents import Group, Tangents
from tests import oracles
from tests.strategies import networks, sample


def bottleneck(widths, slope, rng=0):
    return pdm.Network.random(widths, slope=slope, rng=rng, bias_std=0.3)


def test_a_linear_layer_is_always_active_and_never_tied():
    network = pdm.Network.from_layers([[[1.0], [-1.0]], [[1.0, 1.0]]], slope=1.0)
    pattern = pdm.activation_pattern(network, [[0.0], [2.0], [-3.0]])
    assert pattern.masks[0].all()
    assert (len(pattern.ties), len(pattern.uncertain), pattern.margin) == (0, 0, np.inf)
    assert pdm.outputs(network, [[2.0]]).tolist() == [[0.0]]
    assert len(pdm.regions.space(network)) == 1


@given(st.integers(0, 1000), st.sampled_from([(3, 2, 4), (4, 5, 2, 3), (2, 6, 3, 5, 2)]))
def test_a_linear_network_has_the_dimension_of_matrices_of_its_rank(seed, widths):
    """Affine maps of rank at most r = min(widths): r (n_0 + n_L - r) for the matrix, n_L more."""
    network = bottleneck(widths, 1.0, seed)
    X = np.random.default_rng(seed).standard_normal((20, widths[0]))
    r = min(widths)
    found = pdm.local_dimension(network, X)
    assert found.value == r * (widths[0] + widths[-1] - r) + widths[-1]


@given(networks(), st.integers(0, 100))
def test_counted_symmetries_are_no_more_than_the_independent_tangents(network, seed):
    """The directions themselves at random residues, of rescaling and of linear layers."""
    architecture = network.architecture
    arithmetic = Modular(8388593)
    theta = arithmetic.random(np.random.default_rng(seed), (architecture.parameter_count,))
    tangents = Tangents(architecture, theta, arithmetic)
    vectors = [block for _, block in tangents.rescalings()]
    for v in architecture.hidden_layers:
        if architecture.layers[v].slope == 1.0:
            neurons = np.arange(network.widths[v])
            group = Group(v, neurons, True, np.ones(len(neurons)))
            vectors += [tangents.mixtures(group), tangents.shifts(group)]
    found = np.concatenate([np.zeros((1, architecture.parameter_count)), *vectors])
    rank = modular_rank(found.astype(np.int64), modulus=8388593).value
    bound = every_sample_bound(architecture, Head.of("affine", network.widths[-1]))
    assert architecture.parameter_count - bound.value <= rank
    if linear_symmetries(architecture):
        assert bound.name == "symmetries"


@pytest.mark.parametrize(
    ("widths", "slope"),
    [((5, 2, 3), 1.0), ((6, 5, 3, 4, 2), [0, 1, 0]), ((6, 3, 8, 2, 7, 4), [1, 0, 1, 0])],
)
def test_the_bound_of_every_sample_is_met_at_linear_bottlenecks(widths, slope):
    network = bottleneck(widths, slope)
    architecture = network.architecture
    narrow = [v for v in architecture.hidden_layers if architecture.layers[v].slope == 1.0]
    assert linear_symmetries(architecture) == sum(widths[v] ** 2 for v in narrow)
    bound = pdm.dimension_bound(network)
    assert bound.value == network.parameter_count - network.hidden_neurons - sum(
        widths[v] ** 2 for v in narrow
    )
    assert pdm.functional_dimension(network, rng=1).upper == bound.value


@given(networks(), st.integers(0, 100))
def test_the_rank_never_exceeds_the_bound_of_every_sample(network, seed):
    J = oracles.jacobian(network, X := sample(network, seed, 6))
    assert np.allclose(J, pdm.parameter_jacobian(network, X))
    assert np.linalg.matrix_rank(np.array(J)) <= pdm.dimension_bound(network).value


def test_a_residual_network_with_a_linear_stream():
    """x + W relu(V x), twice, as transformers and ResNets have it before their activation."""
    rng = np.random.default_rng(3)
    connections = [(0, 1, rng.standard_normal((4, 3)))]
    for stream in (1, 3):
        connections += [(stream, stream + 1, rng.standard_normal((6, 4)))]
        connections += [(stream, stream + 2, "identity")]
        connections += [(stream + 1, stream + 2, rng.standard_normal((4, 6)))]
    connections.append((5, 6, rng.standard_normal((2, 4))))
    widths = (3, 4, 6, 4, 6, 4, 2)
    biases = [rng.standard_normal(n) for n in widths[1:]]
    network = pdm.Network.from_graph(widths, connections, biases, slope=[1, 0, 1, 0, 1])
    X = rng.standard_normal((60, 3))
    h = X @ network.weights[0].T + biases[0]
    for V, W, b, c in ((1, 3, 1, 2), (4, 6, 3, 4)):
        inner = np.maximum(h @ network.weights[V].T + biases[b], 0.0)
        h = h + inner @ network.weights[W].T + biases[c]
    assert np.allclose(pdm.outputs(network, X), h @ network.weights[-1].T + biases[-1])
    J = np.array(oracles.jacobian(network, X))
    singular = np.linalg.svd(J, compute_uv=False)
    found = pdm.local_dimension(network, X)
    assert singular[found.value - 1] > 1e-8 * singular[0] > 1e4 * singular[found.value]
    assert found.value <= found.upper <= network.parameter_count - 12
