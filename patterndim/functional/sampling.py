"""A sample that grows until the dimension does not, and the chance that it missed something."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from patterndim import elimination
from patterndim.arithmetic import Modular, random_prime
from patterndim.errors import ArgumentError, ShapeError
from patterndim.factors import factor, gates
from patterndim.failure import failure
from patterndim.frozen import FrozenJacobian
from patterndim.functional.patterns import keys, untied
from patterndim.functional.result import MET, FunctionalDimension, Search
from patterndim.network import Network
from patterndim.parallel import share_rows
from patterndim.pattern import ActivationPattern, activation_pattern
from patterndim.rank.echelon import Echelon
from patterndim.sketch import TILE_ROWS, Directions, FactorTiles
from patterndim.stream import OPERATIONS, sketch_tiles
from patterndim.typing import ArrayLike, BoolArray, FloatArray
from patterndim.validation import float_array, integer

#: Random directions beyond the largest rank that can be reached.
SPARE = 8
#: Inputs drawn afresh for the estimates.
FRESH = 1000
#: First word of the key of the directions.
SAMPLE = 4
#: How far, relative to its size, an input on the boundary of a region is moved.
NUDGE = 2.0**-20
#: Most rows of J per step; until then each step doubles the sample.
LARGEST = 2048

Sampler = Callable[[np.random.Generator, int], ArrayLike]


def gaussian(inputs: int, scale: float) -> Sampler:
    """Sampler of independent normal coordinates of mean 0."""
    return lambda rng, count: rng.normal(0.0, scale, (count, inputs))


def sampling_failure(masses: ArrayLike, count: int, inputs: int) -> float:
    """
    Bound on the chance that a random sample has less than the functional dimension.

    With N independent inputs and p the mass of an activation region,

        P[dimension of the sample < functional dimension] <= sum of P[Binomial(N, p) <= n_0]

    over the regions: there the rows of J are affine in the input, so n_0 + 1 inputs in general
    position give all that a region can give.

    Parameters
    ----------
    masses : array of float64, shape (R,)
        Mass of every activation region under the law of the inputs, which has a density.
    count, inputs : int
        Number N of inputs in the sample, and of coordinates n_0.

    Examples
    --------
    Two half-lines of mass 1/2: a sample of 20 misses one or has a single input there.

    >>> round(sampling_failure([0.5, 0.5], 20, 1) * 2**20)
    42
    """
    from scipy.special import bdtr

    p = float_array("masses", masses, ("R",))
    if p.min() < 0.0 or p.max() > 1.0:
        raise ArgumentError(f"masses must be from 0 to 1, got {p.min():g} to {p.max():g}")
    count, inputs = integer("count", count, low=0), integer("inputs", inputs, low=1)
    return float(min(1.0, bdtr(min(inputs, count), count, p).sum()))


class Draws:
    """Inputs of a network by a sampler, in one stream of random numbers."""

    def __init__(self, network: Network, sampler: Sampler, seed: int) -> None:
        self.network, self.sampler = network, sampler
        self.rng = np.random.default_rng([seed, 1])
        self.drawn = 0

    def take(self, count: int) -> tuple[FloatArray, ActivationPattern]:
        """
        Draw so many inputs, moved off boundaries of regions, and their pattern.

        A preactivation of exactly zero at an isolated input says nothing about any region, so
        such inputs move a little at random; ties that stay are those of whole regions.
        """
        shape = count, self.network.widths[0]
        given = self.sampler(self.rng, count)
        # A copy: the sampler may fill the same array again.
        X = float_array("sampler(rng, count)", given, ("count", shape[1])).copy()
        if len(X) != count:
            raise ShapeError(f"sampler(rng, {count}) must have shape {shape}, got {X.shape}")
        self.drawn += count
        pattern = activation_pattern(self.network, X)
        if len(tied := np.unique(pattern.ties[:, 0])):
            size = NUDGE * np.maximum(1.0, np.abs(X[tied]))
            X[tied] += size * self.rng.uniform(-1.0, 1.0, size.shape)
            pattern = activation_pattern(self.network, X)
        return X, pattern


@dataclass
class Growing:
    """
    Rank modulo a prime of rows of C J times random directions, step after step.

    The directions suffice for any rank up to ``reach`` and never change, so the rows of new
    inputs extend one echelon form, and what came before is not touched again.
    """

    search: Search
    draws: Draws
    arithmetic: Modular
    rng: np.random.Generator
    reach: int
    quiet: int = 0
    ties: int = 0
    uncertain: int = 0
    steps: int = 0
    X: list[FloatArray] = field(default_factory=list)
    masks: list[tuple[BoolArray, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Draw the directions."""
        self.columns = self.reach + SPARE
        architecture = self.search.network.architecture
        key = SAMPLE, self.search.seed
        self.directions = Directions(architecture, self.arithmetic, key, 0, self.columns)
        self.echelon = Echelon(self.arithmetic, self.columns)

    def run(self, upper: int, patience: int, limit: int) -> None:
        """Grow until ``upper`` is met, ``patience`` draws added nothing, or ``limit`` draws."""
        outputs = self.search.head.count
        while self.echelon.rank < upper and self.quiet < patience and self.draws.drawn < limit:
            step = self.draws.drawn or -(-self.columns // outputs)
            step = min(step, max(1, LARGEST // outputs), limit - self.draws.drawn)
            self.quiet = 0 if self._extend(step) else self.quiet + step
            if self.search.progress is not None:
                self.search.progress(self.echelon.rank, upper)

    def _extend(self, count: int) -> int:
        """Add so many draws; return how much the rank grew."""
        X, pattern = self.draws.take(count)
        self.steps += 1
        self.X.append(X)
        self.masks.append(pattern.masks)
        self.ties += len(pattern.ties)
        self.uncertain += len(pattern.uncertain)
        network = self.search.network
        gate = gates(network.architecture, pattern.masks)
        factors = factor(
            network.architecture, network.theta, X, gate, self.arithmetic, self.search.head.C
        )
        tiles = FactorTiles.of(factors, self.arithmetic.inner_length)
        out = np.empty((self.columns, len(X) * self.search.head.count))
        work = partial(sketch_tiles, self.directions, tiles, None, out)
        share_rows(work, -(-self.columns // TILE_ROWS), OPERATIONS * out.size)
        return self.echelon.extend(np.ascontiguousarray(out.T))

    def sample(self) -> tuple[FloatArray, ActivationPattern]:
        """All inputs used, and their pattern."""
        empty = np.empty((0, self.search.network.widths[0]))
        masks = [np.concatenate(parts) for parts in zip(*self.masks, strict=True)]
        return np.concatenate([empty, *self.X]), untied(masks)


def sample(search: Search, draws: Draws, patience: int, limit: int) -> FunctionalDimension:
    """Functional dimension from below, by a growing random sample."""
    upper = search.upper
    rng = np.random.default_rng(search.seed)
    reach = min(upper.value, limit * search.head.count)
    search.check(_need(search, reach + SPARE, limit))
    growing = Growing(search, draws, Modular(random_prime(rng)), rng, reach)
    growing.run(upper.value, patience, limit)
    X, pattern = growing.sample()
    value, modulus, chance = growing.echelon.rank, growing.arithmetic.modulus, 0.0
    if value < upper.value:
        value, modulus, chance = _again(growing, X, pattern)
    met = value == upper.value
    known = set(keys(pattern, len(X)))
    missed, unseen = (None, None) if met else _missed(draws, known, len(X))
    if met:
        reason = MET
    elif growing.quiet >= patience:
        reason = f"no growth in the last {growing.quiet} draws"
    else:
        reason = f"limit of {limit} draws"
    return FunctionalDimension(
        value=value,
        kind="proved" if met else "probable",
        lower=value,
        upper=upper.value,
        failure_probability=0.0 if met else 1.0,
        modulus=modulus,
        seed=search.seed,
        ties=growing.ties,
        uncertain=growing.uncertain,
        bound=upper.name,
        method="sample",
        inputs=len(X),
        regions=len(known),
        complete=met,
        reason=reason,
        rank_failure=chance,
        sampling_failure=missed,
        unseen=unseen,
    )


def _need(search: Search, columns: int, limit: int) -> int:
    """Bytes that a sample of ``limit`` inputs may take."""
    network = search.network
    X = np.broadcast_to(0.0, (limit, network.widths[0]))
    rows = LARGEST + search.head.count
    # The echelon form, rows times directions thrice, factors, inputs and masks.
    numbers = columns**2 + 3 * rows * (columns + sum(network.widths)) + X.size
    return 8 * numbers + limit * network.hidden_neurons


def _again(growing: Growing, X: FloatArray, pattern: ActivationPattern) -> tuple[int, int, float]:
    """
    Rank at the inputs used, its prime and failure probability, after all primes.

    The sample ended where it did because of its prime, so the bound for that prime holds for all
    the steps together; the further primes are independent of it and of the sample.
    """
    search, architecture = growing.search, growing.search.network.architecture
    theta, value, modulus = search.network.theta, growing.echelon.rank, growing.arithmetic.modulus
    frozen = FrozenJacobian.build(architecture, X, pattern, search.head)
    if value == frozen.upper.value:
        return value, modulus, 0.0
    if (others := search.primes - 1) > 0:
        seed = int(growing.rng.integers(2**63 - 1))
        rank = elimination.modular(
            frozen, theta, seed, others, search.progress, limit=search.memory
        )
        if rank.value > value and rank.modulus is not None:
            value, modulus = rank.value, rank.modulus
        if value == frozen.upper.value:
            return value, modulus, 0.0
    columns = max(growing.columns, frozen.upper.value + SPARE)
    chance = failure(frozen, theta, value, columns, SPARE)
    return value, modulus, min(1.0, growing.steps * chance) * chance**others


def _missed(draws: Draws, known: set[bytes], count: int) -> tuple[float, float]:
    """Estimates by fresh draws: of `sampling_failure`, and of the mass outside known regions."""
    _, pattern = draws.take(FRESH)
    found = Counter(keys(pattern, FRESH))
    masses = np.array(list(found.values())) / FRESH
    unseen = sum(number for key, number in found.items() if key not in known)
    return sampling_failure(masses, count, draws.network.widths[0]), unseen / FRESH
