"""Static layered DAGs: which layers there are, what connects them, where their parameters are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from patterndim.errors import ArgumentError, KindError, ShapeError
from patterndim.typing import FloatArray
from patterndim.validation import integer, number, sequence


@dataclass(frozen=True)
class Layer:
    """
    One layer of neurons: its width, and how it acts on what it receives.

    A hidden layer applies ReLU, leaky for 0 < slope < 1: ``max(z, slope * z)``.  Slope 1 is no
    activation: a linear layer, or a sum, whose neurons count as always active.  The output layer
    applies nothing, and the input layer receives nothing.
    """

    width: int
    slope: float = 0.0
    bias: bool = True


@dataclass(frozen=True)
class Connection:
    """Connection from layer ``source`` to layer ``target``: a trainable matrix, or the identity."""

    source: int
    target: int
    trainable: bool = True


@dataclass(frozen=True)
class Architecture:
    """
    Static layered DAG: layers in topological order, and the connections between them.

    Layer 0 is the input and the last layer the output.  Layer v computes ``z_v``, the sum of
    ``W h_u`` (or ``h_u``, for a fixed skip) over its connections u -> v, plus its bias.  The
    parameters are ordered layer by layer, connection by connection, each W row-major, then the
    bias of the layer.

    Examples
    --------
    >>> architecture = Architecture.from_widths((784, 30, 10))
    >>> architecture.parameter_count, architecture.hidden_neurons
    (23860, 30)
    """

    layers: tuple[Layer, ...]
    connections: tuple[Connection, ...]

    def __post_init__(self) -> None:
        """Check that this is a layered DAG in which every layer can matter."""
        layers = sequence("layers", self.layers)
        connections = sequence("connections", self.connections)
        if len(layers) < 2:
            raise ArgumentError(f"layers must be at least input and output, got {len(layers)}")
        last = len(layers) - 1
        object.__setattr__(
            self, "layers", tuple(_layer(v, layers[v], last) for v in range(last + 1))
        )
        object.__setattr__(self, "connections", tuple(_connection(c) for c in connections))
        for connection in self.connections:
            u, v = connection.source, connection.target
            if not u < v <= last:
                raise ArgumentError(
                    f"connections must lead to a later layer, at most {last}, got {u} -> {v}"
                )
            if not connection.trainable and self.layers[u].width != self.layers[v].width:
                raise ShapeError(
                    f"an identity connection must join equal widths, got {u} -> {v} "
                    f"of widths {self.layers[u].width} and {self.layers[v].width}"
                )
        targets = {connection.target for connection in self.connections}
        sources = {connection.source for connection in self.connections}
        for v in range(1, last + 1):
            if v not in targets:
                raise ArgumentError(f"layer {v} must have an incoming connection, got none")
        for u in range(last):
            if u not in sources:
                raise ArgumentError(f"layer {u} must have an outgoing connection, got none")
        in_order = sorted(self.connections, key=lambda connection: connection.target)
        object.__setattr__(self, "connections", tuple(in_order))
        if self.parameter_count == 0:
            raise ArgumentError("a network must have parameters, got only identity connections")

    @classmethod
    def from_widths(
        cls, widths: Sequence[int], *, slope: float | Sequence[float] = 0.0, bias: bool = True
    ) -> Self:
        """Multilayer perceptron: widths from input to output, one slope or one per hidden layer."""
        widths = sequence("widths", widths)
        layers = make_layers(widths, slope, [bias] * max(len(widths) - 1, 0))
        return cls(layers, tuple(Connection(v - 1, v) for v in range(1, len(layers))))

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths n_0, ..., n_L from input to output."""
        return tuple(layer.width for layer in self.layers)

    @property
    def hidden_layers(self) -> range:
        """Indices of the hidden layers."""
        return range(1, len(self.layers) - 1)

    @property
    def hidden_neurons(self) -> int:
        """Number H of hidden neurons."""
        return sum(self.widths[1:-1])

    @property
    def parameter_count(self) -> int:
        """Number P of parameters."""
        return self._layout[2]

    @property
    def weight_slices(self) -> tuple[slice | None, ...]:
        """For every connection, the part of theta that is its matrix; None for the identity."""
        return self._layout[0]

    @property
    def bias_slices(self) -> tuple[slice | None, ...]:
        """For every layer, the part of theta that is its bias, or None."""
        return self._layout[1]

    def parameter_slices(self, layer: int) -> list[slice]:
        """Parts of theta that lead to a layer: its matrices and its bias."""
        parts = [*(self.weight_slices[e] for e in self.incoming[layer]), self.bias_slices[layer]]
        return [part for part in parts if part is not None]

    @cached_property
    def incoming(self) -> tuple[tuple[int, ...], ...]:
        """For every layer, the indices of the connections that lead to it."""
        edges: list[list[int]] = [[] for _ in self.layers]
        for e, connection in enumerate(self.connections):
            edges[connection.target].append(e)
        return tuple(tuple(found) for found in edges)

    @cached_property
    def bare_layers(self) -> frozenset[int]:
        """Layers that an identity joins to others, with no trainable matrix beside it."""
        joins = {(c.source, c.target) for c in self.connections}
        free = {(c.source, c.target) for c in self.connections if c.trainable}
        return frozenset(v for ends in joins - free for v in ends)

    def weights_of(self, theta: FloatArray) -> tuple[FloatArray | None, ...]:
        """Views of a parameter vector, one per connection: (n_v, n_u), or None for an identity."""
        return tuple(
            None
            if where is None
            else theta[where].reshape(self.layers[c.target].width, self.layers[c.source].width)
            for where, c in zip(self.weight_slices, self.connections, strict=True)
        )

    def biases_of(self, theta: FloatArray) -> tuple[FloatArray | None, ...]:
        """Views of a parameter vector, one per layer, input included: (n_v,), or None."""
        return tuple(None if where is None else theta[where] for where in self.bias_slices)

    @cached_property
    def _layout(self) -> tuple[tuple[slice | None, ...], tuple[slice | None, ...], int]:
        position = 0
        weights: list[slice | None] = [None] * len(self.connections)
        biases: list[slice | None] = [None]
        for v, layer in enumerate(self.layers[1:], start=1):
            for e in self.incoming[v]:
                if self.connections[e].trainable:
                    size = layer.width * self.layers[self.connections[e].source].width
                    weights[e] = slice(position, position + size)
                    position += size
            biases.append(slice(position, position + layer.width) if layer.bias else None)
            position += layer.width if layer.bias else 0
        return tuple(weights), tuple(biases), position


