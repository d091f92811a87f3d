"""Exact rank of a frozen Jacobian modulo primes, by elimination of a structured sketch."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np

from patterndim.arithmetic import Modular, random_prime
from patterndim.failure import failure
from patterndim.frozen import FrozenJacobian
from patterndim.plan import SPARE, SYMMETRIES, Plan, Stage, make_plan
from patterndim.rank.echelon import Echelon
from patterndim.rank.result import Rank
from patterndim.redundancy import finer_bound
from patterndim.stream import Source, gather
from patterndim.typing import FloatArray

#: Columns of the first sketch; each later one is half as wide as all before, up to LARGEST.
FIRST, LARGEST = 256, 1024
#: Rank that the first stage is meant for, and the factor to that of the next one.
TARGET, GROWTH = 1024, 4
#: Compression pays where columns are longer than the compressed ones by this factor.
TALL = 1.1
#: Primes by default, unless one leaves a chance of failure above DOUBT.
PRIMES, DOUBT = 2, 0.5
#: First word of the key of what the symmetries at random parameters draw.
BOUND = 5

Progress = Callable[[int, int], None]


def modular(
    frozen: FrozenJacobian,
    theta: FloatArray | None,
    seed: int,
    primes: int | None,
    progress: Progress | None = None,
    *,
    limit: int | None = None,
    executor: Executor | None = None,
) -> Rank:
    """
    Rank at given parameters, or (None) at random residues, modulo up to so many primes.

    By default (None) two, or one if that leaves so much doubt that another would not help.
    """
    rng = np.random.default_rng(seed)
    value, modulus, columns = -1, 0, 0
    for number in range(primes or PRIMES):
        arithmetic = Modular(random_prime(rng))
        source = Source.build(frozen, theta, arithmetic, (seed, number))
        search = _Search(frozen, source, limit, executor, progress)
        found = search.rank(value)
        columns = max(columns, search.columns)
        if found > value:
            value, modulus = found, arithmetic.modulus
        if number == 0 and value < frozen.upper.value:
            finer = np.random.default_rng([BOUND, seed])
            frozen = replace(frozen, upper=finer_bound(frozen, finer, SYMMETRIES))
        upper, name = frozen.upper.value, frozen.upper.name
        if value == upper:
            return Rank(value, "proved", value, upper, 0.0, modulus, seed, bound=name)
        chance = failure(frozen, theta, value, columns, SPARE)
        if primes is None and chance > DOUBT:
            break
    chance **= number + 1
    return Rank(value, "probable", value, upper, chance, modulus, seed, bound=name)


class _Search:
    """
    Rank modulo one prime.

    What it decides depends only on ranks of whole batches of columns, never on the memory, the
    chunks or the executor.
    """

    def __init__(
        self,
        frozen: FrozenJacobian,
        source: Source,
        limit: int | None,
        executor: Executor | None,
        progress: Progress | None,
    ) -> None:
        self.frozen, self.source = frozen, source
        self.limit, self.executor, self.progress = limit, executor, progress
        self.columns = 0

    def rank(self, guess: int) -> int:
        """Rank, and quickly if it is the guess (-1: no idea)."""
        upper = self.frozen.upper.value
        found = 0
        for stage in stages(self.frozen.rows, upper, guess):
            plan = make_plan(self.frozen, stage, self.limit, self.executor is not None)
            echelon = self._eliminate(stage, plan, upper, guess)
            self.columns += echelon.count
            found = max(found, echelon.rank)
            compression = self.source.compression(stage.width)
            enough = not stage.width or compression.sufficed(echelon.pivot_coordinates)
            if found >= upper or (echelon.rank <= stage.target and enough):
                break
        return found

    def _eliminate(self, stage: Stage, plan: Plan, upper: int, guess: int) -> Echelon:
        """Echelon form of so many columns that the last few added nothing, or too many."""
        echelon = Echelon(self.source.arithmetic, stage.length(self.frozen))
        # One more than a stage is meant for, and it is over.
        most, full = stage.target + SPARE, min(stage.target + 1, upper)
        while echelon.rank < full and echelon.count < echelon.rank + SPARE:
            first = FIRST if guess < 0 else guess + SPARE
            batch = min(max(first, echelon.count // 2), LARGEST, most - echelon.count)
            end = echelon.count + batch
            while echelon.count < end and echelon.rank < full:
                stop = min(echelon.count + plan.block, end)
                echelon.extend(
                    gather(self.source, echelon.count, stop, stage.width, plan, self.executor)
                )
            if self.progress is not None:
                self.progress(echelon.rank, upper)
        return echelon


def stages(rows: int, upper: int, guess: int = -1) -> Iterator[Stage]:
    """
    Eliminations for ever larger ranks, each much cheaper than the next, up to that of all rows.

    Columns much longer than the rank can be are compressed; the rank cannot grow by it.
    """
    target, slack = (guess if guess >= 0 else TARGET), 1
    while True:
        # The last stage costs at most a few times as much as one that is half as large.
        target = upper if 2 * target > upper and guess < 0 else min(target, upper)
        width = slack * (target + target // 32 + 2 * SPARE)
        if rows <= TALL * width:
            yield Stage(upper, 0)
            return
        yield Stage(target, width)
        if target == upper:
            slack *= 2
        target, guess = min(max(GROWTH * target, TARGET), upper), -1
