"""Ranks that the usual recipes report: singular values above a tolerance of the array's type."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from patterndim.typing import AnyArray, FloatArray

#: Multiplications of a singular value decomposition that are done unasked, about ten seconds.
AFFORDABLE = 2e10


@dataclass(frozen=True)
class RecipeRank:
    """
    Rank of a Jacobian by a recipe: how many singular values exceed ``rtol`` times the largest.

    ``gap`` is the ratio of the two singular values on either side of the cut: near 1 the recipe
    cuts where nothing tells rank from rounding.
    """

    recipe: str
    value: int
    rtol: float
    gap: float


def affordable(inputs: int, outputs: int, parameters: int) -> bool:
    """Whether the singular values of a Jacobian come in seconds."""
    rows = inputs * outputs
    return float(rows) * parameters * min(rows, parameters) <= AFFORDABLE


def recipes(given: FloatArray, exact: FloatArray, double: bool) -> Iterator[RecipeRank]:
    """Ranks of a given Jacobian and of the analytic one, shapes (N, K, P)."""
    matrix, analytic = (J.reshape(-1, J.shape[2]) for J in (given, exact))
    single = matrix.astype(np.float32)
    if np.isfinite(single).all():
        yield _rank("float32 SVD, tolerance of float32", single)
        name = "float32 entries in a float64 array, tolerance of float64"
        yield _rank(name, single.astype(np.float64))
    if double:
        yield _rank("float64 SVD, tolerance of float64", matrix)
    else:
        yield _rank("float64 SVD of the analytic J, tolerance of float64", analytic)


def _rank(name: str, matrix: AnyArray) -> RecipeRank:
    """As numpy.linalg.matrix_rank and torch.linalg.matrix_rank count."""
    from scipy.linalg import svdvals

    sigma = np.asarray(svdvals(matrix, check_finite=False), dtype=np.float64)
    rtol = max(matrix.shape) * float(np.finfo(matrix.dtype).eps)
    value = int(np.count_nonzero(sigma > rtol * sigma[0]))
    gap = float("inf")
    if 0 < value < len(sigma) and sigma[value] > 0:
        gap = float(sigma[value - 1] / sigma[value])
    return RecipeRank(name, value, rtol, gap)