def _layer(v: int, layer: object, last: int) -> Layer:
    """Layer v in plain Python numbers; only hidden layers have a slope, the input no bias."""
    if not isinstance(layer, Layer):
        raise KindError(f"layer {v} must be a Layer, got {layer!r}")
    if not isinstance(layer.bias, bool | np.bool_):
        raise KindError(f"bias of layer {v} must be a bool, got {layer.bias!r}")
    width = integer(f"width of layer {v}", layer.width, low=1)
    slope = number(f"slope of layer {v}", layer.slope, low=0.0, high=1.0, closed=True)
    return Layer(width, slope if 0 < v < last else 0.0, bool(layer.bias) and v > 0)


def _connection(connection: object) -> Connection:
    """Connection in plain Python numbers."""
    if not isinstance(connection, Connection):
        raise KindError(f"connections must be Connections, got {connection!r}")
    if not isinstance(connection.trainable, bool | np.bool_):
        raise KindError(f"trainable must be a bool, got {connection.trainable!r}")
    source = integer("source of a connection", connection.source, low=0)
    target = integer("target of a connection", connection.target, low=1)
    return Connection(source, target, bool(connection.trainable))


def make_layers(
    widths: Sequence[int], slope: float | Sequence[float], biases: Sequence[bool]
) -> tuple[Layer, ...]:
    """Layers from widths, one slope or one per hidden layer, and which layers have a bias."""
    widths = sequence("widths", widths)
    hidden = max(len(widths) - 2, 0)
    scalar = isinstance(slope, int | float | np.number)
    slopes = [slope] * hidden if scalar else sequence("slope", slope)
    if len(slopes) != hidden:
        raise ShapeError(f"slope must be a number or one per hidden layer, {hidden}, got {slope}")
    inner = [0.0, *slopes, 0.0]
    given = [False, *biases]
    return tuple(Layer(width, inner[v], given[v]) for v, width in enumerate(widths))
