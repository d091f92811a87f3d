"""What a cross-check found."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from patterndim.comparison.case import Fault, MaskDisagreement
from patterndim.comparison.recipes import RecipeRank
from patterndim.dimension import Dimension


@dataclass(frozen=True)
class WorstEntry:
    """
    Entry of largest error in units, and where it is.

    ``index`` is that in the parameter as its source shapes it, (neuron, input) of a weight.
    """

    layer: int
    parameter: str
    index: tuple[int, ...]
    sample: int
    output: int
    given: float
    expected: float
    units: float


@dataclass(frozen=True)
class BlockError:
    """
    Errors in the block of one parameter, before any fault is undone.

    ``error`` is the largest absolute one, ``units`` the largest in units of eps times what is
    added up in an entry: a correct computation stays below ``CrossCheck.allowed``.
    """

    layer: int
    parameter: str
    error: float
    scale: float
    units: float
    wrong: int
    entries: int


@dataclass(frozen=True)
class CrossCheck:
    """
    A Jacobian compared with the analytic one; prints as a table.

    Attributes
    ----------
    agrees : bool
        Whether no fault was found.
    faults : tuple of Fault
        What is wrong, by name; "unexplained" if the Jacobian differs and no known fault fits.
    notes : tuple of str
        What is worth knowing and is no fault.
    source : str
        What was checked.
    method : str
        Where its Jacobian came from.
    inputs, outputs, parameter_count, hidden_neurons : int
        N, n_L, P and H.
    dtype : str
        Type of the entries that came.
    precision : str or None
        To which precision they agree, once the faults are undone; None if nothing explains them.
    bits : float
        Significant bits that their mean error speaks of; NaN if nothing explains them.
    eps, allowed : float
        Unit of the errors below, and how many of them a correct computation may reach.
    worst : WorstEntry or None
        None if the shapes differ too much to compare entries.
    blocks : tuple of BlockError
        One per parameter, in the order of theta.
    masks : tuple of MaskDisagreement
        Hidden neurons at whose masks the Jacobian was taken otherwise.
    ties : int
        Preactivations that are exactly zero: the network is not differentiable there.
    ranks : tuple of RecipeRank
        What usual recipes report; empty if not asked for, or too expensive to find unasked.
    dimension : Dimension or None
        The exact rank with its certainty; None if not asked for.
    """

    agrees: bool
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    source: str
    method: str
    inputs: int
    outputs: int
    parameter_count: int
    hidden_neurons: int
    dtype: str
    precision: str | None
    bits: float
    eps: float
    allowed: float
    worst: WorstEntry | None
    blocks: tuple[BlockError, ...]
    masks: tuple[MaskDisagreement, ...] = field(repr=False)
    ties: int
    ranks: tuple[RecipeRank, ...]
    dimension: Dimension | None

    @property
    def verdict(self) -> str:
        """The outcome in a few words."""
        if self.agrees:
            return f"agrees to {self.precision}"
        return "does not agree: " + ", ".join(fault.name for fault in self.faults)

    def __bool__(self) -> bool:
        """Whether it agrees."""
        return self.agrees

    def __str__(self) -> str:
        """The table."""
        from patterndim.comparison.report import lines

        return "\n".join(lines(self))

    def described(self) -> dict[str, Any]:
        """Everything as valid JSON: no arrays, no NaN, no infinity."""
        found = {"verdict": self.verdict, **asdict(self)}
        if self.dimension is not None:
            fields = self.dimension.__dataclass_fields__
            kept = {
                name: value for name, value in found["dimension"].items() if fields[name].compare
            }
            found["dimension"] = kept
        plain: dict[str, Any] = _plain(found)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
