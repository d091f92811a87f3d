"""
The factors (B, h) of the parameter Jacobian, in any arithmetic.

With the activation pattern frozen, the row of J for input x and output c is, in the block of a
trainable connection u -> v, the outer product of ``B_v[x][c, :]`` and ``h_u[x]``, and in the
block of the bias of v it is ``B_v[x][c, :]``, where

    z_v = sum over u -> v of W_uv h_u + b_v,     h_v = gate_v * z_v,
    B_L = I,     B_u = (sum over u -> v of B_v W_uv) * gate_u,

and the gate is 1 where a neuron is active and its slope elsewhere (arXiv:2402.08269 for the
polynomial; the recursion is backpropagation with one row per output).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from patterndim.architecture import Architecture
from patterndim.arithmetic import Real
from patterndim.errors import NonFiniteError
from patterndim.heads import Head, seed, softmax_jacobian
from patterndim.network import Network
from patterndim.pattern import activation_pattern, check_inputs
from patterndim.typing import ArrayLike, BoolArray, FloatArray, Output


class Arithmetic(Protocol):
    """What the recursions need of numbers."""

    def encode(self, values: FloatArray) -> FloatArray:
        """Numbers of this arithmetic for given floats."""

    def product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Matrix product."""

    def reduce(self, values: FloatArray) -> FloatArray:
        """Bring sums of a few numbers, or products of two, back to normal form in place."""


@dataclass(frozen=True)
class Factors:
    """
    Everything the parameter Jacobian is made of.

    Attributes
    ----------
    architecture : Architecture
        Layers and connections.
    activations : tuple of array of float64, shapes (N, n_v)
        h_0 = X, ..., h_{L-1} and the outputs z_L.
    sensitivities : tuple of array of float64, shapes (outputs, N, n_v), or None
        B_v for every layer; None for the input unless it was asked for.
    """

    architecture: Architecture
    activations: tuple[FloatArray, ...]
    sensitivities: tuple[FloatArray | None, ...]

    @property
    def outputs(self) -> FloatArray:
        """Outputs of the network, shape (N, n_L)."""
        return self.activations[-1]

    @property
    def count(self) -> int:
        """Number k of rows of C J for each input."""
        return len(self.sensitivity(len(self.activations) - 1))

    def sensitivity(self, v: int) -> FloatArray:
        """B_v, shape (outputs, N, n_v)."""
        value = self.sensitivities[v]
        if value is None:  # only layer 0, and only if it was not asked for
            raise LookupError(f"no sensitivity of layer {v}")
        return value


def gates(architecture: Architecture, masks: Sequence[BoolArray]) -> tuple[FloatArray, ...]:
    """Factor that each hidden neuron applies: 1 if active, else its slope; shapes (N, n_l)."""
    return tuple(
        np.where(mask, 1.0, architecture.layers[layer].slope)
        for layer, mask in zip(architecture.hidden_layers, masks, strict=True)
    )


def propagate(
    architecture: Architecture,
    theta: FloatArray,
    X: FloatArray,
    gate: Sequence[FloatArray],
    arithmetic: Arithmetic,
) -> tuple[FloatArray, ...]:
    """Activations of all layers, shapes (N, n_v); everything given is in the arithmetic."""
    weights, biases = architecture.weights_of(theta), architecture.biases_of(theta)
    activations = [X]
    last = len(architecture.layers) - 1
    for v in range(1, last + 1):
        z = np.zeros((len(X), architecture.widths[v]))
        for e in architecture.incoming[v]:
            h = activations[architecture.connections[e].source]
            W = weights[e]
            z += h if W is None else arithmetic.product(h, W.T)
        if (b := biases[v]) is not None:
            z += b
        z = arithmetic.reduce(z)
        activations.append(z if v == last else arithmetic.reduce(z * gate[v - 1]))
    return tuple(activations)


