"""Faults of the whole: scaled, of another sign, without signs."""

import numpy as np

from patterndim.comparison.case import Case, Explanation, Fault
from patterndim.comparison.columns import proportion, scaled
from patterndim.comparison.precision import Precision
from patterndim.comparison.reference import Expected


def scales(case: Case, level: Precision) -> Explanation | None:
    """The whole Jacobian times a constant, or its absolute values."""
    exact = case.reference
    if case.given.shape != exact.J.shape:
        return None
    absolute = Expected(np.abs(exact.J), exact.size)
    if case.fits(case.given, absolute, level):
        fault = Fault("absolute values", "all entries have lost their signs")
        return Explanation((fault,), case.given, absolute)
    return multiplied(case, level)


def systematic(case: Case, found: Explanation, level: Precision) -> bool:
    """Whether every entry in which little cancels is too large, or too small, beyond rounding."""
    exact, given = found.expected, found.given
    sharp = (2.0 * np.abs(exact.J) > exact.size) & (np.abs(exact.J) > case.smallest)
    off = (given[sharp] / exact.J[sharp] - 1.0) / level.unit
    return bool(off.size and ((off > 8.0).all() or (off < -8.0).all()))


def multiplied(case: Case, level: Precision) -> Explanation | None:
    """The whole Jacobian times a constant."""
    exact = case.reference
    factor = proportion(case.given, exact.J)
    if factor is None:
        return None
    multiple = Expected(exact.J * factor, exact.size * abs(factor))
    if not case.fits(case.given, multiple, level):
        return None
    inputs, outputs, _ = exact.J.shape
    fault = scaled(factor, "all entries are", inputs, outputs)
    return Explanation((fault,), case.given, multiple)
