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
    factor = proportion(case.given, exact.J)
    if factor is None:
        return None
    multiple = Expected(exact.J * factor, exact.size * abs(factor))
    if not case.fits(case.given, multiple, level):
        return None
    inputs, outputs, _ = exact.J.shape
    fault = scaled(factor, "all entries are", inputs, outputs)
    return Explanation((fault,), case.given, multiple)
