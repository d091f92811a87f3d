"""Rank by singular values of a random sketch."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from patterndim.errors import KindError, ShapeError
from patterndim.parallel import share_rows
from patterndim.rank.numerical import data_precision
from patterndim.rank.result import Rank
from patterndim.rank.triangle import Triangle
from patterndim.typing import ArrayLike, FloatArray, Seed
from patterndim.validation import float_array, number, real_array
from patterndim.validation import seed as as_seed

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

#: Columns of the first sketch.
FIRST = 128
#: Columns of random numbers at a time, and rows of them that come from one generator.
AT_ONCE, SHARE = 512, 1024


def sketched_rank(
    A: "ArrayLike | LinearOperator", rtol: float | None = None, *, rng: Seed = 0
) -> Rank:
    """
    Number of singular values of a random sketch above a tolerance.

    The sketch ``A @ Omega`` has Gaussian columns, at first few; their number doubles until it
    exceeds the rank found by 10 % or 50 columns, whichever is more.  A sketch never has a higher
    rank than A; its small singular values are smaller than those of A, by a factor that
    oversampling bounds.

    Parameters
    ----------
    A : array of real numbers, shape (m, n), or scipy.sparse.linalg.LinearOperator
        The matrix, or its products with vectors.
    rtol : float, optional
        Tolerance relative to the largest singular value of the sketch; by default max(m, n)
        times the precision of the data.
    rng : int or numpy.random.Generator
        Source of the sketch.

    Returns
    -------
    Rank
        Of kind "numerical", with ``gap``, ``sigma`` and ``rtol`` of the sketch.  Of a sketch with
        more than 640 columns ``sigma`` are bounds from a QR factorization, the first from below
        and the second from above, if they decide the rank, otherwise singular values as well.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``A`` is neither an operator nor a finite real matrix.

    References
    ----------
    .. [1] M. Meier, Y. Nakatsukasa, "Fast randomized numerical rank estimation for numerically
       low-rank matrices", arXiv:2105.07388.

    Examples
    --------
    >>> left, right = np.random.default_rng(0).standard_normal((2, 300, 7))
    >>> sketched_rank(left @ right.T).value
    7
    """
    seed = as_seed(rng)
    if rtol is not None:
        number("rtol", rtol, low=0.0, high=1.0)
    if hasattr(A, "matmat"):
        operator: LinearOperator = A  # type: ignore[assignment]
        if 0 in operator.shape:
            raise ShapeError(f"A must have shape (m, n), not empty, got {operator.shape}")
        if np.dtype(operator.dtype).kind not in "biuf":
            raise KindError(f"A must hold real numbers, got dtype {operator.dtype}")
        shape, precision = operator.shape, float(np.finfo(np.float64).eps)
        multiply: Callable[[FloatArray], FloatArray] = operator.matmat
    else:
        given = real_array("A", A)
        matrix = float_array("A", given, ("m", "n"))
        shape, precision = matrix.shape, data_precision(given)
        multiply = matrix.__matmul__
    generator = np.random.default_rng(seed)

    def columns(count: int) -> FloatArray:
        sketch = np.empty((shape[0], count), order="F")
        for first in range(0, count, AT_ONCE):
            part = slice(first, first + AT_ONCE)
            omega = _gaussian(generator, shape[1], sketch[:, part].shape[1])
            with np.errstate(over="ignore", invalid="ignore"):
                sketch[:, part] = float_array(
                    "A @ Omega", multiply(omega), (shape[0], len(omega.T))
                )
        return sketch

    tolerance = min(max(shape) * precision, 0.5) if rtol is None else rtol
    return sketch_until_deficient(columns, min(shape), tolerance, seed)


def _gaussian(rng: np.random.Generator, rows: int, columns: int) -> FloatArray:
    """Standard normal numbers, the same for any number of threads."""
    children = rng.spawn(-(-rows // SHARE))
    omega = np.empty((rows, columns))

    def work(start: int, stop: int) -> None:
        for i in range(start, stop):
            part = omega[i * SHARE : (i + 1) * SHARE]
            children[i].standard_normal(out=part)

    share_rows(work, len(children), 10 * omega.size)
    return omega


def sketch_until_deficient(
    columns: Callable[[int], FloatArray], upper: int, rtol: float, seed: int
) -> Rank:
    """
    Rank from ever wider sketches; ``columns(count)`` returns fresh columns, shape (m, count).

    ``upper`` is a bound on the rank that holds for certain.
    """
    most = _wanted(upper)
    sketch = Triangle(columns(min(FIRST, most)))
    while True:
        if sketch.width >= min(_wanted(sketch.guess(rtol)), most):
            rank = sketch.rank(rtol, upper)
            if sketch.width >= min(_wanted(rank.value), most):
                return replace(rank, seed=seed)
        sketch.extend(columns(min(sketch.width, most - sketch.width)))


def _wanted(rank: int) -> int:
    """Columns that show a rank."""
    return rank + oversampling(rank)


def oversampling(rank: int) -> int:
    """Spare columns for a float64 sketch: 10 % or 50, whichever is more."""
    return max(50, -(-rank // 10))
