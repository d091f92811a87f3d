"""Products with the parameter Jacobian and its transpose, never formed."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from patterndim.factors import Factors, real_factors
from patterndim.network import Network
from patterndim.typing import AnyArray, ArrayLike, FloatArray, Output

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

#: Numbers that an operator keeps between the two products of a layer.
BETWEEN = 8_000_000

Product = Callable[[Factors, FloatArray], FloatArray]


def jacobian_operator(
    network: Network, inputs: ArrayLike, *, output: Output = "affine"
) -> "LinearOperator":
    """
    Jacobian with respect to the parameters, as an operator that never forms it.

    ``J @ v`` and ``J.T @ u`` cost about as much as one forward and backward pass each, and
    products with many vectors run as matrix products.  It works in the solvers of
    ``scipy.sparse.linalg``, in several threads at once, and after pickling.

    Parameters
    ----------
    network : Network
        ReLU network with P parameters.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    output : {"affine", "softmax"} or array of float64, shape (k, n_L) or (N, k, n_L)
        As in `parameter_jacobian`.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator, shape (N * n_L, P), or (N * k, P)
        With matvec, rmatvec, matmat and rmatmat; rows as in `parameter_jacobian`.

    Raises
    ------
    ShapeError, NonFiniteError, KindError, ArgumentError
        If ``inputs`` is not a finite real array of shape (N, n_0), or ``output`` not as above.

    Examples
    --------
    >>> import patterndim as pdm
    >>> network = Network.random((3, 5, 2), rng=0, bias_std=1.0)
    >>> X = np.random.default_rng(0).standard_normal((12, 3))
    >>> J = jacobian_operator(network, X)
    >>> np.allclose(J @ np.ones(32), pdm.parameter_jacobian(network, X) @ np.ones(32))
    True

    Largest singular values and eigenvalues: of J, of J^T J (by Lanczos), of J J^T (by blocks).

    >>> from scipy.sparse.linalg import cg, eigsh, lobpcg, lsmr, lsqr, svds
    >>> singular_values = pdm.singular_values(network, X).values
    >>> np.allclose(np.sort(svds(J, k=3)[1])[::-1], singular_values[:3])
    True
    >>> np.allclose(eigsh(J.T @ J, k=1)[0], singular_values[0] ** 2)
    True
    >>> start = np.random.default_rng(1).standard_normal((24, 2))
    >>> np.allclose(lobpcg(J @ J.T, start, tol=1e-9, maxiter=100)[0], singular_values[:2] ** 2)
    True

    The shortest step that changes the outputs as much as it can as told, and a damped one:

    >>> wanted = J @ np.ones(32)
    >>> step, damped = lsmr(J, wanted, maxiter=500)[0], lsqr(J, wanted, damp=1.0)[0]
    >>> np.allclose(J @ step, wanted, atol=1e-3)
    True
    >>> bool(np.linalg.norm(damped) < np.linalg.norm(step))
    True

    The same damped step from the side of the outputs, by conjugate gradients on J J^T + 1:

    >>> from scipy.sparse.linalg import aslinearoperator
    >>> kernel = J @ J.T + aslinearoperator(np.eye(24))
    >>> np.allclose(J.T @ cg(kernel, wanted, rtol=1e-10)[0], damped, atol=1e-4)
    True

    Damped Gauss-Newton steps (Levenberg and Marquardt) that learn digits by the square loss:
    five of them leave less than a tenth of it.

    >>> X, y = pdm.data.digits()
    >>> X, wanted = X[:50], np.eye(10)[y[:50]]
    >>> network, losses = Network.random((64, 16, 10), rng=0), []
    >>> for _ in range(6):
    ...     residual = (pdm.outputs(network, X) - wanted).ravel()
    ...     losses.append(np.mean(residual**2))
    ...     step = lsmr(jacobian_operator(network, X), residual, damp=1.0, maxiter=20)[0]
    ...     network = network.replace(theta=network.theta - step)
    >>> bool(losses[5] < losses[0] / 10)
    True
    """
    return operator(real_factors(network, inputs, output))


def operator(factors: Factors) -> "LinearOperator":
    """Operator of J, or C J, of float64 factors, shape (N * outputs, P), rows input-major."""
    from scipy.sparse.linalg import LinearOperator

    # Of functions that pickle finds by name.
    forward, backward = partial(_forward, factors), partial(_backward, factors)
    return LinearOperator(
        shape=(len(factors.outputs) * factors.count, factors.architecture.parameter_count),
        dtype=np.dtype(np.float64),
        matvec=forward,
        rmatvec=backward,
        matmat=forward,
        rmatmat=backward,
    )


def _forward(factors: Factors, directions: AnyArray) -> AnyArray:
    """J V, shape (rows, k), for (P,) or (P, k) real or complex numbers."""
    rows = len(factors.outputs) * factors.count
    return _by_columns(factors, pushforward, pushforwards, directions, rows)


def _backward(factors: Factors, covectors: AnyArray) -> AnyArray:
    """J^T U, shape (P, k), for (rows,) or (rows, k) real or complex numbers."""
    rows = factors.architecture.parameter_count
    return _by_columns(factors, pullback, pullbacks, covectors, rows)


def _by_columns(
    factors: Factors,
    one: Product,
    many: Product,
    vectors: AnyArray,
    rows: int,
) -> AnyArray:
    """Product with ``rows`` rows, with one vector or with several, some columns at a time."""
    if np.iscomplexobj(vectors):
        real, imaginary = (
            _by_columns(factors, one, many, part, rows) for part in (vectors.real, vectors.imag)
        )
        return real + 1j * imaginary
    vectors = vectors.reshape(len(vectors), -1)
    if vectors.shape[1] == 1:
        return one(factors, _cast(vectors[:, 0])).reshape(rows, 1)
    columns = max(1, BETWEEN // (len(factors.outputs) * max(factors.architecture.widths[1:])))
    out = np.empty((rows, vectors.shape[1]))
    for start in range(0, vectors.shape[1], columns):
        part = slice(start, start + columns)
        out[:, part] = many(factors, _cast(vectors[:, part]))
    return out


def _cast(vectors: FloatArray) -> FloatArray:
    return np.ascontiguousarray(vectors, dtype=np.float64)


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
