"""Networks to the frameworks, with the same parameters in float64; `load` takes them back."""

import operator
from typing import Any

import numpy as np

from patterndim.architecture import Connection
from patterndim.errors import ArgumentError, KindError
from patterndim.formats.framework import framework
from patterndim.network import Network
from patterndim.typing import FloatArray


def to_torch(network: Network) -> Any:
    """
    Module of torch that computes a network, in float64.

    Parameters
    ----------
    network : Network
        ReLU network.

    Returns
    -------
    torch.nn.Sequential or torch.fx.GraphModule
        ``Linear`` and ``ReLU``, ``LeakyReLU`` or ``Identity`` in turn; with skip connections, a
        module with the same pieces and the sums between them.  `load` gives back the network, bit
        for bit, but that a linear layer which one other takes as it is becomes part of that one,
        and one that repeats what another gives is left out.

    Raises
    ------
    KindError
        If ``network`` is not a Network.
    ArgumentError
        If a layer has a bias but no matrix.
    MissingPackageError
        If torch is not installed.

    Examples
    --------
    >>> network = Network.random((3, 2, 1))
    >>> to_torch(network)
    Sequential(
      (0): Linear(in_features=3, out_features=2, bias=True)
      (1): ReLU()
      (2): Linear(in_features=2, out_features=1, bias=True)
    )
    """
    _check(network)
    torch = framework("torch", "torch")
    architecture = network.architecture
    linears: dict[int, Any] = {}
    for v in range(1, len(architecture.layers)):
        bias = network.biases[v - 1]
        for e in architecture.incoming[v]:
            if (W := network.weights[e]) is not None:
                linears[e] = _linear(torch, W, bias)
                bias = None
        if bias is not None:
            raise ArgumentError(
                f"network must have a matrix beside each bias, got none in layer {v}"
            )
    slopes = [architecture.layers[v].slope for v in architecture.hidden_layers]
    relus = [_activation(torch, slope) for slope in slopes]
    if not _is_path(network):
        return _graph_module(network, linears, relus)
    modules = [linears[0]]
    for e, relu in enumerate(relus, start=1):
        modules += [relu, linears[e]]
    return torch.nn.Sequential(*modules)


def to_flax(network: Network) -> dict[str, dict[str, dict[str, FloatArray]]]:
    """
    Parameters of a multilayer perceptron as Flax names them, in float64.

    Parameters
    ----------
    network : Network
        ReLU network without skip connections.

    Returns
    -------
    dict
        ``{"params": {"Dense_0": {"kernel": (n_0, n_1), "bias": (n_1,)}, ...}}`` of numpy arrays:
        for ``apply`` of a ``linen.Module`` whose layers are ``nn.Dense``.  JAX rounds them to
        float32 unless ``jax_enable_x64`` is set.  `load` gives back the parameters, bit for bit;
        a tree tells no slopes.

    Raises
    ------
    KindError
        If ``network`` is not a Network.
    ArgumentError
        If it has skip connections.

    Examples
    --------
    >>> tree = to_flax(Network.from_layers([[[1.0, 2.0]], [[3.0]]], [[4.0], None]))
    >>> tree["params"]["Dense_0"]
    {'kernel': array([[1.],
           [2.]]), 'bias': array([4.])}
    >>> tree["params"]["Dense_1"]
    {'kernel': array([[3.]])}
    """
    _check(network)
    if not _is_path(network):
        raise ArgumentError("network must have no skip connections, got some: a tree holds none")
    layers = {}
    for number, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        layer = {} if W is None else {"kernel": np.ascontiguousarray(W.T)}
        if b is not None:
            layer["bias"] = b.copy()
        layers[f"Dense_{number}"] = layer
    return {"params": layers}


def _check(network: object) -> None:
    if not isinstance(network, Network):
        raise KindError(f"network must be a patterndim.Network, got {type(network).__name__}")


def _is_path(network: Network) -> bool:
    """Whether every layer feeds the next one only, by a matrix."""
    layers = range(1, len(network.widths))
    return network.architecture.connections == tuple(Connection(v - 1, v) for v in layers)


def _linear(torch: Any, W: FloatArray, b: FloatArray | None) -> Any:
    """Linear layer of torch, without drawing from its random generator."""
    shape = (W.shape[1], W.shape[0])
    linear = torch.nn.utils.skip_init(
        torch.nn.Linear, *shape, bias=b is not None, dtype=torch.float64
    )
    linear.weight = torch.nn.Parameter(torch.tensor(W))
    if b is not None:
        linear.bias = torch.nn.Parameter(torch.tensor(b))
    return linear


def _activation(torch: Any, slope: float) -> Any:
    if slope == 1.0:
        return torch.nn.Identity()
    return torch.nn.LeakyReLU(slope) if slope else torch.nn.ReLU()


def _graph_module(network: Network, linears: dict[int, Any], relus: list[Any]) -> Any:
    """Module of a network with skip connections."""
    fx = framework("torch.fx", "torch")
    graph = fx.Graph()
    connections = network.architecture.connections
    values = [graph.placeholder("x")]
    modules = {}
    for v, incoming in enumerate(network.architecture.incoming[1:], start=1):
        total = None
        for e in incoming:
            value = values[connections[e].source]
            if e in linears:
                name = f"linear{e}"
                modules[name] = linears[e]
                value = graph.call_module(name, (value,))
            total = value if total is None else graph.call_function(operator.add, (total, value))
        if v <= len(relus):
            modules[f"relu{v}"] = relus[v - 1]
            total = graph.call_module(f"relu{v}", (total,))
        values.append(total)
    graph.output(values[-1])
    return fx.GraphModule(modules, graph)
