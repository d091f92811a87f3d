"""Faults of the columns: blocks in another order, transposed, zero, scaled or not there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from patterndim.comparison.case import Case, Explanation, Fault
from patterndim.comparison.precision import Precision
from patterndim.comparison.reference import Expected
from patterndim.formats.imported import Parameter
from patterndim.typing import FloatArray

#: Comparisons of blocks at most in one search.
SEARCH = 4000

#: A factor beyond this is no count of anything.
HUGE = 1e9


@dataclass(frozen=True)
class Piece:
    """A run of columns recognised as a block of theta; ``state`` says in what shape."""

    parameter: Parameter
    transposed: bool = False
    state: str = ""
    factor: float = 1.0

    def undo(self, columns: FloatArray) -> FloatArray:
        """Columns in the order of theta."""
        if not self.transposed:
            return columns
        rows, width = theta_shape(self.parameter)
        flipped = columns.reshape(*columns.shape[:2], width, rows).swapaxes(2, 3)
        return flipped.reshape(columns.shape)


def theta_shape(parameter: Parameter) -> tuple[int, int]:
    """Rows and columns of a block in theta; a bias is one column."""
    shape = parameter.shape if len(parameter.shape) == 2 else (parameter.stop - parameter.start, 1)
    return (shape[1], shape[0]) if parameter.transposed else (shape[0], shape[1])


def in_theta(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Blocks in the order of theta."""
    return sorted(parameters, key=lambda parameter: parameter.start)


def natural(case: Case) -> list[list[Piece]]:
    """
    Layouts that are right: that of theta, that of the source, and that of ``ravel_pytree``.

    JAX lists the members of a dict in alphabetical order.  Blocks given one by one have the shapes
    of the source, not of theta.
    """
    parameters = case.parameters
    orders = [list(parameters)]
    if all("/" in parameter.name for parameter in parameters):
        orders.append(sorted(parameters, key=lambda parameter: parameter.name.split("/")))
    layouts = [[Piece(p, p.transposed and 1 not in p.shape) for p in order] for order in orders]
    return layouts if case.ordered else [list(map(Piece, in_theta(parameters))), *layouts]


def gather(given: FloatArray, pieces: Sequence[Piece], count: int) -> FloatArray:
    """Jacobian with its columns in the order of theta; absent ones are zero."""
    result = np.zeros((*given.shape[:2], count))
    position = 0
    for piece in pieces:
        size = piece.parameter.stop - piece.parameter.start
        columns = given[:, :, position : position + size]
        result[:, :, piece.parameter.start : piece.parameter.stop] = piece.undo(columns)
        position += size
    return result


def source_order(case: Case, level: Precision) -> Explanation | None:
    """No fault: the columns are those of theta or of the source, in their order."""
    if case.given.shape != case.reference.J.shape:
        return None
    layouts = natural(case)
    for i, pieces in enumerate(layouts):
        if pieces in layouts[:i]:
            continue
        given = gather(case.given, pieces, case.network.parameter_count)
        if case.fits(given, case.reference, level):
            return Explanation((), given, case.reference)
    return None


def columns(case: Case, level: Precision) -> Explanation | None:
    """Blocks found one after the other, in whatever order and shape."""
    if case.given.shape[:2] != case.reference.J.shape[:2]:
        return None
    search = _Search(case, level)
    pieces = search.run()
    if pieces is None:
        return None
    faults = _name(pieces, case)
    given = gather(case.given, pieces, case.network.parameter_count)
    J, size = case.reference.J.copy(), case.reference.size
    found = {piece.parameter for piece in pieces}
    for parameter in set(case.parameters) - found:
        J[:, :, parameter.start : parameter.stop] = 0.0
    for piece in pieces:
        where = slice(piece.parameter.start, piece.parameter.stop)
        J[:, :, where] = altered(J[:, :, where], piece)
        if abs(piece.factor) > 1.0:
            size = size.copy()
            size[:, :, where] *= abs(piece.factor)
    explained = Expected(J, size)
    return Explanation(faults, given, explained) if case.fits(given, explained, level) else None


