"""Parameters that matter on a sample: some input carries a path through them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patterndim.architecture import Architecture, Connection
from patterndim.arithmetic import Support
from patterndim.factors import Factors, factor
from patterndim.heads import at
from patterndim.typing import AnyArray, BoolArray, FloatArray

#: Inputs that are propagated at a time.
CHUNK = 1024


@dataclass(frozen=True)
class Live:
    """
    Which matrix entries (of identities too) and neurons some input has a path through.

    ``reached`` holds, for every layer (nothing for the input), the neurons from which some input
    has a path to the output: their biases, if there are any, are live.
    """

    weights: tuple[BoolArray, ...]
    reached: tuple[BoolArray, ...]
    biases: tuple[BoolArray | None, ...]

    def parameters(self, architecture: Architecture) -> BoolArray:
        """The same for the parameters, shape (P,)."""
        live = np.zeros(architecture.parameter_count, dtype=np.bool_)
        for where, W in zip(architecture.weight_slices, self.weights, strict=True):
            if where is not None:
                live[where] = W.reshape(-1)
        for where, b in zip(architecture.bias_slices, self.biases, strict=True):
            if where is not None and b is not None:
                live[where] = b
        return live


def live_parameters(
    architecture: Architecture,
    X: FloatArray,
    gate: Sequence[AnyArray],
    reach: FloatArray,
    theta: FloatArray | None = None,
) -> Live:
    """
    Parameters whose column of J some path reaches: the others have a column of zeros.

    ``reach``, (1, n_L) or (N, 1, n_L), is nonzero at the outputs that count (`Head.reach`).  At
    given parameters only nonzero weights carry a path; by default all may be nonzero.
    """
    ones = np.ones(architecture.parameter_count) if theta is None else theta
    weights = [
        np.zeros((architecture.widths[c.target], architecture.widths[c.source]), dtype=np.bool_)
        for c in architecture.connections
    ]
    reached = [np.zeros(layer.width, dtype=np.bool_) for layer in architecture.layers]
    for start in range(0, len(X), CHUNK):
        some = slice(start, start + CHUNK)
        part = [values[some] for values in gate]
        # Where a path leads does not matter, if it counts: one row is enough.
        paths = factor(architecture, ones, X[some], part, Support(), at(reach, some))
        for live, connection in zip(weights, architecture.connections, strict=True):
            live |= _carried(paths, connection)
        for v, neurons in enumerate(reached[1:], start=1):
            neurons |= paths.sensitivity(v)[0].any(axis=0)
    return Live(
        tuple(weights),
        tuple(reached),
        tuple(
            some if layer.bias else None
            for some, layer in zip(reached, architecture.layers, strict=True)
        ),
    )


def _carried(paths: Factors, connection: Connection) -> BoolArray:
    """Entries (n_v, n_u) of a connection through which some sample has a path to the output."""
    left, right = paths.sensitivity(connection.target)[0], paths.activations[connection.source]
    if connection.trainable:
        return np.asarray(left.T @ right > 0.0)
    return np.diag(np.asarray((left * right).any(axis=0)))
