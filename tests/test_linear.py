"""Layers without activation: slope 1."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.arithmetic import Modular
from patterndim.bounds import Bound, every_sample_bound
from patterndim.cli import main
from patterndim.errors import MemoryLimitError
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
    assert bound.name == "regions" or architecture.parameter_count - bound.value <= rank


@pytest.mark.parametrize(
    ("widths", "slope"),
    [((5, 2, 3), 1.0), ((6, 5, 3, 4, 2), [0, 1, 0]), ((6, 3, 8, 2, 7, 4), [1, 0, 1, 0])],
)
def test_the_bound_of_every_sample_is_met_at_linear_bottlenecks(widths, slope):
    network = bottleneck(widths, slope)
    architecture = network.architecture
    narrow = [v for v in architecture.hidden_layers if architecture.layers[v].slope == 1.0]
    bound = pdm.dimension_bound(network)
    assert bound.value == network.parameter_count - network.hidden_neurons - sum(
        widths[v] ** 2 for v in narrow
    )
    assert pdm.functional_dimension(network, limit=1).upper == bound.value


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


@given(networks(), st.integers(0, 1000), st.booleans())
def test_bounds_hold_behind_heads_that_ignore_outputs(network, seed, each):
    """One head for all inputs or one for each, some outputs taken up by none."""
    rng = np.random.default_rng(seed)
    X = sample(network, seed, 4)
    outputs = network.widths[-1]
    C = rng.integers(-2, 3, (4, 2, outputs)) * (rng.random(outputs) < 0.6)
    C = C.astype(float) if each else C[0].astype(float)
    J = oracles.behind(C, oracles.jacobian(network, X, Fraction))
    found = pdm.local_dimension(network, X, output=C)
    assert found.value == oracles.rational_rank(J) <= found.upper
    assert found.value <= pdm.dimension_bound(network, X, output=C).value
    if not each:
        assert found.value <= pdm.dimension_bound(network, output=C).value


def test_only_neurons_that_lead_to_an_output_that_counts_are_shifted():
    connections = [(0, 1, [[1.0], [2.0]]), (1, 2, "identity")]
    network = pdm.Network.from_graph((1, 2, 2), connections, [[0.5, 0.25], [1.0, -1.0]], slope=1.0)
    found = pdm.local_dimension(network, [[1.0], [2.0], [4.0]], output=[[1.0, 0.0]])
    assert (found.value, found.kind) == (2, "proved")
    assert pdm.dimension_bound(network, output=[[1.0, 0.0]]).value == 2


@given(networks(), st.integers(0, 100))
def test_many_networks_at_once_prove_what_one_at_a_time_proves(network, seed):
    if not any(layer.slope == 1.0 for layer in network.architecture.layers):
        return
    X = sample(network, seed, 6)
    one = pdm.local_dimension(network, X)
    many = pdm.local_dimensions(network.architecture, network.theta[np.newaxis], X)[0]
    assert many.value == one.value
    assert many.upper <= pdm.dimension_bound(network).value


def test_many_networks_without_a_matrix():
    connections = [(0, 1, "identity"), (1, 2, "identity")]
    network = pdm.Network.from_graph((2, 2, 2), connections, [[1.0, 2.0]] * 2)
    X = [[1.0, 2.0], [3.0, -5.0]]
    found = pdm.local_dimensions(network.architecture, network.theta[np.newaxis], X)
    assert found[0].value == pdm.local_dimension(network, X).value == 3


@pytest.mark.compiled
def test_wide_linear_layers_take_no_gigabytes():
    network = pdm.Network.random((784, 256, 512, 10), slope=[1, 0], rng=0)
    X = np.random.default_rng(0).normal(size=(5, 784))
    assert pdm.dimension_bound(network, X) == Bound(50, "outputs")
    with pytest.raises(MemoryLimitError, match="fewer linear or aligned neurons in a layer, got"):
        pdm.explain(network, X, probes=0)


def test_a_linear_network_is_proved_by_one_region():
    network = pdm.Network.random((2, 5, 3), slope=1.0, rng=0, bias_std=0.1)
    found = pdm.functional_dimension(network)
    assert (found.value, found.kind, found.bound) == (9, "proved", "regions")


def test_explain_says_that_a_layer_has_no_activation(tmp_path, capsys):
    network = bottleneck((3, 4, 2, 4, 1), [0, 1, 0])
    pdm.save(network, tmp_path / "net.npz")
    np.save(tmp_path / "X.npy", np.random.default_rng(0).normal(size=(9, 3)))
    assert main(["explain", str(tmp_path / "net.npz"), str(tmp_path / "X.npy")]) == 0
    assert "layer 2 has no activation\n" in capsys.readouterr().out


@pytest.mark.parametrize(("widths", "slope"), [((5, 6, 6, 3), [1, 0]), ((5, 6, 3, 3), [0, 1])])
def test_a_jacobian_of_other_parameters_is_recognised(widths, slope):
    """Behind a linear layer that is wider than the outputs they could be several."""
    network = bottleneck(widths, slope)
    X = np.random.default_rng(0).normal(size=(20, 5))
    step = 1e-3 * np.random.default_rng(1).normal(size=network.parameter_count)
    J = pdm.parameter_jacobian(network.replace(theta=network.theta + step), X)
    found = pdm.crosscheck(network, X, J, ranks=False)
    assert [fault.name for fault in found.faults] == ["other parameters"]


def test_an_activation_where_there_is_none_is_named():
    linear = bottleneck((3, 5, 4, 2), 1.0)
    bent = pdm.Network.from_layers(linear.weights, linear.biases, slope=[1, 0])
    X = np.random.default_rng(0).normal(size=(20, 3))
    found = pdm.crosscheck(linear, X, pdm.parameter_jacobian(bent, X))
    assert [fault.name for fault in found.faults] == ["activation"]
    assert "there is an activation in layer 2, which must have none" in str(found)
