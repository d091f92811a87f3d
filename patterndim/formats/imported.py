"""What a loader returns: the network, and where each array of the source lies in theta."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from patterndim.architecture import Architecture, Connection, Layer
from patterndim.errors import ArgumentError, ShapeError
from patterndim.formats.framework import made_by
from patterndim.network import Network
from patterndim.typing import AnyArray, FloatArray
from patterndim.validation import float_array, real_array, sequence


@dataclass(frozen=True)
class Parameter:
    """
    One array of the source, and where it lies in theta.

    Attributes
    ----------
    name : str
        As the source names it: "0.weight", "params/Dense_0/kernel".
    start, stop : int
        It is theta[start:stop].
    shape : tuple of int
        Its shape in the source.
    transposed : bool
        True if theta holds the transpose of the source's matrix.
    """

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]
    transposed: bool


@dataclass(frozen=True, eq=False)
class Imported:
    """
    A network read from somewhere else.

    Attributes
    ----------
    network : Network
        The network; where the source ends in a softmax or sigmoid, what comes before it.
    parameters : tuple of Parameter
        In the order in which the source lists them.
    dtype : numpy.dtype
        Precision of the source: float16, float32 or float64; bfloat16, which numpy lacks, counts
        as float32, which holds it exactly.
    source : str
        "torch.nn.Module", "flax parameters", ".safetensors file" ...
    output : str
        "softmax" if the source ends in one, to be given to `local_dimension`; else "affine".
    outputs : callable or None
        The source's own forward pass, in its own precision, from (N, n_0) to (N, n_L).
    head : str
        What the source applies to the outputs of the network: "identity", "softmax",
        "log_softmax" or "sigmoid" (entry by entry, so that it changes no rank).
    """

    network: Network
    parameters: tuple[Parameter, ...]
    dtype: np.dtype
    source: str
    output: str = "affine"
    outputs: Callable[[FloatArray], AnyArray] | None = None
    head: str = "identity"


@dataclass(frozen=True, eq=False)
class Dense:
    """
    A linear layer of the source: its matrix and bias, and their names there.

    ``weight`` has shape (out, in), or (in, out) if ``transposed``; ``bias`` shape (out,) or None.
    """

    name: str
    weight: AnyArray
    transposed: bool = False
    bias_name: str = ""
    bias: AnyArray | None = None

    def __post_init__(self) -> None:
        """Check the shapes."""
        if self.weight.ndim != 2:
            raise ShapeError(f"{self.name} must be a matrix, got shape {self.weight.shape}")
        if self.bias is not None and self.bias.shape != (self.width,):
            raise ShapeError(
                f"{self.bias_name} must have shape ({self.width},) to go with {self.name} "
                f"of shape {self.weight.shape}, got {self.bias.shape}"
            )

    @property
    def width(self) -> int:
        """Number of outputs."""
        return int(self.weight.shape[1 if self.transposed else 0])

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return int(self.weight.shape[0 if self.transposed else 1])


#: What a layer sums: (source layer, Dense or None for the identity).
Terms = tuple[tuple[int, Dense | None], ...]


@dataclass(frozen=True, eq=False)
class Node:
    """
    A layer after the input: what it sums, and what it applies.

    A hidden layer applies ReLU with this slope, which is 1 for none; the last layer nothing.  Its
    bias is that of one of its linear layers, or one of its own.
    """

    incoming: Terms
    slope: float = 0.0
    bias_name: str = ""
    bias: AnyArray | None = None

    @property
    def denses(self) -> list[Dense]:
        """Its linear layers."""
        return [dense for _, dense in self.incoming if dense is not None]

    @property
    def biases(self) -> list[tuple[str, AnyArray]]:
        """Names and arrays of its biases, of which a network can hold one."""
        own = [] if self.bias is None else [(self.bias_name, self.bias)]
        taken = [(d.bias_name, d.bias) for d in self.denses if d.bias is not None]
        return [*taken, *own]


def chain(
    layers: Sequence[Dense], *, source: str, slope: float | Sequence[float] = 0.0
) -> Imported:
    """Multilayer perceptron from its linear layers, first to last."""
    if not layers:
        raise ArgumentError(f"{source} must have at least one linear layer, got none")
    for below, above in pairwise(layers):
        if above.inputs != below.width:
            raise ShapeError(
                f"layers must chain, got {below.name} of {below.width} outputs before "
                f"{above.name} of {above.inputs} inputs"
            )
    hidden = len(layers) - 1
    slopes = (
        [slope] * hidden if isinstance(slope, int | float | np.number) else sequence("slope", slope)
    )
    if len(slopes) != hidden:
        raise ShapeError(f"slope must be a number or one per hidden layer, {hidden}, got {slope}")
    nodes = [
        Node(((layer, dense),), given)
        for layer, (dense, given) in enumerate(zip(layers, [*slopes, 0.0], strict=True))
    ]
    return graph(layers[0].inputs, nodes, source=source)


def graph(width: int, nodes: Sequence[Node], *, source: str) -> Imported:
    """
    Layered DAG: the number of inputs, then its layers in topological order, the output last.

    Every entry of the source's arrays becomes exactly one of theta, with the same value.
    """
    layers, connections = [Layer(width)], []
    for v, node in enumerate(nodes, start=1):
        widths = []
        for u, dense in node.incoming:
            if dense is not None and dense.inputs != layers[u].width:
                raise ShapeError(
                    f"{dense.name} must take {layers[u].width} inputs, got {dense.inputs}"
                )
            widths.append(layers[u].width if dense is None else dense.width)
            connections.append(Connection(u, v, dense is not None))
        if len(set(widths)) != 1:
            raise ShapeError(f"a sum must be of equal widths, got {widths} in layer {v}")
        for name, bias in node.biases:
            if bias.shape != (widths[0],):
                raise ShapeError(f"{name} must have shape ({widths[0]},), got {bias.shape}")
        layers.append(Layer(widths[0], node.slope, bool(node.biases)))
    architecture = Architecture(tuple(layers), tuple(connections))
    theta = np.empty(architecture.parameter_count)
    parameters, arrays = [], []
    slices = iter(where for where in architecture.weight_slices if where is not None)
    for v, node in enumerate(nodes, start=1):
        parts = [
            (dense.name, dense.weight, next(slices), dense.transposed) for dense in node.denses
        ]
        if (place := architecture.bias_slices[v]) is not None:
            parts += [(name, bias, place, False) for name, bias in node.biases]
        for name, array, where, transposed in parts:
            values = float_array(name, array, tuple("nm"[: array.ndim]))
            theta[where] = (values.T if transposed else values).reshape(-1)
            parameters.append(Parameter(name, where.start, where.stop, array.shape, transposed))
            arrays.append(array.dtype)
    dtype = np.result_type(np.float16, *arrays)
    return Imported(Network(architecture, theta), tuple(parameters), dtype, source)


def plain(name: str, value: Any) -> AnyArray:
    """Array of the source in numpy; bfloat16, which numpy lacks, as float32, which holds it."""
    if made_by(value, "torch", "Tensor"):
        value = _detached(value)
    if str(getattr(value, "dtype", "")) == "bfloat16":
        value = np.asarray(value).astype(np.float32)
    return real_array(name, value)  # of what was given: np.asarray would drop a mask


def _detached(tensor: Any) -> Any:
    """Tensor of torch that numpy can read."""
    tensor = tensor.detach().cpu()
    return tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor


def with_head(
    imported: Imported, head: str, outputs: Callable[[FloatArray], AnyArray] | None
) -> Imported:
    """Attach what the source applies to the network's outputs, and its own forward pass."""
    output = "softmax" if head in ("softmax", "log_softmax") else "affine"
    return replace(imported, head=head, output=output, outputs=outputs)


def _log_softmax(z: FloatArray) -> FloatArray:
    shifted = z - z.max(axis=1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _sigmoid(z: FloatArray) -> FloatArray:
    result: FloatArray = 0.5 * (1.0 + np.tanh(0.5 * z))
    return result


HEADS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "identity": lambda z: z,
    "softmax": lambda z: np.exp(_log_softmax(z)),
    "log_softmax": _log_softmax,
    "sigmoid": _sigmoid,
}
