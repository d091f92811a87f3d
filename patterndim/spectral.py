"""Numerical ranks of a frozen Jacobian: singular values of a float64 sketch, or of J itself."""

import numpy as np

from patterndim.arithmetic import Real
from patterndim.errors import NonFiniteError
from patterndim.factors import checked
from patterndim.frozen import FrozenJacobian
from patterndim.jacobian import dense
from patterndim.network import Network
from patterndim.rank.numerical import spectral_rank
from patterndim.rank.result import Rank
from patterndim.rank.sketched import oversampling, sketch_until_deficient
from patterndim.sketch import TILE, TILE_ROWS, Directions, FactorTiles
from patterndim.typing import FloatArray


def sketched(frozen: FrozenJacobian, network: Network, seed: int) -> Rank:
    """Rank by singular values of a float64 sketch."""
    if frozen.upper.value == 0:
        return Rank(0, "proved", 0, 0)
    factors = checked(network, frozen.X, frozen.gate, frozen.head.C)
    tiles = FactorTiles.of(factors, TILE)
    used = 0

    def columns(count: int) -> FloatArray:
        nonlocal used
        used += count
        with np.errstate(over="ignore", invalid="ignore"):
            directions = Directions(frozen.architecture, Real(), (seed,), used - count, used)
            tops = range(0, count, TILE_ROWS)
            parts = [directions.sketch(tiles, slice(top, top + TILE_ROWS)) for top in tops]
            sketch = np.concatenate(parts).T
        if not np.isfinite(sketch).all():
            raise NonFiniteError(
                "inputs must not make the sketch overflow float64, got an overflow"
            )
        return sketch

    return sketch_until_deficient(columns, frozen.upper.value, _tolerance(frozen), seed)


def numerical(frozen: FrozenJacobian, network: Network) -> Rank:
    """Rank by singular values of J itself."""
    if frozen.upper.value == 0:
        return Rank(0, "proved", 0, 0)
    J = dense(checked(network, frozen.X, frozen.gate, frozen.head.C))
    return spectral_rank(J, _tolerance(frozen), frozen.upper.value)


def need(frozen: FrozenJacobian, method: str) -> int:
    """Bytes that "sketched" or "numerical" may take: the matrix, its copies, the factors."""
    columns, copies = frozen.architecture.parameter_count, 3
    if method == "sketched":
        columns, copies = frozen.upper.value + oversampling(frozen.upper.value), 5
    factors = 2 * (frozen.rows + len(frozen.X)) * sum(frozen.architecture.widths)
    return 8 * (copies * frozen.rows * columns + factors)


def _tolerance(frozen: FrozenJacobian) -> float:
    # J is computed in float64 from parameters that are taken as exact.
    largest = max(frozen.rows, frozen.architecture.parameter_count)
    return largest * float(np.finfo(np.float64).eps)
