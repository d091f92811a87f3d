"""Flatness: directions that leave the outputs unchanged, and the curvature of a loss."""

from dataclasses import dataclass

import numpy as np

from patterndim.dimension import Dimension, local_dimension
from patterndim.errors import ArgumentError, NonFiniteError
from patterndim.factors import Factors, real_factors
from patterndim.heads import softmax
from patterndim.network import Network
from patterndim.products import pullback, pushforward
from patterndim.tangent_kernel import gram, self_blocks
from patterndim.typing import ArrayLike, FloatArray, Output, Seed
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
    network: Network,
    inputs: ArrayLike,
    *,
    loss: str = "square",
    output: Output = "affine",
    top: int = 1,
    rng: Seed = 0,
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
    output : {"affine", "softmax"} or array of float64, shape (k, n_L) or (N, k, n_L)
        As in `parameter_jacobian`: the outputs are those of the head, and J is C J.  The loss
        "cross-entropy" has its own softmax, so it takes the affine outputs.
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
    if loss == "cross-entropy" and not (isinstance(output, str) and output == "affine"):
        raise ArgumentError('output must be "affine" with loss "cross-entropy", got another one')
    dimension = local_dimension(network, inputs, output=output, rng=rng)
    factors = real_factors(network, inputs, output)
    plain = _curvature(dimension, factors, top)
    seen, mean = dimension, plain
    if loss == "cross-entropy":
        # H = F F^T has the kernel that the softmax has: J^T H J has the rank behind it.
        seed = rng if dimension.seed is None else dimension.seed
        seen = local_dimension(network, inputs, output="softmax", rng=seed)
        root = _root(softmax(factors.outputs)).transpose(0, 2, 1)
        mean = _curvature(seen, real_factors(network, inputs, root), top)
    N = len(factors.outputs)
    newton = Curvature(seen, mean.trace / N, mean.eigenvalues / N)
    value = network.parameter_count - dimension.value
    return Flatness(value, dimension, plain, newton, loss)


def _root(q: FloatArray) -> FloatArray:
    """F with F F^T = diag(q) - q q^T for the rows of q, which add up to 1: (N, n_L, n_L)."""
    root = np.sqrt(q)
    F: FloatArray = (
        root[:, :, np.newaxis] * np.eye(q.shape[1]) - q[:, :, np.newaxis] * (root[:, np.newaxis, :])
    )
    return F


def _curvature(rank: Dimension, factors: Factors, top: int) -> Curvature:
    """Curvature of J^T J, J being that of the factors."""
    with np.errstate(over="ignore", invalid="ignore"):
        trace = float(np.einsum("xcc->", self_blocks(factors)))
    if not np.isfinite(trace):
        raise NonFiniteError("inputs must not make J^T J overflow float64, got an overflow")
    return Curvature(rank, trace, _eigenvalues(factors, top))


def _eigenvalues(factors: Factors, top: int) -> FloatArray:
    """Largest eigenvalues of J^T J, at most as many as there can be."""
    from scipy.linalg import eigvalsh
    from scipy.sparse.linalg import LinearOperator, eigsh

    rows, P = len(factors.outputs) * factors.count, factors.architecture.parameter_count
    top = min(top, rows, P)
    if min(rows, P) <= max(SMALL, 2 * top):
        return np.maximum(eigvalsh(gram(factors, factors, "full"))[::-1][:top], 0.0)

    def product(v: FloatArray) -> FloatArray:
        return pullback(factors, pushforward(factors, v.reshape(-1)))

    operator = LinearOperator((P, P), matvec=product, dtype=np.dtype(np.float64))
    start = np.random.default_rng(0).standard_normal(P)
    values = eigsh(operator, k=top, v0=start, return_eigenvectors=False)
    return np.asarray(np.sort(values)[::-1], dtype=np.float64)
