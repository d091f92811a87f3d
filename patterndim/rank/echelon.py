"""Elimination of vectors modulo a prime, which can be extended by further vectors."""

from dataclasses import dataclass

import numpy as np

from patterndim.arithmetic import Modular
from patterndim.kernels import residues
from patterndim.typing import FloatArray, IntArray

#: Vectors per panel; `Modular.inner_length` is at least 127.
PANEL = 384
#: Vectors that one kernel call eliminates.
BASE = 16


@dataclass
class _Panel:
    """Pivot vectors (k, n): zero, then the identity, then the rest, in permuted coordinates."""

    vectors: FloatArray
    first: int


class Echelon:
    """
    Row echelon form modulo a prime of all vectors handed to `extend` so far.

    The pivots are consecutive coordinates of a running permutation.  A panel of vectors is
    brought to the form [0 | I | rest] by recursive halving, so nearly all the work is in matrix
    products (`Modular.subtract_product`); a panel never changes afterwards but for the
    permutation of its coordinates.  New vectors are reduced by the panels in order.
    """

    def __init__(self, arithmetic: Modular, length: int) -> None:
        self.arithmetic = arithmetic
        self.length = length
        self.rank = 0
        self.count = 0
        self.permutation = np.arange(length)
        self.pivot_vectors: list[int] = []
        self._panels: list[_Panel] = []

    @property
    def pivot_coordinates(self) -> IntArray:
        """Coordinates of the pivots, shape (rank,)."""
        return self.permutation[: self.rank].copy()

    def null_space(self) -> FloatArray:
        """
        Basis of the vectors that are orthogonal to all those so far, shape (n - rank, n).

        Back substitution: each free coordinate in turn is 1, and every panel gives its pivots.
        """
        free = self.length - self.rank
        if not free:
            return np.empty((0, self.length))
        found = np.zeros((self.length, free))
        found[self.rank :] = np.eye(free)
        for panel in reversed(self._panels):
            middle = panel.first + len(panel.vectors)
            part = self.arithmetic.product(panel.vectors[:, middle:], found[middle:])
            found[panel.first : middle] = -part
        basis = np.empty_like(found)
        basis[self.permutation] = found
        return np.ascontiguousarray(basis.T)

    def extend(self, vectors: FloatArray) -> int:
        """
        Add vectors, shape (count, length), of residues; return how much the rank grew.

        The array is overwritten and kept.
        """
        before = self.rank
        if not np.array_equal(self.permutation, np.arange(self.length)):
            vectors = np.ascontiguousarray(vectors[:, self.permutation])
        labels = np.arange(self.count, self.count + len(vectors))
        self.count += len(vectors)
        for panel in self._panels:
            self._subtract(vectors, 0, len(vectors), panel)
        for start in range(0, len(vectors), PANEL):
            if self.rank == self.length:
                break
            stop = min(start + PANEL, len(vectors))
            self._eliminate_panel(vectors, start, stop, labels)
        return self.rank - before

    def _eliminate_panel(
        self, vectors: FloatArray, start: int, stop: int, labels: IntArray
    ) -> None:
        first = self.rank
        swaps = np.arange(first, min(first + stop - start, self.length))
        found = self._reduce(vectors, start, stop, (start, stop), first, labels, swaps)
        if not found:
            return
        swaps = swaps[:found]
        if not np.array_equal(swaps, np.arange(first, first + found)):
            for panel in self._panels:
                residues.swap_columns(panel.vectors, 0, len(panel.vectors), first, swaps)
            residues.swap_columns(vectors, stop, len(vectors), first, swaps)
            for position, other in enumerate(swaps.tolist(), start=first):
                self.permutation[[position, other]] = self.permutation[[other, position]]
        vectors[start : start + found, :first] = 0.0
        panel = _Panel(vectors[start : start + found], first)
        self._panels.append(panel)
        self.pivot_vectors.extend(labels[start : start + found].tolist())
        self.rank += found
        self._subtract(vectors, stop, len(vectors), panel)

    def _subtract(self, vectors: FloatArray, start: int, stop: int, panel: _Panel) -> None:
        """Subtract the multiples of a panel that clear its pivots in vectors start..stop."""
        middle = panel.first + len(panel.vectors)
        left = vectors[start:stop, panel.first : middle]
        if start < stop and middle < self.length:
            self.arithmetic.subtract_product(
                vectors, start, middle, left, panel.vectors[:, middle:]
            )

    def _reduce(
        self,
        vectors: FloatArray,
        start: int,
        stop: int,
        panel: tuple[int, int],
        first: int,
        labels: IntArray,
        swaps: IntArray,
    ) -> int:
        """
        Reduce vectors start..stop, free of earlier pivots, and return their rank k.

        Afterwards vectors start..start+k are the identity in coordinates first..first+k.
        """
        subtract = self.arithmetic.subtract_product
        if stop - start <= BASE:
            p, inverse = float(self.arithmetic.modulus), self.arithmetic.inverse
            rows = np.array([start, stop, *panel])
            return int(residues.eliminate(vectors, rows, first, p, inverse, labels, swaps))
        half = (start + stop) // 2
        upper = self._reduce(vectors, start, half, panel, first, labels, swaps)
        middle = first + upper
        if upper:
            left, right = vectors[half:stop, first:middle], vectors[start : start + upper, middle:]
            subtract(vectors, half, middle, left, right)
            left[:] = 0.0
        lower = self._reduce(vectors, half, stop, panel, middle, labels, swaps[upper:])
        end = middle + lower
        if upper and lower:
            left = vectors[start : start + upper, middle:end]
            subtract(vectors, start, end, left, vectors[half : half + lower, end:])
            left[:] = 0.0
        if lower and upper < half - start:
            target = start + upper
            vectors[target : target + lower] = vectors[half : half + lower].copy()
            labels[target : target + lower] = labels[half : half + lower].copy()
        return upper + lower
