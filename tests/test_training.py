import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given

import patterndim as pdm
from patterndim.errors import ArgumentError, KindError, NonFiniteError, ShapeError
from patterndim.kernels import propagation
from patterndim.training import backward, gradient, sgd
from tests.strategies import networks, sample


def mean_loss(network, X, T, loss):
    outputs = pdm.outputs(network, X)
    if loss == "square":
        return 0.5 * np.mean(((outputs - T) ** 2).sum(axis=1))
    return np.mean(np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(len(T)), T])


@given(networks(integers=False))
def test_gradients_are_jacobian_transposed_times_derivative_of_the_loss(network):
    X = sample(network, 0, 4, integers=False)
    rng = np.random.default_rng(0)
    J, outputs = pdm.parameter_jacobian(network, X), pdm.outputs(network, X)
    values = rng.standard_normal(outputs.shape)
    expected = J.T @ (outputs - values).ravel() / 4
    np.testing.assert_allclose(gradient(network, X, values, "square"), expected, atol=1e-10)
    labels = rng.integers(0, network.widths[-1], 4)
    q = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    q /= q.sum(axis=1, keepdims=True)
    expected = J.T @ (q - np.eye(network.widths[-1])[labels]).ravel() / 4
    np.testing.assert_allclose(gradient(network, X, labels, "cross-entropy"), expected, atol=1e-10)


@pytest.mark.parametrize("loss", ["square", "cross-entropy"])
def test_gradients_are_finite_differences(loss):
    network = pdm.Network.random((3, 5, 4, 2), rng=0, bias_std=0.5, slope=[0.1, 0.0])
    X = sample(network, 0, 6, integers=False)
    T = np.arange(6) % 2 if loss == "cross-entropy" else X[:, :2]
    step = 1e-6
    for i, expected in enumerate(gradient(network, X, T, loss)):
        shift = step * np.eye(network.parameter_count)[i]
        up, down = (network.replace(theta=network.theta + s * shift) for s in (1, -1))
        slope = (mean_loss(up, X, T, loss) - mean_loss(down, X, T, loss)) / (2 * step)
        assert slope == pytest.approx(expected, abs=1e-7)


