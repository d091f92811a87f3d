"""
Layers of a network in exact integers, acting on linear forms of the input.

Where the earlier layers have constant masks every preactivation is one linear form in homogeneous
coordinates (x, w), with integer coefficients up to a power of two that is common to its layer:
weights are dyadic rationals.
"""

from collections.abc import Sequence

import numpy as np

from patterndim.dyadic import IntegerArray, dyadic
from patterndim.network import Network


class IntegerLayer:
    """Layer v of a network in integers: matrices, bias and slope, aligned to one power of two."""

    def __init__(self, network: Network, v: int, exponents: Sequence[int]) -> None:
        architecture = network.architecture
        self.v, self.width = v, architecture.widths[v]
        terms: list[tuple[int, IntegerArray | None, int]] = []
        for e in architecture.incoming[v]:
            source = architecture.connections[e].source
            W = network.weights[e]
            integers, shift = (None, 0) if W is None else dyadic(W)
            terms.append((source, integers, exponents[source] + shift))
        b = network.biases[v - 1]
        bias, bias_exponent = (None, 0) if b is None else dyadic(b)
        low = min([exponent for _, _, exponent in terms] + [bias_exponent] * (b is not None))
        self.terms = [(u, W, 1 << (exponent - low)) for u, W, exponent in terms]
        self.bias = None if bias is None else bias * (1 << (bias_exponent - low))
        slope, shift = dyadic(np.array([architecture.layers[v].slope]))
        # The slope is slope / one, with 0 <= slope <= 1.
        self.slope, self.one = int(slope[0]), 1 << max(-shift, 0)
        self.linear = self.slope == self.one
        self.exponent = low - max(-shift, 0)

    def preactivations(self, forms: Sequence[IntegerArray]) -> IntegerArray:
        """Linear forms of the preactivations, shape (n_v, n_0 + 1)."""
        z: IntegerArray = np.zeros((self.width, forms[0].shape[1]), dtype=object)
        for u, W, scale in self.terms:
            z = z + scale * (forms[u] if W is None else W @ forms[u])
        if self.bias is not None:
            z[:, -1] += self.bias
        return z

    def activations(self, z: IntegerArray, masks: Sequence[bool]) -> IntegerArray:
        """Linear forms of the activations, shape (n_v, n_0 + 1), with these masks."""
        gate = np.array([self.one if mask else self.slope for mask in masks], dtype=object)
        h: IntegerArray = z * gate[:, np.newaxis]
        return h
