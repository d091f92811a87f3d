"""
Elimination modulo an odd prime p below 2**24 on float64 residues, abs(r) <= p/2 + 8.

Sums of products are not reduced before they must be: the caller bounds the number of rows so
that (rows) * (p/2 + 8)**2 + (p/2 + 8) <= 2**53 - 2**24.
"""

from numba import njit

from patterndim.typing import FloatArray, IntArray

kernel = njit(cache=True, nogil=True)

ROUND = 1.5 * 2.0**52  # adding and subtracting it rounds a float64 below 2**51 to an integer


@njit(cache=True, nogil=True, inline="always")
def _reduce(value: float, modulus: float, inverse: float) -> float:
    """Almost reduced residue of an integer; the bounds are those of `residues._reduce`."""
    return value - ((value * inverse + ROUND) - ROUND) * modulus


@kernel
def _inverse(value: int, modulus: int) -> int:
    """Inverse modulo a prime, at most p/2 in absolute value, by the Euclidean algorithm."""
    previous, current = modulus, value % modulus
    a, b = 0, 1
    while current > 1:
        quotient = previous // current
        previous, current = current, previous - quotient * current
        a, b = b, a - quotient * b
    return b


@kernel
def swap_columns(A: FloatArray, start: int, stop: int, first: int, swaps: IntArray) -> None:
    """Exchange columns first + i and swaps[i], i = 0, 1, ..., in rows start..stop."""
    for row in range(start, stop):
        for i in range(swaps.size):
            A[row, first + i], A[row, swaps[i]] = A[row, swaps[i]], A[row, first + i]


@kernel
def first_column(A: FloatArray, rows: IntArray, first: int) -> int:
    """First column from ``first`` on with an entry in some of the rows; all columns if none."""
    end: int = A.shape[1]
    for row in rows:
        column = first
        while column < end and A[row, column] == 0.0:
            column += 1
        end = column
    return end


@kernel
def store_rows(
    product: FloatArray,
    start: int,
    stop: int,
    modulus: float,
    inverse: float,
    rows: IntArray,
    column: int,
    target: FloatArray,
) -> None:
    """Store rows start..stop of a product, almost reduced, in ``target`` from a column on."""
    for i in range(start, stop):
        row = rows[i]
        for c in range(product.shape[1]):
            target[row, column + c] = _reduce(product[i, c], modulus, inverse)


@kernel
def invert(
    A: FloatArray, modulus: float, inverse: float, order: IntArray, swaps: IntArray, T: FloatArray
) -> int:
    """
    Find T such that T A is the reduced echelon form of A, and return the rank k.

    The pivot of row order[i] of A, for i in 0..k, is in column i after the exchanges of columns
    i and swaps[i]; ``order`` ends with the other rows.  Row r of T is about row r of A: with the
    columns exchanged, rows order[:k] of T A begin with the identity, the others are zero.  A is
    overwritten.
    """
    rows, columns = A.shape
    found = 0
    T[:] = 0.0
    for row in range(rows):
        T[row, row] = 1.0
        for i in range(found):
            pivot = order[i]
            factor = _reduce(A[row, i], modulus, inverse)
            if factor != 0.0:
                # One product for each pivot so far, fewer than the rows, and one residue.
                for c in range(i + 1, columns):
                    A[row, c] -= factor * A[pivot, c]
                for c in range(pivot + 1):
                    T[row, c] -= factor * T[pivot, c]
        for c in range(found, columns):
            A[row, c] = _reduce(A[row, c], modulus, inverse)
        for c in range(row):
            T[row, c] = _reduce(T[row, c], modulus, inverse)
        column = found
        while column < columns and A[row, column] == 0.0:
            column += 1
        if column == columns:
            order[rows - 1 - (row - found)] = row
            continue
        swaps[found] = column
        if column != found:
            for r in range(rows):
                A[r, found], A[r, column] = A[r, column], A[r, found]
        scale = float(_inverse(int(A[row, found]), int(modulus)))
        # Almost reduced residues: below (p/2 + 8)**2 < 2**47.
        for c in range(found, columns):
            A[row, c] = _reduce(A[row, c] * scale, modulus, inverse)
        for c in range(row + 1):
            T[row, c] = _reduce(T[row, c] * scale, modulus, inverse)
        order[found] = row
        found += 1
    order[found:] = order[found:][::-1].copy()
    for i in range(found - 2, -1, -1):
        row = order[i]
        for j in range(i + 1, found):
            pivot, factor = order[j], A[row, j]
            # One product for each later pivot, fewer than the rows, and one residue.
            for c in range(rows):
                T[row, c] -= factor * T[pivot, c]
        for c in range(rows):
            T[row, c] = _reduce(T[row, c], modulus, inverse)
    return found


