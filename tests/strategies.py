"""Hypothesis strategies: networks and samples whose arithmetic is exact, and matrices."""

import numpy as np
from hypothesis import strategies as st

import patterndim as pdm

SLOPES = (0.0, 0.0, 0.25, 1.0)


@st.composite
def networks(draw, integers=True, skips=True, max_width=4, max_hidden=3, biases=None):
    """Small networks, with leaky and linear layers, skip connections, identities, few biases."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    hidden = draw(st.integers(1, max_hidden))
    widths = [int(w) for w in rng.integers(1, max_width + 1, hidden + 2)]
    last = hidden + 1
    edges = {(v - 1, v) for v in range(1, last + 1)}
    if skips:
        for u in range(last):
            for v in range(u + 2, last + 1):
                if rng.random() < 0.25:
                    edges.add((u, v))

    def values(*shape):
        if integers:
            return rng.integers(-3, 4, shape).astype(float)
        return rng.standard_normal(shape)

    connections = [(u, v, values(widths[v], widths[u])) for u, v in sorted(edges)]
    if skips:
        for u, v in sorted(edges):
            if widths[u] == widths[v] and rng.random() < 0.3:
                connections.append((u, v, "identity"))
    has_bias = rng.random(last) < 0.8 if biases is None else np.full(last, biases)
    vectors = [values(widths[v + 1]) if has_bias[v] else None for v in range(last)]
    slopes = rng.choice(SLOPES, hidden).tolist()
    return pdm.Network.from_graph(widths, connections, vectors, slope=slopes)


def sample(network, rng, inputs, integers=True):
    """Inputs for a network: small integers, or Gaussian."""
    shape = (inputs, network.widths[0])
    rng = np.random.default_rng(rng)
    return rng.integers(-4, 5, shape).astype(float) if integers else rng.standard_normal(shape)


@st.composite
def matrices(draw, max_size=40):
    """Integer matrices of known inner dimension, some sparse, some zero, some 0/1."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, columns = (int(n) for n in rng.integers(1, max_size + 1, 2))
    inner = int(rng.integers(0, min(rows, columns) + 1))
    A = rng.integers(-9, 10, (rows, inner)) @ rng.integers(-9, 10, (inner, columns))
    style = rng.integers(4)
    if style == 0:
        A *= rng.random(A.shape) < 0.1
    elif style == 1:
        A = (rng.random((rows, columns)) < 0.1).astype(np.int64)
    elif style == 2:
        A[rng.random(rows) < 0.3] = 0
    return A
