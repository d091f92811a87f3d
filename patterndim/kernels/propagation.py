"""Forward propagation with a running rounding-error bound, and real products row by row."""

import math

from numba import njit

from patterndim.typing import AnyArray, BoolArray, FloatArray

kernel = njit(cache=True, nogil=True)

UNIT = 2.0**-53
TINY = 2.0**-1022


def _accumulate(left: AnyArray, right: AnyArray, start: int, stop: int, out: AnyArray) -> None:
    """Add ``left @ right`` to ``out`` in rows start..stop, in one fixed order of summation."""
    inner, columns = right.shape
    for row in range(start, stop):
        for k in range(inner):
            factor = left[row, k]
            if factor != 0.0:
                for column in range(columns):
                    out[row, column] += factor * right[k, column]


#: Two kernels, each with one signature: for float64 and for float32.
accumulate = kernel(_accumulate)
accumulate_single = kernel(_accumulate)


@kernel
def accumulate_bounded(
    h: FloatArray, error: FloatArray, weight: FloatArray, start: int, stop: int, out: FloatArray
) -> None:
    """
    Add ``h @ weight`` to ``out[0]`` with what its error bound needs, in rows start..stop.

    ``out[1]`` receives the sum of absolute products, ``out[2]`` the error that ``h`` brings in;
    ``h`` and ``error`` are (N, n_u), ``weight`` is (n_u, n_v), ``out`` is (3, N, n_v).
    """
    inner, columns = weight.shape
    for row in range(start, stop):
        for k in range(inner):
            factor = h[row, k]
            size = abs(factor)
            inherited = error[row, k]
            if size != 0.0 or inherited != 0.0:
                for column in range(columns):
                    w = weight[k, column]
                    out[0, row, column] += factor * w
                    out[1, row, column] += size * abs(w)
                    out[2, row, column] += inherited * abs(w)


@kernel
def activate(
    sums: FloatArray,
    terms: int,
    slope: float,
    mask: BoolArray,
    h: FloatArray,
    error: FloatArray,
    ratio: FloatArray,
) -> None:
    """
    Overwrite mask, h, its error bound, and the ratio of each abs(z) to its error bound.

    ``sums`` (3, N, n_v) comes from `accumulate_bounded`, each entry a sum of ``terms`` products.
    The sign of z is certain where the ratio is above 1; with slope 1 it does not matter.  Any
    order of summation of n products has an error below n u / (1 - n u) times the sum of their
    absolute values (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), plus n
    times the smallest normal number for underflow.  Doubling n u and adding 16 u covers the
    rounding of the bound itself.
    """
    gamma = (2.0 * terms + 16.0) * UNIT
    rows, columns = mask.shape
    for row in range(rows):
        for column in range(columns):
            z = sums[0, row, column]
            bound = (gamma * sums[1, row, column] + sums[2, row, column]) * (1.0 + gamma)
            bound += (terms + 1.0) * TINY
            size = abs(z)
            certain = size > bound and size < math.inf  # false if either is NaN or infinite
            ratio[row, column] = size / bound if size < math.inf and bound < math.inf else 0.0
            active = z > 0.0 or slope == 1.0
            mask[row, column] = active
            if slope == 1.0:
                ratio[row, column] = math.inf
            if active:
                h[row, column] = z
                error[row, column] = bound
            elif certain and slope == 0.0:
                h[row, column] = 0.0
                error[row, column] = 0.0
            elif slope == 0.0:
                h[row, column] = 0.0
                error[row, column] = bound
            else:
                h[row, column] = slope * z
                # An uncertain z may be positive, where the slope is 1.
                error[row, column] = (slope if certain else 1.0) * bound * (1.0 + gamma)
                error[row, column] += UNIT * slope * size + TINY


@kernel
def fill_jacobian(
    sensitivity: FloatArray, h: FloatArray, start: int, stop: int, first: int, J: FloatArray
) -> None:
    """
    Overwrite one weight block of J, shape (N, k, P), for the inputs start..stop.

    The block starts at parameter ``first``; its entry (i, j) is B[c, x, i] h[x, j], with
    ``sensitivity`` B (k, N, n_v) and ``h`` (N, n_u).
    """
    outputs, _, targets = sensitivity.shape
    sources = h.shape[1]
    for x in range(start, stop):
        for c in range(outputs):
            position = first
            for i in range(targets):
                factor = sensitivity[c, x, i]
                for j in range(sources):
                    J[x, c, position + j] = factor * h[x, j] + 0.0  # no negative zeros
                position += sources


@kernel
def forward(
    h: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    slope: float,
    mask: BoolArray,
    out: FloatArray,
) -> None:
    """
    Overwrite mask and ``out``, both (N, n_v), of a layer: where z > 0, and z there, else slope z.

    z = h W^T + b with h (N, n_u), weight (n_v, n_u), bias (n_v,).  An affine layer has slope 1.0,
    and is active everywhere.
    Signs are those of float64 sums, not certified as in `activation_pattern`.
    """
    rows, columns = out.shape
    for row in range(rows):
        for i in range(columns):
            z = bias[i]
            for j in range(weight.shape[1]):
                z += h[row, j] * weight[i, j]
            active = z > 0.0 or slope == 1.0
            mask[row, i] = active
            out[row, i] = z if active else slope * z


@kernel
def backward(
    sensitivity: FloatArray, weight: FloatArray, mask: BoolArray, slope: float, out: FloatArray
) -> None:
    """
    Overwrite ``out`` (k, N, n_u) by B_u = (B_v W) * gate: masks of layer u, (N, n_u), 1 or slope.

    ``sensitivity`` is B_v (k, N, n_v), ``weight`` (n_v, n_u).  For the input layer, whose values
    pass as they are, take slope 1.0.
    """
    outputs, rows, columns = out.shape
    for c in range(outputs):
        for row in range(rows):
            for j in range(columns):
                out[c, row, j] = 0.0
            for i in range(weight.shape[0]):
                factor = sensitivity[c, row, i]
                if factor != 0.0:
                    for j in range(columns):
                        out[c, row, j] += factor * weight[i, j]
            for j in range(columns):
                if not mask[row, j]:
                    out[c, row, j] *= slope
