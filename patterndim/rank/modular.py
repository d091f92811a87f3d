"""Rank modulo a prime: exact arithmetic, an unconditional lower bound of the rank."""

import numpy as np

from patterndim.arithmetic import Modular, check_modulus, prime_failure, random_prime
from patterndim.dyadic import lowest_bit
from patterndim.errors import KindError, NonFiniteError, ShapeError
from patterndim.rank.echelon import Echelon
from patterndim.rank.result import Rank
from patterndim.typing import AnyArray, ArrayLike, Seed
from patterndim.validation import exact_array
from patterndim.validation import seed as as_seed

#: Vectors that are eliminated at a time: those after full rank is reached are never touched.
BATCH = 2048


def modular_rank(
    A: ArrayLike, modulus: int | None = None, *, rng: Seed = 0
) -> Rank | tuple[Rank, ...]:
    """
    Rank modulo a prime, by elimination in exact arithmetic.

    Finite floats are dyadic rationals m * 2**e, so they and integers map exactly to residues
    modulo an odd prime p, and the rank modulo p is never above the rank over the rationals: each
    pivot is an unconditional certificate.  It is below only if p divides every r-minor.

    Parameters
    ----------
    A : array of finite real numbers or Python integers, shape (m, n) or (k, m, n)
        A matrix, or a stack of matrices.
    modulus : int, optional
        Odd prime below 2**24.  By default a prime drawn uniformly from those between 2**22
        and 2**23.
    rng : int or numpy.random.Generator
        Source of the random prime.

    Returns
    -------
    Rank, or tuple of Rank for a stack
        "proved" at full rank.  Otherwise "probable", with a bound on the probability that the
        random prime divides every r-minor: a nonzero minor below 2**b (Hadamard) times a power
        of two has at most b / 22 prime factors of the range.  With a modulus that was given the
        failure probability is 1: only the lower bound is claimed.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``A`` is not a matrix or stack of finite reals or integers.
    KindError, ArgumentError
        If ``modulus`` is not an odd prime below 2**24.

    References
    ----------
    .. [1] J.-G. Dumas, P. Giorgi, C. Pernet, "Dense linear algebra over word-size prime fields:
       the FFLAS and FFPACK packages", ACM Transactions on Mathematical Software 35 (2008).

    Examples
    --------
    >>> rank = modular_rank([[1, 2], [2, 4]])
    >>> rank.value, rank.kind, rank.failure_probability < 1e-5
    (1, 'probable', True)
    >>> modular_rank(np.diag([1, 7, 49]), modulus=7).value
    1
    """
    matrix = _matrix(A)
    seed = as_seed(rng)
    p = random_prime(np.random.default_rng(seed)) if modulus is None else check_modulus(modulus)
    known = None if modulus is None else 1.0
    if matrix.ndim == 3:
        return tuple(_rank(single, p, known, seed) for single in matrix)
    return _rank(matrix, p, known, seed)


def _matrix(A: ArrayLike) -> AnyArray:
    matrix = exact_array("A", A)
    if matrix.ndim not in (2, 3) or 0 in matrix.shape:
        raise ShapeError(f"A must have shape (m, n) or (k, m, n), not empty, got {matrix.shape}")
    if matrix.dtype == object:
        if not all(isinstance(entry, int | np.integer) for entry in matrix.flat):
            raise KindError("A must hold real numbers or integers, got other objects")
        return matrix
    if matrix.dtype.kind not in "biuf" or matrix.dtype.itemsize > 8:
        raise KindError(f"A must hold real numbers of at most 64 bits, got dtype {matrix.dtype}")
    if not np.isfinite(matrix).all():
        raise NonFiniteError("A must be finite, got NaN or infinity")
    return matrix.astype(np.int64) if matrix.dtype.kind == "b" else matrix


def _rank(matrix: AnyArray, modulus: int, known: float | None, seed: int) -> Rank:
    """Rank of one matrix; its rows or columns are the vectors, whichever are more."""
    arithmetic = Modular(modulus)
    rows, columns = matrix.shape
    vectors = arithmetic.encode(matrix if rows >= columns else matrix.T)
    echelon = Echelon(arithmetic, min(rows, columns))
    for start in range(0, len(vectors), BATCH):
        if echelon.rank < echelon.length:
            echelon.extend(vectors[start : start + BATCH])
    value = echelon.rank
    pivots = np.array(echelon.pivot_vectors, dtype=np.int64), echelon.pivot_coordinates
    upper = min(int(np.any(matrix != 0, axis=axis).sum()) for axis in (0, 1))
    proved = value == upper
    chance = known if known is not None else prime_failure(minor_bits(matrix, value + 1))
    return Rank(
        value,
        "proved" if proved else "probable",
        lower=value,
        upper=upper,
        failure_probability=0.0 if proved else chance,
        modulus=modulus,
        seed=seed if known is None else None,
        pivot_rows=pivots[0] if rows >= columns else pivots[1],
        pivot_columns=pivots[1] if rows >= columns else pivots[0],
    )


def minor_bits(matrix: AnyArray, size: int) -> float:
    """
    Bits that a nonzero minor of a size can have as an integer times a power of two.

    Hadamard: its absolute value is at most the product of the norms of its rows, each at most
    sqrt(size) times the largest entry.
    """
    # Every integer is an integer times 2**0; a float64 copy of it would be rounded.
    lowest = lowest_bit(matrix.astype(np.float64)) if matrix.dtype.kind == "f" else 0
    if matrix.dtype == object:
        logs = [max(abs(int(entry)).bit_length() for entry in row) for row in matrix]
        log_rows = np.array(logs, dtype=np.float64)
    else:
        # One bit covers the rounding of 64-bit integers and of the logarithm.
        largest = np.abs(matrix.astype(np.float64)).max(axis=1)
        log_rows = np.log2(largest[largest > 0]) + 1.0
    largest_rows = np.sort(log_rows)[::-1][:size]
    return float(largest_rows.sum() + size * (0.5 * np.log2(size) - lowest))
