"""Signs of preactivations in exact arithmetic: every float64 is an integer times a power of two."""

import numpy as np

from patterndim.dyadic import IntegerArray, dyadic
from patterndim.network import Network
from patterndim.typing import FloatArray, IntArray


def exact_signs(network: Network, inputs: FloatArray) -> tuple[IntArray, ...]:
    """
    Signs (-1, 0, 1) of the preactivations of every hidden layer, shapes (N, n_l), exact.

    Linear layers (slope 1) have none: 1 stands for them.
    """
    architecture = network.architecture
    activations = [dyadic(inputs)]
    signs = []
    for v in architecture.hidden_layers:
        terms = []
        for e in architecture.incoming[v]:
            h, exponent = activations[architecture.connections[e].source]
            if (W := network.weights[e]) is None:
                terms.append((h, exponent))
            else:
                integers, shift = dyadic(W)
                terms.append((h @ integers.T, exponent + shift))
        if (b := network.biases[v - 1]) is not None:
            terms.append(dyadic(b))
        low = min(exponent for _, exponent in terms)
        aligned = [(1 << (exponent - low)) * term for term, exponent in terms]
        z: IntegerArray = sum(aligned[1:], start=aligned[0])
        positive, negative = z > 0, z < 0
        leak = architecture.layers[v].slope
        found = positive.astype(np.int64) - negative.astype(np.int64)
        signs.append(np.ones_like(found) if leak == 1.0 else found)
        slope, shift = dyadic(np.array([leak]))
        down = max(-shift, 0)  # slope == m * 2**-down, since 0 <= slope <= 1
        activations.append((np.where(positive, z * (1 << down), z * slope[0]), low - down))
    return tuple(signs)
