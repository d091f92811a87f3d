"""The learning space of a ReLU network: what gradient flow conserves."""

import numpy as np

from patterndim.errors import KindError
from patterndim.network import Network
from patterndim.typing import FloatArray


def balance(network: Network) -> tuple[FloatArray, ...]:
    """
    Balance of every hidden neuron: its squared incoming minus its squared outgoing weights.

    A bias counts as incoming weight, from an input that is always 1; identity connections are
    not weights.  Multiplying what comes in and dividing what goes out by one factor leaves the
    network unchanged, so gradient flow of any loss of the outputs conserves the balance of each
    neuron without identity connections [1]_.  A step of gradient descent ``-rate * g`` changes
    it by ``rate**2`` times the balance of ``g``; weight decay lambda multiplies it by
    ``exp(-2 lambda t)``.

    Parameters
    ----------
    network : Network
        ReLU or leaky ReLU network.

    Returns
    -------
    tuple of array of float64, shapes (n_l,)
        One array per hidden layer.

    Raises
    ------
    KindError
        If ``network`` is not a Network.

    References
    ----------
    .. [1] M. Nurisso, P. Leroy, G. Petri, F. Vaccarino, "Topology and geometry of the learning
       space of ReLU networks: connectivity and singularities", arXiv:2602.00693.

    Examples
    --------
    3^2 + 1^2 - 2^2 for the first neuron, 0 for the second, whose bias is 0.

    >>> network = Network.from_layers([[[3.0], [2.0]], [[2.0, 2.0]]], [[1.0, 0.0], [5.0]])
    >>> balance(network)
    (array([6., 0.]),)
    """
    if not isinstance(network, Network):
        raise KindError(f"network must be a patterndim.Network, got {type(network).__name__}")
    architecture = network.architecture
    found = [np.zeros(width) for width in architecture.widths]
    for W, connection in zip(network.weights, architecture.connections, strict=True):
        if W is not None:
            found[connection.target] += (W**2).sum(axis=1)
            found[connection.source] -= (W**2).sum(axis=0)
    for v, b in enumerate(network.biases, start=1):
        if b is not None:
            found[v] += b**2
    return tuple(found[v] for v in architecture.hidden_layers)
