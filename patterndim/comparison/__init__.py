"""
Cross-checks of Jacobians that other programs computed.

One file per concern: `layout` reads whatever holds a Jacobian, `autodiff` asks the frameworks for
theirs, `reference` is the analytic one with a bound on rounding, `precision` imitates rounding;
`rows`, `columns`, `scales`, `heads`, `inputs`, `masks`, `activations` and `stale` each recognise
faults of one kind, and `diagnosis` tries them in order.  To add a fault: a function from a `Case`
and a precision to an `Explanation` or None, and its name in the table of `diagnosis`.
"""

from patterndim.comparison.case import Fault, MaskDisagreement
from patterndim.comparison.checking import assert_jacobian_matches, crosscheck
from patterndim.comparison.recipes import RecipeRank
from patterndim.comparison.result import BlockError, CrossCheck, WorstEntry

__all__ = [
    "BlockError",
    "CrossCheck",
    "Fault",
    "MaskDisagreement",
    "RecipeRank",
    "WorstEntry",
    "assert_jacobian_matches",
    "crosscheck",
]
