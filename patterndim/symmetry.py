"""Symmetries of the parameters: rescaling and permutation of hidden neurons, and a normal form."""

from collections.abc import Sequence

import numpy as np

from patterndim.architecture import Architecture
from patterndim.errors import ArgumentError, KindError, ShapeError
from patterndim.network import Network
from patterndim.typing import ArrayLike, FloatArray, IntArray
from patterndim.validation import float_array, real_array, sequence

#: Digits to which normalised parameters are compared when neurons are sorted.
DIGITS = 9


def rescale(network: Network, factors: Sequence[ArrayLike]) -> Network:
    """
    Network with hidden neurons rescaled: the same function, to rounding.

    The incoming weights and bias of each hidden neuron are multiplied by its factor and the
    outgoing weights divided by it; with powers of two the outputs are equal bit for bit.

    Parameters
    ----------
    network : Network
        ReLU or leaky ReLU network.
    factors : sequence of arrays, shapes (n_l,)
        Positive factors, one array per hidden layer.  Neurons joined by an identity need equal
        factors, and 1 if they are joined to the input or output, unless a trainable matrix
        lies beside the identity.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``factors`` does not fit the hidden layers.
    ArgumentError
        If a factor is not positive, or factors differ along an identity.

    References
    ----------
    .. [1] J. Bona-Pellissier, F. Malgouyres, F. Bachoc, "Geometry-induced implicit
       regularization in deep ReLU neural networks", arXiv:2402.08269.

    Examples
    --------
    >>> network = Network.from_layers([[[1.0], [3.0]], [[5.0, 7.0]]], [[1.0, 2.0], [0.0]])
    >>> rescale(network, [[2.0, 1.0]]).theta
    array([2. , 3. , 2. , 2. , 2.5, 7. , 0. ])
    """
    layers = _per_layer(network, factors, "factors")
    scale = [float_array(f"factors[{i}]", s, (network.widths[i + 1],)) for i, s in layers]
    for i, values in enumerate(scale):
        if not (values > 0).all():
            raise ArgumentError(f"factors[{i}] must be positive, got {values.min()}")
    whole = [np.ones(network.widths[0]), *scale, np.ones(network.widths[-1])]
    for u, v in _bare_identities(network.architecture):
        if not np.array_equal(whole[u], whole[v]):
            raise ArgumentError(
                f"factors must be equal along the identity {u} -> {v}, got different ones"
            )
    return _moved(network, whole, [np.arange(width) for width in network.widths])


def permute(network: Network, permutations: Sequence[ArrayLike]) -> Network:
    """
    Network with hidden neurons in another order: the same function.

    Parameters
    ----------
    network : Network
        Any network.
    permutations : sequence of arrays of int, shapes (n_l,)
        One permutation per hidden layer: neuron i of the result is neuron ``permutation[i]``.
        Layers joined by an identity need equal permutations, and the trivial one if they are
        joined to the input or output, unless a trainable matrix lies beside the identity.

    Raises
    ------
    ShapeError, KindError, ArgumentError
        If ``permutations`` is not one permutation per hidden layer, or they differ along an
        identity.

    Examples
    --------
    >>> network = Network.from_layers([[[1.0], [3.0]], [[5.0, 7.0]]], [[1.0, 2.0], [0.0]])
    >>> permute(network, [[1, 0]]).theta
    array([3., 1., 2., 1., 7., 5., 0.])
    """
    orders = [
        _permutation(i, p, network) for i, p in _per_layer(network, permutations, "permutations")
    ]
    whole = [np.arange(network.widths[0]), *orders, np.arange(network.widths[-1])]
    for u, v in _bare_identities(network.architecture):
        if not np.array_equal(whole[u], whole[v]):
            raise ArgumentError(
                f"permutations must be equal along the identity {u} -> {v}, got different ones"
            )
    return _moved(network, [np.ones(width) for width in network.widths], whole)


def canonical_form(network: Network) -> Network:
    """
    Representative of a network among those equal up to rescaling and permutation.

    Layer by layer, the incoming weights and bias of every hidden neuron are normalised to
    Euclidean length 1 and the neurons sorted by them, to nine digits, and then by their
    outgoing weights.  Networks equal up to rescaling and permutation of hidden neurons come to
    equal parameters, to rounding, unless two neurons of one layer have equal normalised incoming
    weights, whose order in a deep network is then not determined.  A neuron without incoming
    weights keeps its scale.

    Parameters
    ----------
    network : Network
        A network without identity connections.

    Raises
    ------
    ArgumentError
        If the network has identity connections.

    Examples
    --------
    >>> network = Network.from_layers([[[4.0], [3.0]], [[5.0, 7.0]]], [[3.0, -4.0], [1.0]])
    >>> canonical_form(network).theta
    array([ 0.6,  0.8, -0.8,  0.6, 35. , 25. ,  1. ])
    """
    architecture = _without_identities(network)
    for v in architecture.hidden_layers:
        incoming = _rows(network, v)
        lengths = np.sqrt((incoming**2).sum(axis=1))
        scale = [np.ones(width) for width in network.widths]
        scale[v] = 1.0 / np.where(lengths > 0, lengths, 1.0)
        network = _moved(network, scale, [np.arange(width) for width in network.widths])
        keys = np.concatenate([_rows(network, v), _columns(network, v)], axis=1)
        order = [np.arange(width) for width in network.widths]
        order[v] = np.lexsort(np.round(keys, DIGITS).T[::-1])
        network = _moved(network, [np.ones(width) for width in network.widths], order)
    return network


