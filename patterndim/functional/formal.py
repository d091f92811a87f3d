"""Dimension over all samples with some patterns, from formal inputs."""

from dataclasses import replace

import numpy as np

from patterndim import elimination
from patterndim.frozen import FrozenJacobian
from patterndim.functional.patterns import distinct, untied
from patterndim.functional.result import MET, FunctionalDimension, Search
from patterndim.pattern import ActivationPattern


def formal(search: Search, pattern: ActivationPattern, *, every: bool) -> FunctionalDimension:
    """
    Rank of the rows of J at 0 and the unit vectors with each pattern, which may be ``every`` one.

    With masks frozen the rows are affine in the input, so those of any n_0 + 1 affinely
    independent inputs span the same space, whether or not they lie in the region.
    """
    network = search.network
    rows = distinct(pattern)
    points = np.eye(network.widths[0] + 1)[:, :-1]
    X = np.tile(points, (len(rows), 1))
    frozen_pattern = untied([mask[np.repeat(rows, len(points))] for mask in pattern.masks])
    frozen = FrozenJacobian.build(network.architecture, X, frozen_pattern, search.head)
    least = min(frozen.upper, search.upper, key=lambda bound: bound.value)
    frozen = replace(frozen, upper=least)
    rank = elimination.modular(
        frozen,
        network.theta,
        search.seed,
        search.primes,
        search.progress,
        limit=search.memory,
    )
    met = rank.value == search.upper.value
    reason = "all activation regions" if every else "given patterns"
    return FunctionalDimension(
        **vars(rank),
        ties=len(pattern.ties),
        method="exact" if every else "patterns",
        inputs=len(X),
        regions=len(rows),
        complete=every or met,
        reason=MET if met else reason,
        rank_failure=rank.failure_probability or 0.0,
    )
