"""Balances that add up, symmetries that are ones, and mechanisms that are found by name."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.arithmetic import Modular
from patterndim.bounds import parameter_bound
from patterndim.cli import main
from patterndim.errors import ArgumentError, KindError, NonFiniteError, ShapeError
from patterndim.factors import factor
from patterndim.frozen import FrozenJacobian
from patterndim.heads import Head
from patterndim.jacobian import dense
from patterndim.redundancy import SYMMETRIES, blocks, symmetry_bound
from patterndim.rows import combine_rows
from patterndim.tangents import Tangents
from tests import oracles
from tests.strategies import networks, sample
from tests.test_dimension import random_network

P = 8_388_593


def frozen_jacobian(network, X, output="affine"):
    """The frozen Jacobian, its parameters as residues, and J modulo P."""
    pattern = pdm.activation_pattern(network, X)
    frozen = FrozenJacobian.build(
        network.architecture, X, pattern, Head.of(output, network.widths[-1])
    )
    arithmetic = Modular(P)
    theta = arithmetic.encode(network.theta)
    factors = factor(network.architecture, network.theta, X, frozen.gate, arithmetic, frozen.head.C)
    return frozen, theta, arithmetic, arithmetic.reduce(dense(factors))


@given(networks(), st.integers(0, 1000), st.sampled_from(["affine", "softmax"]))
def test_tangent_vectors_are_invisible(network, seed, output):
    """J v = 0 modulo p for every vector of every cause, at residues that are theta."""
    if network.widths[-1] == 1 and output == "softmax":
        return
    frozen, theta, arithmetic, J = frozen_jacobian(network, sample(network, seed, 4), output)
    for block in blocks(frozen, theta, arithmetic, SYMMETRIES):
        image = arithmetic.product(J, np.ascontiguousarray(block.vectors.T))
        assert not (image % P).any(), block.cause


def test_rescaling_vectors_are_the_tangents_of_the_orbit():
    network = pdm.Network.from_layers(
        [[[4.0, 1.0], [3.0, 2.0]], [[5.0, 7.0]]], [[3.0, -4.0], [1.0]], slope=0.5
    )
    found = Tangents(network.architecture, network.theta, Modular(P)).rescalings()
    layers, vectors = zip(*found, strict=True)
    assert layers == (1,)
    assert np.array_equal(vectors[0], pdm.rescaling_tangents(network))


def test_linear_neurons_form_an_affine_group():
    """k linear neurons between q inputs and m outputs: k**2 + k - k beyond rescaling, at most."""
    network = pdm.Network.random((3, 2, 4), rng=0, bias_std=0.1)
    theta = network.theta.copy()
    theta[6:8] = 100.0  # biases of the first layer: every neuron is active
    network = network.replace(theta=theta)
    X = np.random.default_rng(0).standard_normal((40, 3))
    explanation = pdm.explain(network, X, probes=0)
    # The outputs are affine: 4 x 3 matrices of rank 2, and 4 biases.
    assert explanation.dimension.value == 2 * (4 + 3 - 2) + 4
    assert explanation.count("rescaling") == 2
    assert explanation.count("linear") == 2 * 2 - 2 + 2
    assert explanation.count("hidden") == 0
    assert [(m.kind, m.layer) for m in explanation.mechanisms] == [("affine layer", 1)]


@given(networks(), st.integers(0, 1000), st.sampled_from([0, 3, 40]))
def test_the_balance_adds_up(network, seed, probes):
    X = sample(network, seed, 5)
    explanation = pdm.explain(network, X, probes=probes, primes=1)
    deficit = network.parameter_count - oracles.exact_rank(pdm.parameter_jacobian(network, X))
    assert explanation.count() == explanation.deficit == deficit
    always = network.parameter_count - explanation.reachable.value
    assert explanation.count(scope="always") == always
    assert all(share.count > 0 for share in explanation.shares)
    if not probes:
        assert explanation.count(scope="sample") == 0


@given(networks(), st.integers(0, 1000), st.sampled_from([0, 20]))
def test_hidden_symmetries_have_a_basis(network, seed, probes):
    """Orthonormal, invisible, and orthogonal to everything that has a name."""
    X = sample(network, seed, 5)
    extra = sample(network, seed + 1, probes) if probes else 0
    explanation = pdm.explain(network, X, probes=extra, primes=1)
    basis = explanation.hidden_basis
    assert basis.shape == (explanation.count("hidden"), network.parameter_count)
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-12)
    everything = np.concatenate([X, extra]) if probes else X
    J = pdm.parameter_jacobian(network, everything)
    assert np.abs(J @ basis.T).max(initial=0.0) < 1e-11 * max(1.0, np.abs(J).max())
    if all(c.trainable for c in network.architecture.connections):
        tangents = pdm.rescaling_tangents(network)
        assert np.abs(tangents @ basis.T).max(initial=0.0) < 1e-11 * max(
            1.0, np.abs(tangents).max()
        )


@pytest.mark.compiled
def test_the_balance_adds_up_on_a_thousand_networks():
    hidden = 0
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        integers = seed % 2 == 0
        network = random_network(rng, integers)
        X = sample(network, rng, int(rng.integers(1, 9)), integers)
        explanation = pdm.explain(network, X, probes=int(rng.integers(0, 30)), primes=1, rng=seed)
        value = pdm.local_dimension(network, X).value
        assert explanation.count() == network.parameter_count - value, seed
        assert all(share.count > 0 for share in explanation.shares), seed
        hidden += explanation.count("hidden") > 0
    assert hidden > 20  # not everything has a name


@pytest.mark.compiled
def test_the_balance_adds_up_on_fifty_trained_networks():
    X, y = pdm.data.digits()
    X, y = X[y < 3][:60], y[y < 3][:60]
    for seed in range(50):
        network = pdm.Network.random((64, 5, 5, 3), rng=seed)
        *_, last = pdm.training.sgd(network, X, y, steps=20, rate=0.5, every=20)
        explanation = pdm.explain(last.network, X, primes=1, rng=seed)
        assert explanation.count() == explanation.deficit
        assert explanation.count("rescaling") >= 1
        assert all(share.count > 0 for share in explanation.shares)
        # Pixels that are 0 on every digit: their weights are dead here, and only here.
        assert explanation.count("dead", scope="sample", layer=1) > 0


def named(explanation, kind):
    return [m.layer for m in explanation.mechanisms if m.kind == kind]


def test_a_layer_affine_on_its_image_is_found():
    """Behind a ReLU, positive weights and biases make the next layer affine."""
    rng = np.random.default_rng(0)
    network = pdm.Network.from_layers(
        [rng.standard_normal((4, 3)), rng.uniform(0.5, 1, (4, 4)), rng.standard_normal((1, 4))],
        [rng.standard_normal(4), rng.uniform(0.5, 1, 4), [0.0]],
    )
    explanation = pdm.explain(network, rng.standard_normal((60, 3)))
    assert named(explanation, "affine layer") == [2]
    assert explanation.count("linear", scope="always", layer=2) > 0
    assert explanation.reachable.value < network.parameter_count - network.hidden_neurons


def test_stably_inactive_neurons_are_found():
    """Behind a ReLU, negative weights and biases never let a neuron be active."""
    rng = np.random.default_rng(0)
    W = np.array([[1.0, -1.0, 1.0, -1.0], [-1.0, -2.0, -1.0, -0.5], [-1.0, 1.0, -0.5, 1.0]])
    network = pdm.Network.from_layers(
        [rng.standard_normal((4, 3)), W, rng.standard_normal((2, 3))],
        [rng.standard_normal(4), [0.1, -0.1, 0.1], None],
    )
    explanation = pdm.explain(network, rng.standard_normal((400, 3)))
    found = [m for m in explanation.mechanisms if m.kind == "stably inactive"]
    assert [(m.layer, m.neurons) for m in found] == [(2, (1,))]
    # Its 4 weights and bias, and the weights that lead on to 2 outputs.
    assert explanation.count("dead", scope="always", layer=2) == 5
    assert explanation.count("dead", scope="always", layer=3) == 2
    state = next(s for s in explanation.neurons if (s.layer, s.neuron) == (2, 1))
    assert (state.state, state.stable_state, state.active) == ("dead", "dead", 0.0)


def test_a_bottleneck_of_width_1_is_found():
    rng = np.random.default_rng(3)
    network = pdm.Network.random((3, 4, 1, 4, 2), rng=1, bias_std=0.5)
    explanation = pdm.explain(network, rng.standard_normal((200, 3)))
    assert 2 in named(explanation, "bottleneck")
    assert explanation.reachable.value < network.parameter_count - network.hidden_neurons
    assert explanation.count(scope="always") > network.hidden_neurons


def test_aligned_neurons_are_found_with_their_partners():
    network = pdm.Network.from_layers(
        [[[1.0], [1.0], [-1.0]], [[1.0, 1.0, 2.0]]], [[-1.5, -1.2, 2.6], [0.0]]
    )
    explanation = pdm.explain(network, np.arange(6.0)[:, np.newaxis], probes=0)
    assert [s.state for s in explanation.neurons] == ["aligned", "aligned", "free"]
    assert [s.partners for s in explanation.neurons] == [(1,), (0,), ()]
    assert explanation.count("aligned") == 2
    assert named(explanation, "aligned") == [1]


def test_an_unused_neuron_has_no_path_to_an_output():
    network = pdm.Network.from_layers([[[1.0], [-1.0]], [[1.0, 0.0]]], [[0.5, 0.5], [0.0]])
    explanation = pdm.explain(network, [[0.0], [1.0], [-2.0], [3.0]], probes=0)
    assert [s.state for s in explanation.neurons] == ["free", "unused"]
    assert explanation.count("dead", layer=1) == 2  # its weight and bias
    assert explanation.count("dead", layer=2) == 0  # the weight that is 0 is seen


def test_what_a_larger_sample_shows_is_not_a_symmetry():
    network = pdm.Network.random((3, 5, 2), rng=0, bias_std=0.5)
    X = np.random.default_rng(0).standard_normal((200, 3))
    explanation = pdm.explain(network, X[:1], probes=X)
    assert explanation.dimension.value == 2
    assert explanation.reachable.value == network.parameter_count - network.hidden_neurons
    assert explanation.count(scope="always") == explanation.count("rescaling") == 5
    assert explanation.count("few inputs") > 0


@given(networks(), st.integers(0, 1000), st.sampled_from(["affine", "softmax"]))
def test_the_symmetry_bound_holds_and_is_at_most_the_parameter_bound(network, seed, output):
    if network.widths[-1] == 1 and output == "softmax":
        return
    X = sample(network, seed, 12)
    frozen, *_ = frozen_jacobian(network, X, output)
    bound = symmetry_bound(frozen, np.random.default_rng(seed))
    generic = pdm.generic_dimension(network, X, output=output)
    assert generic.value <= bound.value
    assert bound.name == "symmetries"
    parameters = parameter_bound(network.architecture, X, frozen.gate, frozen.head)
    assert bound.value <= parameters.value


@given(networks(), st.sampled_from(["affine", "softmax"]))
def test_the_bound_without_inputs_holds_for_every_sample(network, output):
    bound = pdm.dimension_bound(network, output=output)
    X = sample(network, 0, 60)
    assert pdm.local_dimension(network, X, output=output, primes=1).value <= bound.value
    assert pdm.functional_dimension(network, output=output, limit=20).upper == bound.value


def test_behind_a_softmax_a_single_output_shows_nothing():
    bound = pdm.dimension_bound(pdm.Network.random((3, 2, 1)), output="softmax")
    assert (bound.value, bound.name) == (0, "outputs")


def test_random_combinations_of_rows_span_the_rows():
    network = pdm.Network.random((4, 5, 3, 2), rng=0, bias_std=0.3, slope=0.25)
    X = sample(network, 0, 30, integers=False)
    frozen, theta, arithmetic, J = frozen_jacobian(network, X)
    rows = combine_rows(frozen, theta, arithmetic, np.random.default_rng(0), 70)
    rank = oracles.flint_rank((J % P).astype(np.int64), P)
    assert oracles.flint_rank((rows % P).astype(np.int64), P) == rank
    both = np.concatenate([J, rows]) % P
    assert oracles.flint_rank(both.astype(np.int64), P) == rank


def test_the_command_prints_a_balance_and_json(tmp_path, capsys):
    network = pdm.Network.random((3, 4, 4, 2), rng=0, bias_std=0.2)
    files = [str(tmp_path / "network.npz"), str(tmp_path / "X.npy")]
    pdm.save(network, files[0])
    np.save(files[1], sample(network, 0, 9, integers=False))
    assert main(["explain", *files, "--neurons"]) == 0
    text = capsys.readouterr().out
    figures = [
        int(line.split()[-1].replace(",", ""))
        for line in text.split("\n")[2:12]
        if line[74:].strip()
    ]
    minuses = [figure for figure in figures if figure < 0]
    assert figures[0] == network.parameter_count
    assert network.parameter_count + sum(minuses) == figures[-1]
    assert main(["explain", *files, "--json", "--output", "softmax"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["deficit"] == sum(share["count"] for share in found["shares"])
    assert len(found["neurons"]) == network.hidden_neurons
    assert main(["explain", *files, "--probes", "-1"]) == 2
    assert "--probes must be at least 0, got -1" in capsys.readouterr().err


NETWORK = pdm.Network.random((3, 4, 2))
X = np.ones((2, 3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"probes": -1}, ArgumentError, "probes must be at least 0, got -1"),
        ({"probes": 1.5}, KindError, "probes must be an integer, got 1.5"),
        ({"probes": np.ones((2, 4))}, ShapeError, r"probes must have shape \(M, 3\), got \(2, 4\)"),
        ({"probes": [[np.nan, 0, 0]]}, NonFiniteError, "probes must be finite"),
        ({"output": "logits"}, ArgumentError, "output must be one of affine, softmax"),
        ({"primes": 0}, ArgumentError, "primes must be at least 1"),
        ({"progress": 1}, KindError, "progress must be callable"),
        ({"inputs": np.ones(3)}, ShapeError, r"inputs must have shape \(N, 3\)"),
        ({"network": "net"}, KindError, r"network must be a patterndim.Network, got str"),
    ],
)
def test_bad_arguments_are_refused(options, error, message):
    arguments = {"network": NETWORK, "inputs": X, **options}
    with pytest.raises(error, match=message):
        pdm.explain(arguments.pop("network"), arguments.pop("inputs"), **arguments)
