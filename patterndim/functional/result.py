"""What is known about a functional dimension, and bounds that hold for every sample."""

from dataclasses import dataclass
from functools import cached_property

from patterndim.bounds import Bound, every_sample_bound
from patterndim.dimension import Dimension
from patterndim.elimination import Progress
from patterndim.errors import MemoryLimitError
from patterndim.heads import Head
from patterndim.network import Network

#: Why a computation ended that needs nothing more.
MET = "met the bound for all samples"


@dataclass(frozen=True)
class FunctionalDimension(Dimension):
    """
    A functional dimension with its evidence: a `Dimension` and what it was computed from.

    ``lower`` is a certain lower bound by every method, as long as there are no ties; by
    "patterns", as long as the network has the given patterns on open sets.

    Attributes
    ----------
    failure_probability : float
        Bound on the chance that the dimension is above ``value``: 0 when proved, over the random
        prime and directions by "exact" and "patterns" (there of the samples with the given
        patterns), and 1 by an unproved "sample", since nothing is known about inputs that were
        not drawn.
    method : str
        "sample", "patterns" or "exact".
    inputs, regions : int
        Inputs whose rows of J were used (formal ones, n_0 + 1 per region, by "patterns" and
        "exact"), and the number of different activation regions among them.
    ties : int
        Preactivations that are exactly zero at the inputs used, or on the whole of a region:
        there the network is not differentiable and no theorem applies; ``value`` is the rank with
        those neurons inactive.
    complete : bool
        Whether no other sample can do better: all activation regions took part, or the value
        meets a bound that holds for all samples.
    reason : str
        Why the computation ended.
    rank_failure : float
        Bound on the chance, over the random prime and directions, that the rank at the inputs
        used is above ``value``.
    sampling_failure : float or None
        Estimate, not a bound, of the chance that another sample of as many inputs would fall
        short: that of Theorem T6 below with the frequencies of regions among fresh inputs in
        place of their masses.  None unless an unproved "sample".
    unseen : float or None
        Fraction of the fresh inputs in regions that the sample had not met: an unbiased estimate
        of the mass of all unmet regions.
    """

    method: str = ""
    inputs: int = 0
    regions: int = 0
    complete: bool = False
    reason: str = ""
    rank_failure: float = 0.0
    sampling_failure: float | None = None
    unseen: float | None = None


@dataclass(frozen=True)
class Search:
    """A network, the head behind its outputs, and the options that all methods share."""

    network: Network
    head: Head
    seed: int
    primes: int
    memory: int | None
    progress: Progress | None

    def check(self, need: int) -> None:
        """Raise if there is not enough memory."""
        if self.memory is not None and need > self.memory:
            raise MemoryLimitError(f"memory must be at least {need} bytes here, got {self.memory}")

    @cached_property
    def upper(self) -> Bound:
        """Bound of the rank of C J at every sample."""
        return every_sample_bound(self.network.architecture, self.head)
