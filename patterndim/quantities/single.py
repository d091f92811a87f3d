"""The rank that the published recipe reports: a float32 Jacobian with a float64 tolerance."""

import numpy as np

from patterndim.errors import MemoryLimitError
from patterndim.network import Network
from patterndim.quantities.values import Value
from patterndim.quantities.view import View
from patterndim.training.backward import backward, forward
from patterndim.typing import AnyArray, FloatArray
from patterndim.validation import byte_count

#: Most bytes of the matrix in float64, unless a budget is given.
LARGEST = 2 * 10**9


def published_rank(view: View, output: str) -> Value:
    """
    Count of singular values of a float32 J that reach s_max * max(shape) * eps of float64.

    What the code of arXiv:2402.08269 does; rounding errors of float32 are counted as well, so it
    can exceed every bound of the rank.  The Jacobian includes the softmax if there is one.
    """
    from scipy.linalg import svdvals

    limit = byte_count(view.memory) or LARGEST
    need = 8 * len(view.X) * view.network.widths[-1] * view.network.parameter_count
    if need > limit:
        raise MemoryLimitError(f"memory must be at least {need} bytes for this J, got {limit}")
    J = single_jacobian(view.network, view.X, softmax=output == "softmax")
    values = svdvals(J.astype(np.float64), overwrite_a=True)
    return int(np.count_nonzero(values >= values[0] * max(J.shape) * np.finfo(np.float64).eps))


def single_jacobian(network: Network, X: FloatArray, *, softmax: bool = False) -> AnyArray:
    """Parameter Jacobian in float32 throughout, signs included, shape (N * n_L, P)."""
    architecture, f = network.architecture, np.float32
    theta = network.theta.astype(f)
    activations, gates = forward(architecture, theta, X.astype(f))
    N, outputs = activations[-1].shape
    J = np.empty((N, outputs, len(theta)), dtype=f)
    for c in range(outputs):
        seed = np.zeros((N, outputs), dtype=f)
        seed[:, c] = 1.0
        found = backward(architecture, theta, gates, seed)
        for where, edge in zip(architecture.weight_slices, architecture.connections, strict=True):
            if where is not None:
                left = found[edge.target][:, :, np.newaxis]
                block = left * activations[edge.source][:, np.newaxis]
                J[:, c, where] = block.reshape(N, -1)
        for v, where in enumerate(architecture.bias_slices):
            if where is not None:
                J[:, c, where] = found[v]
    if softmax:
        q = np.exp(activations[-1] - activations[-1].max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
        slope = q[:, :, np.newaxis] * (np.eye(outputs, dtype=f) - q[:, np.newaxis])
        J = slope @ J
    return J.reshape(N * outputs, -1)
