"""Random columns of a frozen Jacobian modulo a prime: chunk by chunk, here or on an executor."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray

from patterndim.architecture import Architecture, Layer
from patterndim.arithmetic import Modular
from patterndim.factors import factor, gates
from patterndim.frozen import FrozenJacobian
from patterndim.parallel import share_rows
from patterndim.plan import SPARE, TASK, Plan
from patterndim.sketch import TILE_ROWS, Compression, Directions, FactorTiles, Rows
from patterndim.typing import BoolArray, FloatArray, IntArray

SmallArray = NDArray[np.float32]

# First words of the keys of random generators: what they draw.
DIRECTIONS, COMPRESSION, PARAMETERS = 1, 2, 3
# Rough number of operations for an entry of a sketch: to share them among threads.
OPERATIONS = 10


@dataclass(frozen=True, eq=False)
class Source:
    """
    C J modulo a prime at inputs ``first``, ..., as far as a worker needs to know it.

    ``pixels`` are the columns of X that count: a column of zeros gives only zeros in J.
    """

    architecture: Architecture
    arithmetic: Modular
    theta: FloatArray
    C: FloatArray
    X: FloatArray
    masks: tuple[BoolArray, ...]
    pixels: IntArray
    key: tuple[int, ...]
    first: int = 0

    @classmethod
    def build(
        cls,
        frozen: FrozenJacobian,
        theta: FloatArray | None,
        arithmetic: Modular,
        key: tuple[int, ...],
    ) -> Self:
        """Jacobian at given parameters, or (None) at random residues."""
        if theta is None:
            rng = np.random.default_rng([PARAMETERS, *key])
            theta = arithmetic.random(rng, (frozen.architecture.parameter_count,))
        pixels = nonzero_columns(frozen.architecture, frozen.X)
        architecture, theta = restricted(frozen.architecture, theta, pixels)
        theta, C = arithmetic.encode(theta), arithmetic.encode(frozen.C)
        masks = frozen.pattern.masks
        return cls(architecture, arithmetic, theta, C, frozen.X, masks, pixels, key)

    def columns(self, start: int, stop: int, width: int, chunk: int) -> FloatArray:
        """
        Random columns number start, ..., stop, as rows: shape (stop - start, rows of C J).

        With a ``width`` they are compressed to that and a few spare entries.  ``chunk`` inputs
        are propagated at a time; it does not change the result modulo the prime, but the order
        of the rows.
        """
        outputs = len(self.C)
        directions = Directions(
            self.architecture, self.arithmetic, (DIRECTIONS, *self.key), start, stop
        )
        compression = self.compression(width)
        length = compression.length if width else len(self.X) * outputs
        out = np.zeros((directions.count, length))
        for inputs, tiles in self._chunks(chunk):
            where = slice(inputs.start * outputs, inputs.stop * outputs)
            ends = where.start + self.first * outputs, where.stop + self.first * outputs
            rows = compression.rows(*ends).by_output(outputs) if width else None
            work = partial(sketch_tiles, directions, tiles, rows, out if width else out[:, where])
            operations = len(out) * (where.stop - where.start) * OPERATIONS
            share_rows(work, -(-len(out) // TILE_ROWS), operations)
        return out

    def packed(self, start: int, stop: int, width: int, chunk: int) -> SmallArray:
        """Same in half the bytes, to be sent: float32 is exact below 2**24, as residues are."""
        return self.columns(start, stop, width, chunk).astype(np.float32)

    def compression(self, width: int) -> Compression:
        """Compression of columns to a width."""
        return Compression(self.arithmetic, (COMPRESSION, *self.key), width, SPARE)

    def part(self, start: int, stop: int) -> "Source":
        """Same at some of the inputs."""
        masks = tuple(mask[start:stop] for mask in self.masks)
        return replace(self, X=self.X[start:stop], masks=masks, first=self.first + start)

    def _chunks(self, chunk: int) -> Iterator[tuple[slice, FactorTiles]]:
        if chunk >= len(self.X):
            yield slice(0, len(self.X)), self._tiles
            return
        for start in range(0, len(self.X), chunk):
            stop = min(start + chunk, len(self.X))
            yield slice(start, stop), self.part(start, stop)._tiles

    @cached_property
    def _tiles(self) -> FactorTiles:
        gate = gates(self.architecture, self.masks)
        X = self.X if len(self.pixels) == self.X.shape[1] else self.X[:, self.pixels]
        factors = factor(self.architecture, self.theta, X, gate, self.arithmetic, self.C)
        return FactorTiles.of(factors, self.arithmetic.inner_length)


def sketch_tiles(
    directions: Directions,
    tiles: FactorTiles,
    rows: Rows | None,
    out: FloatArray,
    start: int,
    stop: int,
) -> None:
    """Write, or add compressed, the tiles of columns number start, ..., stop."""
    for top in range(start * TILE_ROWS, min(stop * TILE_ROWS, len(out)), TILE_ROWS):
        some = slice(top, min(top + TILE_ROWS, len(out)))
        part = directions.sketch(tiles, some)
        if rows is None:
            out[some] = part
        else:
            rows.add(part, out[some])


def gather(
    source: Source, start: int, stop: int, width: int, plan: Plan, executor: Executor | None
) -> FloatArray:
    """`Source.columns`, computed in parts by an executor if there is one."""
    if executor is None:
        return source.columns(start, stop, width, plan.chunk)
    outputs = len(source.C)
    inputs = len(source.X)
    # A compressed part is as long as the whole: it should stand for more rows than that.
    span = max(plan.chunk, -(-2 * width // outputs))
    out = np.zeros((stop - start, width + SPARE if width else inputs * outputs))
    pending: deque[tuple[slice, slice, Future[SmallArray]]] = deque()

    def collect() -> None:
        some, where, future = pending.popleft()
        if width:
            out[some] = source.arithmetic.reduce(out[some] + future.result())
        else:
            out[some, where] = future.result()

    try:
        for top, first in product(range(start, stop, TASK), range(0, inputs, span)):
            bottom, last = min(top + TASK, stop), min(first + span, inputs)
            if len(pending) == plan.window:
                collect()
            work = source.part(first, last).packed
            future = executor.submit(work, top, bottom, width, plan.chunk)
            where = slice(first * outputs, last * outputs)
            pending.append((slice(top - start, bottom - start), where, future))
        while pending:
            collect()
    finally:
        for _, _, future in pending:
            future.cancel()
    return out


def nonzero_columns(architecture: Architecture, X: FloatArray) -> IntArray:
    """Columns of X that are not all zero; all if a skip connection needs the input's width."""
    fixed = any(c.source == 0 and not c.trainable for c in architecture.connections)
    used = np.full(X.shape[1], True) if fixed else np.asarray(X.any(axis=0))
    used[0] |= not used.any()  # a network needs an input
    return np.flatnonzero(used)


def restricted(
    architecture: Architecture, theta: FloatArray, pixels: IntArray
) -> tuple[Architecture, FloatArray]:
    """Network of some of the inputs, the others being zero."""
    if len(pixels) == architecture.widths[0]:
        return architecture, theta
    layers = (Layer(len(pixels)), *architecture.layers[1:])
    smaller = Architecture(layers, architecture.connections)
    parameters: Sequence[FloatArray | None] = architecture.weights_of(theta)
    result = np.empty(smaller.parameter_count)
    for old, new, c in zip(
        parameters, smaller.weights_of(result), smaller.connections, strict=True
    ):
        if old is not None and new is not None:
            new[:] = old[:, pixels] if c.source == 0 else old
    for old, new in zip(architecture.biases_of(theta), smaller.biases_of(result), strict=True):
        if old is not None and new is not None:
            new[:] = old
    return smaller, result
