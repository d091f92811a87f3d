"""
Random columns J omega from the factors, never forming J.

Each omega has rank one per connection: with ``omega_e = u (outer) (v, v_0)`` in the block of the
connection e = (u -> v) and the bias of its target,

    (J omega)[x, c] = sum over e of (B_v[x] u)[c] * (h_u[x] . v + v_0).

Such omegas span R^P.  If the columns so far do not span the range of J modulo p, a fresh column
lies in their span with probability at most 2 / p: a functional that vanishes on them but not on
the range is a nonzero polynomial of degree 2 in the entries of u and v (Schwartz-Zippel).
"""

from typing import Protocol

import numpy as np

from patterndim.factors import Factors
from patterndim.typing import FloatArray


class SketchArithmetic(Protocol):
    """What the sketch needs of numbers."""

    def random(self, rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
        """Random numbers."""

    def fast_product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Matrix product by BLAS."""

    def accumulate_sketch(self, out: FloatArray, left: FloatArray, right: FloatArray) -> None:
        """Add left[j, c, x] * right[j, x] to out[j, c, x] in place."""


def sketch_columns(
    factors: Factors, arithmetic: SketchArithmetic, rng: np.random.Generator, count: int
) -> FloatArray:
    """
    Random columns of J as rows of an array, shape (count, outputs * N), output-major.

    Column j of the sketch is ``J omega_j``; the order of its entries does not matter for a rank.
    """
    architecture = factors.architecture
    outputs, inputs, _ = factors.sensitivity(len(architecture.layers) - 1).shape
    total = np.zeros((count, outputs, inputs))
    for v, layer in enumerate(architecture.layers[1:], start=1):
        flat = factors.sensitivity(v).reshape(outputs * inputs, layer.width)
        trainable = [e for e in architecture.incoming[v] if architecture.connections[e].trainable]
        sources = [architecture.connections[e].source for e in trainable]
        passes: list[int | None] = [*sources] or [None] * layer.bias
        for u in passes:
            left = arithmetic.fast_product(arithmetic.random(rng, (count, layer.width)), flat.T)
            if u is None:
                right = np.zeros((count, inputs))
            else:
                h = factors.activations[u]
                right = arithmetic.fast_product(arithmetic.random(rng, (count, h.shape[1])), h.T)
            if layer.bias and (u is None or u == sources[0]):
                right += arithmetic.random(rng, (count, 1))
            arithmetic.accumulate_sketch(total, left.reshape(total.shape), right)
    return total.reshape(count, outputs * inputs)
