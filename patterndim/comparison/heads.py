"""Faults of what follows the network: a softmax too many or too few, sums over outputs."""

from functools import partial

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
        single = name in ("sum", "mean")
        times = outputs if single and case.given.shape[1] == outputs else 1
        if case.given.shape != (inputs, 1 if single and times == 1 else outputs, parameters):
            continue
        exact = case.explained(partial(_repeated, name=name, times=times), level)
        if exact is not None:
            return Explanation((named(name, case.head),), case.given, exact)
    return None


def _repeated(case: Case, name: str, times: int) -> Expected:
    """Jacobian behind a head, once or in every output."""
    exact = case.expected(name=name)
    return Expected(*(np.repeat(a, times, axis=1) for a in (exact.J, exact.size)))


def named(found: str, wanted: str) -> Fault:
    """Fault of one head in the place of another."""
    if found in ("sum", "mean"):
        verb = "summed" if found == "sum" else "averaged"
        return Fault(f"{verb} outputs", f"these are gradients of the {found} of the outputs")
    if found == "affine":
        return Fault(f"{wanted} missing", f"this is the Jacobian before the {wanted}")
    before = "the outputs" if wanted == "affine" else f"the {wanted} of the outputs"
    return Fault(f"{found} left in", f"this is the Jacobian of the {found}, not of {before}")
