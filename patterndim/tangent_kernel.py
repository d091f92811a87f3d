"""The Gram matrix of the parameter Jacobian: the empirical neural tangent kernel."""

from functools import partial

import numpy as np

from patterndim.architecture import Architecture
from patterndim.factors import Factors, real_factors
from patterndim.heads import Head
from patterndim.kernels import gram as kernels
from patterndim.network import Network
from patterndim.parallel import share_rows
from patterndim.typing import ArrayLike, FloatArray, IntArray, Output
from patterndim.validation import choice

#: Inner products of activations that are kept at a time.
NEARBY = 8_000_000


def ntk(
    network: Network,
    inputs: ArrayLike,
    others: ArrayLike | None = None,
    *,
    outputs: str = "full",
    output: Output = "affine",
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
    output : {"affine", "softmax"} or array of float64, shape (k, n_L) or (N, k, n_L)
        As in `parameter_jacobian`; with ``others`` one matrix for all inputs.

    Returns
    -------
    array of float64, shape (N * n_L, M * n_L), or (N, M) for "trace"
        Rows and columns input-major; k in place of n_L behind a head of k rows.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If a sample is not a finite real array of n_0 columns, or ``output`` not as above.

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
    left = right = real_factors(network, inputs, output)
    if others is not None:
        # One matrix for each input would be of the inputs or of the others.
        Head.of(output, network.widths[-1])
        right = real_factors(network, others, output)
    return gram(left, right, outputs)


def gram(left: Factors, right: Factors, outputs: str) -> FloatArray:
    """
    Gram matrix of two Jacobians from their float64 factors; symmetric to the last bit if equal.

    A block of inputs at a time, so that all that is needed beside the result is small.
    """
    layers = _layers(left.architecture)
    parts = [_rows(left.sensitivity(v), outputs) for v in layers]
    edges = np.cumsum([0, *(part.shape[1] for part in parts)], dtype=np.int64)
    B = D = np.concatenate(parts, axis=1)
    same = right is left
    if not same:
        D = np.concatenate([_rows(right.sensitivity(v), outputs) for v in layers], axis=1)
    D = np.ascontiguousarray(D.T)
    inputs, others = len(left.outputs), len(right.outputs)
    each = len(B) // inputs
    K = np.empty((len(B), D.shape[1]))
    block = max(1, NEARBY // (len(layers) * others))
    for start in range(0, inputs, block):
        part = slice(start, min(start + block, inputs))
        scale = np.stack([_products(left, right, v, part) for v in layers])
        # What is left of the diagonal is mirrored.
        first = np.arange(start, part.stop) * each if same else np.zeros(len(scale[0]), np.int64)
        rows = slice(start * each, part.stop * each)
        _fill(B[rows], D, scale, edges, first, K[rows])
    if same:
        squares = -(-len(K) // kernels.SQUARE)
        share_rows(partial(kernels.mirror, out=K), squares, K.size)
    return K


def _layers(architecture: Architecture) -> list[int]:
    """Layers with parameters: a trainable connection or a bias arrives there."""
    trainable = {c.target for c in architecture.connections if c.trainable}
    biased = {v for v, layer in enumerate(architecture.layers) if v and layer.bias}
    return sorted(trainable | biased)


def _rows(B: FloatArray, outputs: str) -> FloatArray:
    """One row per input and output, or per input where a trace is taken: sums over outputs."""
    count, inputs, width = B.shape
    by_input = B.transpose(1, 0, 2)
    return by_input.reshape((inputs, -1) if outputs == "trace" else (inputs * count, width))


def _products(left: Factors, right: Factors, v: int, rows: slice) -> FloatArray:
    """Inner products of what arrives at layer v through parameters; 1 for a bias."""
    architecture = left.architecture
    total = np.full(
        (len(left.outputs[rows]), len(right.outputs)), float(architecture.layers[v].bias)
    )
    for e in architecture.incoming[v]:
        if (connection := architecture.connections[e]).trainable:
            u = connection.source
            total += left.activations[u][rows] @ right.activations[u].T
    return total


def _fill(
    B: FloatArray, D: FloatArray, scale: FloatArray, edges: IntArray, first: IntArray, K: FloatArray
) -> None:
    inputs = scale.shape[1]
    # Long rows and short ones in turn, so that threads get equal shares.
    order = np.arange(inputs)
    order[1::2] = order[1::2][::-1]

    def work(start: int, stop: int) -> None:
        kernels.fill_gram(B, D, scale, edges, order[start:stop], first, K)

    share_rows(work, inputs, K.size * B.shape[1])


def self_blocks(factors: Factors) -> FloatArray:
    """Diagonal blocks of the Gram matrix, each input with itself: shape (N, outputs, outputs)."""
    architecture = factors.architecture
    total = np.zeros((len(factors.outputs), factors.count, factors.count))
    for v in range(1, len(architecture.layers)):
        size = np.full(len(total), float(architecture.layers[v].bias))
        for e in architecture.incoming[v]:
            if (connection := architecture.connections[e]).trainable:
                size += (factors.activations[connection.source] ** 2).sum(axis=1)
        B = factors.sensitivity(v)
        total += np.einsum("cxi,dxi,x->xcd", B, B, size, optimize=True)
    return total
