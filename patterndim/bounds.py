"""Upper bounds of the local dimension that hold for certain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsInt

import numpy as np

from patterndim.architecture import Architecture
from patterndim.heads import Head
from patterndim.live import Live, live_parameters
from patterndim.pattern import ActivationPattern
from patterndim.typing import AnyArray, FloatArray, IntArray

#: Most inputs whose rank is bounded at a time.
CHUNK = 1024


@dataclass(frozen=True)
class Bound(SupportsInt):
    """A bound and the name of the argument behind it; ``int(bound)`` is its value."""

    value: int
    name: str

    def __int__(self) -> int:
        """Return the value."""
        return self.value


def certain_bound(
    architecture: Architecture,
    X: FloatArray,
    pattern: ActivationPattern,
    gate: Sequence[AnyArray],
    head: Head,
) -> Bound:
    """Least of the known upper bounds of rank C J, for every theta with this pattern."""
    bounds = [
        output_bound(X, head),
        parameter_bound(architecture, X, gate, head),
        region_bound(architecture, X, pattern, head),
    ]
    if has_linear_layers(architecture):
        bounds.append(every_sample_bound(architecture, head))
    return min(bounds, key=lambda bound: bound.value)


def output_bound(X: FloatArray, head: Head) -> Bound:
    """Sum of the ranks of the maps C_x: N n_L, or N (n_L - 1) behind a softmax."""
    return Bound(int(head.ranks(len(X)).sum()), "outputs")


def region_bound(
    architecture: Architecture, X: FloatArray, pattern: ActivationPattern, head: Head
) -> Bound:
    """Bound by what each perceived region can add, with min(samples, n_0 + 1) inputs in each."""
    regions = _regions(X, pattern)
    inputs = np.minimum(np.bincount(regions), architecture.widths[0] + 1)
    return Bound(_by_region(regions, inputs, head), "regions")


def _regions(X: FloatArray, pattern: ActivationPattern) -> IntArray:
    return pattern.regions() if pattern.masks else np.zeros(len(X), dtype=np.int64)


def _by_region(regions: IntArray, inputs: IntArray, head: Head) -> int:
    """
    Sum over perceived regions of what they can add, given bounds of the rank of their inputs.

    Within one activation pattern the row of J for one output is an affine function of the input:
    so the rows w J_x, for one combination w of the outputs, span at most the rank of the inputs
    with a 1 appended.  The rows of all C_x J_x are combinations of those for w in a basis of what
    the rows of the C_x span together.  Nor can they be more than the sum of the ranks of the C_x.
    """
    ranks = np.bincount(regions, head.ranks(len(regions))).astype(np.int64)
    return int(np.minimum(ranks, head.spans(regions) * inputs).sum())


def input_bound(X: FloatArray, pattern: ActivationPattern, head: Head) -> Bound:
    """
    Bound by what each perceived region can add, with a bound on the rank of its inputs.

    With a 1 appended these have at most the rank that there are distinct ones, and one more than
    coordinates that vary among them.  Finer than `region_bound`, where regions hold few inputs.
    """
    regions = _regions(X, pattern)
    order = np.argsort(regions, kind="stable")
    sizes = np.bincount(regions)
    ends = np.cumsum(sizes)
    inputs, first = np.zeros(len(sizes), dtype=np.int64), 0
    while first < len(sizes):
        # As many whole regions as fit in a chunk, or one larger one, which counts as it is.
        start = ends[first] - sizes[first]
        last = max(int(np.searchsorted(ends, start + CHUNK, side="right")), first + 1)
        if sizes[first] > CHUNK:
            inputs[first] = min(int(sizes[first]), X.shape[1] + 1)
        else:
            some = order[start : ends[last - 1]]
            inputs[first:last] = _input_ranks(X[some], regions[some])
        first = last
    return Bound(_by_region(regions, inputs, head), "inputs")


def _input_ranks(X: FloatArray, regions: IntArray) -> IntArray:
    """Bounds on the rank of the inputs of regions, whose inputs are consecutive."""
    starts = np.flatnonzero(np.diff(regions, prepend=-1))
    low, high = (f.reduceat(X, starts, axis=0) for f in (np.minimum, np.maximum))
    varying = (low != high).sum(axis=1)
    # One input may stand in several regions: patterns can be given.
    _, first = np.unique(_rows(np.column_stack([X, regions])), return_index=True)
    distinct = np.bincount(np.searchsorted(starts, first, side="right") - 1)
    found: IntArray = np.minimum(distinct, varying + 1)
    return found


def _rows(X: FloatArray) -> AnyArray:
    """Each row as one opaque value, to compare; 0.0 stands for -0.0."""
    rows = np.ascontiguousarray(X + 0.0)
    return rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).reshape(-1)


def parameter_bound(
    architecture: Architecture, X: FloatArray, gate: Sequence[AnyArray], head: Head
) -> Bound:
    """
    Live parameters minus independent rescalings.

    With the pattern frozen, C f(X) is a polynomial in theta.  A parameter is dead if its column
    vanishes identically: no sample carries a path through it.  The polynomial does not change
    when the incoming parameters of a hidden neuron are multiplied and its outgoing ones divided
    by the same factor (neurons joined by an identity together); `independent_rescalings` counts
    how many tangent vectors of that are independent at generic theta.  So the generic rank is at
    most the difference, and the rank at any theta is at most the generic rank.

    Of the parameters that lead from one neuron to the outputs no more count than the rows of all
    C_x span: moving those live ones along w with C_x w = 0 at every x changes nothing.  At generic
    theta no rescaling does that, as a live parameter of the neuron leads to an output that counts.
    """
    return _parameter_bound(architecture, live_parameters(architecture, X, gate, head.reach), head)


def _parameter_bound(architecture: Architecture, live: Live, head: Head) -> Bound:
    count = 0
    last = len(architecture.layers) - 1
    for v in range(1, last + 1):
        incoming = [e for e in architecture.incoming[v] if architecture.connections[e].trainable]
        for array in (*(live.weights[e] for e in incoming), live.biases[v]):
            if array is not None:
                most = head.span if v == last else len(array)
                count += int(np.minimum(array.sum(axis=0), most).sum())
    return Bound(count - independent_rescalings(architecture, live), "parameters")


def every_sample_bound(architecture: Architecture, head: Head) -> Bound:
    """
    Bound for every sample: parameters minus independent rescalings, and `linear_symmetries`.

    It is `parameter_bound` at one input that is nowhere 0, with every neuron active: those that
    lead to no output that counts, at any input, are dead at every sample.  The symmetries leave
    the network unchanged whichever of the other parameters die at a sample.
    """
    if not head.span:
        return Bound(0, "outputs")
    X = np.ones((1, architecture.widths[0]))
    gate = [np.ones((1, architecture.widths[v])) for v in architecture.hidden_layers]
    reach = head.reach.reshape(-1, head.C.shape[-1]).max(axis=0, keepdims=True)
    live = live_parameters(architecture, X, gate, reach)
    found = _parameter_bound(architecture, live, head)
    if more := linear_symmetries(architecture, live):
        found = Bound(found.value - more, "symmetries")
    if all(architecture.layers[v].slope == 1.0 for v in architecture.hidden_layers):
        # One region: the rows of J are affine in the input.
        whole = Bound(head.span * (architecture.widths[0] + 1), "regions")
        found = min(found, whole, key=lambda bound: bound.value)
    return found


def has_linear_layers(architecture: Architecture) -> bool:
    """Whether some hidden layer has no activation."""
    return any(architecture.layers[v].slope == 1.0 for v in architecture.hidden_layers)


def linear_symmetries(architecture: Architecture, live: Live) -> int:
    """
    Independent directions beyond rescaling that linear layers (slope 1) leave invisible always.

    Let a linear layer of n neurons, touched by no identity without a trainable matrix beside it,
    take up G z for any matrix G, and give it back: W_in += G W_in, W_out -= W_out G.  For generic
    parameters row i of G goes to row i of G W_in injectively on some m entries with the diagonal
    one, m the least of n and the columns of W_in: so, layer after layer, no combination of these
    and of rescalings vanishes, and n (m - 1) are new.  Biases on both sides of any linear layer
    allow shifts, z + e, of the neurons that lead to outputs that count, which its own bias shows.
    Only what is ``live`` in `every_sample_bound` counts.
    """
    layers, count = architecture.layers, 0
    for v in architecture.hidden_layers:
        if layers[v].slope == 1.0:
            sources = {c.source for c in architecture.connections if c.target == v and c.trainable}
            targets = {c.target for c in architecture.connections if c.source == v}
            n, columns = layers[v].width, sum(layers[u].width for u in sources)
            if v not in architecture.bare_layers and live.reached[v].all():
                count += n * (min(n, columns) - 1)
            if all(layers[w].bias for w in (v, *targets)):
                count += int(live.reached[v].sum())
    return count


def independent_rescalings(architecture: Architecture, live: Live) -> int:
    """
    Number of independent rescaling directions at generic parameters.

    A direction multiplies hidden neuron i by exp(t c_i).  It leaves the network unchanged if c is
    equal at both ends of every identity that carries a path, and 0 at inputs and outputs: one
    free coefficient per component of neurons joined by identities.  (An identity beside a
    trainable matrix does not bind: W + I is as free as W.)  Its tangent vector vanishes iff c is
    also equal along every live matrix entry, and 0 where a bias is live.
    """
    first = np.cumsum([0, *architecture.widths])
    ground = 0  # inputs, outputs and constants are one node; other inputs are isolated nodes

    def nodes(layer: int, index: IntArray) -> IntArray:
        return first[layer] + index if layer in architecture.hidden_layers else 0 * index + ground

    bound, joined = [], []
    free = {(c.source, c.target) for c in architecture.connections if c.trainable}
    for W, c in zip(live.weights, architecture.connections, strict=True):
        targets, sources = np.nonzero(W)
        edge = nodes(c.source, sources), nodes(c.target, targets)
        joined.append(edge)
        if (c.source, c.target) not in free:
            bound.append(edge)
    for v, b in enumerate(live.biases):
        if b is not None:
            targets = np.nonzero(b)[0]
            joined.append((0 * targets + ground, nodes(v, targets)))
    return _components(bound, first[-2]) - _components(joined, first[-2])


def _components(edges: Sequence[tuple[IntArray, IntArray]], size: int) -> int:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    left = np.concatenate([edge[0] for edge in edges]) if edges else np.empty(0, dtype=np.int64)
    right = np.concatenate([edge[1] for edge in edges]) if edges else left
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(size, size))
    return int(connected_components(graph.tocsr(), directed=False)[0])
