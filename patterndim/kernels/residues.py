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
def accumulate_sketch(
    left: FloatArray,
    right: FloatArray,
    start: int,
    stop: int,
    modulus: float,
    inverse: float,
    out: FloatArray,
) -> None:
    """
    Add left[j, c, x] * right[j, x] to out[j, c, x] for j in start..stop, almost reduced.

    With abs(right) <= p + 8 every value is below (p/2 + 8) * (p + 8) + p/2 + 8 < 2**48.
    """
    _, outputs, inputs = out.shape
    for j in range(start, stop):
        for c in range(outputs):
            for x in range(inputs):
                value = out[j, c, x] + left[j, c, x] * right[j, x]
                out[j, c, x] = _reduce(value, modulus, inverse)


@kernel
def compress(
    vectors: FloatArray,
    places: IntArray,
    weights: FloatArray,
    start: int,
    stop: int,
    modulus: float,
    inverse: float,
    out: FloatArray,
) -> None:
    """
    Add weights[t, i] * vectors[j, i] to out[j, places[t, i]] for j in start..stop.

    One product of residues and one residue: below (p/2 + 8)**2 + p/2 + 8 < 2**47.
    """
    copies, length = places.shape
    for j in range(start, stop):
        for t in range(copies):
            for i in range(length):
                place = places[t, i]
                value = out[j, place] + weights[t, i] * vectors[j, i]
                out[j, place] = _reduce(value, modulus, inverse)
