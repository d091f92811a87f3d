"""What a recogniser of faults looks at: a given Jacobian, the analytic one, and what is allowed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from patterndim.arithmetic import Real
from patterndim.comparison.precision import FLOAT16, FLOAT32, FLOAT64, Precision
from patterndim.comparison.reference import Expected, expected, head, jacobian, operations
from patterndim.factors import gates, propagate
from patterndim.formats.imported import Parameter
from patterndim.network import Network
from patterndim.pattern import ActivationPattern, activation_pattern
from patterndim.typing import BoolArray, FloatArray

#: Samples at most on which rounding is imitated and hypotheses are tried first.
PROBE = 24


@dataclass(frozen=True)
class Fault:
    """
    Something wrong with a Jacobian.

    Attributes
    ----------
    name : str
        What it is, in two or three words: "transposed weight", "missing samples".
    message : str
        A sentence that says where.
    """

    name: str
    message: str

    def __str__(self) -> str:
        """Name and message."""
        return f"{self.name}: {self.message}"


@dataclass(frozen=True)
class MaskDisagreement:
    """
    A hidden neuron whose mask in the Jacobian is not that of the network.

    ``factor`` is what the Jacobian multiplies by there (1 if active, the slope if not), ``sign``
    the certified sign of the preactivation (0: a tie), and ``rounding`` says that arithmetic of
    the precision at hand cannot tell that sign.
    """

    sample: int
    layer: int
    neuron: int
    preactivation: float
    sign: int
    factor: float
    rounding: bool


@dataclass(frozen=True, eq=False)
class Explanation:
    """
    Faults that explain a Jacobian, and how well.

    ``given`` is the Jacobian with the faults of its layout undone, and ``expected`` what it agrees
    with then; ``read`` says that this was read off the Jacobian itself and carries its errors.
    """

    faults: tuple[Fault, ...]
    given: FloatArray
    expected: Expected
    masks: tuple[MaskDisagreement, ...] = ()
    notes: tuple[str, ...] = ()
    read: bool = False


@dataclass(frozen=True, eq=False)
class Case:
    """
    A Jacobian under suspicion.

    Attributes
    ----------
    network : Network
        What it should be the Jacobian of.
    X : array of float64, shape (N, n_0)
        The sample.
    given : array of float64, shape (M, K, Q)
        What it is.
    head : str
        What follows the outputs of the network.
    parameters : tuple of Parameter
        Blocks of columns, in the order of the source.
    smallest : float
        Smallest number of full precision in the type of the given entries.
    ordered : bool
        Whether the columns came block by block, in the shapes of the source for certain.
    """

    network: Network
    X: FloatArray
    given: FloatArray
    head: str
    parameters: tuple[Parameter, ...]
    smallest: float = FLOAT64.smallest
    ordered: bool = False

    @cached_property
    def pattern(self) -> ActivationPattern:
        """Certified masks."""
        return activation_pattern(self.network, self.X)

    @cached_property
    def gates(self) -> tuple[FloatArray, ...]:
        """Certified factors of the hidden neurons, shapes (N, n_l)."""
        return gates(self.network.architecture, self.pattern.masks)

    @cached_property
    def reference(self) -> Expected:
        """The analytic Jacobian."""
        return expected(self.network, self.X, self.gates, self.head)

    @cached_property
    def probe(self) -> slice:
        """Some samples, spread evenly."""
        return slice(0, len(self.X), max(1, len(self.X) // PROBE))

    @cached_property
    def _imitations(self) -> dict[Precision, tuple[float, float, float]]:
        return {}

    def imitation(self, level: Precision) -> tuple[float, float, float]:
        """
        Errors of the same computation in a precision, in its units: largest, mean, how many.

        Of what is added up in an entry; "how many" is the part of entries with any error.
        """
        if level not in self._imitations:
            X = self.X[self.probe]
            factors = [g[self.probe] for g in self.gates]
            exact = self.reference.at(self.probe)
            z = propagate(self.network.architecture, self.network.theta, X, factors, Real())[-1]
            seed = head(self.head, z)
            J = jacobian(self.network, X, factors, factors, seed, level)
            ratio = self.ratio(J, exact)[exact.size > 0]
            found = (0.0, 0.0, 0.0)
            if ratio.size and np.isfinite(ratio).all():
                rms = float(np.sqrt(np.mean(ratio**2)))
                found = (float(ratio.max()), rms, float(np.mean(ratio > 64 * FLOAT64.unit)))
            self._imitations[level] = found
        return self._imitations[level]

    def limit(self, level: Precision) -> float:
        """
        Largest error of a correct Jacobian in a precision, over what is added up in an entry.

        No order of summation exceeds the number of operations times the unit; where that says
        little, 16 times the largest error of an imitation in the same precision counts.
        """
        imitated = FLOAT32 if level is FLOAT64 else level
        units = self.imitation(imitated)[0] / imitated.unit
        return level.unit * min(2.0 * operations(self.network), max(32.0, 16.0 * units))

    def ratio(self, given: FloatArray, exact: Expected) -> FloatArray:
        """Errors over what is added up in an entry; infinite where nothing is but something is."""
        error = np.abs(given - exact.J)
        # Smaller numbers may have been flushed to zero, but float16 has few that are larger.
        floor = min(self.smallest / FLOAT32.unit, FLOAT16.smallest)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = error / (exact.size + floor)
        return np.where(error == 0.0, 0.0, ratio)

    def within(self, given: FloatArray, exact: Expected, level: Precision) -> BoolArray:
        """Which entries agree in a precision."""
        found: BoolArray = self.ratio(given, exact) <= self.limit(level)
        return found

    def fits(self, given: FloatArray, exact: Expected, level: Precision) -> bool:
        """Whether all entries agree in a precision."""
        if given.shape != exact.J.shape:
            return False
        first = given[self.probe], exact.at(self.probe)
        return bool(self.within(*first, level).all() and self.within(given, exact, level).all())

    def expected(
        self,
        network: Network | None = None,
        X: FloatArray | None = None,
        gates_: Sequence[FloatArray] | None = None,
        name: str | None = None,
        *,
        forward: Sequence[FloatArray] | None = None,
    ) -> Expected:
        """Analytic Jacobian of something else: parameters, inputs, gates or head."""
        changed = network is not None or X is not None
        network = self.network if network is None else network
        X = self.X if X is None else X
        if gates_ is None:
            gates_ = self.gates
            if changed:
                gates_ = gates(network.architecture, activation_pattern(network, X).masks)
        return expected(network, X, gates_, self.head if name is None else name, forward=forward)

    def replace(self, given: FloatArray, *, ordered: bool | None = None) -> "Case":
        """The same about another Jacobian; what has been computed stays."""
        ordered = self.ordered if ordered is None else ordered
        other = replace(self, given=given, ordered=ordered)
        known = ("pattern", "gates", "reference", "_imitations", "probe")
        other.__dict__.update({name: vars(self)[name] for name in known if name in vars(self)})
        return other

    def subset(self, samples: slice | BoolArray, given: FloatArray | None = None) -> "Case":
        """The same about some samples."""
        given = self.given[samples] if given is None else given
        other = replace(self, X=self.X[samples], given=given)
        other.__dict__["_imitations"] = self._imitations
        return other

    @cached_property
    def part(self) -> "Case":
        """The same about some samples, spread evenly."""
        return self.subset(self.probe)

    def explained(self, build: Callable[["Case"], Expected], level: Precision) -> Expected | None:
        """What a hypothesis expects if it agrees: first at some samples, then at all."""
        if self.given.shape[0] == len(self.X):
            first = build(self.part)
            if first.J.shape != self.part.given.shape:
                return None
            if not self.part.within(self.part.given, first, level).all():
                return None
        exact = build(self)
        return exact if self.fits(self.given, exact, level) else None

    def behind(self, head_: str) -> "Case":
        """The same behind another head."""
        return replace(self, head=head_)


Recogniser = Callable[[Case, Precision], Explanation | None]
