"""Precisions that Jacobians come in, and arithmetic that imitates them."""

from dataclasses import dataclass

import numpy as np

from patterndim.typing import AnyArray, FloatArray


@dataclass(frozen=True)
class Precision:
    """
    Numbers with so many significant bits, below which every operation rounds.

    ``operands`` are the bits that a matrix product sees of its factors, ``results`` those that
    sums are kept in, and ``smallest`` the smallest number of full precision.
    """

    name: str
    operands: int
    results: int
    smallest: float

    @property
    def unit(self) -> float:
        """Largest relative error of rounding."""
        return float(2.0**-self.operands)

    @property
    def eps(self) -> float:
        """Distance from 1 to the next number."""
        return 2.0 * self.unit

    # The arithmetic of `patterndim.factors`.

    def encode(self, values: FloatArray) -> FloatArray:
        """Nearest numbers."""
        return round_to(values, self.results)

    def encode_operands(self, values: FloatArray) -> FloatArray:
        """Nearest numbers as factors of a product have them."""
        return round_to(values, self.operands)

    def product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Matrix product of rounded factors, its sums rounded as well."""
        left, right = round_to(left, self.operands), round_to(right, self.operands)
        if self.results <= 24:
            single = left.astype(np.float32) @ right.astype(np.float32)
            return self.encode(single.astype(np.float64))
        return np.asarray(left @ right)

    def reduce(self, values: FloatArray) -> FloatArray:
        """Round sums and products."""
        return self.encode(values)


#: From the finest to the coarsest.  TF32 is what a GPU makes of float32 products by default.
FLOAT64 = Precision("float64", 53, 53, 2.0**-1022)
FLOAT32 = Precision("float32", 24, 24, 2.0**-126)
TF32 = Precision("TF32", 11, 24, 2.0**-126)
FLOAT16 = Precision("float16", 11, 11, 2.0**-14)
BFLOAT16 = Precision("bfloat16", 8, 8, 2.0**-126)
LEVELS = (FLOAT64, FLOAT32, TF32, BFLOAT16)
NAMED = {level.name: level for level in (*LEVELS, FLOAT16)}


def round_to(values: FloatArray, bits: int) -> FloatArray:
    """Nearest numbers with so many significant bits, in float64."""
    if bits >= 53:
        return values
    if bits == 24:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(values.astype(np.float32).astype(np.float64))
    mantissa, exponent = np.frexp(values)
    result: FloatArray = np.ldexp(np.rint(mantissa * 2.0**bits), exponent - bits)
    return result


def stored(values: AnyArray) -> Precision:
    """Coarsest precision that holds all entries, whatever their type; integers tell nothing."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all() or np.array_equal(np.rint(values), values):
        return FLOAT64
    for level in (BFLOAT16, FLOAT16, FLOAT32):
        if np.array_equal(round_to(values, level.results), values):
            return level
    return FLOAT64
