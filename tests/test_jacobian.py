from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

import patterndim as pdm
from patterndim.errors import ArgumentError, MemoryLimitError, NonFiniteError
from tests import oracles
from tests.strategies import networks, sample

DEEP = pdm.Network.random((6, 7, 5, 4, 3), rng=0, init="torch", slope=[0.0, 0.1, 0.0])


def relative_error(given, expected):
    return np.abs(given - expected).max() / max(np.abs(expected).max(), 1e-300)


@given(networks(max_hidden=2))
def test_jacobian_of_integer_networks_equals_the_chain_rule_and_the_fractions(network):
    X = sample(network, 0, 2)
    J = pdm.parameter_jacobian(network, X)
    assert J.tolist() == oracles.jacobian(network, X)
    exact = [[float(a) for a in row] for row in oracles.jacobian(network, X, Fraction)]
    assert J.tolist() == exact


@given(networks(integers=False))
def test_jacobian_of_gaussian_networks_equals_the_chain_rule(network):
    X = sample(network, 0, 2, integers=False)
    assert relative_error(pdm.parameter_jacobian(network, X), oracles.jacobian(network, X)) < 1e-13


@settings(max_examples=25)
@given(networks(integers=False))
def test_every_entry_equals_jax_autodiff_in_float64(network):
    """Every entry within 1e-12, relative to the row's largest where sums cancel."""
    jax = pytest.importorskip("jax")
    X = sample(network, 3, 3, integers=False)
    architecture = network.architecture

    def run(theta):
        weights, biases = architecture.weights_of(theta), architecture.biases_of(theta)
        h = [jax.numpy.asarray(X)]
        for v in range(1, len(architecture.layers)):
            z = 0.0 if biases[v] is None else biases[v]
            for e in architecture.incoming[v]:
                source = h[architecture.connections[e].source]
                z = z + (source if weights[e] is None else source @ weights[e].T)
            slope = architecture.layers[v].slope
            last = v == len(architecture.layers) - 1
            h.append(z if last else jax.numpy.where(z > 0, z, slope * z))
        return h[-1].reshape(-1)

    with jax.enable_x64(True):
        expected = np.asarray(jax.jacrev(run)(jax.numpy.asarray(network.theta)))
    J = pdm.parameter_jacobian(network, X)
    assert expected.dtype == np.float64
    scale = np.abs(expected).max(axis=1, keepdims=True)
    assert (np.abs(J - expected) <= 1e-12 * np.maximum(np.abs(expected), scale)).all()


@given(networks(integers=False, skips=False, biases=True))
def test_last_layer_block_is_linear(network):
    X = sample(network, 1, 3, integers=False)
    J = pdm.parameter_jacobian(network, X)
    last = network.widths[-1] * (network.widths[-2] + 1)
    assert (
        relative_error(J[:, -last:] @ network.theta[-last:], pdm.outputs(network, X).ravel())
        < 1e-12
    )


