"""Faults of the rows: samples or outputs missing, zero, shuffled, repeated, summed up."""

from collections.abc import Sequence

import numpy as np

from patterndim.comparison.case import Case, Explanation, Fault
from patterndim.comparison.precision import Precision
from patterndim.comparison.reference import Expected
from patterndim.typing import FloatArray, IntArray

ZERO = -1


def samples(case: Case, level: Precision) -> Explanation | None:
    """Every given sample is one of those expected, or left at zero."""
    if case.given.shape[1:] != case.reference.J.shape[1:]:
        return None
    match, labels = _match(case, case.given, case.reference, level)
    if match is None:
        return None
    expected = _selected(case.reference, match)
    return Explanation(named(match, len(case.X), "sample", labels), case.given, expected)


def outputs(case: Case, level: Precision) -> Explanation | None:
    """Every given output is one of those expected, or left at zero."""
    shape = case.reference.J.shape
    if (case.given.shape[0], case.given.shape[2]) != (shape[0], shape[2]):
        return None
    turned = Expected(case.reference.J.swapaxes(0, 1), case.reference.size.swapaxes(0, 1))
    match, labels = _match(case, case.given.swapaxes(0, 1), turned, level)
    if match is None:
        return None
    chosen = _selected(turned, match)
    expected = Expected(chosen.J.swapaxes(0, 1), chosen.size.swapaxes(0, 1))
    return Explanation(named(match, shape[1], "output", labels), case.given, expected)


def _match(
    case: Case, given: FloatArray, exact: Expected, level: Precision
) -> tuple[IntArray | None, IntArray]:
    """
    For every slice of the first axis the one of J that it is, or ZERO; None if some is none.

    And labels of the slices of J: equal ones are equal, as those of inputs that are all dead.
    """
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(0)
    match = np.full(len(given), ZERO, dtype=np.int64)
    flat, J = given.reshape(len(given), -1), exact.J.reshape(len(exact.J), -1)
    directions = rng.standard_normal((J.shape[1], 3))
    traces = J @ directions
    steps = np.rint(traces / max(1e-9 * float(np.abs(traces).max()), 1e-300))
    labels = np.unique(steps, axis=0, return_inverse=True)[1].reshape(-1)
    # What overflows is near nothing.
    seen = np.nan_to_num(flat @ directions, posinf=0.0, neginf=0.0)
    nearest = np.atleast_1d(cKDTree(traces).query(seen)[1])
    for m in range(len(given)):
        found = next(
            (
                n
                for n in (m, int(nearest[m]))
                if n < len(J) and case.within(given[m], exact.at(n), level).all()
            ),
            None,
        )
        if found is not None:
            match[m] = found
        elif flat[m].any():
            return None, labels
    for label in np.unique(labels[match[match != ZERO]]):
        alike = np.flatnonzero(labels == label)
        here = np.flatnonzero((match != ZERO) & (labels[match] == label))
        if 1 < len(alike) >= len(here):  # in their order, none twice
            match[here] = alike[: len(here)]
    return match, labels


def _selected(exact: Expected, match: IntArray) -> Expected:
    """Slices as they were found."""
    kept = (match != ZERO)[:, np.newaxis, np.newaxis]
    return Expected(np.where(kept, exact.J[match], 0.0), np.where(kept, exact.size[match], 0.0))


def named(
    match: IntArray, count: int, what: str, labels: IntArray | None = None
) -> tuple[Fault, ...]:
    """Faults of slices that were found in other places; equal labels mean equal slices."""
    labels = np.arange(count) if labels is None else labels
    faults = []
    found, natural = match[match != ZERO], np.flatnonzero(match != ZERO)
    if zero := np.flatnonzero(match == ZERO).tolist():
        text = f"the rows of {listed(what, zero)} are zero"
        if len(zero) == len(match):
            text = "every row is zero: no gradient was taken"
        elif what == "sample" and zero[-1] == len(match) - 1 and _run(zero):
            text += ": the last batch was never written"
        faults.append(Fault(f"zero {what}s", text))
    if len(match) < count and len(set(found.tolist())) == len(found):
        absent = sorted(set(range(count)) - set(found.tolist()))[: count - len(match)]
        last = what == "sample" and absent[-1] == count - 1 and _run(absent)
        text = f"{listed(what, absent)} of {count} {'are' if len(absent) > 1 else 'is'} missing"
        faults.append(Fault(f"missing {what}s", text + ": the last batch was dropped" * last))
        if (np.diff(found) > 0).all():
            return tuple(faults)
    elif np.array_equal(found, natural) and len(match) == count:
        return tuple(faults)
    faults.append(_moved(found, natural, what, labels))
    return tuple(faults)


