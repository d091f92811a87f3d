"""The parameter Jacobian of a pattern-frozen network at a sample, never formed."""

from dataclasses import dataclass
from typing import Self

from patterndim.architecture import Architecture
from patterndim.bounds import Bound, certain_bound
from patterndim.factors import gates, output_map
from patterndim.pattern import ActivationPattern
from patterndim.typing import FloatArray


@dataclass(frozen=True)
class FrozenJacobian:
    """
    C J for an architecture, a sample and a pattern; C maps the outputs to those that count.

    Attributes
    ----------
    X : array of float64, shape (N, n_0)
        The sample.
    gate : tuple of array of float64, shapes (N, n_l)
        What the hidden neurons multiply by.
    C : array of float64, shape (outputs, n_L)
        The identity, or differences with the last output for a softmax.
    upper : Bound
        Bound of the rank that holds for all parameters.
    """

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
