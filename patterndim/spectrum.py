"""Singular values of the parameter Jacobian, with the precision that their route allows."""

from dataclasses import dataclass

import numpy as np

from patterndim.errors import ArgumentError, MemoryLimitError, NonFiniteError
from patterndim.factors import Factors, real_factors
from patterndim.jacobian import dense
from patterndim.network import Network
from patterndim.products import operator
from patterndim.tangent_kernel import gram
from patterndim.typing import ArrayLike, FloatArray, Output
from patterndim.validation import byte_count, choice, integer, number

METHODS = ("gram", "dense", "lanczos")
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """
    Singular values, and down to where they mean something.

    Attributes
    ----------
    values : array of float64, shape (k,)
        Singular values in descending order.
    method : str
        "gram", "dense" or "lanczos".
    precision : float
        Values below this fraction of the largest one are rounding errors.
    resolved : int
        Number of values above that; behind a softmax at most N (n_L - 1), as many as can differ
        from zero.
    complete : bool
        Whether these are all min(N n_L, P) singular values.
    """

    values: FloatArray
    method: str
    precision: float
    resolved: int
    complete: bool


def singular_values(
    network: Network,
    inputs: ArrayLike,
    *,
    method: str = "gram",
    output: Output = "affine",
    count: int | None = None,
    rtol: float | None = None,
    memory: int | str | None = None,
) -> Spectrum:
    """
    Singular values of the parameter Jacobian at a sample.

    By default from the eigenvalues of the Gram matrix, which comes from the factors and costs
    nothing in the number of parameters.  It squares the singular values: below about
    ``sqrt(N n_L eps)`` of the largest one, 1e-6 for 5,000 rows, they are lost.  The result says
    how many are resolved, and a precision that the method does not reach is refused.

    Parameters
    ----------
    network : Network
        ReLU network with P parameters.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    method : {"gram", "dense", "lanczos"}
        Eigenvalues of J J^T; singular values of J itself (N n_L P 8 bytes); or the ``count``
        largest ones by products with J and its transpose.
    output : {"affine", "softmax"} or array of float64, shape (k, n_L) or (N, k, n_L)
        As in `parameter_jacobian`.
    count : int, optional
        How many of the largest values to return; by default all.  Needed for "lanczos".
    rtol : float, optional
        Relative precision that is asked for.
    memory : int or str, optional
        Most bytes the matrix may take, such as ``"2GB"``.

    Returns
    -------
    Spectrum
        Values with their precision.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``inputs`` is not a finite real array of shape (N, n_0).
    ArgumentError
        If an option is not as above, or ``rtol`` is below what the method can reach.
    MemoryLimitError
        If the matrix would not fit in ``memory``.

    Examples
    --------
    >>> network = Network.from_layers([[[1.0]], [[2.0]]], [[0.0], [0.0]])
    >>> spectrum = singular_values(network, [[3.0], [1.0]])
    >>> np.round(spectrum.values, 6), spectrum.resolved
    (array([7.634414, 1.309858]), 2)
    """
    choice("method", method, METHODS)
    limit = byte_count(memory)
    wanted = None if count is None else integer("count", count, low=1)
    factors = real_factors(network, inputs, output)
    rows, P = len(factors.outputs) * factors.count, network.parameter_count
    if method == "lanczos" and (wanted is None or wanted >= min(rows, P)):
        raise ArgumentError(
            f"count must be from 1 to {min(rows, P) - 1} for method 'lanczos', got {count}"
        )
    precision = float(np.sqrt(rows * EPS)) if method == "gram" else max(rows, P) * EPS
    if rtol is not None and number("rtol", rtol, low=0.0) < precision:
        raise ArgumentError(
            f"rtol must be at least {precision:.1e} for method {method!r}, got {rtol:g}"
        )
    need = 8 * rows * {"gram": rows, "dense": P, "lanczos": 2}[method]
    if limit is not None and need > limit:
        raise MemoryLimitError(f"memory must be at least {need} bytes here, got {limit}")
    if method == "lanczos":
        values = _largest(factors, int(wanted or 1))
    else:
        values = (_from_gram if method == "gram" else _from_dense)(factors)
    values = values[: min(rows, P)][:wanted]
    resolved = int(np.count_nonzero(values > precision * values[0])) if values[0] > 0 else 0
    if isinstance(output, str) and output == "softmax":
        # The outputs of a softmax sum to 1: other values are zero, whatever rounding says.
        resolved = min(resolved, len(factors.outputs) * (factors.count - 1))
    return Spectrum(values, method, precision, resolved, len(values) == min(rows, P))


def _from_gram(factors: Factors) -> FloatArray:
    from scipy.linalg import eigvalsh

    with np.errstate(over="ignore", invalid="ignore"):
        K = gram(factors, factors, "full")
    if not np.isfinite(K).all():
        raise NonFiniteError("inputs must not make J J^T overflow float64, got an overflow")
    eigenvalues = eigvalsh(K, overwrite_a=True)
    return np.sqrt(np.maximum(eigenvalues[::-1], 0.0))


def _from_dense(factors: Factors) -> FloatArray:
    from scipy.linalg import svdvals

    return np.asarray(svdvals(dense(factors), overwrite_a=True), dtype=np.float64)


def _largest(factors: Factors, count: int) -> FloatArray:
    from scipy.sparse.linalg import svds

    J = operator(factors)
    start = np.random.default_rng(0).standard_normal(min(J.shape))
    values = svds(J, k=count, v0=start, return_singular_vectors=False)
    return np.asarray(np.sort(values)[::-1], dtype=np.float64)
