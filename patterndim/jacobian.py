"""The parameter Jacobian as a matrix, and the input Jacobian."""

import numpy as np

from patterndim.errors import MemoryLimitError
from patterndim.factors import Factors, real_factors
from patterndim.kernels import propagation
from patterndim.network import Network
from patterndim.parallel import share_rows
from patterndim.typing import ArrayLike, FloatArray, Output
from patterndim.validation import byte_count


def parameter_jacobian(
    network: Network,
    inputs: ArrayLike,
    *,
    output: Output = "affine",
    memory: int | str | None = None,
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
    output : {"affine", "softmax"} or array of float64, shape (k, n_L) or (N, k, n_L)
        What stands behind the outputs: nothing, a softmax, or a head given by its Jacobian with
        respect to the outputs, one matrix for all inputs or one for each.  By the chain rule it
        multiplies the rows of each input; that of a softmax q is diag(q) - q q^T.
    memory : int or str, optional
        Most bytes the matrix may take, such as ``"2GB"``.

    Returns
    -------
    array of float64, shape (N * n_L, P), or (N * k, P)
        Row x * n_L + c belongs to output c at input x; columns in the order of ``theta``.

    Raises
    ------
    ShapeError, NonFiniteError, KindError, ArgumentError
        If ``inputs`` is not a finite real array of shape (N, n_0), or ``output`` not as above.
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

    Behind a head, the logistic function s, which has the derivative s (1 - s):

    >>> from patterndim import outputs
    >>> s = 1 / (1 + np.exp(-outputs(network, [[3.0], [-1.0]])))
    >>> head = (s * (1 - s))[:, :, np.newaxis]
    >>> J = parameter_jacobian(network, [[3.0], [-1.0]], output=head)
    >>> np.round(J, 4)
    array([[0.0148, 0.0049, 0.0074, 0.0025],
           [0.    , 0.    , 0.    , 0.25  ]])
    """
    limit = byte_count(memory)
    factors = real_factors(network, inputs, output)
    need = 8 * len(factors.outputs) * factors.count * network.parameter_count
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


def input_jacobian(network: Network, inputs: ArrayLike, *, output: Output = "affine") -> FloatArray:
    """
    Jacobian of the outputs with respect to the inputs: the linear part of the affine map there.

    Parameters
    ----------
    network : Network
        ReLU network.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    output : {"affine", "softmax"} or array of float64, shape (k, n_L) or (N, k, n_L)
        As in `parameter_jacobian`.

    Returns
    -------
    array of float64, shape (N, n_L, n_0), or (N, k, n_0)
        W_L D_{L-1} ... D_1 W_1 at each input, D the diagonal matrix of its masks, times the
        Jacobian of the head.

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
    factors = real_factors(network, inputs, output, to_input=True)
    return np.ascontiguousarray(factors.sensitivity(0).transpose(1, 0, 2))
