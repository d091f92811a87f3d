"""Floats as what they are: integers times powers of two."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from patterndim.typing import FloatArray

#: Array of Python integers of any size.
IntegerArray = NDArray[Any]


def lowest_bit(values: FloatArray) -> int:
    """Largest e such that every value is an integer times 2**e; 0 if all are zero."""
    nonzero = values[values != 0]
    if nonzero.size == 0:
        return 0
    fraction, exponent = np.frexp(nonzero)
    mantissa = (fraction * 2.0**53).astype(np.int64)
    trailing = np.frexp((mantissa & -mantissa).astype(np.float64))[1] - 1
    return int((exponent - 53 + trailing).min())


def dyadic(values: FloatArray) -> tuple[IntegerArray, int]:
    """Integers m and one exponent e with values == m * 2**e, exactly."""
    low = lowest_bit(values)
    fraction, exponent = np.frexp(values)
    mantissa = (fraction * 2.0**53).astype(np.int64).astype(object)
    # A negative shift drops only zero bits, by the choice of e.
    shift = np.where(values == 0, 0, exponent - 53 - low).astype(object)
    flat = [m << s if s >= 0 else m >> -s for m, s in zip(mantissa.flat, shift.flat, strict=True)]
    return np.array([*flat, None], dtype=object)[:-1].reshape(values.shape), low
