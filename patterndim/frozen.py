"""The parameter Jacobian of a pattern-frozen network at a sample, never formed."""

from dataclasses import dataclass
from typing import Self

import numpy as np

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
        # Bounds only ask which gates are zero: masks say so where no slope lets through.
        open_gates = tuple(
            np.broadcast_to(True, mask.shape) if architecture.layers[layer].slope else mask
            for layer, mask in zip(architecture.hidden_layers, pattern.masks, strict=True)
        )
        return cls(
            architecture, X, pattern, C, certain_bound(architecture, X, pattern, open_gates, C)
        )

    @property
    def rows(self) -> int:
        """Number of rows of C J."""
        return len(self.X) * len(self.C)

    @property
    def gate(self) -> tuple[FloatArray, ...]:
        """What the hidden neurons multiply by, shapes (N, n_l)."""
        return gates(self.architecture, self.pattern.masks)
