"""
Certified activation patterns of many networks of one architecture, and bounds that follow.

A graph is a tuple of arrays.  ``layers`` (3, L + 1): first neuron, width, and place of the bias
in theta or -1, of every layer.  ``connections`` (6, E): source, target, place of the matrix in
theta or -1 for an identity, steps in theta from one target and from one source to the next, and
1 where a matrix joins the same two layers.  ``slopes`` (L + 1,).  Neurons count from the first
input; work space holds one row per neuron, one column per input.  The graph of the way down has
sources and targets exchanged, and no biases.
"""

import math

from numba import njit

from patterndim.typing import BoolArray, FloatArray, IntArray

Graph = tuple[IntArray, IntArray, FloatArray]

kernel = njit(cache=True, nogil=True)

UNIT = 2.0**-53
TINY = 2.0**-1022
LANES = 64


@kernel
def certify(
    thetas: FloatArray,
    X: FloatArray,
    graph: Graph,
    space: tuple[FloatArray, FloatArray, FloatArray],
    found: tuple[BoolArray, IntArray],
) -> None:
    """
    Overwrite masks (K, H, N) and counts (K, 3) of the networks with parameters (K, P).

    ``X`` is (1, N, n_0) or (K, N, n_0); ``space`` is h and its error (neurons, LANES), and sums
    (3, widest layer, LANES).  The counts are: signs that floats did not decide, ties among them,
    and whether any other remains, in which case the masks are unfinished.  The error bound is
    that of `propagation.activate`.
    """
    layers = graph[0]
    masks, counts = found
    h, error, _ = space
    last = layers.shape[1] - 1
    for k in range(len(thetas)):
        inputs = X[k if X.shape[0] > 1 else 0]
        for kind in range(3):
            counts[k, kind] = 0
        for near in range(0, inputs.shape[0], LANES):
            lanes = min(LANES, inputs.shape[0] - near)
            for j in range(layers[1, 0]):
                for x in range(lanes):
                    h[j, x] = inputs[near + x, j]
                    error[j, x] = 0.0
            for v in range(1, last):
                _activate(thetas[k], graph, v, near, lanes, space, masks[k], counts[k])
            if counts[k, 2]:
                break


@kernel
def _activate(
    theta: FloatArray,
    graph: Graph,
    v: int,
    near: int,
    lanes: int,
    space: tuple[FloatArray, FloatArray, FloatArray],
    mask: BoolArray,
    counts: IntArray,
) -> None:
    """Masks, activations and errors of layer v at ``lanes`` inputs from ``near``."""
    layers, _, slopes = graph
    h, error, sums = space
    slope = slopes[v]
    terms = _accumulate(theta, graph, v, lanes, space)
    gamma = (2.0 * terms + 16.0) * UNIT
    first, hidden = layers[0, v], layers[0, v] - layers[1, 0]
    for i in range(layers[1, v]):
        doubts = 0
        out, wrong, active = h[first + i], error[first + i], mask[hidden + i, near:]
        for x in range(lanes):
            z = sums[0, i, x]
            bound = (gamma * sums[1, i, x] + sums[2, i, x]) * (1.0 + gamma)
            bound += (terms + 1.0) * TINY
            size = abs(z)
            certain = size > bound and size < math.inf
            doubts += not certain and slope < 1.0  # a linear layer has no signs
            active[x] = z > 0.0 or slope == 1.0
            out[x] = z if active[x] else slope * z
            # Where it matters (a doubt ends the network) z is certain and the slope its factor.
            leaked = slope * bound * (1.0 + gamma) + (UNIT * slope * size + TINY)
            wrong[x] = bound if active[x] else (leaked if slope > 0.0 else 0.0)
        if doubts:
            counts[0] += doubts
            for x in range(lanes):
                if _vanishes(theta, graph, v, i, x, space):
                    counts[1] += 1
                    doubts -= 1
                    out[x], wrong[x] = 0.0, 0.0
            counts[2] += doubts


@kernel
def _accumulate(
    theta: FloatArray,
    graph: Graph,
    v: int,
    lanes: int,
    space: tuple[FloatArray, FloatArray, FloatArray],
) -> int:
    """Overwrite the sums of z, of absolute terms and of inherited errors; return their length."""
    layers, connections, _ = graph
    h, error, sums = space
    terms = 0
    for i in range(layers[1, v]):
        for x in range(lanes):
            sums[0, i, x] = 0.0
            sums[1, i, x] = 0.0
            sums[2, i, x] = 0.0
    for e in range(connections.shape[1]):
        if connections[1, e] != v:
            continue
        place, width = connections[2, e], layers[1, connections[0, e]]
        first = layers[0, connections[0, e]]
        terms += 1 if place < 0 else width
        for i in range(layers[1, v]):
            z, total, carried = sums[0, i], sums[1, i], sums[2, i]
            for j in range(i if place < 0 else 0, i + 1 if place < 0 else width):
                w = 1.0 if place < 0 else theta[place + i * width + j]
                size = abs(w)
                value, inherited = h[first + j], error[first + j]
                for x in range(lanes):
                    z[x] += value[x] * w
                    total[x] += abs(value[x]) * size
                    carried[x] += inherited[x] * size
    if layers[2, v] >= 0:
        terms += 1
        for i in range(layers[1, v]):
            b = theta[layers[2, v] + i]
            for x in range(lanes):
                sums[0, i, x] += b
                sums[1, i, x] += abs(b)
    return terms


@kernel
def _vanishes(
    theta: FloatArray,
    graph: Graph,
    v: int,
    i: int,
    x: int,
    space: tuple[FloatArray, FloatArray, FloatArray],
) -> bool:
    """Whether every term of preactivation i of layer v is exactly zero."""
    layers, connections, _ = graph
    h, error, _ = space
    if layers[2, v] >= 0 and theta[layers[2, v] + i] != 0.0:
        return False
    for e in range(connections.shape[1]):
        if connections[1, e] != v:
            continue
        place, width = connections[2, e], layers[1, connections[0, e]]
        first = layers[0, connections[0, e]]
        for j in range(i if place < 0 else 0, i + 1 if place < 0 else width):
            absent = place >= 0 and theta[place + i * width + j] == 0.0
            if not absent and (h[first + j, x] != 0.0 or error[first + j, x] != 0.0):
                return False
    return True
