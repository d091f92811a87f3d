"""The parameter Jacobian of a pattern-frozen network at a sample, never formed."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from patterndim.architecture import Architecture
from patterndim.bounds import Bound, certain_bound
from patterndim.factors import gates, output_map
from patterndim.pattern import ActivationPattern
from patterndim.typing import BoolArray, FloatArray


@dataclass(frozen=True)
class FrozenJacobian:
    """
    C J for an architecture, a sample and a pattern; C maps the outputs to those that count.

    Attributes
    ----------
    X : array of float64, shape (N, n_0)
        The sample.
    C : array of float64, shape (outputs, n_L)
        The identity, or differences with the last output for a softmax.
    upper : Bound
        Bound of the rank that holds for all parameters.
    """

    architecture: Architecture
    X: FloatArray
    pattern: ActivationPattern
    C: FloatArray
    upper: Bound

    @classmethod
    def build(
        cls, architecture: Architecture, X: FloatArray, pattern: ActivationPattern, output: str
    ) -> Self:
        """Freeze the pattern; ``output`` is "affine" or "softmax"."""
        C = output_map(architecture.widths[-1], output)
        passing = nonzero_gates(architecture, pattern)
        return cls(architecture, X, pattern, C, certain_bound(architecture, X, pattern, passing, C))

    @property
    def rows(self) -> int:
        """Number of rows of C J."""
        return len(self.X) * len(self.C)

    @property
    def gate(self) -> tuple[FloatArray, ...]:
        """What the hidden neurons multiply by, shapes (N, n_l)."""
        return gates(self.architecture, self.pattern.masks)

    @property
    def passing(self) -> tuple[BoolArray, ...]:
        """Where that is not zero, shapes (N, n_l)."""
        return nonzero_gates(self.architecture, self.pattern)


def nonzero_gates(architecture: Architecture, pattern: ActivationPattern) -> tuple[BoolArray, ...]:
    """Which gates are not zero: all if a slope lets through, else those of active neurons."""
    return tuple(
        np.broadcast_to(True, mask.shape) if architecture.layers[layer].slope else mask
        for layer, mask in zip(architecture.hidden_layers, pattern.masks, strict=True)
    )
