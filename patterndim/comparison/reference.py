"""The analytic Jacobian at given masks, behind a given head, and how far rounding moves it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patterndim.arithmetic import Real
from patterndim.factors import Arithmetic, Factors, backpropagate, propagate
from patterndim.jacobian import dense
from patterndim.network import Network
from patterndim.typing import BoolArray, FloatArray

HEADS = ("affine", "softmax", "log-softmax", "sigmoid", "tanh", "relu", "sum", "mean")


@dataclass(frozen=True, eq=False)
class Expected:
    """
    A Jacobian and the size of what was added up in it.

    Attributes
    ----------
    J : array of float64, shape (N, K, P)
        Its entries, K outputs each.
    size : array of float64, shape (N, K, P)
        The same with the absolute values of all parameters, inputs and head: summed in any order
        with k operations of relative error u, an entry is off by at most about k u times this.
    """

    J: FloatArray
    size: FloatArray

    def at(self, samples: int | slice | BoolArray) -> "Expected":
        """Those samples alone."""
        return Expected(self.J[samples], self.size[samples])


def operations(network: Network) -> int:
    """Operations, at most, that one entry passes through: forwards and backwards."""
    architecture = network.architecture
    widths = network.widths
    return sum(widths[c.source] + widths[c.target] + 4 for c in architecture.connections) + 8


def head(name: str, z: FloatArray, *, absolute: bool = False) -> FloatArray:
    """
    Jacobian of what follows the outputs z of shape (N, n_L): shape (K, N, n_L).

    If ``absolute``, its differences are sums: the size of what cancels where a head saturates.
    """
    sign = 1.0 if absolute else -1.0
    inputs, outputs = z.shape
    eye = np.eye(outputs)[:, np.newaxis, :]
    if name in ("sum", "mean"):
        return np.full((1, inputs, outputs), 1.0 if name == "sum" else 1.0 / outputs)
    if name in ("softmax", "log-softmax"):
        q = np.exp(z - z.max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
        logarithmic: FloatArray = eye + sign * q[np.newaxis]
        smooth: FloatArray = q.T[:, :, np.newaxis] * logarithmic
        return logarithmic if name == "log-softmax" else smooth
    slopes = np.ones_like(z)
    if name == "sigmoid":
        with np.errstate(over="ignore"):
            s = 1.0 / (1.0 + np.exp(-z))
        slopes = s if absolute else s * (1.0 - s)
    elif name == "tanh":
        slopes = 1.0 + sign * np.tanh(z) ** 2
    elif name == "relu":
        slopes = (z > 0).astype(np.float64)
    diagonal: FloatArray = eye * slopes[np.newaxis]
    return diagonal


def expected(
    network: Network,
    X: FloatArray,
    gates: Sequence[FloatArray],
    name: str = "affine",
    *,
    forward: Sequence[FloatArray] | None = None,
) -> Expected:
    """Jacobian with given gates (those of the forward pass may differ) behind a head."""
    forward = gates if forward is None else forward
    z = propagate(network.architecture, network.theta, X, forward, Real())[-1]
    theta, positive = np.abs(network.theta), np.abs(X)
    absolute = [np.abs(g) for g in forward]
    bound = propagate(network.architecture, theta, positive, absolute, Real())[-1]
    seed = head(name, z)
    size = np.abs(head(name, z, absolute=True))
    if name in HEADS[1:6]:
        # An error of the outputs moves a smooth head by as much, relatively.
        size *= 1.0 + 4.0 * bound.max(axis=1)[np.newaxis, :, np.newaxis]
    J = jacobian(network, X, gates, forward, seed, Real())
    positive_network = network.replace(theta=theta)
    backward = [np.abs(g) for g in gates]
    return Expected(J, jacobian(positive_network, positive, backward, absolute, size, Real()))


def jacobian(
    network: Network,
    X: FloatArray,
    gates: Sequence[FloatArray],
    forward: Sequence[FloatArray],
    seed: FloatArray,
    arithmetic: Arithmetic,
) -> FloatArray:
    """Jacobian in any arithmetic from the head's, shape (N, K, P)."""
    architecture = network.architecture
    theta, X = arithmetic.encode(network.theta), arithmetic.encode(X)
    activations = propagate(architecture, theta, X, forward, arithmetic)
    start = np.ascontiguousarray(arithmetic.encode(seed))
    sensitivities = backpropagate(architecture, theta, start, gates, arithmetic)
    rows = dense(Factors(architecture, activations, sensitivities))
    return arithmetic.reduce(rows).reshape(len(X), len(seed), -1)
