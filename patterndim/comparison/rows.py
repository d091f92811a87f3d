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
    _, labels = np.unique(case.X, axis=0, return_inverse=True)
    match = _match(case, case.given, case.reference, level)
    if match is None:
        return None
    expected = _selected(case.reference, match)
    faults = _name(match, len(case.X), labels.reshape(-1), "sample")
    return Explanation(faults, case.given, expected)


def outputs(case: Case, level: Precision) -> Explanation | None:
    """Every given output is one of those expected, or left at zero."""
    shape = case.reference.J.shape
    if (case.given.shape[0], case.given.shape[2]) != (shape[0], shape[2]):
        return None
    turned = Expected(case.reference.J.swapaxes(0, 1), case.reference.size.swapaxes(0, 1))
    match = _match(case, case.given.swapaxes(0, 1), turned, level)
    if match is None:
        return None
    chosen = _selected(turned, match)
    expected = Expected(chosen.J.swapaxes(0, 1), chosen.size.swapaxes(0, 1))
    faults = _name(match, shape[1], np.arange(shape[1]), "output")
    return Explanation(faults, case.given, expected)


def _match(case: Case, given: FloatArray, exact: Expected, level: Precision) -> IntArray | None:
    """For every slice of the first axis the one of J that it is, or ZERO; None if some is none."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(0)
    match = np.full(len(given), ZERO, dtype=np.int64)
    flat, J = given.reshape(len(given), -1), exact.J.reshape(len(exact.J), -1)
    directions = rng.standard_normal((J.shape[1], 3))
    _, nearest = cKDTree(J @ directions).query(flat @ directions)
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
            return None
    return match


def _selected(exact: Expected, match: IntArray) -> Expected:
    """Slices as they were found."""
    kept = (match != ZERO)[:, np.newaxis, np.newaxis]
    return Expected(np.where(kept, exact.J[match], 0.0), np.where(kept, exact.size[match], 0.0))


def _name(match: IntArray, count: int, labels: IntArray, what: str) -> tuple[Fault, ...]:
    faults = []
    found = match[match != ZERO]
    if zero := [int(m) for m in np.flatnonzero(match == ZERO)]:
        text = f"the rows of {listed(what, zero)} are zero"
        if what == "sample" and zero[-1] == len(match) - 1 and _run(zero):
            text += ": the last batch was never written"
        faults.append(Fault(f"zero {what}s", text))
    distinct = sorted(set(found.tolist()))
    if len(match) < count and len(distinct) == len(found):
        absent = [n for n in range(count) if n not in set(distinct)]
        absent = absent[: count - len(match)] if zero else absent
        last = what == "sample" and absent[-1] == count - 1 and _run(absent)
        text = f"{listed(what, absent)} of {count} {'are' if len(absent) > 1 else 'is'} missing"
        faults.append(Fault(f"missing {what}s", text + (": the last batch was dropped" * last)))
    natural = np.arange(len(match))[match != ZERO]
    if np.array_equal(found, natural) or (len(match) < count and (np.diff(found) > 0).all()):
        return tuple(faults)
    if sorted(labels[found]) == sorted(labels[natural]) if len(match) == count else False:
        moved = np.flatnonzero(found != natural)
        text = f"{len(moved)} of {len(match)} {what}s are in other places"
        if np.array_equal(found, natural[::-1]):
            text = f"the {what}s come in reverse order"
        first = int(moved[0])
        text += f"; row {int(natural[first])} is {what} {int(found[first])}"
        faults.append(Fault("shuffled samples" if what == "sample" else "permuted outputs", text))
        return tuple(faults)
    again = sorted({n for n in distinct if np.count_nonzero(found == n) > 1})
    if again:
        faults.append(Fault(f"repeated {what}s", f"{listed(what, again)} stand in several places"))
    else:
        faults.append(Fault(f"shuffled {what}s", f"the {what}s come in another order"))
    return tuple(faults)


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
