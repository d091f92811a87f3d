"""A network: an architecture and one flat parameter vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from patterndim.architecture import Architecture, Connection, make_layers
from patterndim.errors import KindError, ShapeError
from patterndim.typing import ArrayLike, FloatArray, Seed
from patterndim.validation import choice, float_array, number, real_array, seed, sequence

INITIALISATIONS = ("he", "glorot", "lecun", "torch")


@dataclass(frozen=True, eq=False)
class Network:
    """
    ReLU network: an `Architecture` and its parameters.

    Parameters
    ----------
    architecture : Architecture
        Layers and connections.
    theta : array of float64, shape (P,)
        Parameters, layer by layer: each matrix row-major, then the bias.  Copied; read-only
        afterwards, so that a network never changes (`replace` makes another).

    Raises
    ------
    ShapeError
        If ``theta`` is not of shape (P,).
    NonFiniteError
        If ``theta`` contains NaN or infinity.

    Examples
    --------
    >>> network = Network.from_layers([[[1.0], [-1.0]], [[1.0, 2.0]]], [[0.0, 0.5], None])
    >>> network
    Network(1-2-1, P=6, H=2)
    >>> network.theta
    array([ 1. , -1. ,  0. ,  0.5,  1. ,  2. ])
    """

    architecture: Architecture
    theta: FloatArray

    def __post_init__(self) -> None:
        """Copy and check the parameters."""
        if not isinstance(self.architecture, Architecture):
            raise KindError(f"architecture must be an Architecture, got {self.architecture!r}")
        theta = float_array("theta", self.theta, (self.architecture.parameter_count,)).copy()
        theta.flags.writeable = False
        object.__setattr__(self, "theta", theta)

    def __repr__(self) -> str:
        """Widths and counts."""
        widths = "-".join(str(width) for width in self.widths)
        skips = len(self.architecture.connections) - len(self.widths) + 1
        extra = f", {skips} skip{'s' if skips > 1 else ''}" if skips else ""
        return f"Network({widths}{extra}, P={self.parameter_count}, H={self.hidden_neurons})"

    @classmethod
    def from_layers(
        cls,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike | None] | None = None,
        *,
        slope: float | Sequence[float] = 0.0,
    ) -> Self:
        """
        Multilayer perceptron from its matrices.

        Parameters
        ----------
        weights : sequence of arrays, shapes (n_{l+1}, n_l)
            One matrix per layer after the input.
        biases : sequence of arrays, shapes (n_{l+1},), or None
            One vector per matrix; None for no bias, there or anywhere.
        slope : float or sequence of float
            Slope of leaky ReLU, for all hidden layers or one for each; 0 is ReLU, 1 none.

        Raises
        ------
        ShapeError
            If matrices and biases do not fit together.
        NonFiniteError
            If any of them contains NaN or infinity.

        Examples
        --------
        >>> Network.from_layers([np.ones((3, 2)), np.ones((1, 3))]).parameter_count
        9
        """
        weights = sequence("weights", weights)
        matrices = [real_array(f"weights[{layer}]", weight) for layer, weight in enumerate(weights)]
        if not matrices:
            raise ShapeError("weights must hold at least one matrix, got none")
        for layer, matrix in enumerate(matrices):
            columns: int | str = "n_0" if layer == 0 else matrices[layer - 1].shape[0]
            float_array(f"weights[{layer}]", matrix, (f"n_{layer + 1}", columns))
        widths = [matrices[0].shape[1], *(matrix.shape[0] for matrix in matrices)]
        connections = [(layer, layer + 1, matrix) for layer, matrix in enumerate(matrices)]
        return cls.from_graph(widths, connections, biases, slope=slope)

    @classmethod
    def from_graph(
        cls,
        widths: Sequence[int],
        connections: Sequence[tuple[int, int, ArrayLike | str]],
        biases: Sequence[ArrayLike | None] | None = None,
        *,
        slope: float | Sequence[float] = 0.0,
    ) -> Self:
        """
        Network on a layered DAG, with skip connections.

        Parameters
        ----------
        widths : sequence of int
            Widths n_0, ..., n_L of the layers in topological order, input first, output last.
        connections : sequence of (source, target, W)
            ``W`` is a trainable matrix of shape (n_target, n_source), or the string "identity"
            for a fixed skip connection between layers of equal width.
        biases : sequence of arrays, shapes (n_{l+1},), or None
            One vector per layer after the input; None for no bias, there or anywhere.
        slope : float or sequence of float
            Slope of leaky ReLU, for all hidden layers or one for each; 0 is ReLU, 1 none.

        Raises
        ------
        ArgumentError
            If the connections do not form a layered DAG in which every layer takes part.
        ShapeError
            If a matrix or bias does not fit its layers.

        Examples
        --------
        A residual block: z_2 = W h_1 + h_1.

        >>> network = Network.from_graph(
        ...     (2, 3, 3, 1),
        ...     [
        ...         (0, 1, np.ones((3, 2))),
        ...         (1, 2, np.eye(3)),
        ...         (1, 2, "identity"),
        ...         (2, 3, np.ones((1, 3))),
        ...     ],
        ... )
        >>> network
        Network(2-3-3-1, 1 skip, P=18, H=6)

        A stream without activation: h_3 = h_1 + V relu(W h_1), where h_1 = U x.

        >>> U, W, V = np.ones((3, 2)), np.ones((5, 3)), np.ones((3, 5))
        >>> stream = [(0, 1, U), (1, 2, W), (1, 3, "identity"), (2, 3, V), (3, 4, np.eye(3))]
        >>> Network.from_graph((2, 3, 5, 3, 3), stream, slope=[1, 0, 1])
        Network(2-3-5-3-3, 1 skip, P=45, H=11)
        """
        widths, connections = sequence("widths", widths), sequence("connections", connections)
        count = max(len(widths) - 1, 0)
        vectors = [None] * count if biases is None else sequence("biases", biases)
        if len(vectors) != count:
            raise ShapeError(f"biases must have one entry per layer, {count}, got {len(vectors)}")
        layers = make_layers(widths, slope, [vector is not None for vector in vectors])
        edges = []
        for connection in connections:
            if not isinstance(connection, Sequence) or len(connection) != 3:
                raise ShapeError(f"connections must be (source, target, W), got {connection!r}")
            source, target, W = connection
            if isinstance(W, str):
                choice(f"connection {source} -> {target}", W, ("identity",))
            edges.append(Connection(source, target, trainable=not isinstance(W, str)))
        architecture = Architecture(layers, tuple(edges))
        theta = np.empty(architecture.parameter_count)
        ordered = sorted(connections, key=lambda connection: int(connection[1]))
        for where, (source, target, W) in zip(architecture.weight_slices, ordered, strict=True):
            if where is not None and not isinstance(W, str):
                shape = (layers[target].width, layers[source].width)
                name = f"weights of connection {source} -> {target}"
                theta[where] = float_array(name, W, shape).reshape(-1)
        for v, where in enumerate(architecture.bias_slices):
            if where is not None:
                value = vectors[v - 1]
                theta[where] = float_array(f"biases[{v - 1}]", value, (layers[v].width,))  # type: ignore[arg-type]
        return cls(architecture, theta)

    @classmethod
    def random(
        cls,
        widths: Sequence[int] | Architecture,
        *,
        rng: Seed = 0,
        init: str = "he",
        bias_std: float | None = None,
        slope: float | Sequence[float] = 0.0,
        bias: bool = True,
    ) -> Self:
        """
        Network with random parameters.

        Parameters
        ----------
        widths : sequence of int, or Architecture
            Widths n_0, ..., n_L of a multilayer perceptron, or any architecture (which then
            decides about ``slope`` and ``bias``).
        rng : int or numpy.random.Generator
            Source of the randomness.
        init : {"he", "glorot", "lecun", "torch"}
            Weights of a matrix (n_v, n_u): "he" normal with variance 2 / ((1 + slope**2) n_u),
            slope that of the receiving layer; "glorot" uniform with bound
            sqrt(6 / (n_u + n_v)), the default of Keras; "lecun" normal with variance 1 / n_u;
            "torch" uniform with bound 1 / sqrt(n_u), the default of ``torch.nn.Linear``.
        bias_std : float or None
            Biases are normal with this standard deviation.  None: zero, except for "torch",
            where they are uniform with bound 1 / sqrt(n_u), n_u the first source's width.
        slope, bias
            As in `from_layers`; ``bias=False`` for none.

        Examples
        --------
        >>> Network.random((784, 30, 30, 30, 10), rng=0, init="glorot")
        Network(784-30-30-30-10, P=25720, H=90)
        """
        choice("init", init, INITIALISATIONS)
        if bias_std is not None:
            number("bias_std", bias_std, low=0.0)
        architecture = widths
        if not isinstance(architecture, Architecture):
            architecture = Architecture.from_widths(architecture, slope=slope, bias=bias)
        generator = np.random.default_rng(seed(rng))
        theta = np.zeros(architecture.parameter_count)
        for v, layer in enumerate(architecture.layers):
            for e in architecture.incoming[v]:
                if (where := architecture.weight_slices[e]) is not None:
                    fan_in = architecture.layers[architecture.connections[e].source].width
                    size = layer.width * fan_in
                    if init == "he":
                        gain = 2.0 / (1.0 + layer.slope**2)
                        theta[where] = generator.normal(0.0, np.sqrt(gain / fan_in), size)
                    elif init == "lecun":
                        theta[where] = generator.normal(0.0, np.sqrt(1.0 / fan_in), size)
                    else:
                        squared = 6.0 / (fan_in + layer.width) if init == "glorot" else 1.0 / fan_in
                        bound = np.sqrt(squared)
                        theta[where] = generator.uniform(-bound, bound, size)
            if (where := architecture.bias_slices[v]) is not None:
                if bias_std is not None:
                    theta[where] = generator.normal(0.0, bias_std, layer.width)
                elif init == "torch":
                    first = architecture.connections[architecture.incoming[v][0]].source
                    bound = 1.0 / np.sqrt(architecture.layers[first].width)
                    theta[where] = generator.uniform(-bound, bound, layer.width)
        return cls(architecture, theta)

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths n_0, ..., n_L from input to output."""
        return self.architecture.widths

    @property
    def parameter_count(self) -> int:
        """Number P of parameters."""
        return self.architecture.parameter_count

    @property
    def hidden_neurons(self) -> int:
        """Number H of hidden neurons."""
        return self.architecture.hidden_neurons

    @cached_property
    def weights(self) -> tuple[FloatArray | None, ...]:
        """Read-only views of theta, one per connection: (n_v, n_u), or None for an identity."""
        return self.architecture.weights_of(self.theta)

    @cached_property
    def biases(self) -> tuple[FloatArray | None, ...]:
        """Read-only views of theta, one per layer after the input: (n_v,), or None."""
        return self.architecture.biases_of(self.theta)[1:]

    def replace(self, *, theta: ArrayLike) -> Self:
        """
        Network of the same architecture with other parameters.

        Examples
        --------
        >>> network = Network.random((2, 3, 1))
        >>> network.replace(theta=2 * network.theta).theta[0] == 2 * network.theta[0]
        np.True_
        """
        return type(self)(self.architecture, theta)  # type: ignore[arg-type]
