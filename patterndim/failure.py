"""Bounds on the chance that a modular rank of a frozen Jacobian is below the true one."""

import numpy as np

from patterndim.architecture import Architecture
from patterndim.arithmetic import MODULUS_RANGE, Real, prime_failure
from patterndim.dyadic import lowest_bit
from patterndim.factors import factor
from patterndim.frozen import FrozenJacobian
from patterndim.typing import FloatArray


def failure(
    frozen: FrozenJacobian, theta: FloatArray | None, rank: int, columns: int, spare: int
) -> float:
    """
    Bound on the chance that one prime and sketch find ``rank`` although the rank is higher.

    Either the prime divides a nonzero minor of size rank + 1; or random parameters (``theta``
    None) are a zero of it, a polynomial of degree (rank + 1) (depth - 1) (Schwartz-Zippel); or
    ``spare`` of the columns added nothing, each with probability at most 2 / p, at one of fewer
    than 64 stages; or as many random rows added nothing to compressed ones, each with
    probability at most 1 / p.
    """
    least, size = MODULUS_RANGE[0], rank + 1
    if theta is None:
        chance = size * (_depth(frozen.architecture) - 1) / least
        ones = np.ones(frozen.architecture.parameter_count)
        chance += prime_failure(size * _bits(frozen, ones))
    else:
        chance = prime_failure(size * _bits(frozen, theta))
    chance += 64.0 * (2.0 * columns / least) ** spare + 64.0 * (1.0 / least) ** spare
    return min(1.0, chance)


def _bits(frozen: FrozenJacobian, theta: FloatArray) -> float:
    """
    Bits per row of a minor of C J, as an integer times a power of two.

    A minor is at most the product of the absolute sums of its rows, which only grow when
    parameters and inputs are replaced by their absolute values.
    """
    architecture, X = frozen.architecture, np.abs(frozen.X)
    with np.errstate(over="ignore", invalid="ignore"):
        factors = factor(architecture, np.abs(theta), X, frozen.gate, Real(), np.abs(frozen.C))
        sums = np.zeros((len(frozen.C), len(X)))
        for v, layer in enumerate(architecture.layers[1:], start=1):
            carried = np.full(len(X), float(layer.bias))
            for e in architecture.incoming[v]:
                if (connection := architecture.connections[e]).trainable:
                    carried += factors.activations[connection.source].sum(axis=1)
            sums += factors.sensitivity(v).sum(axis=2) * carried
        # One bit covers the rounding of the sums; the largest of NaNs is NaN, and fails.
        largest = float(np.log2(np.maximum(sums, 1.0)).max()) + 1.0
    return largest - _lowest_entry(architecture, theta, X)


def _depth(architecture: Architecture) -> int:
    """Largest number of trainable matrices on a path from input to output."""
    depth = [0] * len(architecture.layers)
    for connection in architecture.connections:
        longer = depth[connection.source] + connection.trainable
        depth[connection.target] = max(depth[connection.target], longer)
    return depth[-1]


def _lowest_entry(architecture: Architecture, theta: FloatArray, X: FloatArray) -> int:
    """Exponent e such that every entry of J is an integer times 2**e."""
    weights = [0 if W is None else lowest_bit(W) for W in architecture.weights_of(theta)]
    biases = [0 if b is None else lowest_bit(b) for b in architecture.biases_of(theta)]
    slopes = [lowest_bit(np.array([layer.slope])) for layer in architecture.layers]
    h = [lowest_bit(X)] + [0] * (len(slopes) - 1)
    B = [0] * len(slopes)
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
