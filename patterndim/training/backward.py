"""
One forward and one backward pass, in float64 or float32, summed in one fixed order.

BLAS is not used: the last bits of its products depend on the number of threads.
"""

import numpy as np

from patterndim.architecture import Architecture
from patterndim.arithmetic import Real
from patterndim.network import Network
from patterndim.training.losses import slope
from patterndim.typing import AnyArray

product = Real().product


def gradient(network: Network, X: AnyArray, T: AnyArray, loss: str) -> AnyArray:
    """Gradient of the mean loss by the parameters, shape (P,), by one backward pass."""
    return theta_gradient(network.architecture, network.theta, X, T, loss)


def theta_gradient(
    architecture: Architecture, theta: AnyArray, X: AnyArray, T: AnyArray, loss: str
) -> AnyArray:
    """Gradient at a parameter vector, computed in its dtype, which is that of the sample."""
    activations, gates = forward(architecture, theta, X)
    seed = slope(activations[-1], T, loss) / len(X)
    found = backward(architecture, theta, gates, seed)
    result = np.empty_like(theta)
    for where, c in zip(architecture.weight_slices, architecture.connections, strict=True):
        if where is not None:
            result[where] = product(found[c.target].T, activations[c.source]).reshape(-1)
    for v, where in enumerate(architecture.bias_slices):
        if where is not None:
            result[where] = found[v].sum(axis=0)
    return result


def backward(
    architecture: Architecture, theta: AnyArray, gates: list[AnyArray], seed: AnyArray
) -> list[AnyArray]:
    """B_v^T times a vector of the outputs for each input (N, n_L): shapes (N, n_v), from v = 1."""
    last = len(architecture.layers) - 1
    # The input layer holds a place and is never read.
    found: list[AnyArray] = [seed] * (last + 1)
    weights = architecture.weights_of(theta)
    for u in range(last - 1, 0, -1):
        total = np.zeros_like(gates[u - 1])
        for W, connection in zip(weights, architecture.connections, strict=True):
            if connection.source == u:
                above = found[connection.target]
                total += above if W is None else product(above, W)
        found[u] = total * gates[u - 1]
    return found


def forward(
    architecture: Architecture, theta: AnyArray, X: AnyArray
) -> tuple[list[AnyArray], list[AnyArray]]:
    """Activations of all layers and gates of the hidden ones, by the signs that floats have."""
    weights, biases = architecture.weights_of(theta), architecture.biases_of(theta)
    one = theta.dtype.type(1.0)
    activations, gates = [X], []
    for v, layer in enumerate(architecture.layers[1:], start=1):
        z = np.zeros((len(X), layer.width), dtype=theta.dtype)
        for e in architecture.incoming[v]:
            h, W = activations[architecture.connections[e].source], weights[e]
            z += h if W is None else product(h, W.T)
        if (b := biases[v]) is not None:
            z += b
        if v in architecture.hidden_layers:
            gates.append(np.where(z > 0, one, theta.dtype.type(layer.slope)))
            z = z * gates[-1]
        activations.append(z)
    return activations, gates
