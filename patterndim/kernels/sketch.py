"""Sketches modulo an odd prime p below 2**24, on float64 residues with abs(r) <= p/2 + 8."""

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
def combine(
    left: FloatArray,
    right: FloatArray,
    modulus: float,
    inverse: float,
    inputs: int,
    out: FloatArray,
) -> None:
    """
    Overwrite out[j, i] by the sum over e of left[e, j, i] * right[e, j, i % inputs].

    ``left`` and ``right`` hold integers up to 2**53 - 2**24 and may be longer.  With both reduced
    every value is below (p/2 + 8)**2 + p/2 + 8 < 2**47.
    """
    count = len(left)
    for j in range(len(out)):
        for e in range(count):
            for x in range(inputs):
                right[e, j, x] = _reduce(right[e, j, x], modulus, inverse)
        for first in range(0, out.shape[1], inputs):
            for x in range(inputs):
                out[j, first + x] = 0.0
            for e in range(count):
                for x in range(inputs):
                    factor = _reduce(left[e, j, first + x], modulus, inverse)
                    value = out[j, first + x] + factor * right[e, j, x]
                    out[j, first + x] = _reduce(value, modulus, inverse)


@kernel
def compress(
    vectors: FloatArray,
    places: IntArray,
    weights: FloatArray,
    modulus: float,
    inverse: float,
    out: FloatArray,
) -> None:
    """
    Add weights[t, i] * vectors[j, i] to out[j, places[t, i]].

    One product of residues and one residue: below (p/2 + 8)**2 + p/2 + 8 < 2**47.
    """
    copies, length = places.shape
    for j in range(len(vectors)):
        for t in range(copies):
            for i in range(length):
                place = places[t, i]
                value = out[j, place] + weights[t, i] * vectors[j, i]
                out[j, place] = _reduce(value, modulus, inverse)


@kernel
def reduce(values: FloatArray, modulus: float, inverse: float) -> None:
    """Reduce integers up to 2**53 - 2**24 in place."""
    rows, columns = values.shape
    for row in range(rows):
        for column in range(columns):
            values[row, column] = _reduce(values[row, column], modulus, inverse)
