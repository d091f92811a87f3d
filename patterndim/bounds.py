"""Upper bounds of the local dimension that hold for certain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patterndim.architecture import Architecture
from patterndim.arithmetic import Support
from patterndim.factors import Factors, factor
from patterndim.pattern import ActivationPattern
from patterndim.typing import BoolArray, FloatArray


@dataclass(frozen=True)
class Bound:
    """A bound and the name of the argument behind it."""

    value: int
    name: str


def certain_bound(
    architecture: Architecture,
    X: FloatArray,
    pattern: ActivationPattern,
    gate: Sequence[FloatArray],
    C: FloatArray,
) -> Bound:
    """
    Least of the known upper bounds of rank C J, for every theta with this pattern.

    ``C`` is the map from the outputs to those that count, of full row rank.
    """
    bounds = [
        Bound(len(C) * len(X), "outputs"),
        parameter_bound(architecture, X, gate, len(C)),
        region_bound(architecture, X, pattern, len(C)),
    ]
    return min(bounds, key=lambda bound: bound.value)


def region_bound(
    architecture: Architecture, X: FloatArray, pattern: ActivationPattern, outputs: int
) -> Bound:
    """
    Outputs times the sum over perceived regions of min(samples there, n_0 + 1).

    Within one activation pattern the row of J for one output is an affine function of the input.
    """
    sizes = np.bincount(pattern.regions()) if pattern.masks else np.array([len(X)])
    span = architecture.widths[0] + 1
    return Bound(outputs * int(np.minimum(sizes, span).sum()), "regions")


def parameter_bound(
    architecture: Architecture, X: FloatArray, gate: Sequence[FloatArray], outputs: int
) -> Bound:
    """
    Live parameters minus independent rescalings.

    With the pattern frozen, C f(X) is a polynomial in theta.  A parameter is dead if its column
    vanishes identically: no sample carries a path through it.  The polynomial does not change
    when the incoming parameters of a hidden neuron are multiplied and its outgoing ones divided
    by the same factor, provided that all its connections are trainable; at generic theta those
    tangent vectors are as independent as the rows of the signed incidence matrix of neurons
    against live parameters (see `independent_rescalings`).  So the generic rank is at most the
    difference, and the rank at any theta is at most the generic rank.
    """
    live = live_parameters(architecture, X, gate)
    count = 0
    last = len(architecture.layers) - 1
    for v in range(1, last + 1):
        for array in (*(live.weights[e] for e in architecture.incoming[v]), live.biases[v]):
            if array is not None:
                # Of the output layer only the combinations by C count: C W and C b.
                total = int(array.sum())
                count += total // architecture.widths[last] * outputs if v == last else total
    return Bound(count - independent_rescalings(architecture, live), "parameters")


@dataclass(frozen=True)
class Live:
    """Which parameters some sample carries a path through, in the layout of the network."""

    weights: tuple[BoolArray | None, ...]
    biases: tuple[BoolArray | None, ...]


def live_parameters(architecture: Architecture, X: FloatArray, gate: Sequence[FloatArray]) -> Live:
    """Parameters whose column of J is not identically zero for this pattern."""
    ones = np.ones(architecture.parameter_count)
    # Every output is reached alike, so one row is enough.
    any_output = np.ones((1, architecture.widths[-1]))
    paths = factor(architecture, ones, X, gate, Support(), any_output)
    return Live(
        tuple(
            _carried(paths, connection.source, connection.target) if connection.trainable else None
            for connection in architecture.connections
        ),
        tuple(
            paths.sensitivity(v)[0].any(axis=0) if layer.bias else None
            for v, layer in enumerate(architecture.layers)
        ),
    )


def _carried(paths: Factors, u: int, v: int) -> BoolArray:
    return np.asarray(paths.sensitivity(v)[0].T @ paths.activations[u] > 0.0)


def rescalable(architecture: Architecture) -> tuple[bool, ...]:
    """For every layer, whether its neurons can be rescaled: hidden, every connection trainable."""
    fixed = {v for c in architecture.connections if not c.trainable for v in (c.source, c.target)}
    return tuple(
        v in architecture.hidden_layers and v not in fixed for v in range(len(architecture.layers))
    )


def independent_rescalings(architecture: Architecture, live: Live) -> int:
    """
    Number of independent rescaling directions at generic parameters.

    The tangent vector of neuron i has entries +w on its incoming and -w on its outgoing
    parameters.  A combination with coefficients c vanishes iff, along every live parameter, the
    coefficients at its two ends agree, an end that cannot be rescaled (an input, an output, a
    bias, a fixed connection) counting as 0.  So the deficit is the number of connected
    components of neurons, joined by live parameters, that no such end belongs to.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    free = rescalable(architecture)
    starts = np.cumsum([0, *(w * f for w, f in zip(architecture.widths, free, strict=True))])
    neurons = int(starts[-1])
    ground = neurons

    def nodes(layer: int, index: np.ndarray) -> np.ndarray:
        return starts[layer] + index if free[layer] else np.full(len(index), ground)

    edges = []
    for W, connection in zip(live.weights, architecture.connections, strict=True):
        if W is not None:
            targets, sources = np.nonzero(W)
            edges.append((nodes(connection.source, sources), nodes(connection.target, targets)))
    for v, b in enumerate(live.biases):
        if b is not None:
            targets = np.nonzero(b)[0]
            edges.append((np.full(len(targets), ground), nodes(v, targets)))
    left, right = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(neurons + 1, neurons + 1))
    components, _ = connected_components(graph.tocsr(), directed=False)
    return neurons - (int(components) - 1)