def altered(J: FloatArray, piece: Piece) -> FloatArray:
    """Block of the analytic Jacobian as a piece has it."""
    return np.abs(J) if piece.state == "absolute" else J * piece.factor


class _Search:
    """Depth first through the orders of blocks, on a few samples."""

    def __init__(self, case: Case, level: Precision) -> None:
        self.case, self.level, self.left = case, level, SEARCH
        self.given = case.given[case.probe]
        self.exact = case.reference.at(case.probe)
        self.layouts = natural(case)
        self.total = case.given.shape[2]

    def run(self) -> list[Piece] | None:
        return self._extend([], 0)

    def _extend(self, pieces: list[Piece], position: int) -> list[Piece] | None:
        if position == self.total:
            return pieces
        used = {piece.parameter for piece in pieces}
        for piece in self._candidates(len(pieces), used):
            size = piece.parameter.stop - piece.parameter.start
            if position + size > self.total or self.left == 0:
                continue
            self.left -= 1
            matched = self._match(piece, self.given[:, :, position : position + size])
            if matched is not None:
                found = self._extend([*pieces, matched], position + size)
                if found is not None:
                    return found
        return None

    def _candidates(self, depth: int, used: set[Parameter]) -> Iterator[Piece]:
        """Next blocks, the likeliest first."""
        nexts = [
            next((p for p in layout if p.parameter not in used), None) for layout in self.layouts
        ]
        yield from (p for p in nexts if p is not None)
        for piece in self.layouts[0]:
            if piece.parameter not in used:
                yield replace(piece, transposed=False)
                if 1 not in theta_shape(piece.parameter):
                    yield replace(piece, transposed=True)
        if nexts[0] is not None:
            for state in ("zero", "scaled", "absolute"):
                yield replace(nexts[0], state=state)

    def _match(self, piece: Piece, given: FloatArray) -> Piece | None:
        where = slice(piece.parameter.start, piece.parameter.stop)
        J, size = self.exact.J[:, :, where], self.exact.size[:, :, where]
        columns = piece.undo(given)
        if piece.state == "zero":
            piece = replace(piece, factor=0.0)
        elif piece.state == "scaled":
            factor = proportion(columns, J)
            if factor is None:
                return None
            piece = replace(piece, factor=factor)
        exact = Expected(altered(J, piece), size * max(1.0, abs(piece.factor)))
        return piece if self.case.within(columns, exact, self.level).all() else None


def proportion(given: FloatArray, J: FloatArray) -> float | None:
    """Constant by which J is multiplied to give another, or None if J is almost zero."""
    square = float(np.vdot(J, J))
    if np.count_nonzero(J) < 2 or not np.isfinite(square) or square == 0.0:
        return None
    largest = float(np.abs(given).max())
    factor = float(np.vdot(J, given / (largest or 1.0))) / square * largest
    return rounded(factor) if factor and np.isfinite(factor) else None


def rounded(factor: float) -> float:
    """The simple number that a number found from rounded ones stands for."""
    if not 1.0 / HUGE < abs(factor) < HUGE:
        return factor
    for simple in (round(factor), 1.0 / round(1.0 / factor) if abs(factor) < 1.0 else 0.0):
        if simple and abs(factor / simple - 1.0) < 1e-5:
            return float(simple)
    return factor


def _name(pieces: Sequence[Piece], case: Case) -> tuple[Fault, ...]:
    """Faults of a sequence of blocks; none if it is right."""
    if list(pieces) in natural(case):
        return ()
    faults = [*_orders(pieces, case.parameters), *_shapes(pieces, case), *_values(pieces)]
    return tuple(faults)


