import numpy as np
import pytest
from hypothesis import given

import patterndim as pdm
from patterndim.errors import ArgumentError, KindError, NonFiniteError, ShapeError
from patterndim.training import gradient, sgd
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


def test_one_step_is_theta_minus_rate_times_gradient():
    network = pdm.Network.random((3, 5, 2), rng=0)
    X, y = sample(network, 0, 8, integers=False), np.arange(8) % 2
    first, last = sgd(network, X, y, steps=1, rate=0.25)
    # The order of a full batch is shuffled, which only changes rounding.
    expected = network.theta - 0.25 * gradient(network, X, y, "cross-entropy")
    np.testing.assert_allclose(last.network.theta, expected, rtol=1e-13, atol=1e-15)
    assert first.network is network
    assert last.loss == pytest.approx(mean_loss(last.network, X, y, "cross-entropy"))
    assert last.accuracy == np.mean(pdm.outputs(last.network, X).argmax(axis=1) == y)


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


def test_every_pass_shows_each_sample_once():
    """With one-hot samples and a linear network, each step moves only the columns it saw."""
    network = pdm.Network.from_layers([np.zeros((1, 6))])
    snapshots = list(sgd(network, np.eye(6), np.ones((6, 1)), steps=3, batch=2, loss="square"))
    changes = np.diff([snapshot.network.theta for snapshot in snapshots], axis=0) != 0
    assert changes.sum(axis=0).tolist() == [1] * 6
    assert snapshots[0].accuracy is None


def test_snapshots_can_be_chosen():
    network = pdm.Network.random((2, 2))
    X, y = np.eye(2), [0, 1]
    assert [s.step for s in sgd(network, X, y, steps=9, every={4, 2, 50})] == [0, 2, 4, 9]
    assert [s.step for s in sgd(network, X, y, steps=0)] == [0]
    assert [s.step for s in sgd(network, X, y, steps=2)] == [0, 1, 2]


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
    ({"rate": 0}, ArgumentError, "rate must be positive, got 0"),
    ({"rate": -1}, ArgumentError, "rate must be at least 0 and finite, got -1"),
    ({"batch": 0}, ArgumentError, "batch must be at least 1, got 0"),
    ({"every": 0}, ArgumentError, "every must be at least 1, got 0"),
    ({"inputs": np.ones((2, 3))}, ShapeError, r"inputs must have shape \(N, 2\)"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_arguments_are_refused_before_the_first_step(change, error, message):
    arguments = {"inputs": X, "targets": [0, 1], "steps": 1, **change}
    with pytest.raises(error, match=message):
        sgd(NETWORK, arguments.pop("inputs"), arguments.pop("targets"), **arguments)


def test_divergence_is_an_error():
    with pytest.raises(NonFiniteError, match="rate must let training converge, got 1e\\+300: over"):
        list(sgd(NETWORK, 100 * X, 100 * X, steps=20, rate=1e300, loss="square", every=20))
    with pytest.raises(NonFiniteError, match="rate must let training converge, got a loss of"):
        list(sgd(NETWORK, 100 * X, 100 * X, steps=20, rate=1e200, loss="square"))
