"""What a rank computation found, and how sure it is."""

from dataclasses import dataclass, field
from typing import Literal, SupportsInt

from patterndim.typing import IntArray

Kind = Literal["proved", "probable", "numerical"]


@dataclass(frozen=True)
class Rank(SupportsInt):
    """
    A rank with its evidence; ``int(rank)`` is the value.

    Attributes
    ----------
    value : int
        The rank found.
    kind : {"proved", "probable", "numerical"}
        "proved": ``lower == upper``, no probability and no tolerance involved.
        "probable": ``value`` is a certain lower bound and, except with ``failure_probability``,
        the rank.  "numerical": a count of singular values above a tolerance.
    lower, upper : int
        Bounds that hold for certain.
    bound : str
        The argument behind ``upper``, where there are several.
    failure_probability : float or None
        Bound on the chance, over the random modulus and sketch, that the rank is above
        ``value``; 0 when proved, 1 when nothing is claimed (a modulus chosen by the caller),
        None for numerical ranks.
    modulus, seed : int or None
        What the modular arithmetic used: they reproduce the result.
    gap : float or None
        Ratio of the two singular values on either side of the cut, infinite if the second is 0
        and None if there is none.
    sigma : tuple of float or None
        Those two singular values (NaN where there is none).
    rtol : float or None
        Tolerance relative to the largest singular value.
    pivot_rows, pivot_columns : array of int64, shape (value,), or None
        Rows and columns whose minor is nonzero modulo ``modulus``: anyone can verify ``lower``.
    """

    value: int
    kind: Kind
    lower: int
    upper: int
    failure_probability: float | None = None
    modulus: int | None = None
    seed: int | None = None
    gap: float | None = None
    sigma: tuple[float, float] | None = None
    rtol: float | None = None
    bound: str = ""
    pivot_rows: IntArray | None = field(default=None, repr=False, compare=False)
    pivot_columns: IntArray | None = field(default=None, repr=False, compare=False)

    def __int__(self) -> int:
        """Return the value."""
        return self.value

    __index__ = __int__
