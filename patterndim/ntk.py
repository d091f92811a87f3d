"""The Gram matrix of the parameter Jacobian: the empirical neural tangent kernel."""

import numpy as np

from patterndim.factors import Factors, real_factors
from patterndim.network import Network
from patterndim.typing import ArrayLike, FloatArray
from patterndim.validation import choice


def ntk(
    network: Network, inputs: ArrayLike, others: ArrayLike | None = None, *, outputs: str = "full"
) -> FloatArray:
    """
    Gram matrix J J^T of the parameter Jacobian: the empirical neural tangent kernel.

    Computed from the factors: the block of a connection u -> v is the entrywise product of
    ``B_v B_v^T`` and ``h_u h_u^T``, so the cost does not contain the number of parameters.

    Parameters
    ----------
    network : Network
        ReLU network.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    others : array of float64, shape (M, n_0), optional
        Second sample; by default the first one.
    outputs : {"full", "trace"}
        All pairs of outputs, or the sum over equal outputs.

    Returns
    -------
    array of float64, shape (N * n_L, M * n_L), or (N, M) for "trace"
        Rows and columns input-major.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If a sample is not a finite real array of n_0 columns.

    Notes
    -----
    Its eigenvalues are the squares of the singular values of J: below about 1e-8 of the largest,
    singular values are lost in rounding.  For ranks use `local_dimension`.

    References
    ----------
    .. [1] A. Jacot, F. Gabriel, C. Hongler, "Neural Tangent Kernel: Convergence and
       Generalization in Neural Networks", arXiv:1806.07572.

    Examples
    --------
    >>> network = Network.from_layers([[[1.0]], [[2.0]]], [[0.0], [0.0]])
    >>> ntk(network, [[3.0], [1.0]])
    array([[50., 20.],
           [20., 10.]])
    """
    choice("outputs", outputs, ("full", "trace"))
    left = real_factors(network, inputs)
    right = left if others is None else real_factors(network, others)
    return gram(left, right, outputs)


def gram(left: Factors, right: Factors, outputs: str) -> FloatArray:
    """Gram matrix of two Jacobians from their float64 factors."""
    architecture = left.architecture
    count = left.outputs.shape[1]
    rows, columns = len(left.outputs), len(right.outputs)
    shape = (rows, columns) if outputs == "trace" else (rows, count, columns, count)
    K = np.zeros(shape)
    for v in range(1, len(architecture.layers)):
        h = np.zeros((rows, columns))
        for e in architecture.incoming[v]:
            if (connection := architecture.connections[e]).trainable:
                h += left.activations[connection.source] @ right.activations[connection.source].T
        if architecture.layers[v].bias:
            h += 1.0
        B, D = left.sensitivity(v), right.sensitivity(v)
        for c in range(count):
            if outputs == "trace":
                K += h * (B[c] @ D[c].T)
            else:
                for d in range(count):
                    K[:, c, :, d] += h * (B[c] @ D[d].T)
    return K if outputs == "trace" else K.reshape(rows * count, columns * count)


def self_blocks(factors: Factors) -> FloatArray:
    """Diagonal blocks of the Gram matrix, each input with itself: shape (N, outputs, outputs)."""
    architecture = factors.architecture
    total = np.zeros((*factors.outputs.shape, factors.outputs.shape[1]))
    for v in range(1, len(architecture.layers)):
        size = np.full(len(total), float(architecture.layers[v].bias))
        for e in architecture.incoming[v]:
            if (connection := architecture.connections[e]).trainable:
                size += (factors.activations[connection.source] ** 2).sum(axis=1)
        B = factors.sensitivity(v)
        total += np.einsum("cxi,dxi,x->xcd", B, B, size, optimize=True)
    return total
