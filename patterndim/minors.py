"""How large minors of the Jacobians of many networks of one architecture can be."""

import numpy as np

from patterndim.architecture import Architecture
from patterndim.typing import FloatArray, IntArray


def entry_bits(
    architecture: Architecture, thetas: FloatArray, X: FloatArray
) -> tuple[FloatArray, IntArray]:
    """
    Logarithms that bound the entries of J for each of K networks, and exponents, both (K,).

    The entries are at most 2**(the first) and multiples of 2**(the second); `failure` explains
    why.  ``thetas`` is (K, P), ``X`` is (1, N, n_0) or (K, N, n_0).
    """
    weights = [
        None if where is None else thetas[:, where].reshape(len(thetas), architecture.widths[v], -1)
        for where, v in zip(
            architecture.weight_slices, (c.target for c in architecture.connections), strict=True
        )
    ]
    biases = [None if where is None else thetas[:, where] for where in architecture.bias_slices]
    lowest = _lowest(architecture, len(thetas), weights, biases, X)
    return _largest(architecture, len(thetas), weights, biases, X), lowest


def _largest(
    architecture: Architecture,
    count: int,
    weights: list[FloatArray | None],
    biases: list[FloatArray | None],
    X: FloatArray,
) -> FloatArray:
    last = len(architecture.layers) - 1
    h = [np.full(count, -np.inf) if b is None else _log2(np.abs(b).max(axis=1)) for b in biases]
    h[0] = np.broadcast_to(_log2(np.abs(X).max(axis=(1, 2))), (count,))
    B = [np.full(count, -np.inf) for _ in range(last)] + [np.zeros(count)]
    for W, c in zip(weights, architecture.connections, strict=True):
        arrived = h[c.source] + (0.0 if W is None else _log2_total(W, axis=2))
        h[c.target] = np.logaddexp2(h[c.target], arrived)
    for W, c in reversed(list(zip(weights, architecture.connections, strict=True))):
        arrived = B[c.target] + (0.0 if W is None else _log2_total(W, axis=1))
        B[c.source] = np.logaddexp2(B[c.source], arrived)
    entries = [B[c.target] + h[c.source] for c in architecture.connections if c.trainable]
    # One bit for each layer covers the rounding of the logarithms.
    largest: FloatArray = np.maximum(np.max([*entries, *B], axis=0), 0.0) + len(B)
    return largest


def _log2_total(W: FloatArray, axis: int) -> FloatArray:
    """log2 of the largest absolute row or column sum, scaled so that it cannot overflow."""
    size = np.abs(W)
    largest = size.max(axis=(1, 2))
    scaled = size / np.where(largest > 0.0, largest, 1.0)[:, np.newaxis, np.newaxis]
    return _log2(largest) + _log2(scaled.sum(axis=axis).max(axis=1))


def _log2(values: FloatArray) -> FloatArray:
    return np.log2(values, out=np.full(values.shape, -np.inf), where=values > 0.0)


def _lowest(
    architecture: Architecture,
    count: int,
    weights: list[FloatArray | None],
    biases: list[FloatArray | None],
    X: FloatArray,
) -> IntArray:
    last = len(architecture.layers) - 1
    slopes = [_lowest_bits(np.array([layer.slope])) for layer in architecture.layers]
    zero = np.zeros(count, dtype=np.int64)
    into = [zero if W is None else _lowest_bits(W.reshape(count, -1)) for W in weights]
    h = [zero if b is None else _lowest_bits(b) for b in biases]
    h[0] = np.broadcast_to(_lowest_bits(X.reshape(len(X), -1)), (count,))
    B = [zero] * (last + 1)
    for v in range(1, last + 1):
        arrived = [
            h[architecture.connections[e].source] + into[e] for e in architecture.incoming[v]
        ]
        h[v] = np.min([*arrived, h[v]], axis=0) + slopes[v]
    for bits, c in reversed(list(zip(into, architecture.connections, strict=True))):
        B[c.source] = np.minimum(B[c.source], B[c.target] + bits + slopes[c.source])
    entries = [B[c.target] + h[c.source] for c in architecture.connections if c.trainable]
    lowest: IntArray = np.min([*entries, *B], axis=0)
    return lowest


def _lowest_bits(values: FloatArray) -> IntArray:
    """Like `dyadic.lowest_bit`, along the last axis."""
    fraction, exponent = np.frexp(values)
    mantissa = (fraction * 2.0**53).astype(np.int64)
    trailing = np.frexp((mantissa & -mantissa).astype(np.float64))[1] - 1
    none = np.iinfo(np.int64).max
    low = np.where(values != 0.0, (exponent - 53 + trailing).astype(np.int64), none).min(axis=-1)
    lowest: IntArray = np.where(low == none, 0, low)
    return lowest
