"""
Random columns J omega from the factors, never forming J, and random compression of their rows.

Each omega has rank one per connection: with ``omega_e = u (outer) (v, v_0)`` in the block of the
connection e = (u -> v) and the bias of its target,

    (J omega)[x, c] = sum over e of (B_v[x] u)[c] * (h_u[x] . v + v_0).

Such omegas span R^P.  If the columns so far do not span the range of J modulo p, a fresh column
lies in their span with probability at most 2 / p: a functional that vanishes on them but not on
the range is a nonzero polynomial of degree 2 in the entries of u and v (Schwartz-Zippel).

Random numbers belong to fixed blocks of columns, and of rows, each with a generator of its own:
any part of a sketch can be computed anywhere and in any order, and comes out the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from patterndim.architecture import Architecture
from patterndim.arithmetic import Modular
from patterndim.factors import Factors
from patterndim.kernels import sketch as kernels
from patterndim.typing import FloatArray, IntArray

#: Columns that share a random generator.
COLUMN_BLOCK = 64
#: Columns of a structured product.
TILE_ROWS = 64
#: Products of (rows, inner) and (inner, width) up to this rows * inner * width run in one thread:
#: OpenBLAS starts its own above it, and they would disturb those that share the columns.
TILE, TILE_WIDTHS = 2**18, (128, 64, 32, 16)


class SketchArithmetic(Protocol):
    """What the sketch needs of numbers."""

    def random(self, rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
        """Random numbers."""


@dataclass(frozen=True)
class _Block:
    """Random directions of one connection, or of one bias alone: u, v and v_0 by rows."""

    target: int
    source: int | None
    u: FloatArray
    v: FloatArray
    constant: FloatArray


class Directions:
    """
    Random directions in parameter space, of rank one per connection.

    They are numbers ``start`` to ``stop`` of the endless sequence that ``key`` names.
    """

    def __init__(
        self,
        architecture: Architecture,
        arithmetic: SketchArithmetic,
        key: Sequence[int],
        start: int,
        stop: int,
    ) -> None:
        self.arithmetic = arithmetic
        self.count = stop - start
        first = start // COLUMN_BLOCK
        drawn = [
            _draw(architecture, arithmetic, np.random.default_rng([*key, block]))
            for block in range(first, -(-stop // COLUMN_BLOCK))
        ]
        inside = slice(start - first * COLUMN_BLOCK, stop - first * COLUMN_BLOCK)
        self.blocks = [_joined(parts, inside) for parts in zip(*drawn, strict=True)]

    def sketch(self, tiles: "FactorTiles", columns: slice) -> FloatArray:
        """J omega for a few directions, as rows: shape (columns, outputs * N), output-major."""
        count = len(range(*columns.indices(self.count)))
        left = np.empty((len(self.blocks), count, _padded(tiles.outputs * tiles.inputs)))
        right = np.empty((len(self.blocks), count, _padded(tiles.inputs)))
        for e, block in enumerate(self.blocks):
            self._product(block.u[columns], tiles.B[block.target - 1], left[e])
            if block.source is None:
                right[e] = 0.0
            else:
                self._product(block.v[columns], tiles.h[block.source], right[e])
            right[e] += block.constant[columns]
        out = np.empty((count, tiles.outputs * tiles.inputs))
        if isinstance(self.arithmetic, Modular):
            p, inverse = float(self.arithmetic.modulus), self.arithmetic.inverse
            kernels.combine(left, right, p, inverse, tiles.inputs, out)
        else:
            cube = left[:, :, : out.shape[1]].reshape(len(left), count, tiles.outputs, -1)
            cube = cube * right[:, :, np.newaxis, : tiles.inputs]
            cube.sum(axis=0, out=out.reshape(cube.shape[1:]))
        return out

    def _product(self, left: FloatArray, tiles: FloatArray, out: FloatArray) -> None:
        """
        Write ``left`` (k, n) times a matrix in tiles; modulo a prime, integers not yet reduced.

        They are sums of at most `Modular.inner_length` products and one residue.
        """
        blocks, count, inner, width = tiles.shape
        view = out.reshape(len(left), count, width).transpose(1, 0, 2)
        np.matmul(left[:, :inner], tiles[0], out=view)
        summed = inner
        for block in range(1, blocks):
            part = left[:, block * inner : (block + 1) * inner]
            summed += inner
            if isinstance(self.arithmetic, Modular) and summed > self.arithmetic.inner_length:
                kernels.reduce(out, float(self.arithmetic.modulus), self.arithmetic.inverse)
                summed = inner
            view += np.matmul(part, tiles[block, :, : part.shape[1]])


@dataclass(frozen=True)
class FactorTiles:
    """
    Factors as small tiles, which BLAS multiplies within one thread and in its cache.

    The threads are those that share the columns.
    """

    outputs: int
    inputs: int
    B: tuple[FloatArray, ...]
    h: tuple[FloatArray, ...]

    @classmethod
    def of(cls, factors: Factors, longest: int) -> Self:
        """Cut the factors in tiles of inner length at most ``longest``."""
        outputs, inputs, _ = factors.sensitivity(len(factors.activations) - 1).shape
        B = [factors.sensitivity(v) for v in range(1, len(factors.activations))]
        flat = (values.reshape(outputs * inputs, -1) for values in B)
        return cls(
            outputs,
            inputs,
            tuple(_tiles(values, longest) for values in flat),
            tuple(_tiles(values, longest) for values in factors.activations[:-1]),
        )


def _tiles(matrix: FloatArray, longest: int) -> FloatArray:
    """Tiles (blocks, count, inner, width) of the transpose of a matrix (n, inner), padded by 0."""
    rows, columns = matrix.shape
    inner = min(columns, TILE // TILE_ROWS // TILE_WIDTHS[-1], longest)
    width = next(w for w in TILE_WIDTHS if TILE_ROWS * inner * w <= TILE)
    blocks, count = -(-columns // inner), _padded(rows) // width
    whole = np.zeros((blocks * inner, count * width))
    whole[:columns, :rows] = matrix.T
    return np.ascontiguousarray(whole.reshape(blocks, inner, count, width).transpose(0, 2, 1, 3))


def _padded(rows: int) -> int:
    return -(-rows // TILE_WIDTHS[0]) * TILE_WIDTHS[0]


def _draw(
    architecture: Architecture, arithmetic: SketchArithmetic, rng: np.random.Generator
) -> list[_Block]:
    """Draw `COLUMN_BLOCK` directions."""
    blocks = []
    for target, layer in enumerate(architecture.layers[1:], start=1):
        edges = [architecture.connections[e] for e in architecture.incoming[target]]
        sources: list[int | None] = [edge.source for edge in edges if edge.trainable]
        for number, source in enumerate(sources or [None] * layer.bias):
            u = arithmetic.random(rng, (COLUMN_BLOCK, layer.width))
            width = 0 if source is None else architecture.widths[source]
            v = arithmetic.random(rng, (COLUMN_BLOCK, width))
            constant = np.zeros((COLUMN_BLOCK, 1))
            if layer.bias and number == 0:
                constant = arithmetic.random(rng, (COLUMN_BLOCK, 1))
            blocks.append(_Block(target, source, u, v, constant))
    return blocks


def _joined(parts: Sequence[_Block], inside: slice) -> _Block:
    """One block of what was drawn in several, without the directions outside a range."""
    u, v, constant = (
        np.concatenate([getattr(part, name) for part in parts])[inside]
        for name in ("u", "v", "constant")
    )
    return _Block(parts[0].target, parts[0].source, u, v, constant)


@dataclass(frozen=True)
class Compression:
    """
    Random linear map of long columns to short ones, modulo a prime.

    Each row goes, times random residues, to `COPIES` of the ``width`` short coordinates; of every
    ``width`` rows in a row, a lap, each coordinate receives equally many.  Such a map may lose
    rank.  So ``spare`` dense random combinations of all rows follow: if the sparse ones had lost
    rank, each of them would add to it except with probability 1 / p, and elimination, which takes
    pivots from the left, would find it.  Compression of parts of the rows adds up.
    """

    COPIES = 4

    arithmetic: Modular
    key: tuple[int, ...]
    width: int
    spare: int

    @property
    def length(self) -> int:
        """Number of coordinates of a compressed column."""
        return self.width + self.spare

    def rows(self, start: int, stop: int) -> "Rows":
        """Part of the map that belongs to some rows."""
        first = start // self.width
        laps = [self._lap(lap) for lap in range(first, -(-stop // self.width))]
        inside = slice(start - first * self.width, stop - first * self.width)
        places, weights, dense = (
            np.ascontiguousarray(np.concatenate(parts, axis=1)[:, inside])
            for parts in zip(*laps, strict=True)
        )
        return Rows(self.arithmetic, self.width, places, weights, dense)

    def _lap(self, lap: int) -> tuple[IntArray, FloatArray, FloatArray]:
        """Places, weights and dense coefficients of rows lap * width, ..., of the map."""
        rng = np.random.default_rng([*self.key, self.width, lap])
        places = np.stack([rng.permutation(self.width) for _ in range(self.COPIES)])
        weights = self.arithmetic.random(rng, (self.COPIES, self.width))
        return places, weights, self.arithmetic.random(rng, (self.spare, self.width))

    def sufficed(self, pivots: IntArray) -> bool:
        """Whether the sparse coordinates alone carried the rank, given the pivots of it."""
        return not (pivots >= self.width).any()


@dataclass(frozen=True)
class Rows:
    """Some rows' part of a `Compression`: places and weights (copies, n), dense (spare, n)."""

    arithmetic: Modular
    width: int
    places: IntArray
    weights: FloatArray
    dense: FloatArray

    def by_output(self, outputs: int) -> "Rows":
        """Take rows that are numbered input by input in the order output by output."""
        order = np.arange(self.places.shape[1]).reshape(-1, outputs).T.reshape(-1)
        # take, unlike indexing, gives C-contiguous arrays
        places, weights = self.places.take(order, axis=1), self.weights.take(order, axis=1)
        return Rows(self.arithmetic, self.width, places, weights, self.dense.take(order, axis=1))

    def add(self, vectors: FloatArray, out: FloatArray) -> None:
        """Add the compression of a few columns, the rows of ``vectors`` (k, n), to ``out``."""
        p, inverse = float(self.arithmetic.modulus), self.arithmetic.inverse
        kernels.compress(vectors, self.places, self.weights, p, inverse, out)
        check = np.ascontiguousarray(out[:, self.width :])
        step = min(self.arithmetic.inner_length, TILE // TILE_ROWS // len(self.dense))
        for near in range(0, self.places.shape[1], step):
            some = slice(near, near + step)
            check += vectors[:, some] @ self.dense[:, some].T
            kernels.reduce(check, p, inverse)
        out[:, self.width :] = check