def rescaling_tangents(network: Network) -> FloatArray:
    """
    Tangent vectors of the rescaling orbit: one invisible direction per hidden neuron.

    Parameters
    ----------
    network : Network
        A network without identity connections.

    Returns
    -------
    array of float64, shape (H, P)
        Row i: the incoming parameters of hidden neuron i, minus its outgoing weights, 0
        elsewhere; J v = 0 at every sample.

    Raises
    ------
    ArgumentError
        If the network has identity connections.

    Examples
    --------
    >>> network = Network.from_layers([[[4.0], [3.0]], [[5.0, 7.0]]], [[3.0, -4.0], [1.0]])
    >>> rescaling_tangents(network)
    array([[ 4.,  0.,  3.,  0., -5.,  0.,  0.],
           [ 0.,  3.,  0., -4.,  0., -7.,  0.]])
    """
    architecture = _without_identities(network)
    tangents = np.zeros((network.hidden_neurons, network.parameter_count))
    row = 0
    for v in architecture.hidden_layers:
        for neuron in range(network.widths[v]):
            weights = architecture.weights_of(tangents[row])
            for T, W, c in zip(weights, network.weights, architecture.connections, strict=True):
                if T is not None and W is not None and c.target == v:
                    T[neuron] = W[neuron]
                elif T is not None and W is not None and c.source == v:
                    T[:, neuron] = 0.0 - W[:, neuron]
            bias, b = architecture.biases_of(tangents[row])[v], network.biases[v - 1]
            if bias is not None and b is not None:
                bias[neuron] = b[neuron]
            row += 1
    return tangents


def _without_identities(network: Network) -> Architecture:
    if not isinstance(network, Network):
        raise KindError(f"network must be a patterndim.Network, got {type(network).__name__}")
    if any(not connection.trainable for connection in network.architecture.connections):
        raise ArgumentError("network must have no identity connections, got some")
    return network.architecture


def _per_layer(
    network: Network, values: Sequence[ArrayLike], name: str
) -> list[tuple[int, ArrayLike]]:
    if not isinstance(network, Network):
        raise KindError(f"network must be a patterndim.Network, got {type(network).__name__}")
    hidden = len(network.architecture.hidden_layers)
    values = sequence(name, values)
    if len(values) != hidden:
        raise ShapeError(
            f"{name} must have one array per hidden layer, {hidden}, got {len(values)}"
        )
    return list(enumerate(values))


def _permutation(i: int, value: ArrayLike, network: Network) -> IntArray:
    order = real_array(f"permutations[{i}]", value)
    width = network.widths[i + 1]
    if order.dtype.kind not in "iu":
        raise KindError(f"permutations[{i}] must hold integers, got dtype {order.dtype}")
    if order.shape != (width,) or not np.array_equal(np.sort(order), np.arange(width)):
        raise ArgumentError(
            f"permutations[{i}] must be a permutation of 0..{width - 1}, got another"
        )
    return order.astype(np.int64)


def _bare_identities(architecture: Architecture) -> list[tuple[int, int]]:
    """Identity connections with no trainable matrix between the same layers."""
    free = {(c.source, c.target) for c in architecture.connections if c.trainable}
    ends = [(c.source, c.target) for c in architecture.connections if not c.trainable]
    return [end for end in ends if end not in free]


def _moved(network: Network, scale: Sequence[FloatArray], order: Sequence[IntArray]) -> Network:
    """Scale and then reorder the neurons of all layers."""
    architecture = network.architecture
    theta = network.theta.copy()
    beside = {
        (c.source, c.target): sum(
            not d.trainable and (d.source, d.target) == (c.source, c.target)
            for d in architecture.connections
        )
        for c in architecture.connections
    }
    done = set()
    weights = architecture.weights_of(theta)
    for W, c in zip(weights, architecture.connections, strict=True):
        if W is not None:
            # An identity beside it is fixed: W + I moves, and W takes up the difference.
            end = (c.source, c.target)
            extra = 0 if end in done else beside[end]
            done.add(end)
            fixed = extra * np.eye(*W.shape) if extra else 0.0
            whole = (W + fixed) * scale[c.target][:, np.newaxis] / scale[c.source]
            W[...] = whole[order[c.target]][:, order[c.source]] - fixed
    for b, s, o in zip(architecture.biases_of(theta), scale, order, strict=True):
        if b is not None:
            b[...] = (b * s)[o]
    return network.replace(theta=theta)


def _rows(network: Network, v: int) -> FloatArray:
    """Incoming weights and bias of every neuron of a layer, one row each."""
    blocks = [network.weights[e] for e in network.architecture.incoming[v]]
    b = network.biases[v - 1]
    rows = [W for W in blocks if W is not None] + ([] if b is None else [b[:, np.newaxis]])
    return np.concatenate(rows, axis=1)


def _columns(network: Network, v: int) -> FloatArray:
    """Outgoing weights of every neuron of a layer, one row each."""
    pairs = zip(network.weights, network.architecture.connections, strict=True)
    return np.concatenate([W.T for W, c in pairs if W is not None and c.source == v], axis=1)
