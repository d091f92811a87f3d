"""The null space and the range of the parameter Jacobian: invisible directions, rank profile."""

from dataclasses import dataclass

import numpy as np

from patterndim import elimination
from patterndim.arithmetic import Modular
from patterndim.dimension import Dimension, as_dimension
from patterndim.elimination import Progress
from patterndim.errors import MemoryLimitError
from patterndim.factors import factor
from patterndim.frozen import FrozenJacobian
from patterndim.heads import Head
from patterndim.invisible import orthonormal
from patterndim.jacobian import dense
from patterndim.network import Network
from patterndim.pattern import activation_pattern, check_inputs
from patterndim.rank.echelon import Echelon
from patterndim.typing import ArrayLike, FloatArray, IntArray, Output, Seed
from patterndim.validation import byte_count, callable_or_none
from patterndim.validation import seed as as_seed


@dataclass(frozen=True, eq=False)
class NullSpace:
    """
    Invisible directions of a network at a sample, and what carries the rank.

    Attributes
    ----------
    dimension : Dimension
        The local dimension r.
    basis : array of float64, shape (P - r, P)
        Orthonormal directions with J v = 0, to rounding: where the exact rank is r, they are the
        right singular vectors beyond the r-th.
    residual : float
        Largest norm of J v over the basis, relative to the largest singular value.
    gap : float or None
        Ratio of the singular values r and r + 1: how well floats separate the two spaces.  None
        if there are no more than r.
    residues : array of int64, shape (P - s, P)
        Exact basis of the null space modulo ``modulus``, residues from 0 to modulus - 1; s is
        ``len(parameters)``, the rank modulo that prime.
    modulus : int
        The prime.
    rows : array of int64, shape (s, 2)
        (input, output) of the rows of J that are independent of all rows before them.
    parameters : array of int64, shape (s,)
        Parameters whose columns, in those rows, are independent: the minor is not 0 modulo the
        prime, so both sets are independent over the rationals.
    """

    dimension: Dimension
    basis: FloatArray
    residual: float
    gap: float | None
    residues: IntArray
    modulus: int
    rows: IntArray
    parameters: IntArray


def null_space(
    network: Network,
    inputs: ArrayLike,
    *,
    output: Output = "affine",
    rng: Seed = 0,
    memory: int | str | None = None,
    progress: Progress | None = None,
) -> NullSpace:
    """
    Directions of parameter space that leave the outputs at a sample unchanged to first order.

    The rank is exact, so the cut between the singular values needs no tolerance; a basis modulo
    a prime is exact itself, and elimination tells which inputs and which parameters carry the
    rank.  J is formed, so this is for networks of some thousand parameters.

    Parameters
    ----------
    network : Network
        ReLU network with P parameters.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    output : {"affine", "softmax"} or array of float64, shape (k, n_L) or (N, k, n_L)
        As in `local_dimension`.  Behind a softmax, J stands for the differences of the rows of
        each input with the last one, which have the same null space; so output c in ``rows`` is
        the c-th difference.
    rng : int or numpy.random.Generator
        Source of the primes and of the sketch.
    memory : int or str, optional
        Most bytes of working memory, such as ``"2GB"``.
    progress : callable, optional
        Called as ``progress(rank so far, upper bound)`` now and then.

    Returns
    -------
    NullSpace
        Bases in float64 and modulo a prime, with a check, and the rank profile.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``inputs`` is not a finite real array of shape (N, n_0), or ``output`` not as above.
    MemoryLimitError
        If J, its residues and P * P numbers would not fit in ``memory``.

    Examples
    --------
    Rescaling: the weight 1 times c, the weight 2 divided by c.

    >>> network = Network.from_layers([[[1.0]], [[2.0]]])
    >>> space = null_space(network, [[1.0], [3.0]])
    >>> np.round(space.basis * np.sign(space.basis[0, 0]), 6), space.rows
    (array([[ 0.447214, -0.894427]]), array([[0, 0]]))
    """
    seed, limit = as_seed(rng), byte_count(memory)
    callable_or_none("progress", progress)
    X = check_inputs(network, inputs)
    pattern = activation_pattern(network, X)
    head = Head.of(output, network.widths[-1], len(X))
    frozen = FrozenJacobian.build(network.architecture, X, pattern, head)
    P = network.parameter_count
    need = 8 * (3 * frozen.rows * P + 3 * P * P)
    if limit is not None and need > limit:
        raise MemoryLimitError(f"memory must be at least {need} bytes here, got {limit}")
    rank = elimination.modular(frozen, network.theta, seed, 1, progress)
    arithmetic = Modular(int(rank.modulus or 0))
    echelon = _eliminated(frozen, network.theta, arithmetic)
    residues = np.asarray(echelon.null_space() % arithmetic.modulus, dtype=np.int64)
    basis, gap, residual = orthonormal(frozen, network, rank.value)
    pivots = np.sort(np.array(echelon.pivot_vectors, dtype=np.int64))
    return NullSpace(
        as_dimension(rank, frozen),
        basis,
        residual,
        gap,
        residues,
        arithmetic.modulus,
        np.stack(np.divmod(pivots, frozen.head.count), axis=1),
        np.sort(echelon.pivot_coordinates),
    )


def _eliminated(frozen: FrozenJacobian, theta: FloatArray, arithmetic: Modular) -> Echelon:
    """Echelon form of the rows of J, in their order."""
    factors = factor(frozen.architecture, theta, frozen.X, frozen.gate, arithmetic, frozen.head.C)
    echelon = Echelon(arithmetic, frozen.architecture.parameter_count)
    # Each entry is one product of residues.
    echelon.extend(arithmetic.reduce(dense(factors)))
    return echelon