def _moved(found: IntArray, natural: IntArray, what: str, labels: IntArray) -> Fault:
    """Fault of slices that stand in other places, or in several."""
    again = [n for n in set(found.tolist()) if np.count_nonzero(found == n) > 1]
    inside = natural[natural < len(labels)]
    same = len(inside) == len(natural) and sorted(labels[found]) == sorted(labels[inside])
    if again and not same:
        verb = "stands" if len(again) == 1 else "stand"
        return Fault(f"repeated {what}s", f"{listed(what, sorted(again))} {verb} in several places")
    name = "shuffled samples" if what == "sample" else "permuted outputs"
    if np.array_equal(found, natural[::-1]):
        return Fault(name, f"the {what}s come in reverse order")
    places = np.flatnonzero(found != natural)
    first = int(places[0])
    text = f"{len(places)} of {len(found)} {what}s are in other places; "
    return Fault(name, text + f"{what} {int(found[first])} is in place {int(natural[first])}")


def _run(numbers: Sequence[int]) -> bool:
    return numbers[-1] - numbers[0] + 1 == len(numbers)


def listed(what: str, numbers: Sequence[int]) -> str:
    """A few numbers in words: "samples 3 to 7", "outputs 1, 4"."""
    if len(numbers) == 1:
        return f"{what} {numbers[0]}"
    if len(numbers) > 2 and _run(numbers):
        return f"{what}s {numbers[0]} to {numbers[-1]}"
    shown = ", ".join(str(n) for n in numbers[:8])
    return f"{what}s {shown}" + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")


def collapsed(case: Case, level: Precision) -> Explanation | None:
    """One sum or mean over samples instead of one Jacobian per sample, once or in every place."""
    exact, count = case.reference, len(case.X)
    if case.given.shape[1:] != exact.J.shape[1:] or count == 1:
        return None
    if len(case.given) not in (1, count):
        return None
    for name, factor in (("summed samples", 1.0), ("averaged samples", 1.0 / count)):
        J = exact.J.sum(axis=0, keepdims=True) * factor
        # Sums of as many terms: each adds its rounding error.
        size = exact.size.sum(axis=0, keepdims=True) * factor * (1.0 + count / 32.0)
        total = Expected(J.repeat(len(case.given), axis=0), size.repeat(len(case.given), axis=0))
        if case.within(case.given, total, level).all():
            verb = "sum" if factor == 1.0 else "mean"
            text = f"every row is the {verb} over all {count} samples, not one sample's"
            return Explanation((Fault(name, text),), case.given, total)
    return None


def accumulated(case: Case, level: Precision) -> Explanation | None:
    """Gradients that were never set back to zero: every row is the sum of those so far."""
    exact = case.reference
    if case.given.shape != exact.J.shape:
        return None
    rows = len(case.X) * exact.J.shape[1]
    for axis, text in (
        (None, "every row is the sum of all rows so far: gradients are not set back to zero"),
        (0, "every row is the sum over all samples so far: gradients are not set back to zero"),
    ):
        flat = (-1, exact.J.shape[2]) if axis is None else exact.J.shape
        # Every sum so far adds its rounding error.
        J, size = (
            np.cumsum(a.reshape(flat), axis=0).reshape(a.shape) for a in (exact.J, exact.size)
        )
        total = Expected(J, size * (1.0 + rows / 32.0))
        if case.fits(case.given, total, level):
            return Explanation((Fault("accumulated gradients", text),), case.given, total)
    return None
