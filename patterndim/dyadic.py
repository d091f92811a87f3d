"""Floats as what they are: integers times powers of two."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patterndim.typing import FloatArray, IntArray

#: Array of Python integers of any size.
IntegerArray = NDArray[Any]
#: Above the lowest bit of every float64.
NO_BIT = 2000


def lowest_bit(values: FloatArray) -> int:
    """Largest e such that every value is an integer times 2**e; 0 if all are zero."""
    lowest = int(lowest_bits(values[np.newaxis])[0])
    return 0 if lowest == NO_BIT else lowest


def lowest_bits(stack: FloatArray) -> IntArray:
    """`lowest_bit` of each array of a stack; `NO_BIT` if all are zero."""
    fraction, exponent = np.frexp(stack)
    mantissa = (fraction * 2.0**53).astype(np.int64)
    trailing = np.frexp((mantissa & -mantissa).astype(np.float64))[1] - 1
    lowest = np.where(stack == 0, NO_BIT, exponent - 53 + trailing).reshape(len(stack), -1)
    least: IntArray = lowest.min(axis=1, initial=NO_BIT)
    return least


def dyadic(values: FloatArray) -> tuple[IntegerArray, int]:
    """Integers m and one exponent e with values == m * 2**e, exactly."""
    low = lowest_bit(values)
    fraction, exponent = np.frexp(values)
    mantissa = (fraction * 2.0**53).astype(np.int64).astype(object)
    # A negative shift drops only zero bits, by the choice of e.
    shift = np.where(values == 0, 0, exponent - 53 - low).astype(object)
    flat = [m << s if s >= 0 else m >> -s for m, s in zip(mantissa.flat, shift.flat, strict=True)]
    return np.array([*flat, None], dtype=object)[:-1].reshape(values.shape), low


def null_vectors(values: FloatArray, vectors: IntegerArray) -> IntegerArray:
    """
    Basis of the integer combinations w of the rows of ``vectors`` with ``values @ w == 0``.

    Exact: of floats (m, n) and integer vectors (d, n), by elimination without fractions, where
    after each step all pivots are equal and the division by the one before leaves no remainder.
    """
    A = dyadic(values)[0] @ vectors.T
    pivots: list[int] = []
    before = 1
    for column in range(A.shape[1]):
        row = len(pivots)
        below = np.flatnonzero(A[row:, column])
        if below.size:
            A[[row, row + below[0]]] = A[[row + below[0], row]]
            pivot, others = A[row, column], np.arange(len(A)) != row
            taken = np.outer(A[others, column], A[row])
            A[others] = (A[others] * pivot - taken) // before
            pivots.append(column)
            before = pivot
    free = np.setdiff1d(np.arange(A.shape[1]), pivots)
    found = np.zeros((len(free), A.shape[1]), dtype=object)
    found[np.arange(len(free)), free] = before
    found[:, pivots] = -A[: len(pivots), free].T
    basis = found @ vectors
    for w in basis:
        w //= math.gcd(*w)
    return basis
