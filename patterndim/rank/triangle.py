"""
QR factorization of a matrix that grows by columns, and the singular values at its cut.

The columns of a sketch are random, so without any pivoting R = (R11 R12; 0 R22) reveals the rank
r: R11 (r x r) is well conditioned and R22 small.  With Z = R11^-1 R12 and I + Z^T Z = L L^T,

    s_r      >= smallest singular value of (R11 R12)         (a part of R, by interlacing),
    s_r+1    <= norm of R22 L^-T                              (R on the null space of that part),

and s_r^2 is at most the square of the first plus the square of the norm of R22: where the gap is
wide the bounds are the singular values.  All of it runs as matrix products, where the reduction to
bidiagonal form behind an SVD waits for memory.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from patterndim.rank.numerical import spectral_rank
from patterndim.rank.result import Rank
from patterndim.typing import FloatArray

#: Columns up to which all singular values are computed.
SMALL = 640
#: Columns of a block of reflectors.
PANEL = 128
#: Most steps of a Lanczos iteration, and the relative residual that ends it.
STEPS, RESIDUAL = 60, 1e-4


class Triangle:
    """R of a matrix of ``rows`` rows, scaled by a power of two that its first columns suggest."""

    def __init__(self, columns: FloatArray) -> None:
        largest = float(np.abs(columns).max())
        exponent = int(np.clip(np.frexp(largest)[1], -1000, 1000)) if largest else 0
        self.scale = 2.0**-exponent
        self.rows = len(columns)
        self.width = 0
        self._reflectors: list[tuple[FloatArray, FloatArray]] = []
        self._blocks: list[FloatArray] = []
        self.extend(columns)

    def extend(self, columns: FloatArray) -> None:
        """Append columns, shape (rows, count)."""
        from scipy.linalg.lapack import dgemqrt, dgeqrt

        count = columns.shape[1]
        rest = np.asfortranarray(columns * self.scale)
        block = []
        for V, T in self._reflectors:
            rest, _ = dgemqrt(V, T, rest, trans="T", overwrite_c=True)
            block.append(rest[: V.shape[1]])
            rest = np.asfortranarray(rest[V.shape[1] :])
        if (height := min(len(rest), count)) > 0:
            V, T, _ = dgeqrt(min(PANEL, height), rest, overwrite_a=True)
            block.append(np.triu(V[:height]))
            self._reflectors.append((V[:, :height], T))
        self._blocks.append(np.concatenate(block))
        self.width += count

    def matrix(self) -> FloatArray:
        """R, shape (at most rows, width), still scaled."""
        R = np.zeros((min(self.rows, self.width), self.width), order="F")
        first = 0
        for block in self._blocks:
            R[: len(block), first : first + block.shape[1]] = block
            first += block.shape[1]
        return R

    def guess(self, rtol: float) -> int:
        """Rank that the diagonal of R suggests: nothing above the tolerance comes after it."""
        parts, first = [], 0
        for block in self._blocks:
            parts.append(np.abs(np.diagonal(block[first:])))
            first += block.shape[1]
        diagonal = np.concatenate(parts)
        above = np.flatnonzero(diagonal > rtol * diagonal.max())
        return int(above[-1]) + 1 if len(above) else 0

    def rank(self, rtol: float, upper: int) -> Rank:
        """Rank by singular values, at most a bound that holds for certain."""
        R = self.matrix()
        rank = None
        if self.width > SMALL:
            rank = _cut(R, min(self.guess(rtol), upper), rtol, upper)
        rank = rank or spectral_rank(R, rtol, upper)
        above, below = rank.sigma or (np.nan, np.nan)
        return replace(rank, sigma=(above / self.scale, below / self.scale))


def _cut(R: FloatArray, r: int, rtol: float, upper: int) -> Rank | None:
    """Rank r by bounds of the singular values on either side, or None if they do not decide."""
    from scipy.linalg import solve_triangular
    from scipy.linalg.blas import dtrsv

    if r == 0:
        return None
    R11, R12, R22 = np.asfortranarray(R[:r, :r]), R[:r, r:], R[r:, r:]
    Z: FloatArray = solve_triangular(R11, R12, check_finite=False)
    L = np.linalg.cholesky(np.eye(Z.shape[1]) + Z.T @ Z)
    Y = solve_triangular(L, Z.T, lower=True, check_finite=False).T

    def invert(x: FloatArray) -> FloatArray:
        # The inverse of R11 R11^T + R12 R12^T = R11 (I + Z Z^T) R11^T, by Woodbury's formula.
        x = dtrsv(R11, x)
        return dtrsv(R11, x - Y @ (Y.T @ x), trans=1)

    first = _largest(lambda x: R.T @ (R @ x), R.shape[1]) ** 0.5
    above = _largest(invert, r) ** -0.5
    below = float("nan")
    if R22.size:
        S = solve_triangular(L, R22.T, lower=True, check_finite=False)
        below = _largest(lambda x: S @ (S.T @ x), len(S)) ** 0.5
    # Twice the tolerance, because Lanczos iteration finds norms from below.
    if not above > 2.0 * rtol * first or 2.0 * below > rtol * first:
        return None
    gap = None
    if R22.size:
        gap = above / below if below > 0.0 else float("inf")
    return Rank(r, "numerical", 0, upper, gap=gap, sigma=(above, below), rtol=rtol)


def _largest(apply: Callable[[FloatArray], FloatArray], size: int) -> float:
    """Largest eigenvalue of a positive semidefinite map, from below, by Lanczos iteration."""
    q = np.random.default_rng(0).standard_normal(size)
    basis = np.empty((min(STEPS, size), size))
    projected = np.zeros((len(basis) + 1, len(basis) + 1))
    length = float(np.linalg.norm(q))
    value = 0.0
    for step in range(len(basis)):
        basis[step] = q / length
        image = apply(basis[step])
        done = basis[: step + 1]
        coefficients = done @ image
        q = image - coefficients @ done
        q -= (done @ q) @ done  # orthogonal to the last bit only the second time
        length = float(np.linalg.norm(q))
        projected[step, step] = coefficients[step]
        projected[step, step + 1] = projected[step + 1, step] = length
        values, vectors = np.linalg.eigh(projected[: step + 1, : step + 1])
        value = max(float(values[-1]), 0.0)
        if length * abs(vectors[-1, -1]) <= RESIDUAL * value:
            break
    return value
