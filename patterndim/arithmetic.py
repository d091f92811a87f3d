"""
The arithmetics in which networks are propagated: floats, residues modulo a prime, support.

`Real`, `Modular` and `Support` have the same few operations, so forward and backward recursions
are written once.  Modular results are exact; real products are summed in one fixed order.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from patterndim.errors import ArgumentError, KindError
from patterndim.kernels import propagation, residues
from patterndim.parallel import share_rows
from patterndim.typing import AnyArray, FloatArray, IntArray

#: Largest modulus, exclusive: two residues multiply to less than 2**46.
MODULUS_LIMIT = 2**24
#: Random moduli are drawn uniformly among the primes of this range.
MODULUS_RANGE = (2**22, 2**23)
#: Number of primes in `MODULUS_RANGE` (a test counts them).
MODULUS_COUNT = 268_216
#: Rows per slab of a product: the slab of the product stays near the cache for its reduction.
SLAB = 768


class Real:
    """Arithmetic of float64 numbers."""

    def encode(self, values: FloatArray) -> FloatArray:
        """Return the values themselves."""
        return values

    def product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Matrix product, shape (m, n), the same for any number of threads."""
        out = np.zeros((left.shape[0], right.shape[1]))
        left, right = np.require(left, None, ["C", "W"]), np.require(right, None, ["C", "W"])

        def work(start: int, stop: int) -> None:
            propagation.accumulate(left, right, start, stop, out)

        share_rows(work, out.shape[0], left.size * right.shape[1])
        return out

    def reduce(self, values: FloatArray) -> FloatArray:
        """Return the values, with 0.0 for -0.0."""
        positive: FloatArray = values + 0.0
        return positive

    def random(self, rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
        """Standard normal numbers."""
        return rng.standard_normal(shape)

    def fast_product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Matrix product by BLAS, whose rounding may depend on the number of threads."""
        out: FloatArray = np.matmul(left, right)
        return out


class Support:
    """Arithmetic of "can be nonzero": 1.0 and 0.0, where sums and products never cancel."""

    def encode(self, values: FloatArray) -> FloatArray:
        """1.0 where a number is not zero."""
        return np.where(values != 0.0, 1.0, 0.0)

    def product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Matrix product: counts of paths are exact integers, cut back to 1.0."""
        return self.encode(left @ right)

    def reduce(self, values: FloatArray) -> FloatArray:
        """1.0 where a sum is not zero."""
        return self.encode(values)


@dataclass(frozen=True)
class Modular:
    """
    Arithmetic modulo an odd prime ``modulus`` below 2**24, on float64 residues.

    Residues are integers r with abs(r) <= modulus / 2 + 8.
    """

    modulus: int

    @property
    def inverse(self) -> float:
        """Reciprocal of the modulus, for reductions."""
        return 1.0 / self.modulus

    @cached_property
    def inner_length(self) -> int:
        """
        Longest inner product of residues, plus one residue, that float64 sums exactly.

        (length) * (p/2 + 8)**2 + (p/2 + 8) <= 2**53 - 2**24; beyond 512 nothing is gained.
        """
        largest = self.modulus / 2 + 8
        return min(512, int((2.0**53 - 2.0**24 - largest) / largest**2))

    @cached_property
    def _powers(self) -> IntArray:
        # 2**(k - 1200) modulo p for every exponent that a float64 can have.
        power = pow(pow(2, -1, self.modulus), 1200, self.modulus)
        powers = np.empty(2400, dtype=np.int64)
        for k in range(powers.size):
            powers[k] = power
            power = power * 2 % self.modulus
        return powers

    def encode(self, values: AnyArray) -> FloatArray:
        """Residues of finite floats (exact: each is m * 2**e), integers or Python integers."""
        if values.dtype == object or values.dtype.kind in "iu":
            if values.dtype == object or max(int(values.max()), -int(values.min())) > 2**50:
                values = values % self.modulus
            return self.reduce(np.array(values, dtype=np.float64, order="C"))
        values = np.require(values, np.float64, ["C", "W"])
        out = np.empty(values.shape)
        residues.float_residues(values.reshape(-1), self.modulus, self._powers, out.reshape(-1))
        return out

    def random(self, rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
        """Uniform random residues."""
        half = self.modulus // 2
        return rng.integers(-half, half, shape, endpoint=True).astype(np.float64)

    def product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Matrix product of residues, shape (m, n)."""
        near = self.inner_length
        out = self.reduce(left[:, :near] @ right[:near])
        if left.shape[1] > near:
            self.subtract_product(out, 0, 0, -left[:, near:], right[near:])
        return out

    fast_product = product

    def reduce(self, values: FloatArray) -> FloatArray:
        """Reduce a C-contiguous array of sums of `inner_length` products or residues in place."""
        flat = values.reshape(-1, values.shape[-1])
        p, inverse = float(self.modulus), self.inverse

        def work(start: int, stop: int) -> None:
            residues.reduce_rows(flat, start, stop, p, inverse)

        share_rows(work, flat.shape[0], flat.size)
        return values

    def subtract_product(
        self, target: FloatArray, row: int, column: int, left: FloatArray, right: FloatArray
    ) -> None:
        """
        Subtract ``left @ right`` in place from the block of ``target`` that starts at row, column.

        BLAS multiplies blocks of at most `inner_length`, so every partial sum is an integer below
        2**53 in any order of summation; each block is reduced before the next one.
        """
        rows, inner = left.shape
        columns = right.shape[1]
        buffer = np.empty(min(rows, SLAB) * columns)
        for top in range(0, rows, SLAB):
            bottom = min(top + SLAB, rows)
            product = buffer[: (bottom - top) * columns].reshape(bottom - top, columns)
            for near in range(0, inner, self.inner_length):
                far = min(near + self.inner_length, inner)
                np.matmul(left[top:bottom, near:far], right[near:far], out=product)
                self._subtract(product, row + top, column, target)

    def _subtract(self, product: FloatArray, row: int, column: int, target: FloatArray) -> None:
        p, inverse = float(self.modulus), self.inverse

        def work(start: int, stop: int) -> None:
            residues.subtract_rows(product, start, stop, p, inverse, row, column, target)

        share_rows(work, product.shape[0], product.size)


def is_prime(number: int) -> bool:
    """Whether an integer below 2**24 is prime, by trial division."""
    if number < 4:
        return number in (2, 3)
    return number % 2 == 1 and bool(np.all(number % np.arange(3, int(number**0.5) + 1, 2)))


def random_prime(rng: np.random.Generator) -> int:
    """Uniform random prime of `MODULUS_RANGE`."""
    while True:
        candidate = int(rng.integers(*MODULUS_RANGE)) | 1
        if is_prime(candidate):
            return candidate


def prime_failure(bits: float) -> float:
    """
    Bound on the chance that a random prime divides a nonzero integer of so many bits.

    The integer has at most bits / 22 prime factors of `MODULUS_RANGE`, which starts at 2**22.
    """
    chance = max(bits, 0.0) / 22.0 / MODULUS_COUNT
    return min(1.0, chance) if chance == chance else 1.0


def check_modulus(modulus: object) -> int:
    """Return the modulus if it is an odd prime below `MODULUS_LIMIT`, or raise."""
    if isinstance(modulus, bool) or not isinstance(modulus, int | np.integer):
        raise KindError(f"modulus must be an integer, got {modulus!r}")
    if not 2 < modulus < MODULUS_LIMIT or not is_prime(int(modulus)):
        raise ArgumentError(f"modulus must be an odd prime below 2**24, got {modulus}")
    return int(modulus)
