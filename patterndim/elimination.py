"""Exact rank of a frozen Jacobian modulo primes, by elimination of a structured sketch."""

from collections.abc import Callable

import numpy as np

from patterndim.arithmetic import Modular, random_prime
from patterndim.factors import factor
from patterndim.failure import failure
from patterndim.frozen import FrozenJacobian
from patterndim.rank.echelon import Echelon
from patterndim.rank.result import Rank
from patterndim.sketch import Compression, Directions
from patterndim.typing import FloatArray

#: Random columns, and random rows, that must add nothing before a sketch counts as large enough.
SPARE = 8
#: Columns of the first sketch; each later one is half as wide as all before, up to LARGEST.
FIRST, LARGEST = 256, 2048
#: Inputs that are propagated at a time.
CHUNK = 1024

Progress = Callable[[int, int], None]


def modular(
    frozen: FrozenJacobian,
    theta: FloatArray | None,
    seed: int,
    primes: int,
    progress: Progress | None = None,
) -> Rank:
    """Rank at given parameters, or (None) at random residues, modulo up to so many primes."""
    rng = np.random.default_rng(seed)
    value, modulus, columns, upper = -1, 0, 0, frozen.upper.value
    for _ in range(primes):
        arithmetic = Modular(random_prime(rng))
        found, count = _eliminate(frozen, theta, arithmetic, rng, progress)
        columns = max(columns, count)
        if found > value:
            value, modulus = found, arithmetic.modulus
        if value == upper:
            return Rank(value, "proved", value, upper, 0.0, modulus, seed)
    chance = failure(frozen, theta, value, columns, SPARE) ** primes
    return Rank(value, "probable", value, upper, chance, modulus, seed)


def need(frozen: FrozenJacobian) -> int:
    """Bytes that `modular` may take: the echelon form, a batch of columns, a chunk of factors."""
    most = frozen.upper.value + SPARE
    length = min(frozen.rows, _width(frozen))
    inputs = min(len(frozen.X), CHUNK)
    batch = min(most, LARGEST) * (3 * length + 3 * inputs * len(frozen.C))
    factors = 3 * inputs * (len(frozen.C) + 1) * sum(frozen.architecture.widths)
    return 8 * (most * length + batch + factors + frozen.X.size)


def _width(frozen: FrozenJacobian) -> int:
    """Coordinates of compressed columns: a few more than the rank can be."""
    return frozen.upper.value + frozen.upper.value // 32 + 2 * SPARE


def _eliminate(
    frozen: FrozenJacobian,
    theta: FloatArray | None,
    arithmetic: Modular,
    rng: np.random.Generator,
    progress: Progress | None,
) -> tuple[int, int]:
    """Rank modulo one prime, and the number of columns that showed it."""
    if theta is None:
        theta = arithmetic.random(rng, (frozen.architecture.parameter_count,))
    width = _width(frozen)
    while True:
        # Columns much longer than the rank can be are compressed; the rank cannot grow by it.
        tall = frozen.rows > 1.25 * width
        compression = Compression(arithmetic, rng, frozen.rows, width, SPARE) if tall else None
        echelon = Echelon(arithmetic, compression.length if compression else frozen.rows)
        upper = frozen.upper.value
        while echelon.rank < upper and echelon.count < echelon.rank + SPARE:
            count = min(max(FIRST, echelon.count // 2), LARGEST, upper + SPARE - echelon.count)
            directions = Directions(frozen.architecture, arithmetic, rng, count)
            echelon.extend(_columns(frozen, theta, arithmetic, directions, compression))
            if progress is not None:
                progress(echelon.rank, upper)
        enough = compression is None or compression.sufficed(echelon.pivot_coordinates)
        if enough or echelon.rank >= upper:
            return echelon.rank, echelon.count
        width *= 2


def _columns(
    frozen: FrozenJacobian,
    theta: FloatArray,
    arithmetic: Modular,
    directions: Directions,
    compression: Compression | None,
) -> FloatArray:
    """Random columns of C J, a chunk of inputs at a time; shape (count, rows), or compressed."""
    outputs = len(frozen.C)
    length = compression.length if compression else frozen.rows
    out = np.zeros((directions.count, length))
    for start in range(0, len(frozen.X), CHUNK):
        inputs = slice(start, start + CHUNK)
        gate = [values[inputs] for values in frozen.gate]
        factors = factor(frozen.architecture, theta, frozen.X[inputs], gate, arithmetic, frozen.C)
        part = directions.sketch(factors)
        where = slice(start * outputs, start * outputs + part.shape[1])
        if compression is None:
            out[:, where] = part
        else:
            compression.add(part, where, out)
    return out
