"""The parameter Jacobian, as a matrix and as an operator, and the input Jacobian."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from patterndim.errors import MemoryLimitError
from patterndim.factors import Factors, real_factors
from patterndim.kernels import propagation
from patterndim.network import Network
from patterndim.parallel import share_rows
from patterndim.typing import ArrayLike, FloatArray
from patterndim.validation import byte_count

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

#: Numbers that an operator keeps between the two products of a layer.
BETWEEN = 8_000_000


def parameter_jacobian(
    network: Network, inputs: ArrayLike, *, memory: int | str | None = None
) -> FloatArray:
    """
    Jacobian of all outputs at a sample with respect to the parameters.

    Written down from masked weight products, without automatic differentiation; every entry is a
    product of two float64 numbers that carry the rounding error of the network's own sums.

    Parameters
    ----------
    network : Network
        ReLU network with P parameters.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    memory : int or str, optional
        Most bytes the matrix may take, such as ``"2GB"``.

    Returns
    -------
    array of float64, shape (N * n_L, P)
        Row x * n_L + c belongs to output c at input x; columns in the order of ``theta``.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``inputs`` is not a finite real array of shape (N, n_0).
    MemoryLimitError
        If the matrix would not fit in ``memory``.

    See Also
    --------
    jacobian_operator : products with J and its transpose without forming it.

    References
    ----------
    .. [1] J. Bona-Pellissier, F. Malgouyres, F. Bachoc, "Geometry-induced implicit
       regularization in deep ReLU neural networks", arXiv:2402.08269.

    Examples
    --------
    >>> network = Network.from_layers([[[1.0]], [[2.0]]], [[0.0], [0.0]])
    >>> parameter_jacobian(network, [[3.0], [-1.0]])
    array([[6., 2., 3., 1.],
           [0., 0., 0., 1.]])
    """
    limit = byte_count(memory)
    factors = real_factors(network, inputs)
    need = 8 * factors.outputs.size * network.parameter_count
    if limit is not None and need > limit:
        raise MemoryLimitError(f"memory must be at least {need} bytes for this J, got {limit}")
    return dense(factors)


def dense(factors: Factors) -> FloatArray:
    """J of float64 factors, shape (N * outputs, P), rows input-major."""
    architecture = factors.architecture
    count, inputs, _ = factors.sensitivity(len(architecture.layers) - 1).shape
    J = np.empty((inputs, count, architecture.parameter_count))
    for where, connection in zip(architecture.weight_slices, architecture.connections, strict=True):
        if where is not None:
            _fill(
                factors.sensitivity(connection.target),
                factors.activations[connection.source],
                where.start,
                J,
            )
    for v, where in enumerate(architecture.bias_slices):
        if where is not None:
            J[:, :, where] = factors.sensitivity(v).transpose(1, 0, 2)
    return J.reshape(inputs * count, -1)


def _fill(B: FloatArray, h: FloatArray, first: int, J: FloatArray) -> None:
    def work(start: int, stop: int) -> None:
        propagation.fill_jacobian(B, h, start, stop, first, J)

    share_rows(work, len(h), B.size * h.shape[1])


def jacobian_operator(network: Network, inputs: ArrayLike) -> "LinearOperator":
    """
    Jacobian with respect to the parameters, as an operator that never forms it.

    ``J @ v`` and ``J.T @ u`` cost about as much as one forward and backward pass each, and
    products with many vectors run as matrix products.

    Parameters
    ----------
    network : Network
        ReLU network with P parameters.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator, shape (N * n_L, P)
        With matvec, rmatvec, matmat and rmatmat; rows as in `parameter_jacobian`.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``inputs`` is not a finite real array of shape (N, n_0).

    Examples
    --------
    >>> network = Network.random((3, 5, 2))
    >>> X = np.eye(3)
    >>> J = jacobian_operator(network, X)
    >>> np.allclose(J @ np.ones(32), parameter_jacobian(network, X) @ np.ones(32))
    True
    """
    return operator(real_factors(network, inputs))


def operator(factors: Factors) -> "LinearOperator":
    """Operator of J, or C J, of float64 factors, shape (N * outputs, P), rows input-major."""
    from scipy.sparse.linalg import LinearOperator

    widths, parameters = factors.architecture.widths, factors.architecture.parameter_count
    rows = factors.sensitivity(len(widths) - 1)[:, :, 0].size
    columns = max(1, BETWEEN // (len(factors.outputs) * max(widths[1:])))

    def matmat(directions: FloatArray) -> FloatArray:
        if directions.shape[1] == 1:
            return pushforward(factors, _cast(directions[:, 0]))[:, np.newaxis]
        product = partial(pushforwards, factors)
        return _by_columns(product, directions, columns, rows)

    def rmatmat(covectors: FloatArray) -> FloatArray:
        if covectors.shape[1] == 1:
            return pullback(factors, _cast(covectors[:, 0]))[:, np.newaxis]
        product = partial(pullbacks, factors)
        return _by_columns(product, covectors, columns, parameters)

    return LinearOperator(
        shape=(rows, parameters),
        dtype=np.dtype(np.float64),
        matvec=lambda v: matmat(v.reshape(-1, 1))[:, 0],
        rmatvec=lambda u: rmatmat(u.reshape(-1, 1))[:, 0],
        matmat=matmat,
        rmatmat=rmatmat,
    )


def _cast(vectors: FloatArray) -> FloatArray:
    return np.ascontiguousarray(vectors, dtype=np.float64)


def _by_columns(
    product: Callable[[FloatArray], FloatArray], vectors: FloatArray, columns: int, rows: int
) -> FloatArray:
    """Product with many vectors, so many columns at a time; it has so many rows."""
    out = np.empty((rows, vectors.shape[1]))
    for start in range(0, vectors.shape[1], columns):
        part = slice(start, start + columns)
        out[:, part] = product(_cast(vectors[:, part]))
    return out


def pushforward(factors: Factors, direction: FloatArray) -> FloatArray:
    """J v of float64 factors for one direction (P,), shape (N * outputs,), rows input-major."""
    architecture = factors.architecture
    weights, biases = architecture.weights_of(direction), architecture.biases_of(direction)
    total = np.zeros(factors.sensitivity(len(architecture.layers) - 1).shape[1::-1])
    for v in range(1, len(architecture.layers)):
        change = np.zeros_like(factors.activations[v])
        for e in architecture.incoming[v]:
            if (W := weights[e]) is not None:
                change += factors.activations[architecture.connections[e].source] @ W.T
        if (b := biases[v]) is not None:
            change += b
        total += np.einsum("cxi,xi->xc", factors.sensitivity(v), change)
    return total.reshape(-1)


def pullback(factors: Factors, covector: FloatArray) -> FloatArray:
    """J^T u of float64 factors for one covector (N * outputs,), shape (P,)."""
    architecture = factors.architecture
    theta = np.empty(architecture.parameter_count)
    weights, biases = architecture.weights_of(theta), architecture.biases_of(theta)
    covector = covector.reshape(len(factors.outputs), -1)
    for v in range(1, len(architecture.layers)):
        change = np.einsum("cxi,xc->xi", factors.sensitivity(v), covector)
        for e in architecture.incoming[v]:
            if (W := weights[e]) is not None:
                W[...] = change.T @ factors.activations[architecture.connections[e].source]
        if (b := biases[v]) is not None:
            b[...] = change.sum(axis=0)
    return theta


def pushforwards(factors: Factors, directions: FloatArray) -> FloatArray:
    """J V of float64 factors for directions (P, k), shape (N * outputs, k), rows input-major."""
    architecture = factors.architecture
    count = directions.shape[1]
    outputs = len(factors.sensitivity(len(architecture.layers) - 1))
    total = np.zeros((len(factors.outputs), outputs, count))
    for v in range(1, len(architecture.layers)):
        changes: list[FloatArray] = []  # of the neurons of layer v, shapes (n_v, N or 1, k)
        for e in architecture.incoming[v]:
            if (where := architecture.weight_slices[e]) is not None:
                W = directions[where].reshape(architecture.widths[v], -1, count)
                changes.append(factors.activations[architecture.connections[e].source] @ W)
        if (where := architecture.bias_slices[v]) is not None:
            changes.append(directions[where][:, np.newaxis])
        B = factors.sensitivity(v).transpose(1, 0, 2)
        for change in changes:
            total += B @ change.transpose(1, 0, 2)
    return total.reshape(-1, count)


def pullbacks(factors: Factors, covectors: FloatArray) -> FloatArray:
    """J^T U of float64 factors for covectors (N * outputs, k), shape (P, k)."""
    architecture = factors.architecture
    count = covectors.shape[1]
    covectors = covectors.reshape(len(factors.outputs), -1, count)
    theta = np.empty((architecture.parameter_count, count))
    for v in range(1, len(architecture.layers)):
        change = factors.sensitivity(v).transpose(1, 2, 0) @ covectors
        for e in architecture.incoming[v]:
            if (where := architecture.weight_slices[e]) is not None:
                h = factors.activations[architecture.connections[e].source]
                W = theta[where].reshape(architecture.widths[v], -1, count)
                np.matmul(h.T, change.transpose(1, 0, 2), out=W)
        if (where := architecture.bias_slices[v]) is not None:
            theta[where] = change.sum(axis=0)
    return theta


def input_jacobian(network: Network, inputs: ArrayLike) -> FloatArray:
    """
    Jacobian of the outputs with respect to the inputs: the linear part of the affine map there.

    Parameters
    ----------
    network : Network
        ReLU network.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.

    Returns
    -------
    array of float64, shape (N, n_L, n_0)
        W_L D_{L-1} ... D_1 W_1 at each input, D the diagonal matrix of its masks.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``inputs`` is not a finite real array of shape (N, n_0).

    Examples
    --------
    >>> network = Network.from_layers([[[1.0], [-1.0]], [[2.0, 3.0]]])
    >>> input_jacobian(network, [[1.0], [-1.0]]).ravel()
    array([ 2., -3.])
    """
    factors = real_factors(network, inputs, to_input=True)
    return np.ascontiguousarray(factors.sensitivity(0).transpose(1, 0, 2))