def backpropagate(
    architecture: Architecture,
    theta: FloatArray,
    start: FloatArray,
    gate: Sequence[FloatArray],
    arithmetic: Arithmetic,
    *,
    to_input: bool = False,
) -> tuple[FloatArray | None, ...]:
    """Sensitivities of all layers, shapes (outputs, N, n_v), from that of the outputs."""
    weights = architecture.weights_of(theta)
    outputs, inputs, _ = start.shape
    last = len(architecture.layers) - 1
    first = 0 if to_input else 1
    found: list[FloatArray | None] = [None] * last + [start]
    for u in range(last - 1, first - 1, -1):
        total = np.zeros((outputs, inputs, architecture.widths[u]))
        for W, connection in zip(weights, architecture.connections, strict=True):
            above = found[connection.target]
            if connection.source == u and above is not None:
                if W is None:
                    total += above
                else:
                    flat = above.reshape(-1, above.shape[2])
                    total += arithmetic.product(flat, W).reshape(total.shape)
        total = arithmetic.reduce(total)
        found[u] = total if u == 0 else arithmetic.reduce(total * gate[u - 1])
    return tuple(found)


def factor(
    architecture: Architecture,
    theta: FloatArray,
    X: FloatArray,
    gate: Sequence[FloatArray],
    arithmetic: Arithmetic,
    C: FloatArray,
    *,
    to_input: bool = False,
) -> Factors:
    """
    Factors of C J: all arguments are floats and are encoded here.

    C has shape (k, n_L), or (N, k, n_L) with one map for each input.
    """
    theta, X = arithmetic.encode(theta), arithmetic.encode(X)
    gate = [arithmetic.encode(values) for values in gate]
    start = seed(arithmetic.encode(C), len(X))
    activations = propagate(architecture, theta, X, gate, arithmetic)
    sensitivities = backpropagate(architecture, theta, start, gate, arithmetic, to_input=to_input)
    return Factors(architecture, activations, sensitivities)


def real_factors(
    network: Network, inputs: ArrayLike, output: Output = "affine", *, to_input: bool = False
) -> Factors:
    """
    Factors in float64 of C J at a sample, with certified masks; errors as `checked`.

    Behind a softmax C is its Jacobian, not the differences that have the same rank.
    """
    X = check_inputs(network, inputs)
    head = Head.of(output, network.widths[-1], len(X))
    gate = gates(network.architecture, activation_pattern(network, X).masks)
    C = head.C
    if head.name == "softmax":
        with np.errstate(over="ignore", invalid="ignore"):
            z = propagate(network.architecture, network.theta, X, gate, Real())[-1]
            C = softmax_jacobian(z)
    return checked(network, X, gate, C, to_input=to_input)


def checked(
    network: Network,
    X: FloatArray,
    gate: Sequence[FloatArray],
    C: FloatArray,
    *,
    to_input: bool = False,
) -> Factors:
    """
    Factors in float64 of C J.

    Raises
    ------
    NonFiniteError
        If activations, sensitivities or their products overflow float64.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        factors = factor(network.architecture, network.theta, X, gate, Real(), C, to_input=to_input)
        largest = max(_largest(h) for h in factors.activations)
        largest *= max(_largest(B) for B in factors.sensitivities if B is not None)
    if not np.isfinite(largest):
        raise NonFiniteError("inputs must not make the network overflow float64, got an overflow")
    return factors


def _largest(values: FloatArray) -> float:
    return max(1.0, float(np.abs(values).max())) if np.isfinite(values).all() else float("inf")


def outputs(network: Network, inputs: ArrayLike) -> FloatArray:
    """
    Outputs of a network, shape (N, n_L).

    Examples
    --------
    >>> network = Network.from_layers([[[1.0]], [[2.0]]], [[1.0], [0.5]])
    >>> outputs(network, [[1.0], [-3.0]])
    array([[4.5],
           [0.5]])
    """
    return real_factors(network, inputs).outputs
