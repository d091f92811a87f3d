"""
Random columns J omega from the factors, never forming J, and random compression of their rows.

Each omega has rank one per connection: with ``omega_e = u (outer) (v, v_0)`` in the block of the
connection e = (u -> v) and the bias of its target,

    (J omega)[x, c] = sum over e of (B_v[x] u)[c] * (h_u[x] . v + v_0).

Such omegas span R^P.  If the columns so far do not span the range of J modulo p, a fresh column
lies in their span with probability at most 2 / p: a functional that vanishes on them but not on
the range is a nonzero polynomial of degree 2 in the entries of u and v (Schwartz-Zippel).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from patterndim.architecture import Architecture
from patterndim.arithmetic import Modular
from patterndim.factors import Factors
from patterndim.typing import FloatArray, IntArray


class SketchArithmetic(Protocol):
    """What the sketch needs of numbers."""

    def random(self, rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
        """Random numbers."""

    def fast_product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Matrix product by BLAS."""

    def accumulate_sketch(self, out: FloatArray, left: FloatArray, right: FloatArray) -> None:
        """Add left[j, c, x] * right[j, x] to out[j, c, x] in place."""


@dataclass(frozen=True)
class _Block:
    """Random directions of one connection, or of one bias alone: u, v and v_0 by rows."""

    target: int
    source: int | None
    u: FloatArray
    v: FloatArray | None
    constant: FloatArray | None


class Directions:
    """So many random directions in parameter space, of rank one per connection."""

    def __init__(
        self,
        architecture: Architecture,
        arithmetic: SketchArithmetic,
        rng: np.random.Generator,
        count: int,
    ) -> None:
        self.arithmetic = arithmetic
        self.count = count
        self.blocks = []
        widths = architecture.widths
        for target, layer in enumerate(architecture.layers[1:], start=1):
            edges = [architecture.connections[e] for e in architecture.incoming[target]]
            sources: list[int | None] = [edge.source for edge in edges if edge.trainable]
            for number, source in enumerate(sources or [None] * layer.bias):
                u = arithmetic.random(rng, (count, layer.width))
                v = None if source is None else arithmetic.random(rng, (count, widths[source]))
                first = layer.bias and number == 0
                constant = arithmetic.random(rng, (count, 1)) if first else None
                self.blocks.append(_Block(target, source, u, v, constant))

    def sketch(self, factors: Factors) -> FloatArray:
        """
        J omega for every direction, as rows: shape (count, outputs * N), output-major.

        The order of the entries does not matter for a rank.
        """
        arithmetic = self.arithmetic
        outputs, inputs, _ = factors.sensitivity(len(factors.activations) - 1).shape
        total = np.zeros((self.count, outputs, inputs))
        for block in self.blocks:
            B = factors.sensitivity(block.target).reshape(outputs * inputs, -1)
            left = arithmetic.fast_product(block.u, B.T)
            right = np.zeros((self.count, inputs))
            if block.source is not None and block.v is not None:
                right = arithmetic.fast_product(block.v, factors.activations[block.source].T)
            if block.constant is not None:
                right += block.constant
            arithmetic.accumulate_sketch(total, left.reshape(total.shape), right)
        return total.reshape(self.count, outputs * inputs)


class Compression:
    """
    Random linear map of long columns to short ones, modulo a prime.

    Each row goes, times random residues, to `COPIES` of the ``width`` short coordinates, which
    all receive equally many.  Such a map may lose rank.  So ``spare`` dense random combinations
    of all rows follow: if the sparse ones had lost rank, each of them would add to it except
    with probability 1 / p, and elimination, which takes pivots from the left, would find it.
    Compression of parts of the rows adds up.
    """

    COPIES = 3

    def __init__(
        self, arithmetic: Modular, rng: np.random.Generator, rows: int, width: int, spare: int
    ) -> None:
        self.arithmetic = arithmetic
        self.width = width
        self.length = width + spare
        self.places = np.stack([rng.permutation(rows) % width for _ in range(self.COPIES)])
        self.weights = arithmetic.random(rng, (self.COPIES, rows))
        self.dense = arithmetic.random(rng, (spare, rows))

    def add(self, vectors: FloatArray, where: slice, out: FloatArray) -> None:
        """Add the compression of rows ``where`` of some columns, given as rows of an array."""
        places = np.ascontiguousarray(self.places[:, where])
        weights = np.ascontiguousarray(self.weights[:, where])
        self.arithmetic.compress(vectors, places, weights, out)
        check = out[:, self.width :] + self.arithmetic.product(vectors, self.dense[:, where].T)
        out[:, self.width :] = self.arithmetic.reduce(check)

    def sufficed(self, pivots: IntArray) -> bool:
        """Whether the sparse coordinates alone carried the rank, given the pivots of it."""
        return not (pivots >= self.width).any()
