"""Balances against their definition, and what training conserves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.errors import KindError
from patterndim.learning_space import balance
from patterndim.training import gradient, sgd
from tests import oracles
from tests.strategies import networks, sample


def plain_balance(network):
    """c_v, entry by entry."""
    widths, _, connections, biases = oracles.describe(network)
    c = [[0.0] * width for width in widths]
    for source, target, W in connections:
        for i, row in enumerate(W or []):
            for j, w in enumerate(row):
                c[target][i] += w * w
                c[source][j] -= w * w
    for v, b in enumerate(biases):
        for i, value in enumerate(b or []):
            c[v][i] += value * value
    return c[1:-1]


@given(networks())
def test_balances_are_incoming_minus_outgoing_squares(network):
    for one, other in zip(balance(network), plain_balance(network), strict=True):
        assert one.tolist() == other


def free(network):
    """Which hidden neurons have no identity connection."""
    bound = {
        v for c in network.architecture.connections if not c.trainable for v in (c.source, c.target)
    }
    layers = network.architecture.hidden_layers
    return np.concatenate([np.full(network.widths[v], v not in bound) for v in layers])


@pytest.mark.parametrize("decay", [0.0, 0.25])
@given(networks(integers=False), st.sampled_from(["square", "cross-entropy"]))
def test_a_step_changes_balances_by_those_of_the_gradient(decay, network, loss):
    """c(theta - eta (g + lambda theta)) = (1 - eta lambda)^2 c(theta) + eta^2 c(g)."""
    X, rate = sample(network, 0, 5, integers=False), 0.125
    T = np.zeros(5, dtype=int) if loss == "cross-entropy" else np.ones((5, network.widths[-1]))
    first, last = sgd(network, X, T, steps=1, rate=rate, loss=loss, decay=decay, every=9)
    g = network.replace(theta=gradient(network, X, T, loss))
    before, after, change = (
        np.concatenate(balance(net)) for net in (first.network, last.network, g)
    )
    expected = (1 - rate * decay) ** 2 * before + rate**2 * change
    scale = 1.0 + np.abs(before).max() + np.abs(change).max()
    where = free(network)
    np.testing.assert_allclose(after[where], expected[where], atol=1e-13 * scale)


@pytest.mark.compiled
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_gradient_flow_conserves_balances_or_lets_them_decay_exponentially(decay):
    """c(t) = c(0) exp(-2 lambda t), up to an error of the order of the step size."""
    rng = np.random.default_rng(0)
    network = pdm.Network.random((3, 4, 4, 2), rng=rng, init="he", bias_std=0.5)
    X, Y = rng.standard_normal((20, 3)), rng.standard_normal((20, 2))
    start, time = np.concatenate(balance(network)), 1.0
    errors = []
    for rate in (2e-2, 2e-3, 2e-4):
        steps = round(time / rate)
        options = {"rate": rate, "loss": "square", "decay": decay, "every": steps}
        *_, last = sgd(network, X, Y, steps=steps, **options)
        end = np.concatenate(balance(last.network))
        errors.append(np.abs(end - start * np.exp(-2 * decay * time)).max())
    assert errors[0] < 0.1
    assert 5 < errors[0] / errors[1] < 20
    assert 8 < errors[1] / errors[2] < 12.5


def test_only_networks_have_balances():
    with pytest.raises(KindError, match=r"network must be a patterndim\.Network, got list"):
        balance([1.0])
