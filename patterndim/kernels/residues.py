"""
Arithmetic modulo an odd prime p below 2**24 on float64 integers, and elimination of rows.

Residues r satisfy abs(r) <= p/2 + 8 ("almost reduced"): `_reduce` may miss the nearest multiple of
p when a value lies within rounding of the midpoint, and it maps every multiple of p to 0 exactly.
"""

import math

from numba import njit

from patterndim.typing import FloatArray, IntArray

kernel = njit(cache=True, nogil=True)

ROUND = 1.5 * 2.0**52  # adding and subtracting it rounds a float64 below 2**51 to an integer


@njit(cache=True, nogil=True, inline="always")
def _reduce(value: float, modulus: float, inverse: float) -> float:
    """
    Almost reduced residue of an integer with abs(value) <= 2**53 - 2**24 and < 2**50 * p.

    The second condition lets ROUND work; value * inverse is off by at most 2**-51 of itself, so
    the quotient is off by less than 1/2 + 2**53 / p * 2**-51 = 1/2 + 4/p, the result by 4, and
    quotient * p is an integer below 2**53: the difference is exact.
    """
    return value - ((value * inverse + ROUND) - ROUND) * modulus


@kernel
def float_residues(values: FloatArray, modulus: int, powers: IntArray, out: FloatArray) -> None:
    """
    Overwrite ``out`` with the residues of finite floats, each a dyadic rational m * 2**e.

    ``powers[k]`` is 2**(k - 1200) modulo p.  Both factors are below 2**24: no overflow of int64.
    """
    half = modulus // 2
    for i in range(values.size):
        fraction, exponent = math.frexp(values[i])
        mantissa = int(fraction * 9007199254740992.0)  # 2**53: an exact integer
        residue = (mantissa % modulus) * powers[exponent - 53 + 1200] % modulus
        if residue > half:
            residue -= modulus
        out[i] = residue


@kernel
def reduce_rows(values: FloatArray, start: int, stop: int, modulus: float, inverse: float) -> None:
    """Reduce rows start..stop in place; entries are integers with abs <= 2**53 - 2**24."""
    columns = values.shape[1]
    for row in range(start, stop):
        for column in range(columns):
            values[row, column] = _reduce(values[row, column], modulus, inverse)


@kernel
def subtract_rows(
    product: FloatArray,
    start: int,
    stop: int,
    modulus: float,
    inverse: float,
    first_row: int,
    first_column: int,
    target: FloatArray,
) -> None:
    """
    Subtract rows start..stop of a product from part of ``target``, almost reduced.

    abs(target - product) <= 2**53 - 2**24: the caller bounds its inner length so.
    """
    columns = product.shape[1]
    for row in range(start, stop):
        for column in range(columns):
            value = target[first_row + row, first_column + column] - product[row, column]
            target[first_row + row, first_column + column] = _reduce(value, modulus, inverse)


@kernel
def _inverse(value: int, modulus: int) -> int:
    """Inverse modulo a prime, at most p/2 in absolute value, by the Euclidean algorithm."""
    previous, current = modulus, value % modulus
    a, b = 0, 1
    while current > 1:
        quotient = previous // current
        previous, current = current, previous - quotient * current
        a, b = b, a - quotient * b
    return b


@kernel
def swap_columns(A: FloatArray, start: int, stop: int, first: int, swaps: IntArray) -> None:
    """Exchange columns first + i and swaps[i], i = 0, 1, ..., in rows start..stop."""
    for row in range(start, stop):
        for i in range(swaps.size):
            A[row, first + i], A[row, swaps[i]] = A[row, swaps[i]], A[row, first + i]


@kernel
def eliminate(
    A: FloatArray,
    rows: IntArray,
    first: int,
    modulus: float,
    inverse: float,
    labels: IntArray,
    swaps: IntArray,
) -> int:
    """
    Bring a few rows to reduced echelon form in place and return their rank k.

    ``rows`` = (start, stop, panel start, panel stop).  The columns before ``first`` are ignored.
    Afterwards A[start : start + k, first : first + k] is the identity and the other rows of the
    block are zero.  Column exchanges reach all rows of the panel and are recorded in
    swaps[0 : k]; ``labels`` moves with the rows.
    """
    start, stop, panel_start, panel_stop = rows
    columns = A.shape[1]
    found = 0
    for row in range(start, stop):
        pivot = first + found
        column = pivot
        while column < columns and A[row, column] == 0.0:
            column += 1
        if column == columns:
            continue
        swaps[found] = column
        if column != pivot:
            for r in range(panel_start, panel_stop):
                A[r, pivot], A[r, column] = A[r, column], A[r, pivot]
        target = start + found
        scale = float(_inverse(int(A[row, pivot]), int(modulus)))
        # Almost reduced residues: below (p/2 + 8)**2 < 2**47.
        for c in range(pivot, columns):
            A[target, c] = _reduce(A[row, c] * scale, modulus, inverse)
        A[target, pivot] = 1.0
        if row != target:
            for c in range(first, columns):
                A[row, c] = 0.0
            labels[target], labels[row] = labels[row], labels[target]
        for r in range(start, stop):
            factor = A[r, pivot]
            if r != target and factor != 0.0:
                # One product and one residue: below (p/2 + 8)**2 + p/2 + 8 < 2**47.
                for c in range(pivot, columns):
                    A[r, c] = _reduce(A[r, c] - factor * A[target, c], modulus, inverse)
        found += 1
    return found