def architectures(count):
    """Random networks with skips, identities, leaky slopes and missing biases, and samples."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        widths = [int(n) for n in rng.integers(1, 7, rng.integers(2, 6))]
        last = len(widths) - 1
        edges = [(v - 1, v) for v in range(1, last + 1)]
        edges += [(u, v) for u in range(last) for v in range(u + 2, last + 1) if rng.random() < 0.3]
        connections = [(u, v, rng.standard_normal((widths[v], widths[u]))) for u, v in edges]
        connections += [
            (u, v, "identity") for u, v in edges if widths[u] == widths[v] and rng.random() < 0.3
        ]
        biases = [rng.standard_normal(n) if rng.random() < 0.7 else None for n in widths[1:]]
        slope = rng.choice([0.0, 0.01, 0.3], last - 1).tolist()
        network = pdm.Network.from_graph(widths, connections, biases, slope=slope)
        yield network, rng.standard_normal((5, widths[0])), rng


LAYERS, WIDTH = 5, 6


def padded(network):
    """Weights, biases, identities and slopes as arrays of one size for all architectures."""
    W, b = np.zeros((LAYERS, LAYERS, WIDTH, WIDTH)), np.zeros((LAYERS, WIDTH))
    identities, slopes = np.zeros((LAYERS, LAYERS)), np.zeros(LAYERS)
    for connection, matrix in zip(network.architecture.connections, network.weights, strict=True):
        u, v = connection.source, connection.target
        if matrix is None:
            identities[v, u] = 1.0
        else:
            W[v, u, : matrix.shape[0], : matrix.shape[1]] = matrix
    for v, vector in enumerate(network.biases, start=1):
        if vector is not None:
            b[v, : len(vector)] = vector
        slopes[v] = network.architecture.layers[v].slope
    return W, b, identities, slopes


def unpadded(network, W, b):
    """The entries of padded arrays that are parameters, in their order."""
    theta = np.empty(network.parameter_count)
    architecture, widths = network.architecture, network.widths
    for where, c in zip(architecture.weight_slices, architecture.connections, strict=True):
        if where is not None:
            block = W[c.target, c.source, : widths[c.target], : widths[c.source]]
            theta[where] = block.ravel()
    for v, where in enumerate(architecture.bias_slices):
        if where is not None:
            theta[where] = b[v, : widths[v]]
    return theta


@pytest.mark.compiled
def test_gradients_agree_with_jax_on_200_random_architectures():
    """Padded to one size, so that JAX compiles only once for each loss."""
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    kinds = {"skips": 0, "identities": 0, "leaky": 0, "no bias": 0}

    def outputs(W, b, identities, slopes, X, last):
        h, out = [X], 0.0
        for v in range(1, LAYERS):
            z = b[v] + sum(h[u] @ W[v, u].T + identities[v, u] * h[u] for u in range(v))
            h.append(jnp.where(z > 0, z, slopes[v] * z))
            out = out + jnp.where(last == v, z, 0.0)
        return out

    def square(W, b, fixed, X, last, T):
        return 0.5 * ((outputs(W, b, *fixed, X, last) - T) ** 2).sum() / len(X)

    def cross_entropy(W, b, fixed, X, last, T, width):
        out = jnp.where(jnp.arange(WIDTH) < width, outputs(W, b, *fixed, X, last), -jnp.inf)
        right = jnp.take_along_axis(out, T[:, None], axis=1)[:, 0]
        return (jax.nn.logsumexp(out, axis=1) - right).mean()

    with jax.enable_x64(True):
        by_square, by_entropy = (
            jax.jit(jax.grad(f, argnums=(0, 1))) for f in (square, cross_entropy)
        )
        for network, X, rng in architectures(200):
            connections = network.architecture.connections
            kinds["skips"] += any(c.target - c.source > 1 for c in connections)
            kinds["identities"] += not all(c.trainable for c in connections)
            kinds["leaky"] += any(layer.slope for layer in network.architecture.layers)
            kinds["no bias"] += any(b is None for b in network.biases)
            W, b, *fixed = padded(network)
            last, width = len(network.widths) - 1, network.widths[-1]
            wide = np.zeros((len(X), WIDTH))
            wide[:, : X.shape[1]] = X
            labels, values = rng.integers(0, width, len(X)), np.zeros((len(X), WIDTH))
            values[:, :width] = rng.standard_normal((len(X), width))
            by_jax = {
                "square": by_square(W, b, fixed, wide, last, values),
                "cross-entropy": by_entropy(W, b, fixed, wide, last, labels, width),
            }
            targets = {"square": values[:, :width], "cross-entropy": labels}
            for loss, found in by_jax.items():
                expected = unpadded(network, *(np.asarray(part) for part in found))
                error = np.abs(gradient(network, X, targets[loss], loss) - expected).max()
                assert error <= 1e-10 * np.abs(expected).max()
    assert min(kinds.values()) > 30


def plain_sgd(network, X, T, steps, batch, rates, loss, momentum=0.0, decay=0.0, seed=0):
    """The definition, step by step."""
    rng, theta, velocity, queue = np.random.default_rng(seed), network.theta, 0.0, []
    for step in range(steps):
        if not queue:
            order = rng.permutation(len(X))
            queue = [order[i : i + batch] for i in range(0, len(X), batch)]
        c = queue.pop(0)
        g = gradient(network.replace(theta=theta), X[c], T[c], loss) + decay * theta
        velocity = momentum * velocity + g
        theta = theta - rates[step] * velocity
    return theta


@pytest.mark.parametrize("loss", ["square", "cross-entropy"])
@pytest.mark.parametrize("batch", [3, 5, 8, 20])
def test_steps_are_theta_minus_rate_times_gradient_bit_for_bit(batch, loss):
    """Eleven inputs: the last batch is smaller, except for one batch of all."""
    network = pdm.Network.random((3, 6, 4, 2), rng=1, bias_std=0.5, slope=[0.0, 0.1])
    X = sample(network, 2, 11, integers=False)
    T = X[:, :2] if loss == "square" else np.arange(11) % 2
    *_, last = sgd(network, X, T, steps=9, rate=0.3, batch=batch, loss=loss, rng=5)
    expected = plain_sgd(network, X, T, 9, batch, [0.3] * 9, loss, seed=5)
    assert np.array_equal(last.network.theta, expected)


RATES = [
    (0.1, [0.1] * 12),
    ({0: 0.2, 3: 0.1, 10: 0.0}, [0.2] * 3 + [0.1] * 7 + [0.0] * 2),
    (lambda step: 0.5 / (1 + step), [0.5 / (1 + step) for step in range(12)]),
]


@pytest.mark.parametrize(("rate", "rates"), RATES)
def test_momentum_decay_and_schedules_are_as_defined(rate, rates):
    network = pdm.Network.random((3, 6, 2), rng=1, bias_std=0.5)
    X, y = sample(network, 2, 10, integers=False), np.arange(10) % 2
    options = {"momentum": 0.9, "decay": 0.01}
    *_, last = sgd(network, X, y, epochs=4, rate=rate, batch=4, rng=3, **options)
    expected = plain_sgd(network, X, y, 12, 4, rates, "cross-entropy", seed=3, **options)
    np.testing.assert_allclose(last.network.theta, expected, rtol=1e-14)
    plain = plain_sgd(network, X, y, 12, 4, rates, "cross-entropy", seed=3)
    assert np.abs(plain - expected).max() > 1e-3


@pytest.mark.compiled
def test_momentum_and_decay_are_those_of_torch():
    torch = pytest.importorskip("torch")
    network = pdm.Network.random((4, 8, 3), rng=1, bias_std=0.5)
    X, y = sample(network, 2, 16, integers=False), np.arange(16) % 3
    first, last = torch.nn.Linear(4, 8), torch.nn.Linear(8, 3)
    arrays = [network.weights[0], network.biases[0], network.weights[1], network.biases[1]]
    parameters = [first.weight, first.bias, last.weight, last.bias]
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.data = torch.from_numpy(array.copy())
    options = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}
    optimiser, loss = torch.optim.SGD(parameters, **options), torch.nn.CrossEntropyLoss()
    for _ in range(12):
        optimiser.zero_grad()
        outputs = last(torch.relu(first(torch.from_numpy(X))))
        loss(outputs, torch.from_numpy(y)).backward()
        optimiser.step()
    *_, ours = sgd(network, X, y, steps=12, rate=0.05, momentum=0.9, decay=0.01)
    found = np.concatenate([p.detach().numpy().ravel() for p in parameters])
    np.testing.assert_allclose(ours.network.theta, found, rtol=1e-11, atol=1e-13)


def test_the_first_network_is_that_given_and_what_is_measured_is_of_the_whole_sample():
    network = pdm.Network.random((3, 5, 2), rng=0)
    X, y = sample(network, 0, 8, integers=False), np.arange(8) % 2
    first, last = sgd(network, X, y, steps=1, rate=0.25, batch=3)
    assert first.network is network
    assert last.loss == pytest.approx(mean_loss(last.network, X, y, "cross-entropy"))
    assert last.accuracy == np.mean(pdm.outputs(last.network, X).argmax(axis=1) == y)


def single(network, X, T, loss, rate, steps):
    """Full-batch descent with every number a numpy float32, product by product."""
    f = np.float32
    theta = network.theta.astype(f)
    for _ in range(steps):
        W1, W2 = (w.copy() for w in network.architecture.weights_of(theta))
        b1, b2 = network.architecture.biases_of(theta)[1:]
        g = [np.zeros_like(a) for a in (W1, b1, W2, b2)]
        for x, t in zip(X.astype(f), T, strict=True):
            z = W1 @ x + b1
            out = W2 @ np.maximum(z, f(0)) + b2
            q = np.exp(out - out.max())
            slope = out - t.astype(f) if loss == "square" else q / q.sum() - np.eye(2, dtype=f)[t]
            slope = slope / f(len(X))
            back = (W2.T @ slope) * (z > 0)
            parts = np.outer(back, x), back, np.outer(slope, np.maximum(z, f(0))), slope
            g = [a + b for a, b in zip(g, parts, strict=True)]
        theta = theta - f(rate) * np.concatenate([a.ravel() for a in g])
        assert theta.dtype == f
    return theta


@pytest.mark.parametrize("loss", ["square", "cross-entropy"])
def test_float32_is_computed_in_float32(loss):
    """As far from float64 as a plain float32 descent is, and close to that one."""
    network = pdm.Network.random((3, 6, 2), rng=1, bias_std=0.5)
    X = sample(network, 2, 12, integers=False)
    T = X[:, :2] if loss == "square" else np.arange(12) % 2
    runs = {
        dtype: [s.network.theta for s in sgd(network, X, T, steps=25, loss=loss, dtype=dtype)]
        for dtype in ("float64", "float32")
    }
    for theta in runs["float32"]:
        assert np.array_equal(theta, theta.astype(np.float32))
    double, found = runs["float64"][-1], runs["float32"][-1]
    plain = single(network, X, T, loss, 0.1, 25)
    away = np.abs(plain - double).max()
    assert 1e-8 < away < 1e-5
    assert 0.1 * away < np.abs(found - double).max() < 10 * away
    assert gradient32(network, X, T, loss).dtype == np.float32


def gradient32(network, X, T, loss):
    theta, inputs = network.theta.astype(np.float32), X.astype(np.float32)
    targets = T.astype(np.float32) if loss == "square" else T
    return backward.theta_gradient(network.architecture, theta, inputs, targets, loss)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_products_are_summed_in_order_in_their_precision(dtype):
    rng = np.random.default_rng(0)
    left, right = (
        rng.standard_normal((4, 7)).astype(dtype),
        rng.standard_normal((7, 3)).astype(dtype),
    )
    expected = np.zeros((4, 3), dtype=dtype)
    for k in range(7):
        expected += np.outer(left[:, k], right[k])
    found = backward.product(left, right)
    assert found.dtype == dtype
    assert np.array_equal(found, expected)


def test_training_learns_and_is_reproducible():
    X, y = pdm.data.digits()
    network = pdm.Network.random((64, 12, 10), rng=0, init="glorot")
    runs = [
        list(sgd(network, X[:100], y[:100], steps=60, batch=20, rate=0.5, every=30, rng=3))
        for _ in range(2)
    ]
    assert [snapshot.step for snapshot in runs[0]] == [0, 30, 60]
    assert runs[0][-1].loss < runs[0][0].loss / 3
    assert runs[0][-1].accuracy > 0.8
    for one, two in zip(*runs, strict=True):
        assert np.array_equal(one.network.theta, two.network.theta)
    other = list(sgd(network, X[:100], y[:100], steps=60, batch=20, rate=0.5, every=30, rng=4))
    assert not np.array_equal(other[-1].network.theta, runs[0][-1].network.theta)


@pytest.mark.compiled
@pytest.mark.threads
def test_networks_are_bit_identical_for_any_number_of_threads():
    """Shapes that are shared among threads, and that BLAS would sum in other orders."""
    code = """