def _names(parameters: Sequence[Parameter]) -> str:
    names = [parameter.name for parameter in parameters]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _orders(pieces: Sequence[Piece], parameters: Sequence[Parameter]) -> Iterator[Fault]:
    present = [piece.parameter for piece in pieces]
    if missing := [p for p in in_theta(parameters) if p not in present]:
        yield Fault("missing block", f"there are no columns for {_names(missing)}")
    kept = [p for p in in_theta(parameters) if p in present]
    if present in (kept, [p for p in parameters if p in present]):
        return
    moved = [(a, b) for a, b in zip(kept, present, strict=True) if a is not b]
    if len(moved) == 2 and len(moved[0][0].shape) == len(moved[0][1].shape):
        kind = "weights" if len(moved[0][0].shape) == 2 else "biases"
        yield Fault(f"swapped {kind}", f"the columns of {_names(moved[0])} are exchanged")
        return
    orders = {
        "the bias of a layer comes before its weight": _bias_first(kept),
        "the layers come in reverse order": _reversed(kept),
        "the layers come in reverse order, bias before weight": kept[::-1],
        "all weights come before all biases": sorted(kept, key=lambda p: len(p.shape) == 1),
        "all biases come before all weights": sorted(kept, key=lambda p: len(p.shape) == 2),
        "the blocks come in alphabetical order": sorted(kept, key=lambda p: p.name),
    }
    known = next((text for text, order in orders.items() if order == present), None)
    listed = f"the blocks come in the order {_names(present)}"
    yield Fault("parameter order", f"{known or listed}")


def _bias_first(kept: Sequence[Parameter]) -> list[Parameter]:
    result: list[Parameter] = []
    weights: list[Parameter] = []
    for parameter in kept:
        if len(parameter.shape) == 2:
            weights.append(parameter)
        else:
            result += [parameter, *weights]
            weights = []
    return [*result, *weights]


def _reversed(kept: Sequence[Parameter]) -> list[Parameter]:
    layers: list[list[Parameter]] = [[]]
    for parameter in kept:
        layers[-1].append(parameter)
        if len(parameter.shape) == 1:
            layers.append([])
    return [parameter for layer in layers[::-1] for parameter in layer]


def _shapes(pieces: Sequence[Piece], case: Case) -> Iterator[Fault]:
    layouts = [{p.parameter: p.transposed for p in layout} for layout in natural(case)]
    wrong = min(
        (
            [p.parameter for p in pieces if p.transposed != layout[p.parameter]]
            for layout in layouts
        ),
        key=len,
    )
    matrices = [p.parameter for p in pieces if 1 not in theta_shape(p.parameter)]
    if wrong and len(wrong) == len(matrices) > 1 and not case.ordered:
        yield Fault("column-major weights", "every weight is flattened column by column")
    elif wrong:
        yield Fault("transposed weight", f"the columns of {_names(wrong)} are transposed")


def _values(pieces: Sequence[Piece]) -> Iterator[Fault]:
    if zero := [p.parameter for p in pieces if p.state == "zero"]:
        yield Fault("zero block", f"the gradients of {_names(zero)} are all zero")
    if absolute := [p.parameter for p in pieces if p.state == "absolute"]:
        yield Fault("absolute values", f"the gradients of {_names(absolute)} have lost their signs")
    for piece in pieces:
        if piece.state == "scaled":
            yield scaled(piece.factor, f"the gradients of {piece.parameter.name} are", 0, 0)


def scaled(factor: float, what: str, inputs: int, outputs: int) -> Fault:
    """Fault of a constant factor, with its likely origin."""
    if factor == -1.0:
        return Fault("sign flipped", f"{what} multiplied by -1")
    divisor = round(1.0 / factor) if 1.0 / HUGE < factor < 1.0 else 0
    if not divisor or factor != 1.0 / divisor:
        return Fault("scaled", f"{what} multiplied by {factor:.6g}")
    origins = {
        outputs: ": of a mean over outputs",
        inputs * outputs: ": of a mean over inputs and outputs",
        inputs: ", the number of inputs: of a mean",
    }
    return Fault("scaled", f"{what} divided by {divisor}{origins.get(divisor, '')}")
