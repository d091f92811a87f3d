"""
The parameter Jacobian of a pattern-frozen network at a sample, and its rank by each method.

J is never formed but by `numerical_rank`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from patterndim.architecture import Architecture
from patterndim.arithmetic import MODULUS_RANGE, Modular, Real, prime_failure, random_prime
from patterndim.bounds import Bound, certain_bound
from patterndim.dyadic import lowest_bit
from patterndim.errors import MemoryLimitError
from patterndim.factors import checked, factor, gates, output_map
from patterndim.jacobian import dense
from patterndim.network import Network
from patterndim.pattern import ActivationPattern
from patterndim.rank.echelon import Echelon
from patterndim.rank.numerical import cut, singular_values
from patterndim.rank.result import Rank
from patterndim.rank.sketched import oversampling, sketch_until_deficient
from patterndim.sketch import sketch_columns
from patterndim.typing import FloatArray

#: Columns that must add nothing before a modular sketch counts as wide enough.
SPARE = 8
#: Columns of the first modular sketch; each later one is half as wide as all before.
FIRST = 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FrozenJacobian:
    """C J for an architecture, a sample and a pattern; C maps outputs to those that count."""

    architecture: Architecture
    X: FloatArray
    pattern: ActivationPattern
    gate: tuple[FloatArray, ...]
    C: FloatArray
    upper: Bound

    @classmethod
    def build(
        cls, architecture: Architecture, X: FloatArray, pattern: ActivationPattern, output: str
    ) -> Self:
        """Freeze the pattern; ``output`` is "affine" or "softmax"."""
        gate = gates(architecture, pattern.masks)
        C = output_map(architecture.widths[-1], output)
        upper = certain_bound(architecture, X, pattern, gate, C)
        return cls(architecture, X, pattern, gate, C, upper)

    @property
    def rows(self) -> int:
        """Number of rows of C J."""
        return len(self.X) * len(self.C)

    def check_memory(self, method: str, limit: int | None) -> None:
        """Raise `MemoryLimitError` if a method could need more than ``limit`` bytes."""
        width = sum(self.architecture.widths)
        columns = {
            # The sketch, and a batch of at most half its columns with its two factors.
            "modular": 2.5 * (self.upper.value + SPARE),
            "sketched": 3 * (self.upper.value + oversampling(self.upper.value)),
            "numerical": 3 * self.architecture.parameter_count,
        }[method]
        need = int(8 * (self.rows * columns + 2 * (self.rows + len(self.X)) * width))
        if limit is not None and need > limit:
            raise MemoryLimitError(f"memory must be at least {need} bytes here, got {limit}")

    def modular_rank(
        self, theta: FloatArray | None, seed: int, primes: int, progress: Progress | None
    ) -> Rank:
        """Rank at given parameters, or at random residues, modulo up to so many primes."""
        rng = np.random.default_rng(seed)
        value, modulus, columns, upper = -1, 0, 0, self.upper.value
        for _ in range(primes):
            arithmetic = Modular(random_prime(rng))
            found, count = self._eliminate(theta, arithmetic, rng, progress)
            columns = max(columns, count)
            if found > value:
                value, modulus = found, arithmetic.modulus
            if value == upper:
                return Rank(value, "proved", value, upper, 0.0, modulus, seed)
        chance = self._failure(theta, value, columns) ** primes
        return Rank(value, "probable", value, upper, chance, modulus, seed)

    def _eliminate(
        self,
        theta: FloatArray | None,
        arithmetic: Modular,
        rng: np.random.Generator,
        progress: Progress | None,
    ) -> tuple[int, int]:
        """Rank modulo one prime, and the number of sketch columns that showed it."""
        architecture, upper = self.architecture, self.upper.value
        if theta is None:
            theta = arithmetic.random(rng, (architecture.parameter_count,))
        factors = factor(architecture, theta, self.X, self.gate, arithmetic, self.C)
        echelon = Echelon(arithmetic, self.rows)
        while echelon.rank < upper and echelon.count < echelon.rank + SPARE:
            width = min(max(FIRST, echelon.count // 2), upper + SPARE - echelon.count)
            echelon.extend(sketch_columns(factors, arithmetic, rng, width))
            if progress is not None:
                progress(echelon.rank, upper)
        return echelon.rank, echelon.count

    def _failure(self, theta: FloatArray | None, rank: int, columns: int) -> float:
        """
        Bound on the chance that one prime and sketch find ``rank`` although the rank is higher.

        Either the prime divides a nonzero minor of size rank + 1; or random parameters are a
        zero of it, a polynomial of degree (rank + 1) (depth - 1) (Schwartz-Zippel); or some
        SPARE of the columns added nothing, each with probability at most 2 / p, at one of fewer
        than 64 stages.
        """
        least, size = MODULUS_RANGE[0], rank + 1
        if theta is None:
            chance = size * (_depth(self.architecture) - 1) / least
            chance += prime_failure(size * self._bits(np.ones(self.architecture.parameter_count)))
        else:
            chance = prime_failure(size * self._bits(theta))
        chance += 64.0 * (2.0 * columns / least) ** SPARE
        return min(1.0, chance)

    def _bits(self, theta: FloatArray) -> float:
        """
        Bits per row of a minor of C J, as an integer times a power of two.

        A minor is at most the product of the absolute sums of its rows, which only grow when
        parameters and inputs are replaced by their absolute values.
        """
        arrays = np.abs(theta), np.abs(self.X), self.gate, Real(), np.abs(self.C)
        with np.errstate(over="ignore", invalid="ignore"):
            factors = factor(self.architecture, *arrays)
            sums = np.zeros((len(self.C), len(self.X)))
            for v, layer in enumerate(self.architecture.layers[1:], start=1):
                carried = np.full(len(self.X), float(layer.bias))
                for e in self.architecture.incoming[v]:
                    if (connection := self.architecture.connections[e]).trainable:
                        carried += factors.activations[connection.source].sum(axis=1)
                sums += factors.sensitivity(v).sum(axis=2) * carried
        # One bit covers the rounding of the sums.
        return (
            float(np.log2(max(sums.max(), 1.0)))
            + 1.0
            - _lowest_entry(self.architecture, theta, self.X)
        )

    def sketched_rank(self, network: Network, seed: int) -> Rank:
        """Rank of a float64 sketch."""
        if self.upper.value == 0:
            return _zero()
        factors = checked(network, self.X, self.gate, self.C)
        rng = np.random.default_rng(seed)

        def columns(count: int) -> FloatArray:
            return sketch_columns(factors, Real(), rng, count)

        return sketch_until_deficient(
            lambda count: columns(count).T, self.upper.value, self._tolerance(), seed
        )

    def numerical_rank(self, network: Network) -> Rank:
        """Rank of J itself by its singular values."""
        if self.upper.value == 0:
            return _zero()
        J = dense(checked(network, self.X, self.gate, self.C))
        return cut(singular_values(J), self._tolerance(), self.upper.value)

    def _tolerance(self) -> float:
        # J is computed in float64 from parameters that are taken as exact.
        return max(self.rows, self.architecture.parameter_count) * float(np.finfo(np.float64).eps)


def _zero() -> Rank:
    return Rank(0, "proved", 0, 0)


def _depth(architecture: Architecture) -> int:
    """Largest number of trainable matrices on a path from input to output."""
    depth = [0] * len(architecture.layers)
    for connection in architecture.connections:
        longer = depth[connection.source] + connection.trainable
        depth[connection.target] = max(depth[connection.target], longer)
    return depth[-1]


def _lowest_entry(architecture: Architecture, theta: FloatArray, X: FloatArray) -> int:
    """Exponent e such that every entry of J is an integer times 2**e."""
    weights = [0 if W is None else lowest_bit(W) for W in architecture.weights_of(theta)]
    biases = [0 if b is None else lowest_bit(b) for b in architecture.biases_of(theta)]
    slopes = [lowest_bit(np.array([layer.slope])) for layer in architecture.layers]
    h = [lowest_bit(X)] + [0] * (len(slopes) - 1)
    B = [0] * len(slopes)
    for v in range(1, len(slopes)):
        into = [
            h[architecture.connections[e].source] + weights[e] for e in architecture.incoming[v]
        ]
        h[v] = min([*into, biases[v]]) + slopes[v]
    for connection, weight in reversed(list(zip(architecture.connections, weights, strict=True))):
        u, v = connection.source, connection.target
        B[u] = min(B[u], B[v] + weight + slopes[u])
    entries = [B[c.target] + h[c.source] for c in architecture.connections if c.trainable]
    return min([*entries, *B])
