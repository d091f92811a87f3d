"""Which faults explain a Jacobian: hypotheses, the simplest first, in the finest precision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from patterndim.comparison import activations, columns, heads, inputs, masks, rows, scales, stale
from patterndim.comparison.case import Case, Explanation, Fault, MaskDisagreement, Recogniser
from patterndim.comparison.layout import Given
from patterndim.comparison.precision import FLOAT32, FLOAT64, LEVELS, Precision
from patterndim.typing import BoolArray, FloatArray

Faults = tuple[Fault, ...]

#: In the order in which they are tried.
RECOGNISERS: tuple[Recogniser, ...] = (
    rows.samples,
    scales.scales,
    columns.columns,
    rows.outputs,
    rows.collapsed,
    rows.accumulated,
    masks.masks,
    heads.heads,
    inputs.inputs,
    inputs.rounded_numbers,
    activations.activations,
    stale.parameters,
)
#: Those that are tried on every way to read the rows.
SHORT: tuple[Recogniser, ...] = (
    rows.samples,
    columns.columns,
    rows.outputs,
    rows.collapsed,
    heads.heads,
)
#: Tried again after a first fault was found.
SECOND: tuple[Recogniser, ...] = (columns.source_order, columns.columns, rows.samples, rows.outputs)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """
    What is the matter with a Jacobian.

    ``level`` is the precision to which the explanation agrees, None if nothing explains it, and
    ``bits`` the significant bits that its mean error speaks of, NaN if the explanation was read
    off the Jacobian itself.  ``given`` is the Jacobian with the faults of its layout undone.
    """

    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    masks: tuple[MaskDisagreement, ...]
    level: Precision | None
    bits: float
    case: Case
    given: FloatArray


def diagnose(case: Case, given: Given, start: Precision) -> Diagnosis:
    """Best explanation of a Jacobian; agreement up to a precision ``start`` needs none."""
    raw = [(case.replace(array), faults) for array, faults in given.shapings]
    for level in LEVELS:
        for other, faults in raw if level.unit <= start.unit else ():
            if (found := _natural(other, faults, level)) is not None:
                return _diagnosis(case, _without_factor(case, found, level), level)
    cases = list(_in_theta(raw))
    for level in LEVELS:
        if level.unit < given.precision.unit:
            continue
        fitting = [_natural(other, faults, level) for other, faults in raw]
        for found in fitting:
            if found is not None and noisy(case, found, level):
                return _diagnosis(case, found, level)
        if any(found is not None and not found.faults for found in fitting):
            break  # what is left is small, and no rounding
        for found in _found(raw, cases, level, 4.0 if level.unit <= start.unit else 64.0):
            return _diagnosis(case, found, level)
    return _unexplained(cases[0][0], start)


def _found(
    raw: Sequence[tuple[Case, Faults]],
    cases: Sequence[tuple[Case, Faults]],
    level: Precision,
    factor: float,
) -> Iterator[Explanation]:
    """Explanations in a precision, the likeliest first, that are better by a factor than none."""
    for recogniser in RECOGNISERS:
        for other, faults in raw if recogniser is columns.columns else cases:
            # Blocks are sought as they came; ways to read rows that are unlikely, not for long.
            unlikely = bool(faults) or other.given.shape != cases[0][0].given.shape
            if unlikely and recogniser not in SHORT:
                continue
            found = recogniser(other, level)
            if found is not None and _improves(other, found, 64.0 if found.read else factor):
                yield replace(found, faults=faults + found.faults)
    for remaining in (_bases(raw, level), _bases(cases, level)):
        for other, faults in remaining:
            for recogniser in SECOND:
                if (found := recogniser(other, level)) is not None:
                    yield replace(found, faults=faults + found.faults)


def _in_theta(raw: Sequence[tuple[Case, Faults]]) -> Iterator[tuple[Case, Faults]]:
    """Jacobians with their columns in the order of theta, for each layout that they may have."""
    for case, faults in raw:
        if case.given.shape[2] != case.network.parameter_count:
            yield case, faults
            continue
        layouts = columns.natural(case)
        for i, pieces in enumerate(layouts):
            if pieces not in layouts[:i]:
                given = columns.gather(case.given, pieces, case.network.parameter_count)
                yield case.replace(given, ordered=False), faults


def _natural(case: Case, faults: Faults, level: Precision) -> Explanation | None:
    found = columns.source_order(case, level)
    return None if found is None else replace(found, faults=faults)


def _without_factor(case: Case, found: Explanation, level: Precision) -> Explanation:
    """An agreement, unless a factor hides in what a coarse precision allows."""
    if level.unit <= FLOAT32.unit or not scales.systematic(case, found, level):
        return found
    other = scales.multiplied(case.replace(found.given, ordered=False), level)
    return found if other is None else replace(other, faults=found.faults + other.faults)


def _bases(cases: Sequence[tuple[Case, Faults]], level: Precision) -> Iterator[tuple[Case, Faults]]:
    """What remains to be explained after a likely first fault."""
    for case, faults in cases:
        count, outputs = len(case.X), case.given.shape[1]
        if outputs != case.network.widths[-1]:
            continue
        if len(case.given) < count:
            part = case.subset(slice(0, len(case.given)), case.given)
            yield part, (*faults, *rows.named(np.arange(len(case.given)), count, "sample"))
        elif len(case.given) == count:
            written: BoolArray = np.any(case.given != 0.0, axis=(1, 2))
            if written.any() and not written.all():
                match = np.where(written, np.arange(count), rows.ZERO)
                yield case.subset(written), (*faults, *rows.named(match, count, "sample"))
            for name in ("softmax", "affine"):
                part = case.part.behind(name)
                if name != case.head and outputs > 1 and any(r(part, level) for r in SECOND):
                    yield case.behind(name), (*faults, heads.named(name, case.head))


def errors(case: Case, found: Explanation) -> tuple[float, float, float]:
    """Errors over what is added up in an entry: largest, mean, and the part of entries with any."""
    size = found.expected.size
    ratio = case.ratio(found.given, found.expected)[size > 0]
    if not ratio.size:
        return 0.0, 0.0, 0.0
    part = float(np.mean(ratio > 64 * FLOAT64.unit))
    return float(ratio.max()), float(np.sqrt(np.mean(ratio**2))), part


def noisy(case: Case, found: Explanation, level: Precision) -> bool:
    """Whether errors look like rounding: about as common as those of an imitation."""
    return errors(case, found)[2] >= 0.25 * case.imitation(level)[2] > 0.0


def _improves(case: Case, found: Explanation, factor: float) -> bool:
    """Whether an explanation comes closer than rounding would; masks are read one by one."""
    if found.masks or case.given.shape != case.reference.J.shape:
        return True
    before = np.linalg.norm(case.given - case.reference.J)
    after = np.linalg.norm(found.given - found.expected.J)
    return bool(after <= before / factor)


def _diagnosis(case: Case, found: Explanation, level: Precision) -> Diagnosis:
    _, mean, _ = errors(case, found)
    bits = float("nan") if found.read else -np.log2(mean) if mean > 0 else 53.0
    return Diagnosis(found.faults, found.notes, found.masks, level, float(bits), case, found.given)


def _unexplained(case: Case, start: Precision) -> Diagnosis:
    exact, given = case.reference, case.given
    text = f"shape {given.shape} instead of {exact.J.shape}, and no known fault explains it"
    if given.shape == exact.J.shape:
        text = _where(case, ~case.within(given, exact, start)) + "; no known fault explains it"
    return Diagnosis((Fault("unexplained", text),), (), (), None, float("nan"), case, given)


def _where(case: Case, wrong: BoolArray) -> str:
    """Blocks, samples and outputs in which entries are wrong."""
    names = [
        p.name for p in columns.in_theta(case.parameters) if wrong[:, :, p.start : p.stop].any()
    ]
    blocks = "all blocks" if len(names) == len(case.parameters) else ", ".join(names)
    places = []
    for axis, what in ((0, "sample"), (1, "output")):
        some = np.flatnonzero(wrong.any(axis=tuple({0, 1, 2} - {axis})))
        every = len(some) == wrong.shape[axis] > 1
        places.append(f"all {what}s" if every else rows.listed(what, some.tolist()))
    count = int(np.count_nonzero(wrong))
    return f"{count} of {wrong.size} entries differ, in {blocks}, {' and '.join(places)}"