import hashlib, numpy as np, patterndim as pdm
rng = np.random.default_rng(0)
X, y = rng.standard_normal((301, 101)), rng.integers(0, 7, 301)
network = pdm.Network.random((101, 83, 61, 7), rng=0)
for dtype in "float64", "float32":
    *_, last = pdm.training.sgd(network, X, y, epochs=2, batch=150, momentum=0.9, dtype=dtype)
    print(hashlib.sha256(last.network.theta.tobytes()).hexdigest(), last.loss)
"""
    found = set()
    for threads in ("1", "2", "4"):
        environment = {**os.environ, "NUMBA_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", code]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.add(run.stdout)
    assert len(found) == 1


@pytest.mark.compiled
def test_kernels_have_one_signature():
    X, y = np.asfortranarray(np.eye(4)[:, :3]), [0, 1, 0, 1]
    network = pdm.Network.random((3, 5, 2), rng=0)
    for dtype in ("float64", "float32"):
        list(sgd(network, X, y, steps=2, dtype=dtype))
    gradient(network, X, np.array(y), "cross-entropy")
    kernels = propagation.accumulate, propagation.accumulate_single
    assert [len(kernel.signatures) for kernel in kernels] == [1, 1]


def test_every_pass_shows_each_sample_once():
    """With one-hot samples and a linear network, each step moves only the columns it saw."""
    network = pdm.Network.from_layers([np.zeros((1, 6))])
    snapshots = list(sgd(network, np.eye(6), np.ones((6, 1)), steps=3, batch=2, loss="square"))
    changes = np.diff([snapshot.network.theta for snapshot in snapshots], axis=0) != 0
    assert changes.sum(axis=0).tolist() == [1] * 6
    assert snapshots[0].accuracy is None


def test_batches_are_slices_of_one_permutation_per_epoch():
    """The same with a batch that does not divide the sample: 7 = 3 + 3 + 1, twice."""
    network = pdm.Network.from_layers([np.zeros((1, 7))])
    options = {"steps": 6, "batch": 3, "loss": "square", "rng": 11}
    snapshots = list(sgd(network, np.eye(7), np.ones((7, 1)), **options))
    changes = np.diff([snapshot.network.theta for snapshot in snapshots], axis=0) != 0
    rng, expected = np.random.default_rng(11), []
    for _ in range(2):
        order = rng.permutation(7)
        expected += [sorted(order[:3]), sorted(order[3:6]), sorted(order[6:])]
    assert [np.flatnonzero(row).tolist() for row in changes] == expected
    assert [snapshot.epoch for snapshot in snapshots] == [0, 0, 0, 1, 1, 1, 2]


def test_snapshots_can_be_chosen():
    network = pdm.Network.random((2, 2))
    X, y = np.eye(2), [0, 1]
    assert [s.step for s in sgd(network, X, y, steps=9, every={4, 2, 50})] == [0, 2, 4, 9]
    assert [s.step for s in sgd(network, X, y, steps=0)] == [0]
    assert [s.step for s in sgd(network, X, y, steps=2)] == [0, 1, 2]
    epochs = sgd(network, np.eye(2), y, epochs=6, batch=1, every=4)
    assert [(s.step, s.epoch) for s in epochs] == [(0, 0), (8, 4), (12, 6)]
    assert [s.step for s in sgd(network, X, y, epochs=5, batch=9, every={3})] == [0, 3, 5]
    for every in (np.array(2), np.int64(2), [2, 0]):
        assert [s.step for s in sgd(network, X, y, steps=3, every=every)] == [0, 2, 3]
    # Nothing is made of all steps at once.
    assert next(sgd(network, X, y, steps=10**15)).step == 0


NETWORK, X = pdm.Network.random((2, 3, 2)), np.eye(2)
BAD = [
    ({"targets": [0]}, ShapeError, r"targets must have shape \(2,\), got \(1,\)"),
    ({"targets": [0, 2]}, ArgumentError, "targets must be labels from 0 to 1, got 0 to 2"),
    ({"targets": [0, -1]}, ArgumentError, "targets must be labels from 0 to 1, got -1 to 0"),
    ({"targets": [0.0, 1.0]}, KindError, "targets must be integer labels, got dtype float64"),
    ({"targets": ["a", "b"]}, KindError, "targets must hold real numbers"),
    ({"targets": [0, 1], "loss": "square"}, ShapeError, r"targets must have shape \(2, 2\)"),
    ({"loss": "hinge"}, ArgumentError, "loss must be one of cross-entropy, square"),
    ({"steps": -1}, ArgumentError, "steps must be at least 0, got -1"),
    ({"steps": None}, ArgumentError, "one of steps and epochs must be given, got None and None"),
    ({"epochs": 2}, ArgumentError, "one of steps and epochs must be given, got 1 and 2"),
    ({"steps": None, "epochs": 0.5}, KindError, "epochs must be an integer, got 0.5"),
    ({"rate": {}}, ArgumentError, r"rate must start at step 0, got steps \[\]"),
    ({"rate": {5: 0.1}}, ArgumentError, r"rate must start at step 0, got steps \[5\]"),
    ({"rate": {0: -1.0}}, ArgumentError, "rate from step 0 must be at least 0 and finite, got -1"),
    ({"rate": {"0": 1.0}}, KindError, "steps of rate must be an integer, got '0'"),
    ({"rate": "0.1"}, KindError, "rate must be a number, got '0.1'"),
    ({"momentum": 1.0}, ArgumentError, "momentum must be at least 0 and below 1, got 1"),
    ({"decay": -0.1}, ArgumentError, "decay must be at least 0 and finite, got -0.1"),
    ({"dtype": "float16"}, ArgumentError, "dtype must be one of float64, float32, got 'float16'"),
    ({"inputs": 1e39 * X, "dtype": "float32"}, NonFiniteError, "inputs must be finite in float32"),
    (
        {"targets": 1e39 * X, "dtype": "float32", "loss": "square"},
        NonFiniteError,
        r"targets must be finite in float32, got 1e\+39",
    ),
    ({"rate": 0}, ArgumentError, "rate must be positive, got 0"),
    ({"rate": -1}, ArgumentError, "rate must be at least 0 and finite, got -1"),
    ({"batch": 0}, ArgumentError, "batch must be at least 1, got 0"),
    ({"every": np.array(0.5)}, KindError, "every must be an integer, got"),
    ({"every": 0}, ArgumentError, "every must be at least 1, got 0"),
    ({"inputs": np.ones((2, 3))}, ShapeError, r"inputs must have shape \(N, 2\)"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_arguments_are_refused_before_the_first_step(change, error, message):
    arguments = {"inputs": X, "targets": [0, 1], "steps": 1, **change}
    with pytest.raises(error, match=message):
        sgd(NETWORK, arguments.pop("inputs"), arguments.pop("targets"), **arguments)


def test_parameters_beyond_float32_are_refused():
    network = NETWORK.replace(theta=1e60 * NETWORK.theta)
    with pytest.raises(NonFiniteError, match=r"theta must be finite in float32, got .*e\+60"):
        sgd(network, X, [0, 1], steps=1, dtype="float32")


def test_a_rate_that_a_function_returns_is_checked():
    with pytest.raises(ArgumentError, match="rate at step 2 must be at least 0 and finite, got -1"):
        list(sgd(NETWORK, X, [0, 1], steps=4, rate=lambda step: 1 - step))


def test_divergence_is_an_error():
    with pytest.raises(NonFiniteError, match=r"rate must let training converge, got 1e\+30: over"):
        list(sgd(NETWORK, X, X, steps=20, rate=1e30, loss="square", every=20, dtype="float32"))
    with pytest.raises(NonFiniteError, match="rate must let training converge, got 1e\\+300: over"):
        list(sgd(NETWORK, 100 * X, 100 * X, steps=20, rate=1e300, loss="square", every=20))
    with pytest.raises(NonFiniteError, match="rate must let training converge, got a loss of"):
        list(sgd(NETWORK, 100 * X, 100 * X, steps=20, rate=1e200, loss="square"))
