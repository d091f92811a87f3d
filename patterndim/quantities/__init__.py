"""
Quantities of a network at a sample, by name.

To add one: a function of a `View` (and of the kind of outputs, if it depends on that) in a file
here, and one line in a table below.  It gives a number, a `Rank`, a `Bound`, or a mapping of
numbers, whose keys become endings of the name of the column.
"""

from collections.abc import Callable

from patterndim.quantities import dimensions, neurons, single
from patterndim.quantities.values import Plain, Value, columns
from patterndim.quantities.view import OUTPUTS, View

#: Those that depend on whether a softmax stands behind the outputs.
OF_OUTPUTS: dict[str, Callable[[View, str], Value]] = {
    "local_dimension": dimensions.local,
    "generic_dimension": dimensions.generic,
    "functional_dimension": dimensions.functional,
    "dimension_bound": dimensions.bound,
    "bounds": dimensions.bounds,
    "flatness": dimensions.flat_directions,
    "spectrum": dimensions.spectrum,
    "float32_rank": single.published_rank,
}
#: Those that do not.
OF_NETWORK: dict[str, Callable[[View], Value]] = {
    "perceived_regions": neurons.perceived_regions,
    "aligned_neurons": neurons.aligned_neurons,
    "pattern_changes": neurons.pattern_changes,
    "balances": neurons.balances,
    "weight_alignment": neurons.weight_alignment,
}
NAMES = (*OF_OUTPUTS, *OF_NETWORK)

__all__ = ["NAMES", "OF_NETWORK", "OF_OUTPUTS", "OUTPUTS", "Plain", "Value", "View", "columns"]
