"""Gram matrices of parameter Jacobians, tile by tile."""

import numpy as np
from numba import njit

from patterndim.typing import FloatArray, IntArray

kernel = njit(cache=True, nogil=True)

# Columns at a time: four rows of the right factor and the sums stay in the nearest cache.
TILE = 256
# Side of the squares that are mirrored at a time.
SQUARE = 64


@kernel
def fill_gram(
    left: FloatArray,
    right: FloatArray,
    scale: FloatArray,
    edges: IntArray,
    chosen: IntArray,
    first: IntArray,
    out: FloatArray,
) -> None:
    """
    Overwrite the rows of ``out`` that belong to chosen inputs x, from about column first[x] on.

    Entry (r, c) is the sum over layers l of scale[l, x, y] * (left[r] . right[:, c]), the inner
    product over edges[l]..edges[l + 1] only, where row r belongs to input x and column c to y;
    ``left`` is (n * a, sum of lengths), ``right`` (sum of lengths, m * b), ``scale`` (layers, n, m)
    and ``out`` (n * a, m * b).
    """
    layers, inputs, others = scale.shape
    columns = right.shape[1]
    rows_each, columns_each = left.shape[0] // inputs, columns // others
    places = np.empty(left.shape[1], np.int64)
    factor = np.empty((layers, TILE))
    workspace = np.empty(TILE)
    for near in range(0, columns, TILE):
        far = min(near + TILE, columns)
        total = workspace[: far - near]
        for x in chosen:
            if far <= first[x]:
                continue
            for layer in range(layers):
                for j in range(total.size):
                    factor[layer, j] = scale[layer, x, (near + j) // columns_each]
            for r in range(x * rows_each, (x + 1) * rows_each):
                row = out[r, near:far]
                row[:] = 0.0
                for layer in range(layers):
                    count = 0  # inactive neurons are zeros of the left factor
                    for k in range(edges[layer], edges[layer + 1]):
                        if left[r, k] != 0.0:
                            places[count] = k
                            count += 1
                    total[:] = 0.0
                    _combine(left[r], right, places[:count], near, far, total)
                    scaled = factor[layer]
                    for j in range(total.size):
                        row[j] += total[j] * scaled[j]


@kernel
def _combine(
    coefficients: FloatArray,
    rows: FloatArray,
    places: IntArray,
    near: int,
    far: int,
    total: FloatArray,
) -> None:
    """Add the combination of the rows at some places, columns near..far, to ``total``."""
    fours = places.size // 4 * 4
    for i in range(0, fours, 4):
        a, b, c, d = places[i], places[i + 1], places[i + 2], places[i + 3]
        p, q, s, t = rows[a, near:far], rows[b, near:far], rows[c, near:far], rows[d, near:far]
        a0, b0, c0, d0 = coefficients[a], coefficients[b], coefficients[c], coefficients[d]
        for j in range(total.size):
            total[j] += (a0 * p[j] + b0 * q[j]) + (c0 * s[j] + d0 * t[j])
    for i in range(fours, places.size):
        a = places[i]
        p, a0 = rows[a, near:far], coefficients[a]
        for j in range(total.size):
            total[j] += a0 * p[j]


@kernel
def mirror(start: int, stop: int, out: FloatArray) -> None:
    """Overwrite what is below the diagonal by what is above, for squares of rows start..stop."""
    size = out.shape[0]
    for top in range(start * SQUARE, min(stop * SQUARE, size), SQUARE):
        for left in range(0, top + 1, SQUARE):
            for i in range(top, min(top + SQUARE, size)):
                for j in range(left, min(left + SQUARE, i)):
                    out[i, j] = out[j, i]
