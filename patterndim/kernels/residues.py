"""
Arithmetic modulo an odd prime p below 2**24 on float64 integers.

Residues r satisfy abs(r) <= p/2 + 8 ("almost reduced"): `_reduce` may miss the nearest multiple of
p when a value lies within rounding of the midpoint, and it maps every multiple of p to 0 exactly.
"""

import numpy as np
from numba import njit

from patterndim.typing import FloatArray, IntArray

kernel = njit(cache=True, nogil=True)

ROUND = 1.5 * 2.0**52  # adding and subtracting it rounds a float64 below 2**51 to an integer
SAFE = 2**51  # integers up to it are reduced as floats, for every odd modulus


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
def float_residues(
    bits: IntArray, modulus: int, inverse: float, powers: FloatArray, out: FloatArray
) -> None:
    """
    Overwrite ``out`` with the residues of finite floats, each a dyadic rational m * 2**e.

    ``bits`` are the floats read as int64: sign, 11 bits of exponent, 52 of mantissa, before
    which stands a 1 unless the exponent is 0.  ``powers[k]`` is the residue of 2**(k - 1075).
    """
    p = float(modulus)
    # 27 bits times a residue, plus 26 bits: below 2**27 * (p/2 + 8) + 2**26 < 2**51.
    shift = _reduce(67108864.0, p, inverse)
    rows, columns = bits.shape
    for row in range(rows):
        for column in range(columns):
            word = bits[row, column]
            exponent = (word >> 52) & 2047
            mantissa = word & 4503599627370495
            if exponent > 0:
                mantissa += 4503599627370496
            else:
                exponent += 1
            residue = _reduce((mantissa >> 26) * shift + (mantissa & 67108863), p, inverse)
            # Two residues: below (p/2 + 8)**2 < 2**47.
            residue = _reduce(residue * powers[exponent], p, inverse)
            out[row, column] = residue if word >= 0 else -residue


@kernel
def integer_residues(values: IntArray, modulus: int, inverse: float, out: FloatArray) -> None:
    """Overwrite ``out`` with the residues of integers of 64 bits."""
    p, half = float(modulus), modulus // 2
    rows, columns = values.shape
    for row in range(rows):
        lowest = highest = 0
        for column in range(columns):
            lowest = min(lowest, values[row, column])
            highest = max(highest, values[row, column])
        if lowest >= -SAFE and highest <= SAFE:
            for column in range(columns):
                out[row, column] = _reduce(float(values[row, column]), p, inverse)
        else:
            for column in range(columns):
                residue = values[row, column] % modulus
                out[row, column] = residue - modulus if residue > half else residue


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
def to_residues(values: FloatArray, modulus: int, out: FloatArray) -> None:
    """
    Overwrite ``out`` (m, n) with the residues of finite floats (m, n), C-contiguous, modulo p.

    Each float is a dyadic rational, so this is exact; the modulus p is an odd prime below 2**24.
    """
    # Residues of 2**(k - 1075): halves from 2**0 = 1 downwards, doubles upwards.
    powers = np.empty(2048)
    residue = 1
    for k in range(1075, -1, -1):
        powers[k] = residue
        residue = residue // 2 if residue % 2 == 0 else (residue + modulus) // 2
    residue = 1
    for k in range(1075, 2048):
        powers[k] = residue
        residue = residue * 2 % modulus
    for k in range(2048):
        if 2 * powers[k] > modulus:
            powers[k] -= modulus
    float_residues(values.view(np.int64), modulus, 1.0 / modulus, powers, out)
