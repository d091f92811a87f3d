"""Elimination of vectors modulo a prime, which can be extended by further vectors."""

from dataclasses import dataclass, field

import numpy as np

from patterndim.arithmetic import Modular
from patterndim.kernels import elimination
from patterndim.parallel import share_rows
from patterndim.typing import FloatArray, IntArray

#: Vectors, and coordinates, whose transformation one kernel call finds; 127 suits any modulus.
PANEL = 128


@dataclass
class _Block:
    """
    Pivot vectors of one call of `extend`, (k, n), in permuted coordinates.

    Pivot vector i belongs to coordinate bounds[0] + i.  Vectors whose pivots lie between two
    consecutive ``bounds`` form a panel.  In the pivot coordinates of its panel a vector is a row
    of the identity and in those of earlier panels it is zero: both are never read, nor written.
    """

    vectors: FloatArray
    bounds: list[int] = field(default_factory=list)

    def panels(self, low: int, high: int, start: int, stop: int | None) -> FloatArray:
        """Coordinates start..stop of the vectors of panels low..high."""
        first, end = self.bounds[low] - self.bounds[0], self.bounds[high] - self.bounds[0]
        return self.vectors[first:end, start:stop]


class Echelon:
    """
    Row echelon form modulo a prime of all vectors handed to `extend` so far.

    The pivots are consecutive coordinates of a running permutation.  A panel of vectors is
    brought to the form [0 | I | rest] by one product with a small matrix, found from a square
    part of it.  Panels are combined as in recursive elimination: after 2**k panels, the next
    2**k are cleared at once, so nearly all the work is in products with long inner sums
    (`Modular.subtract_product`).  A panel never changes afterwards but for the permutation of
    its coordinates.

    ``pivot_vectors`` are the numbers of the first linearly independent vectors, whatever the
    blocks, though not in order: pivot i is in vector pivot_vectors[i] and coordinate
    pivot_coordinates[i].
    """

    def __init__(self, arithmetic: Modular, length: int) -> None:
        self.arithmetic = arithmetic
        self.length = length
        self.rank = 0
        self.count = 0
        self.permutation = np.arange(length)
        self.pivot_vectors: list[int] = []
        self._blocks: list[_Block] = []

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
        for block in reversed(self._blocks):
            for panel in reversed(range(len(block.bounds) - 1)):
                first, stop = block.bounds[panel : panel + 2]
                rest = block.panels(panel, panel + 1, stop, None)
                found[first:stop] = -self.arithmetic.product(rest, found[stop:])
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
            vectors = np.take(vectors, self.permutation, axis=1)
        for block in self._blocks:
            self._clear(vectors, block, 0, len(block.bounds) - 1)
        size = min(PANEL, self.arithmetic.inner_length)
        block = _Block(vectors, [self.rank])
        self._blocks.append(block)
        marks = [0]  # panels of the block before each step
        for step, start in enumerate(range(0, len(vectors), size), start=1):
            if self.rank == self.length:
                break
            stop = min(start + size, len(vectors))
            self._eliminate(block, np.arange(start, stop))
            marks.append(len(block.bounds) - 1)
            span = step & -step
            self._clear(vectors[stop : stop + span * size], block, marks[-1 - span], marks[-1])
        self.count += len(vectors)
        grown = self.rank - before
        # What holds no pivot need not be kept.
        block.vectors = vectors[:grown] if 2 * grown > len(vectors) else vectors[:grown].copy()
        if not grown:
            self._blocks.pop()
        self._join()
        return grown

    def _join(self) -> None:
        """Make one panel of the last blocks while they are small: few vectors may come often."""
        while len(self._blocks) > 1:
            one, two = self._blocks[-2:]
            if len(one.vectors) > min(len(two.vectors), PANEL - len(two.vectors)):
                return
            joined = _Block(
                np.concatenate([one.vectors, two.vectors]), one.bounds[:-1] + two.bounds
            )
            end = joined.bounds[-1]
            for high in range(len(joined.bounds) - 2, 0, -1):
                above = joined.panels(0, high, 0, None)
                self._subtract(above, joined, high, high + 1, end, self.length)
            joined.bounds = [joined.bounds[0], end]
            self._blocks[-2:] = [joined]

    def _clear(self, vectors: FloatArray, block: _Block, low: int, high: int) -> None:
        """Subtract the multiples of panels low..high that clear their pivots in other vectors."""
        first, stop = block.bounds[low], block.bounds[high]
        if vectors[:, first:stop].any():
            self._solve(vectors, block, low, high)
            self._subtract(vectors, block, low, high, stop, self.length)

    def _solve(self, vectors: FloatArray, block: _Block, low: int, high: int) -> None:
        """Put the multiples of panels low..high in place of the coordinates of their pivots."""
        if high - low > 1:
            middle = (low + high) // 2
            self._solve(vectors, block, low, middle)
            bounds = block.bounds
            self._subtract(vectors, block, low, middle, bounds[middle], bounds[high])
            self._solve(vectors, block, middle, high)

    def _subtract(
        self, vectors: FloatArray, block: _Block, low: int, high: int, start: int, stop: int
    ) -> None:
        """Subtract given multiples of panels low..high in coordinates start..stop."""
        if start < stop:
            left = vectors[:, block.bounds[low] : block.bounds[high]]
            right = block.panels(low, high, start, stop)
            self.arithmetic.subtract_product(vectors, 0, start, left, right)

    def _eliminate(self, block: _Block, rows: IntArray) -> None:
        """Find the pivots in rows that are free of earlier pivots, and append them as panels."""
        vectors, top = block.vectors, self.rank - block.bounds[0]
        found = rows[:0]
        while rows.size and self.rank < self.length:
            column = elimination.first_column(vectors, rows, self.rank)
            if column == self.length:
                break
            pivots = self._transform(vectors, rows, column)
            block.bounds.append(self.rank)
            found = np.concatenate([found, pivots])
            rows = np.setdiff1d(rows, pivots, assume_unique=True)
        self.pivot_vectors.extend((self.count + found).tolist())
        if not np.array_equal(found, np.arange(top, top + found.size)):
            vectors[top : top + found.size] = vectors[found]

    def _transform(self, vectors: FloatArray, rows: IntArray, column: int) -> IntArray:
        """Bring the rows to the form [I | rest] as far as a window of coordinates has pivots."""
        p, inverse = float(self.arithmetic.modulus), self.arithmetic.inverse
        window = vectors[rows, column : column + PANEL]
        touched = window.any(axis=1)
        window, rows = window[touched], rows[touched]
        T, order = np.empty((rows.size, rows.size)), np.empty(rows.size, dtype=np.int64)
        swaps = np.empty(min(window.shape), dtype=np.int64)
        found = elimination.invert(window, p, inverse, order, swaps, T)
        self._exchange(column, column + swaps[:found])
        self._exchange(self.rank, np.arange(column, column + found))
        self.rank += found
        rest = vectors[:, self.rank :]
        whole = rows[-1] - rows[0] == rows.size - 1
        rest = rest[rows[0] : rows[-1] + 1] if whole else rest[rows]
        # As many terms as rows, at most the inner length: exact in any order of summation.
        product, rows = T[order] @ rest, rows[order]

        def work(start: int, stop: int) -> None:
            elimination.store_rows(product, start, stop, p, inverse, rows, self.rank, vectors)

        share_rows(work, rows.size, product.size)
        return rows[:found]

    def _exchange(self, first: int, swaps: IntArray) -> None:
        """Exchange coordinates first + i and swaps[i], i = 0, 1, ..., everywhere."""
        if np.array_equal(swaps, np.arange(first, first + swaps.size)):
            return
        for block in self._blocks:
            elimination.swap_columns(block.vectors, 0, len(block.vectors), first, swaps)
        for position, other in enumerate(swaps.tolist(), start=first):
            self.permutation[[position, other]] = self.permutation[[other, position]]
