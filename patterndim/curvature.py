"""Flatness: directions that leave the outputs unchanged, and the curvature of a loss."""

from dataclasses import dataclass

import numpy as np

from patterndim.dimension import Dimension, local_dimension
from patterndim.errors import NonFiniteError
from patterndim.factors import Factors, real_factors
from patterndim.jacobian import pullback, pushforward
from patterndim.network import Network
from patterndim.tangent_kernel import gram, self_blocks
from patterndim.typing import ArrayLike, FloatArray, Seed
from patterndim.validation import choice, integer

LOSSES = ("square", "cross-entropy")
#: Below so many rows or parameters eigenvalues come from the Gram matrix itself.
SMALL = 64


@dataclass(frozen=True, eq=False)
class Curvature:
    """
    A positive semidefinite matrix A^T A of shape (P, P), never formed.

    Attributes
    ----------
    rank : Dimension
        Its rank, exact: that of A.
    trace : float
        Sum of its eigenvalues.
    eigenvalues : array of float64, shape (k,)
        Its largest eigenvalues, in descending order.
    """

    rank: Dimension
    trace: float
    eigenvalues: FloatArray


@dataclass(frozen=True, eq=False)
class Flatness:
    """
    How flat a network is at a sample.

    Attributes
    ----------
    value : int
        P minus the local dimension: the dimension of the set of parameters near theta with the
        same outputs on the sample.  It does not depend on a loss and is not changed by
        rescaling, unlike the curvatures.
    dimension : Dimension
        The local dimension.
    jacobian : Curvature
        J^T J.
    gauss_newton : Curvature
        Gauss-Newton matrix of the mean loss over the sample, J^T H J / N with H the second
        derivative of the loss of one input by its outputs; at an interpolating minimum of the
        square loss it is the Hessian.
    loss : str
        "square" (H the identity) or "cross-entropy" (H = diag(q) - q q^T, q the softmax).
    """

    value: int
    dimension: Dimension
    jacobian: Curvature
    gauss_newton: Curvature
    loss: str


def flatness(
    network: Network, inputs: ArrayLike, *, loss: str = "square", top: int = 1, rng: Seed = 0
) -> Flatness:
    """
    Number of flat directions at a sample, and the curvature of a loss from the factors.

    Near theta the parameters with the same outputs on the sample form a set of dimension P minus
    the local dimension.  Ranks are exact; traces and eigenvalues are float64, by products with J
    and its transpose, which is never formed.

    Parameters
    ----------
    network : Network
        ReLU network with P parameters.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    loss : {"square", "cross-entropy"}
        As in `patterndim.training.sgd`; neither Gauss-Newton matrix depends on the targets.
    top : int
        How many eigenvalues to find.
    rng : int or numpy.random.Generator
        Source of the primes and sketches of the exact ranks.

    Returns
    -------
    Flatness
        Flat directions, J^T J and the Gauss-Newton matrix.

    Raises
    ------
    ShapeError, NonFiniteError, KindError, ArgumentError
        If an argument is not as above.

    References
    ----------
    .. [1] J. Bona-Pellissier, F. Malgouyres, F. Bachoc, "Geometry-induced implicit
       regularization in deep ReLU neural networks", arXiv:2402.08269.

    Examples
    --------
    >>> network = Network.from_layers([[[1.0]], [[2.0]]], [[0.0], [0.0]])
    >>> flat = flatness(network, [[1.0], [2.0], [3.0]])
    >>> flat.value, flat.gauss_newton.rank.value, flat.jacobian.trace
    (2, 2, 85.0)
    """
    choice("loss", loss, LOSSES)
    integer("top", top, low=1)
    affine = local_dimension(network, inputs, rng=rng)
    softmax = loss == "cross-entropy"
    seen = affine
    if softmax:
        # H = F F^T with the kernel of C: J^T H J has the rank of C J.
        seed = rng if affine.seed is None else affine.seed
        seen = local_dimension(network, inputs, output="softmax", rng=seed)
    factors = real_factors(network, inputs)
    N = len(factors.outputs)
    roots = _roots(factors.outputs) if softmax else None
    with np.errstate(over="ignore", invalid="ignore"):
        trace = _trace(factors, None)
    if not np.isfinite(trace):
        raise NonFiniteError("inputs must not make J^T J overflow float64, got an overflow")
    plain = Curvature(affine, trace, _eigenvalues(factors, None, top))
    if roots is None:
        newton = Curvature(seen, plain.trace / N, plain.eigenvalues / N)
    else:
        values = _eigenvalues(factors, roots, top) / N
        newton = Curvature(seen, _trace(factors, roots) / N, values)
    value = network.parameter_count - affine.value
    return Flatness(value, affine, plain, newton, loss)


def _roots(outputs: FloatArray) -> FloatArray:
    """F with F F^T = diag(q) - q q^T for the softmax q of each row, shape (N, n_L, n_L)."""
    q = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    q /= q.sum(axis=1, keepdims=True)
    root = np.sqrt(q)
    F: FloatArray = (
        root[:, :, np.newaxis] * np.eye(q.shape[1]) - q[:, :, np.newaxis] * (root[:, np.newaxis, :])
    )
    return F


def _trace(factors: Factors, roots: FloatArray | None) -> float:
    """Sum of the squares of J, or of F^T J."""
    K = self_blocks(factors)
    if roots is None:
        return float(np.einsum("xcc->", K))
    return float(np.einsum("xcd,xce,xde->", K, roots, roots))


def _eigenvalues(factors: Factors, roots: FloatArray | None, top: int) -> FloatArray:
    """Largest eigenvalues of J^T J, or of J^T F F^T J, at most as many as there can be."""
    from scipy.linalg import eigvalsh
    from scipy.sparse.linalg import LinearOperator, eigsh

    N, count = factors.outputs.shape
    P = factors.architecture.parameter_count
    top = min(top, N * count, P)
    if min(N * count, P) <= max(SMALL, 2 * top):
        K = gram(factors, factors, "full")
        if roots is not None:
            K = np.einsum("xcd,xcyf,yfg->xdyg", roots, K.reshape(N, count, N, count), roots)
        found = eigvalsh(K.reshape(N * count, N * count))[::-1][:top]
        return np.maximum(found, 0.0)

    def product(v: FloatArray) -> FloatArray:
        u = pushforward(factors, v.reshape(-1))
        if roots is not None:
            u = np.einsum("xcd,xed,xe->xc", roots, roots, u.reshape(N, count)).reshape(-1)
        return pullback(factors, u)

    operator = LinearOperator((P, P), matvec=product, dtype=np.dtype(np.float64))
    start = np.random.default_rng(0).standard_normal(P)
    values = eigsh(operator, k=top, v0=start, return_eigenvectors=False)
    return np.asarray(np.sort(values)[::-1], dtype=np.float64)
