"""Rank modulo a prime: exact arithmetic, an unconditional lower bound of the rank."""

import numpy as np

from patterndim.arithmetic import Modular, check_modulus, prime_failure, random_prime
from patterndim.dyadic import lowest_bits
from patterndim.errors import KindError, NonFiniteError, ShapeError
from patterndim.kernels import elimination
from patterndim.parallel import share_rows
from patterndim.rank.echelon import Echelon
from patterndim.rank.result import Rank
from patterndim.typing import AnyArray, ArrayLike, BoolArray, FloatArray, IntArray, Seed
from patterndim.validation import exact_array
from patterndim.validation import seed as as_seed

#: Vectors that are eliminated at a time: those after full rank is reached are never touched.
BATCH = 2048
#: Matrices with at most so many rows or columns are eliminated by one kernel call for many.
SMALL = 64
#: Entries of small matrices, or of rows, that are worked on at a time.
CHUNK = 2**22


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
        Each the same as for the matrix alone.  "proved" at full rank.  Otherwise "probable", with
        a bound on the probability that the random prime divides every r-minor: a nonzero minor
        below 2**b (Hadamard) times a power of two has at most b / 22 prime factors of the range.
        With a modulus that was given the failure probability is 1: only the lower bound is
        claimed.

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
    stack = matrix if matrix.ndim == 3 else matrix[np.newaxis]
    ranks = _ranks(stack, p, known, seed)
    return ranks if matrix.ndim == 3 else ranks[0]


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


def _ranks(stack: AnyArray, modulus: int, known: float | None, seed: int) -> tuple[Rank, ...]:
    """Ranks of matrices; their rows or columns are the vectors, whichever are more."""
    _, rows, columns = stack.shape
    arithmetic = Modular(modulus)
    vectors = stack if rows >= columns else stack.swapaxes(1, 2)
    found = (_small if min(rows, columns) <= SMALL else _large)(vectors, arithmetic)
    values = np.array([len(pivots) for pivots, _ in found])
    upper, chances = np.full(len(stack), min(rows, columns)), np.zeros(len(stack))
    short = values < upper
    if short.any():
        upper[short] = _nonzero_lines(_chosen(stack, short))
        short = values < upper
    if short.any() and known is None:
        bits = minor_bits(_chosen(stack, short), values[short] + 1)
        chances[short] = [prime_failure(b) for b in bits.tolist()]
    elif known is not None:
        chances[short] = known
    return tuple(
        Rank(
            len(pivots),
            "probable" if unproved else "proved",
            lower=len(pivots),
            upper=bound,
            failure_probability=chance,
            modulus=modulus,
            seed=seed if known is None else None,
            pivot_rows=pivots if rows >= columns else coordinates,
            pivot_columns=coordinates if rows >= columns else pivots,
        )
        for (pivots, coordinates), unproved, bound, chance in zip(
            found, short.tolist(), upper.tolist(), chances.tolist(), strict=True
        )
    )


def _small(stack: AnyArray, arithmetic: Modular) -> list[tuple[IntArray, IntArray]]:
    """Pivot vectors and coordinates of matrices with few coordinates, many in one call."""
    p, inverse = float(arithmetic.modulus), arithmetic.inverse
    count, rows, columns = stack.shape
    ranks = np.empty(count, dtype=np.int64)
    pivots, coordinates = np.empty((2, count, columns), dtype=np.int64)
    step = max(1, CHUNK // (rows * columns))
    for top in range(0, count, step):
        found, vectors, places = (a[top : top + step] for a in (ranks, pivots, coordinates))
        part = np.ascontiguousarray(stack[top : top + step])
        part = arithmetic.encode(part.reshape(-1, columns)).reshape(part.shape)

        def work(
            start: int,
            stop: int,
            part: FloatArray = part,
            out: tuple[IntArray, IntArray, IntArray] = (found, vectors, places),
        ) -> None:
            elimination.ranks(part, start, stop, p, inverse, *out)

        share_rows(work, len(part), part.size * columns)
    return [(pivots[k, :rank], coordinates[k, :rank]) for k, rank in enumerate(ranks.tolist())]


def _large(stack: AnyArray, arithmetic: Modular) -> list[tuple[IntArray, IntArray]]:
    """Pivot vectors and coordinates of matrices, one after the other."""
    found = []
    for matrix in stack:
        echelon = Echelon(arithmetic, matrix.shape[1])
        for start in range(0, len(matrix), BATCH):
            if echelon.rank < echelon.length:
                echelon.extend(arithmetic.encode(matrix[start : start + BATCH]))
        pivots = np.array(echelon.pivot_vectors, dtype=np.int64)
        found.append((pivots, echelon.pivot_coordinates))
    return found


def _chosen(stack: AnyArray, chosen: BoolArray) -> AnyArray:
    """Chosen matrices, a copy only if need be."""
    return stack if chosen.all() else stack[chosen]


def _nonzero_lines(stack: AnyArray) -> IntArray:
    """Bound on the rank of each matrix: how many rows, or columns, are not zero."""
    nonzero = stack != 0
    count: IntArray = np.minimum(*(nonzero.any(axis=axis).sum(axis=1) for axis in (1, 2)))
    return count


def minor_bits(stack: AnyArray, sizes: IntArray) -> FloatArray:
    """
    Bits that a nonzero minor of a size can have as an integer times a power of two, per matrix.

    Hadamard: its absolute value is at most the product of the norms of its rows, each at most
    sqrt(size) times the largest entry.
    """
    count, rows, columns = stack.shape
    logs, exponents = np.empty((count, rows)), []
    step = max(1, CHUNK // (count * columns))
    for top in range(0, rows, step):
        part = stack[:, top : top + step]
        logs[:, top : top + step] = _largest_bits(part)
        if stack.dtype.kind == "f":
            # Every integer is an integer times 2**0; a float64 copy of it would be rounded.
            exponents.append(lowest_bits(part.astype(np.float64)))
    lowest = np.min(exponents, axis=0) if exponents else 0
    totals = np.cumsum(np.sort(logs, axis=1)[:, ::-1], axis=1)[np.arange(count), sizes - 1]
    return np.asarray(totals + sizes * (0.5 * np.log2(sizes) - lowest))


def _largest_bits(stack: AnyArray) -> FloatArray:
    """Bound on log2 of the largest entry of each row; the lowest float for rows of zeros."""
    if stack.dtype == object:
        bits = [[max(abs(int(entry)).bit_length() for entry in row) for row in A] for A in stack]
        return np.array(bits, dtype=np.float64)
    high, low = stack.max(axis=2).astype(np.float64), stack.min(axis=2).astype(np.float64)
    largest = np.maximum(high, -low)
    # One bit covers the rounding of 64-bit integers and of the logarithm.
    out: FloatArray = np.full(largest.shape, -2000.0)
    np.log2(largest, out=out, where=largest > 0)
    return out + 1.0
