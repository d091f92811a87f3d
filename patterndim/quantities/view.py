"""A network at a sample, as quantities see it: nothing is computed twice."""

from functools import cached_property

import numpy as np

from patterndim.dimension import Dimension, generic_dimension, local_dimension
from patterndim.network import Network
from patterndim.pattern import ActivationPattern, activation_pattern
from patterndim.typing import FloatArray, IntArray

#: Kinds of outputs whose dimensions a view tells.
OUTPUTS = ("affine", "softmax")


class View:
    """
    A network at a sample, and the views of the networks before it.

    Attributes
    ----------
    network : Network
        The network.
    X : array of float64, shape (N, n_0)
        The sample.
    seed : int
        Source of randomness of every quantity.
    memory : int or str, or None
        As in `local_dimension`.
    first, previous : View or None
        The first view of this sample (its own for the first) and the one just before it, if they
        are of the same architecture.
    """

    def __init__(
        self,
        network: Network,
        X: FloatArray,
        seed: int,
        memory: int | str | None = None,
        previous: "View | None" = None,
    ) -> None:
        self.network, self.X, self.seed, self.memory = network, X, seed, memory
        if previous is not None and previous.network.architecture != network.architecture:
            previous = None
        self.previous = previous
        self.first: View = self if previous is None else previous.first
        if previous is not None:
            previous.previous = None  # older views are of no more use
        self._dimensions: dict[str, Dimension] = {}

    @cached_property
    def pattern(self) -> ActivationPattern:
        """Activation pattern of the sample."""
        return activation_pattern(self.network, self.X)

    @cached_property
    def region_sizes(self) -> IntArray:
        """Number of inputs in each activation region with any."""
        return (
            np.bincount(self.pattern.regions()) if self.pattern.masks else np.array([len(self.X)])
        )

    def dimension(self, output: str) -> Dimension:
        """Local dimension."""
        if output not in self._dimensions:
            found = self._implied() if output == "softmax" else None
            if found is None:
                found = local_dimension(
                    self.network, self.X, output=output, rng=self.seed, memory=self.memory
                )
            self._dimensions[output] = found
        return self._dimensions[output]

    def _implied(self) -> Dimension | None:
        """
        What the dimension without a softmax says for certain about that with it.

        If J has full row rank N n_L, then C J has full row rank N (n_L - 1).
        """
        affine = self._dimensions.get("affine")
        if affine is None or affine.kind != "proved" or affine.bound != "outputs":
            return None
        value = len(self.X) * (self.network.widths[-1] - 1)
        evidence = {**vars(affine), "value": value, "lower": value, "upper": value}
        return Dimension(**{**evidence, "pivot_rows": None, "pivot_columns": None})

    def generic(self, output: str) -> Dimension:
        """
        Generic dimension of the pattern.

        It lies between the local dimension and its upper bound, which holds for all parameters
        with this pattern: a proved local dimension is the generic one.
        """
        known = self._dimensions.get(output)
        if known is not None and known.kind == "proved":
            return known
        return generic_dimension(
            self.network, self.X, self.pattern, output=output, rng=self.seed, memory=self.memory
        )