@kernel
def ranks(
    stack: FloatArray,
    start: int,
    stop: int,
    modulus: float,
    inverse: float,
    found: IntArray,
    vectors: IntArray,
    coordinates: IntArray,
) -> None:
    """
    Ranks of matrices start..stop of a stack (k, m, n), and their pivots, n at most 126.

    Row vectors[k, i] and column coordinates[k, i] hold pivot i of matrix k, for i < found[k]: the
    first independent rows.  ``stack`` is overwritten.
    """
    _, rows, columns = stack.shape
    for k in range(start, stop):
        A = stack[k]
        for c in range(columns):
            coordinates[k, c] = c
        rank = 0
        for row in range(rows):
            if rank == columns:
                break
            for i in range(rank):
                pivot = vectors[k, i]
                factor = _reduce(A[row, i], modulus, inverse)
                if factor != 0.0:
                    # One product for each pivot so far, at most 126, and one residue.
                    for c in range(i + 1, columns):
                        A[row, c] -= factor * A[pivot, c]
            for c in range(rank, columns):
                A[row, c] = _reduce(A[row, c], modulus, inverse)
            column = rank
            while column < columns and A[row, column] == 0.0:
                column += 1
            if column == columns:
                continue
            if column != rank:
                for r in range(rows):
                    A[r, rank], A[r, column] = A[r, column], A[r, rank]
                c = coordinates[k, rank]
                coordinates[k, rank] = coordinates[k, column]
                coordinates[k, column] = c
            scale = float(_inverse(int(A[row, rank]), int(modulus)))
            # Almost reduced residues: below (p/2 + 8)**2 < 2**47.
            for c in range(rank + 1, columns):
                A[row, c] = _reduce(A[row, c] * scale, modulus, inverse)
            vectors[k, rank] = row
            rank += 1
        found[k] = rank


@kernel
def rank_modulo(A: FloatArray, modulus: int) -> int:
    """
    Rank modulo an odd prime p below 2**24 of residues A (m, n), abs(r) <= p/2 + 8; overwrites A.

    For small matrices: about m n rank operations in one thread.  The rank modulo a prime is a
    lower bound of that over the rationals.
    """
    p, inverse = float(modulus), 1.0 / modulus
    rows, columns = A.shape
    rank = 0
    for column in range(columns):
        pivot = rank
        while pivot < rows and A[pivot, column] == 0.0:
            pivot += 1
        if pivot == rows:
            continue
        for c in range(column, columns):
            A[rank, c], A[pivot, c] = A[pivot, c], A[rank, c]
        scale = float(_inverse(int(A[rank, column]), modulus))
        for row in range(rank + 1, rows):
            # Products of residues, and one with a residue: below (p/2 + 8)**2 + p/2 + 8 < 2**47.
            factor = _reduce(A[row, column] * scale, p, inverse)
            if factor != 0.0:
                for c in range(column, columns):
                    A[row, c] = _reduce(A[row, c] - factor * A[rank, c], p, inverse)
        rank += 1
    return rank
