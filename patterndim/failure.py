"""Bounds on the chance that a modular rank of a frozen Jacobian is below the true one."""

import numpy as np

from patterndim.architecture import Architecture
from patterndim.arithmetic import MODULUS_RANGE, prime_failure
from patterndim.dyadic import lowest_bit
from patterndim.frozen import FrozenJacobian
from patterndim.typing import FloatArray

#: Inputs that are looked at at a time.
CHUNK = 1024


def failure(
    frozen: FrozenJacobian, theta: FloatArray | None, rank: int, columns: int, spare: int
) -> float:
    """
    Bound on the chance that one prime and sketch find ``rank`` although the rank is higher.

    Either the prime divides a nonzero minor of size rank + 1; or random parameters (``theta``
    None) are a zero of it, a polynomial of degree (rank + 1) times that of an entry of J
    (Schwartz-Zippel); or some ``spare`` of the columns added nothing, each with probability at
    most 2 / p; or as many random rows added nothing to compressed ones, each with probability
    at most 1 / p, in one of fewer than 64 compressions.
    """
    least, size = MODULUS_RANGE[0], rank + 1
    chance = 0.0
    if theta is None:
        chance = size * _degree(frozen.architecture) / least
        # The coefficients of a minor are bounded by its value at ones, absolute values inside.
        theta = np.ones(frozen.architecture.parameter_count)
    lowest = _lowest_entry(frozen.architecture, theta, frozen.X, frozen.head.C)
    largest = _largest_entry(frozen.architecture, theta, frozen.X, frozen.head.C)
    chance += prime_failure(size * (largest + np.log2(size) - lowest))
    chance += (2.0 * columns / least) ** spare + 64.0 * (1.0 / least) ** spare
    return float(min(1.0, chance))


def _degree(architecture: Architecture) -> int:
    """Bound on the degree of the entries of J as polynomials in theta."""
    h = [0] * len(architecture.layers)
    B = [0] * len(architecture.layers)
    for c in architecture.connections:
        bias = int(architecture.layers[c.target].bias)
        h[c.target] = max(h[c.target], h[c.source] + c.trainable, bias)
    for c in reversed(architecture.connections):
        B[c.source] = max(B[c.source], B[c.target] + c.trainable)
    entries = [B[c.target] + h[c.source] for c in architecture.connections if c.trainable]
    return max([*entries, *B])


def _largest_entry(
    architecture: Architecture, theta: FloatArray, X: FloatArray, C: FloatArray
) -> float:
    """
    Bound on log2 of the absolute values of the entries of C J (and of its coefficients at ones).

    In logarithms nothing overflows or underflows.  A layer is at most the largest absolute row
    sum of a matrix times the largest entry before it, summed over what arrives; backwards it is
    the largest column sum, from the largest entry of C on.  Slopes are at most 1.
    """
    weights, biases = architecture.weights_of(theta), architecture.biases_of(theta)
    h = [_log2(max(X.max(), -X.min()))] + [-np.inf] * (len(architecture.layers) - 1)
    B = [-np.inf] * (len(architecture.layers) - 1) + [_log2(np.abs(C).max(initial=0.0))]
    for v in range(1, len(architecture.layers)):
        if (b := biases[v]) is not None:
            h[v] = _log2(np.abs(b).max())
        for e in architecture.incoming[v]:
            W = weights[e]
            grown = 0.0 if W is None else _log2_total(W, axis=1)
            h[v] = float(np.logaddexp2(h[v], h[architecture.connections[e].source] + grown))
    for W, c in reversed(list(zip(weights, architecture.connections, strict=True))):
        grown = 0.0 if W is None else _log2_total(W, axis=0)
        B[c.source] = float(np.logaddexp2(B[c.source], B[c.target] + grown))
    entries = [B[c.target] + h[c.source] for c in architecture.connections if c.trainable]
    # One bit for each layer covers the rounding of the logarithms.
    return max([0.0, *entries, *B]) + len(architecture.layers)


def _log2_total(W: FloatArray, axis: int) -> float:
    """log2 of the largest absolute row or column sum; scaled, so that it cannot overflow."""
    largest = np.abs(W).max()
    if largest == 0.0:
        return -np.inf
    return _log2(largest) + _log2((np.abs(W) / largest).sum(axis=axis).max())


def _log2(value: float) -> float:
    return float(np.log2(value)) if value > 0.0 else -np.inf


def _lowest_entry(
    architecture: Architecture, theta: FloatArray, X: FloatArray, C: FloatArray
) -> int:
    """Exponent e such that every entry of C J is an integer times 2**e."""
    weights = [0 if W is None else lowest_bit(W) for W in architecture.weights_of(theta)]
    biases = [0 if b is None else lowest_bit(b) for b in architecture.biases_of(theta)]
    slopes = [lowest_bit(np.array([layer.slope])) for layer in architecture.layers]
    h = [_lowest_bit_of_rows(X)] + [0] * (len(slopes) - 1)
    B = [0] * (len(slopes) - 1) + [_lowest_bit_of_rows(C)]
    for v in range(1, len(slopes)):
        into = [
            h[architecture.connections[e].source] + weights[e] for e in architecture.incoming[v]
        ]
        h[v] = min([*into, biases[v]]) + slopes[v]
    for connection, weight in reversed(list(zip(architecture.connections, weights, strict=True))):
        u, v = connection.source, connection.target
        B[u] = min(B[u], B[v] + weight + slopes[u])
    entries = [B[c.target] + h[c.source] for c in architecture.connections if c.trainable]
    return min([*entries, *B])


def _lowest_bit_of_rows(X: FloatArray) -> int:
    """`lowest_bit` in little memory."""
    parts = (X[i : i + CHUNK] for i in range(0, len(X), CHUNK))
    return min((lowest_bit(part) for part in parts if part.any()), default=0)
