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
from patterndim.typing import AnyArray, FloatArray

#: Largest modulus, exclusive: two residues multiply to less than 2**46.
MODULUS_LIMIT = 2**24
#: Random moduli are drawn uniformly among the primes of this range.  A range lower by one bit
#: saves 4 percent of an elimination and doubles every failure probability.
MODULUS_RANGE = (2**22, 2**23)
#: Number of primes in `MODULUS_RANGE` (a test counts them).
MODULUS_COUNT = 268_216
#: Longest inner products: beyond it reductions cost nothing, and buffers of BLAS do not grow.
INNER = 2048
#: Entries of a product before it is subtracted and reduced; 128 to 768 of its rows.
SLAB = 2**21
#: Entries that are converted to residues at a time.
TILE = 2**18


class Real:
    """Arithmetic of floats."""

    def encode(self, values: FloatArray) -> FloatArray:
        """Return the values themselves."""
        return values

    def product(self, left: AnyArray, right: AnyArray) -> AnyArray:
        """Matrix product, shape (m, n), of float64 or float32, the same for any threads."""
        out = np.zeros((left.shape[0], right.shape[1]), dtype=left.dtype)
        left, right = np.require(left, None, ["C", "W"]), np.require(right, None, ["C", "W"])
        double = left.dtype == np.float64
        accumulate = propagation.accumulate if double else propagation.accumulate_single

        def work(start: int, stop: int) -> None:
            accumulate(left, right, start, stop, out)

        share_rows(work, out.shape[0], left.size * right.shape[1])
        return out

    def reduce(self, values: FloatArray) -> FloatArray:
        """Return the values, with 0.0 for -0.0."""
        positive: FloatArray = values + 0.0
        return positive

    def quotient(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Quotients of floats."""
        return left / right

    def random(self, rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
        """Standard normal numbers."""
        return rng.standard_normal(shape)


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

        (length) * (p/2 + 8)**2 + (p/2 + 8) <= 2**53 - 2**24.
        """
        largest = self.modulus / 2 + 8
        return min(INNER, int((2.0**53 - 2.0**24 - largest) / largest**2))

    @cached_property
    def _powers(self) -> FloatArray:
        # Residue of 2**(k - 1075) for k = 0..2047, the exponents that a float64 can have.
        p = self.modulus
        power = pow(pow(2, -1, p), 1075, p)
        powers = np.empty(2048)
        for k in range(powers.size):
            powers[k] = power if 2 * power < p else power - p
            power = power * 2 % p
        return powers

    def encode(self, values: AnyArray) -> FloatArray:
        """Residues of finite floats (exact: each is m * 2**e), integers or Python integers."""
        if values.dtype == object or values.dtype == np.uint64:
            values = (values % self.modulus).astype(np.int64)
        rows = values if values.ndim == 2 else values.reshape(1, -1)
        out = np.empty(rows.shape)
        dtype = np.int64 if values.dtype.kind in "iu" else np.float64
        tile = max(1, TILE // max(1, rows.shape[1]))

        def work(start: int, stop: int) -> None:
            for top in range(start, stop, tile):
                bottom = min(top + tile, stop)
                part = np.require(rows[top:bottom], dtype, ["C", "W"])
                self._encode(part, out[top:bottom])

        share_rows(work, rows.shape[0], rows.size)
        return out.reshape(values.shape)

    def _encode(self, values: AnyArray, out: FloatArray) -> None:
        if values.dtype.kind == "i":
            residues.integer_residues(values, self.modulus, self.inverse, out)
        else:
            bits = values.view(np.int64)
            residues.float_residues(bits, self.modulus, self.inverse, self._powers, out)

    def quotient(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Residues of quotients of floats; the divisors must not be multiples of the modulus."""
        divisors, which = np.unique(right, return_inverse=True)
        found = self.encode(divisors).astype(np.int64).tolist()
        inverses = np.array([float(pow(d, -1, self.modulus)) for d in found])[which]
        # One product of residues below p: less than 2**48.
        return self.reduce(self.encode(left) * inverses)

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
        slab = min(max(128, SLAB // max(1, columns)), 768, rows)
        buffer = np.empty(slab * columns)
        for top in range(0, rows, slab):
            bottom = min(top + slab, rows)
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