@given(networks(integers=False))
def test_operator_has_the_products_of_the_matrix(network):
    X = sample(network, 1, 3, integers=False)
    J, operator = pdm.parameter_jacobian(network, X), pdm.jacobian_operator(network, X)
    rng = np.random.default_rng(0)
    V, U = rng.standard_normal((J.shape[1], 3)), rng.standard_normal((J.shape[0], 2))
    assert operator.shape == J.shape
    np.testing.assert_allclose(operator @ V, J @ V, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(operator @ V[:, 0], J @ V[:, 0], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(operator.T @ U, J.T @ U, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(operator.H @ U[:, 0], J.T @ U[:, 0], rtol=1e-11, atol=1e-11)
    assert (operator @ V[:, :0]).shape == (J.shape[0], 0)
    assert (operator.T @ U[:, :0]).shape == (J.shape[1], 0)


def test_operator_multiplies_many_vectors_a_few_at_a_time(monkeypatch):
    X = sample(DEEP, 0, 5, integers=False)
    monkeypatch.setattr("patterndim.products.BETWEEN", 5 * 7 * 4)
    J, operator = pdm.parameter_jacobian(DEEP, X), pdm.jacobian_operator(DEEP, X)
    rng = np.random.default_rng(0)
    V, U = rng.integers(-3, 4, (J.shape[1], 9)), rng.standard_normal((9, J.shape[0])).T
    np.testing.assert_allclose(operator @ V, J @ V, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(operator.T @ U, J.T @ U, rtol=1e-12, atol=1e-12)


@given(networks(integers=False))
def test_gram_matrix_is_that_of_the_jacobian(network):
    X, Y = sample(network, 1, 3, integers=False), sample(network, 2, 2, integers=False)
    J, L = pdm.parameter_jacobian(network, X), pdm.parameter_jacobian(network, Y)
    outputs = network.widths[-1]
    np.testing.assert_allclose(pdm.ntk(network, X), J @ J.T, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(pdm.ntk(network, X, Y), J @ L.T, rtol=1e-11, atol=1e-11)
    blocks = (J @ L.T).reshape(3, outputs, 2, outputs)
    trace = np.einsum("xcyc->xy", blocks)
    np.testing.assert_allclose(
        pdm.ntk(network, X, Y, outputs="trace"), trace, rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("outputs", ["full", "trace"])
def test_gram_matrix_across_its_tiles_is_symmetric_and_the_same_for_any_threads(
    outputs, monkeypatch
):
    """More columns than a tile, more inputs than a block; sums are in one fixed order."""
    network = pdm.Network.random((5, 6, 4, 3), rng=0, init="torch")
    X = sample(network, 0, 300 if outputs == "trace" else 140, integers=False)
    J = pdm.parameter_jacobian(network, X)
    expected = J @ J.T
    if outputs == "trace":
        expected = np.einsum("xcyc->xy", expected.reshape(300, 3, 300, 3))
    K = pdm.ntk(network, X, outputs=outputs)
    assert relative_error(K, expected) < 1e-13
    assert np.array_equal(K, K.T)
    assert (
        relative_error(
            pdm.ntk(network, X, X[:7], outputs=outputs), K[:, : 7 * K.shape[0] // len(X)]
        )
        < 1e-13
    )
    monkeypatch.setattr("patterndim.parallel.thread_count", lambda: 1)
    monkeypatch.setattr("patterndim.parallel.WORTH_A_THREAD", 1)
    one = pdm.ntk(network, X, outputs=outputs)
    monkeypatch.setattr("patterndim.parallel.thread_count", lambda: 4)
    assert np.array_equal(pdm.ntk(network, X, outputs=outputs), one)


@given(networks(integers=False))
def test_input_jacobian_is_the_affine_map_around_each_input(network):
    X = sample(network, 1, 3, integers=False)
    linear = pdm.input_jacobian(network, X)
    assert linear.shape == (3, network.widths[-1], network.widths[0])
    step = 1e-9 * sample(network, 2, 3, integers=False)
    if pdm.activation_pattern(network, X).margin > 1e8:
        change = pdm.outputs(network, X + step) - pdm.outputs(network, X)
        np.testing.assert_allclose(
            change, np.einsum("xci,xi->xc", linear, step), atol=1e-13, rtol=1e-4
        )


def test_input_jacobian_is_the_masked_weight_product():
    X = sample(DEEP, 0, 5, integers=False)
    masks = pdm.activation_pattern(DEEP, X).masks
    for x, linear in enumerate(pdm.input_jacobian(DEEP, X)):
        product = DEEP.weights[0]
        for layer, W in enumerate(DEEP.weights[1:]):
            slope = DEEP.architecture.layers[layer + 1].slope
            product = W @ np.diag(np.where(masks[layer][x], 1.0, slope)) @ product
        np.testing.assert_allclose(linear, product, rtol=1e-12, atol=1e-14)


def test_rescaling_tangents_are_in_the_kernel():
    X = sample(DEEP, 0, 20, integers=False)
    J = pdm.parameter_jacobian(DEEP, X)
    zeros = [
        np.zeros_like(array)
        for pair in zip(DEEP.weights, DEEP.biases, strict=True)
        for array in pair
    ]
    for layer in range(3):
        for neuron in range(DEEP.widths[layer + 1]):
            tangent = [array.copy() for array in zeros]
            tangent[2 * layer][neuron] = DEEP.weights[layer][neuron]
            tangent[2 * layer + 1][neuron] = DEEP.biases[layer][neuron]
            tangent[2 * layer + 2][:, neuron] = -DEEP.weights[layer + 1][:, neuron]
            direction = np.concatenate([array.ravel() for array in tangent])
            assert np.abs(J @ direction).max() < 1e-12


def test_permuting_hidden_neurons_permutes_columns():
    X = sample(DEEP, 0, 20, integers=False)
    order = np.random.default_rng(0).permutation(7)
    index = np.arange(DEEP.parameter_count)
    W, b = DEEP.architecture.weights_of(index), DEEP.architecture.biases_of(index)[1:]
    weights = [W[0][order], W[1][:, order], *W[2:]]
    biases = [b[0][order], *b[1:]]
    moved = np.concatenate([a.ravel() for pair in zip(weights, biases, strict=True) for a in pair])
    permuted = DEEP.replace(theta=DEEP.theta[moved])
    J = pdm.parameter_jacobian(DEEP, X)
    np.testing.assert_allclose(
        pdm.parameter_jacobian(permuted, X), J[:, moved], rtol=1e-12, atol=1e-14
    )


def test_overflow_is_refused_by_what_needs_floats():
    network = pdm.Network.from_layers([[[1e200]], [[1e200]]])
    for function in (pdm.outputs, pdm.parameter_jacobian, pdm.ntk, pdm.input_jacobian):
        with pytest.raises(NonFiniteError, match="must not make the network overflow"):
            function(network, [[1.0]])
    with pytest.raises(NonFiniteError, match="must not make the network overflow"):
        pdm.local_dimension(network, [[1.0]], method="numerical")
    assert pdm.local_dimension(network, [[1.0]]).value == 1


def test_options_are_checked():
    with pytest.raises(ArgumentError, match="outputs must be one of full, trace, got 'sum'"):
        pdm.ntk(DEEP, np.ones((2, 6)), outputs="sum")
    with pytest.raises(
        MemoryLimitError, match=r"memory must be at least \d+ bytes for this J, got 1000"
    ):
        pdm.parameter_jacobian(DEEP, np.ones((2, 6)), memory="1KB")
    with pytest.raises(MemoryError):
        pdm.parameter_jacobian(DEEP, np.ones((2, 6)), memory=10)
    for memory in ("much", "1..2GB", "GB", -1, 0, 1.5, True):
        with pytest.raises(ArgumentError, match="memory must be a positive number of bytes"):
            pdm.parameter_jacobian(DEEP, np.ones((2, 6)), memory=memory)
    assert pdm.parameter_jacobian(DEEP, np.ones((2, 6)), memory="1.5 GiB").shape == (6, 128)
