"""Faults of what follows the network: a softmax too many or too few, sums over outputs."""

import numpy as np

from patterndim.comparison.case import Case, Explanation, Fault
from patterndim.comparison.precision import Precision
from patterndim.comparison.reference import HEADS, Expected


def heads(case: Case, level: Precision) -> Explanation | None:
    """Jacobian of another function of the outputs."""
    inputs, outputs, parameters = case.reference.J.shape
    for name in HEADS:
        if name == case.head or (
            outputs == 1 and name in ("softmax", "log-softmax", "sum", "mean")
        ):
            continue
        shape = (inputs, 1 if name in ("sum", "mean") else outputs, parameters)
        exact = case.expected(name=name)
        if case.given.shape == shape and case.fits(case.given, exact, level):
            return Explanation((named(name, case.head),), case.given, exact)
        if name in ("sum", "mean") and case.given.shape == (inputs, outputs, parameters):
            repeated = Expected(*(np.repeat(a, outputs, 1) for a in (exact.J, exact.size)))
            if case.fits(case.given, repeated, level):
                return Explanation((named(name, case.head),), case.given, repeated)
    return None


def named(found: str, wanted: str) -> Fault:
    """Fault of one head in the place of another."""
    if found in ("sum", "mean"):
        verb = "summed" if found == "sum" else "averaged"
        return Fault(f"{verb} outputs", f"these are gradients of the {found} of the outputs")
    if found == "affine":
        return Fault(f"{wanted} missing", f"this is the Jacobian before the {wanted}")
    before = "the outputs" if wanted == "affine" else f"the {wanted} of the outputs"
    return Fault(f"{found} left in", f"this is the Jacobian of the {found}, not of {before}")
