"""The best upper bound of the local dimension that holds for certain."""

import numpy as np

from patterndim.bounds import Bound, every_sample_bound
from patterndim.errors import KindError
from patterndim.frozen import FrozenJacobian
from patterndim.heads import Head
from patterndim.network import Network
from patterndim.pattern import activation_pattern, check_inputs
from patterndim.redundancy import finer_bound
from patterndim.typing import ArrayLike, Output, Seed
from patterndim.validation import seed as as_seed

#: Most numbers with which symmetries are counted.
SYMMETRIES = 2**27


def dimension_bound(
    network: Network, inputs: ArrayLike | None = None, *, output: Output = "affine", rng: Seed = 0
) -> Bound:
    """
    Upper bound of the local dimension that holds for certain, and which argument gives it.

    Without inputs it holds for every sample: parameters minus independent rescalings, which is
    P minus the number of hidden neurons unless identity connections tie neurons together [1]_,
    and minus what linear layers (slope 1) leave invisible beyond that; or n_L (n_0 + 1)
    ("regions"), if all layers are linear.
    With inputs it is the least of "outputs" (N n_L, or N (n_L - 1) behind a softmax),
    "parameters" (live ones minus rescalings), "regions" and "inputs" (what each perceived
    activation region can add, by the number and by the rank of its inputs) and "symmetries"
    (live parameters minus all symmetries of linear and aligned neurons, which are counted if
    that takes at most a gigabyte).

    Parameters
    ----------
    network : Network
        ReLU network with P parameters.
    inputs : array of float64, shape (N, n_0), optional
        A sample.
    output : {"affine", "softmax"} or array of float64, shape (k, n_L) or (N, k, n_L)
        As in `local_dimension`; without inputs one matrix for all of them.
    rng : int or numpy.random.Generator
        Source of the random parameters at which symmetries are counted; the bound holds for
        certain whatever they are.

    Returns
    -------
    Bound
        ``value`` and ``name``; ``int(bound)`` is the value.

    Raises
    ------
    ShapeError, NonFiniteError, KindError, ArgumentError
        If an argument is not as above.

    References
    ----------
    .. [1] J. E. Grigsby, K. Lindsey, R. Meyerhoff, C. Wu, "Functional dimension of feedforward
       ReLU neural networks", arXiv:2209.04036.

    Examples
    --------
    >>> network = Network.random((3, 4, 2))
    >>> int(dimension_bound(network)), network.parameter_count - network.hidden_neurons
    (22, 22)
    >>> dimension_bound(network, [[1.0, 2.0, 3.0]])
    Bound(value=2, name='outputs')
    """
    generator = np.random.default_rng(as_seed(rng))
    if not isinstance(network, Network):
        raise KindError(f"network must be a patterndim.Network, got {type(network).__name__}")
    architecture = network.architecture
    if inputs is None:
        return every_sample_bound(architecture, Head.of(output, network.widths[-1]))
    X = check_inputs(network, inputs)
    head = Head.of(output, network.widths[-1], len(X))
    frozen = FrozenJacobian.build(architecture, X, activation_pattern(network, X), head)
    return finer_bound(frozen, generator, SYMMETRIES)
