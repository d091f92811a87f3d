"""Dimensions, their bounds, and singular values."""

import numpy as np

from patterndim.functional import functional_dimension
from patterndim.quantities.values import Value
from patterndim.quantities.view import View
from patterndim.spectrum import singular_values
from patterndim.upper import dimension_bound
from patterndim.validation import byte_count

#: Largest J, in bytes, whose singular values are computed from J itself.
DENSE = 2**29


def local(view: View, output: str) -> Value:
    """Local dimension."""
    return view.dimension(output)


def generic(view: View, output: str) -> Value:
    """Dimension of the cell of the pattern."""
    return view.generic(output)


def functional(view: View, output: str) -> Value:
    """Largest local dimension at any sample, by random inputs."""
    return functional_dimension(view.network, output=output, rng=view.seed, memory=view.memory)


def bound(view: View, output: str) -> Value:
    """Best bound at this sample that holds for certain, and its name."""
    return dimension_bound(view.network, view.X, output=output, rng=view.seed)


def bounds(view: View, output: str) -> Value:
    """Bounds by the number of outputs, by perceived regions, and for every sample."""
    outputs = view.network.widths[-1] - (output == "softmax")
    sizes = view.region_sizes
    span = np.minimum(sizes, view.network.widths[0] + 1)
    return {
        "outputs": outputs * len(view.X),
        "regions": outputs * int(span.sum()),
        "every_sample": dimension_bound(view.network, output=output).value,
    }


def flat_directions(view: View, output: str) -> Value:
    """P minus the local dimension, between its bounds."""
    found, P = view.dimension(output), view.network.parameter_count
    return {
        "": P - found.value,
        "kind": found.kind,
        "lower": P - found.upper,
        "upper": P - found.lower,
    }


def spectrum(view: View, output: str) -> Value:
    """
    Largest and smallest resolved singular value of J, and the gap below; without a softmax.

    From J itself if that fits in `DENSE` bytes, to full precision, and otherwise from J J^T.
    """
    names = ("largest", "smallest", "resolved", "gap", "precision", "method")
    if output == "softmax":
        return dict.fromkeys(names)
    network, X = view.network, view.X
    need = 8 * len(X) * network.widths[-1] * network.parameter_count
    method = "dense" if need <= min(DENSE, byte_count(view.memory) or DENSE) else "gram"
    found = singular_values(network, X, method=method, memory=view.memory)
    values, count = found.values, found.resolved
    smallest = float(values[count - 1]) if count else 0.0
    below = float(values[count]) if count < len(values) else None
    gap = smallest / below if below else None
    return dict(
        zip(names, (float(values[0]), smallest, count, gap, found.precision, method), strict=True)
    )
