"""Rank by singular values."""

import numpy as np

from patterndim.rank.result import Rank
from patterndim.typing import AnyArray, ArrayLike, FloatArray
from patterndim.validation import float_array, number, real_array


def numerical_rank(A: ArrayLike, rtol: float | None = None) -> Rank:
    """
    Number of singular values above a tolerance relative to the largest.

    A count, not a proof: look at ``gap``, the ratio of the two singular values on either side of
    the cut.  The default tolerance comes from the precision of the data, not of the array that
    holds it: see `data_precision`.

    Parameters
    ----------
    A : array of real numbers, shape (m, n)
        The matrix.
    rtol : float, optional
        Tolerance relative to the largest singular value; by default max(m, n) times the
        precision of the data.

    Returns
    -------
    Rank
        Of kind "numerical", with ``gap``, ``sigma`` and ``rtol``.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``A`` is not a finite real matrix.
    ArgumentError
        If ``rtol`` is not in [0, 1).

    Examples
    --------
    >>> rank = numerical_rank([[1.0, 2.0], [2.0, 4.0], [0.0, 1e-3]])
    >>> rank.value, rank.kind
    (2, 'numerical')
    """
    given = real_array("A", A)
    matrix = float_array("A", given, ("m", "n"))
    if rtol is None:
        rtol = min(max(matrix.shape) * data_precision(given), 0.5)
    else:
        number("rtol", rtol, low=0.0, high=1.0)
    return spectral_rank(matrix, rtol, min(matrix.shape))


def data_precision(A: AnyArray) -> float:
    """
    Relative precision to which the entries of an array are known.

    float16 and float32 arrays, and arrays of higher precision whose entries are float32 numbers
    without all being integers, have the precision of that type: a float32 Jacobian copied to a
    float64 array is still a float32 Jacobian, and the float64 tolerance counts its rounding
    errors as rank.  Everything else has that of float64.

    Examples
    --------
    >>> J = np.array([[0.1, 0.2]], dtype=np.float32)
    >>> data_precision(J), data_precision(J.astype(np.float64)), data_precision(np.array([[0.1]]))
    (1.1920928955078125e-07, 1.1920928955078125e-07, 2.220446049250313e-16)
    """
    if A.dtype in (np.float16, np.float32):
        return float(np.finfo(A.dtype).eps)
    if A.dtype.kind == "f":
        with np.errstate(over="ignore", under="ignore"):
            single = A.astype(np.float32)
        if np.array_equal(single.astype(A.dtype), A) and not np.array_equal(np.rint(A), A):
            return float(np.finfo(np.float32).eps)
    return float(np.finfo(np.float64).eps)


def spectral_rank(matrix: FloatArray, rtol: float, upper: int) -> Rank:
    """Rank by singular values of a finite matrix, at most a bound that holds for certain."""
    from scipy.linalg import svdvals

    # Counted at a scale where nothing overflows; a power of two does not round.
    largest = float(np.abs(matrix).max())
    scale = 2.0 ** -int(np.clip(np.frexp(largest)[1], -1000, 1000)) if largest else 1.0
    sigma = np.asarray(svdvals(matrix * scale, overwrite_a=True), dtype=np.float64)
    value = min(int(np.count_nonzero(sigma > rtol * sigma[0])), upper)
    above = float(sigma[value - 1]) if value else float("nan")
    below = float(sigma[value]) if value < len(sigma) else float("nan")
    gap = None
    if value and value < len(sigma):
        gap = above / below if below > 0.0 else float("inf")
    pair = above / scale, below / scale
    return Rank(value, "numerical", 0, upper, gap=gap, sigma=pair, rtol=rtol)
