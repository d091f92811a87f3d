"""A cross-check as a table to read."""

from collections.abc import Iterator
from textwrap import wrap

from patterndim.comparison.result import CrossCheck
from patterndim.dimension import Dimension

WIDTH = 100
#: Rows of the tables that are shown; the result holds them all.
SHOWN = 12


def lines(found: CrossCheck) -> Iterator[str]:
    """All of it."""
    yield f"{found.verdict[0].upper()}{found.verdict[1:]}"
    yield from _heading(found)
    for fault in found.faults:
        yield from wrap(f"FAULT  {fault}", WIDTH, subsequent_indent=" " * 7)
    for note in found.notes:
        yield from wrap(f"note   {note}", WIDTH, subsequent_indent=" " * 7)
    if found.blocks:
        yield ""
        yield from _blocks(found)
    if found.masks:
        yield ""
        yield from _masks(found)
    if found.ranks or found.dimension is not None:
        yield ""
        yield from _ranks(found)


def _heading(found: CrossCheck) -> Iterator[str]:
    yield (
        f"{found.source}, P = {found.parameter_count:,}, H = {found.hidden_neurons:,}, "
        f"on {found.inputs:,} inputs, {found.outputs} outputs each"
    )
    text = f"Jacobian: {found.method}, {found.dtype}"
    if found.precision is not None and found.bits < 53:
        text += f", errors of about 2^-{found.bits:.0f}"
    yield text


def _blocks(found: CrossCheck) -> Iterator[str]:
    yield (
        f"{'layer':>5}  {'parameter':24}{'largest error':>15}{'of entries to':>15}"
        f"{'in eps':>12}{'wrong':>16}"
    )
    for block in found.blocks[: 2 * SHOWN]:
        yield (
            f"{block.layer:>5}  {block.parameter[:23]:24}{block.error:>15.3g}{block.scale:>15.3g}"
            f"{_number(block.units):>12}{f'{block.wrong:,} of {block.entries:,}':>16}"
        )
    if len(found.blocks) > 2 * SHOWN:
        yield f"       and {len(found.blocks) - 2 * SHOWN} more"
    yield (
        f"eps = {found.eps:.3g} of all that is added up in an entry; "
        f"up to {_number(found.allowed)} of them are rounding"
    )
    if (worst := found.worst) is not None and worst.units > 0:
        index = ", ".join(str(i) for i in worst.index)
        yield (
            f"worst: {worst.parameter}[{index}] (layer {worst.layer}), sample {worst.sample}, "
            f"output {worst.output}: {worst.given:.9g}, expected {worst.expected:.9g}"
        )


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1e4 else f"{value:.1e}"


def _masks(found: CrossCheck) -> Iterator[str]:
    yield (
        f"{'sample':>6}{'layer':>7}{'neuron':>8}{'preactivation':>15}{'sign':>6}{'factor in J':>13}"
    )
    for place in found.masks[:SHOWN]:
        sign = {-1: "-", 0: "tie", 1: "+"}[place.sign]
        yield (
            f"{place.sample:>6}{place.layer:>7}{place.neuron:>8}{place.preactivation:>15.4g}"
            f"{sign:>6}{place.factor:>13.6g}" + ("  within rounding" * place.rounding)
        )
    if len(found.masks) > SHOWN:
        yield f"       and {len(found.masks) - SHOWN} more"


def _ranks(found: CrossCheck) -> Iterator[str]:
    rows = found.inputs * found.outputs
    yield f"{'rank':>8}   of the {rows:,} x {found.parameter_count:,} Jacobian, by"
    for rank in found.ranks:
        remark = ""
        if found.dimension is not None and (more := rank.value - found.dimension.value):
            remark = f", {abs(more)} too {'many' if more > 0 else 'few'}"
            if rank.value > found.dimension.upper:
                remark += ": impossible"
        gap = "inf" if rank.gap == float("inf") else f"{rank.gap:.3g}"
        yield f"{rank.value:>8,}   {rank.recipe} {rank.rtol:.1e}: gap {gap}{remark}"
    if found.dimension is not None:
        yield f"{found.dimension.value:>8,}   exact arithmetic, {_certainty(found.dimension)}"


def _certainty(dimension: Dimension) -> str:
    if dimension.kind == "proved":
        return "proved: lower and upper bound meet"
    return (
        f"probable: not less and at most {dimension.upper:,} for certain, "
        f"not this with probability below {dimension.failure_probability:.1e}"
    )
