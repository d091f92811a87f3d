"""The parameter Jacobian of a pattern-frozen network at a sample, never formed."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from patterndim.architecture import Architecture
from patterndim.bounds import Bound, certain_bound
from patterndim.factors import gates
from patterndim.heads import Head
from patterndim.pattern import ActivationPattern
from patterndim.typing import BoolArray, FloatArray


@dataclass(frozen=True)
class FrozenJacobian:
    """
    C J for an architecture, a sample and a pattern; C is the map behind the outputs.

    Attributes
    ----------
    X : array of float64, shape (N, n_0)
        The sample.
    head : Head
        The map behind the outputs, at every input.
    upper : Bound
        Bound of the rank that holds for all parameters.
    """

    architecture: Architecture
    X: FloatArray
    pattern: ActivationPattern
    head: Head
    upper: Bound

    @classmethod
    def build(
        cls, architecture: Architecture, X: FloatArray, pattern: ActivationPattern, head: Head
    ) -> Self:
        """Freeze the pattern."""
        passing = nonzero_gates(architecture, pattern)
        upper = certain_bound(architecture, X, pattern, passing, head)
        return cls(architecture, X, pattern, head, upper)

    @property
    def rows(self) -> int:
        """Number of rows of C J."""
        return len(self.X) * self.head.count

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
