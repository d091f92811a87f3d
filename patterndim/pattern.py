"""Activation patterns with certified signs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from patterndim.architecture import Architecture
from patterndim.errors import ArgumentError, KindError, ShapeError
from patterndim.exact import exact_signs
from patterndim.kernels import propagation
from patterndim.network import Network
from patterndim.parallel import share_rows
from patterndim.typing import ArrayLike, BoolArray, ByteArray, FloatArray, IntArray
from patterndim.validation import exact_array, float_array, integer, sequence

#: Inputs that are propagated at once: their work space stays small.
CHUNK = 2048


@dataclass(frozen=True, eq=False)
class ActivationPattern:
    """
    Activation patterns of a sample: which hidden neurons are active at which input.

    Attributes
    ----------
    masks : tuple of array of bool, shapes (N, n_l)
        One per hidden layer; true where the preactivation is positive, and everywhere in a linear
        layer (slope 1).
    margin : float
        Smallest abs(z) over the bound on its rounding error; above 1, floating point alone
        decided every sign.  NaN if unknown.
    ties : array of int64, shape (count, 3)
        (input, layer, neuron) where the preactivation is exactly zero; the mask is false there,
        but no theorem about the pattern applies.  Layers count from 1.
    uncertain : array of int64, shape (count, 3)
        (input, layer, neuron) where exact arithmetic had to decide the sign; includes the ties.

    Examples
    --------
    >>> network = Network.from_layers([[[1.0], [-1.0]], [[1.0, 1.0]]], [[0.0, 1.0], [0.0]])
    >>> pattern = activation_pattern(network, [[2.0], [0.5], [0.0]])
    >>> pattern.masks[0].astype(int)
    array([[1, 0],
           [1, 1],
           [0, 1]])
    >>> pattern.ties
    array([[2, 1, 0]])
    """

    masks: tuple[BoolArray, ...]
    margin: float
    ties: IntArray
    uncertain: IntArray

    @classmethod
    def from_masks(cls, masks: Sequence[ArrayLike]) -> Self:
        """Pattern given by its masks, of unknown margin."""
        layers = enumerate(sequence("masks", masks))
        arrays = [exact_array(f"masks[{layer}]", mask) for layer, mask in layers]
        for layer, array in enumerate(arrays):
            if array.dtype != np.bool_:
                raise KindError(f"masks[{layer}] must be an array of bool, got dtype {array.dtype}")
            if array.ndim != 2 or len(array) != len(arrays[0]) or array.size == 0:
                raise ShapeError(
                    f"masks[{layer}] must have shape (N, n_{layer + 1}), got {array.shape}"
                )
        none = np.empty((0, 3), dtype=np.int64)
        return cls(tuple(np.ascontiguousarray(array) for array in arrays), float("nan"), none, none)

    @classmethod
    def from_packed(cls, packed: ArrayLike, widths: Sequence[int]) -> Self:
        """
        Pattern from its bit-packed form and the widths n_1, ..., n_{L-1} of the hidden layers.

        Examples
        --------
        >>> pattern = ActivationPattern.from_masks([np.eye(3, dtype=bool)])
        >>> pattern.packed().ravel()
        array([128,  64,  32], dtype=uint8)
        >>> ActivationPattern.from_packed(pattern.packed(), [3]).masks[0][1]
        array([False,  True, False])
        """
        array = exact_array("packed", packed)
        widths = [integer("width of a layer", width, low=1) for width in sequence("widths", widths)]
        if array.dtype != np.uint8:
            raise KindError(f"packed must be an array of uint8, got dtype {array.dtype}")
        length = -(-sum(widths) // 8)
        if array.ndim != 2 or array.shape[1] != length:
            raise ShapeError(f"packed must have shape (N, {length}), got {array.shape}")
        bits = np.unpackbits(array, axis=1, count=sum(widths)).astype(np.bool_)
        return cls.from_masks(np.split(bits, np.cumsum(widths)[:-1], axis=1))

    def packed(self) -> ByteArray:
        """Bits of all masks of each input, shape (N, ceil(H / 8)): to store, hash and compare."""
        if not self.masks:
            raise ArgumentError("packed needs a hidden layer, got a network without any")
        return np.packbits(np.concatenate(self.masks, axis=1), axis=1)

    def regions(self) -> IntArray:
        """
        Index of the activation region of each input, shape (N,), numbered from 0.

        Two inputs lie in the same region if all their masks agree: the regions that the sample
        perceives (arXiv:2402.08269).  Two regions may share one affine map.
        """
        _, index = np.unique(self.packed(), axis=0, return_inverse=True)
        return index.reshape(-1).astype(np.int64)

    def check(self, architecture: Architecture, inputs: int) -> None:
        """Raise unless the masks are bool and fit an architecture and a number of inputs."""
        masks: tuple[object, ...] = self.masks
        for mask in masks:
            if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
                raise KindError(f"pattern must have masks that are arrays of bool, got {mask!r}")
        wanted = [(inputs, architecture.widths[v]) for v in architecture.hidden_layers]
        if (given := [mask.shape for mask in self.masks]) != wanted:
            raise ShapeError(f"pattern must have masks of shapes {wanted}, got {given}")


def activation_pattern(network: Network, inputs: ArrayLike) -> ActivationPattern:
    """
    Activation patterns of a network at a sample, every sign certain.

    A bound on the rounding error is propagated along with the activations; the few inputs where
    it does not decide every sign are evaluated again in exact integer arithmetic.

    Parameters
    ----------
    network : Network
        ReLU network.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.

    Returns
    -------
    ActivationPattern
        Masks of shapes (N, n_l), margin, ties and uncertain signs.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``inputs`` is not a finite real array of shape (N, n_0).

    References
    ----------
    .. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, SIAM 2002,
       section 3.1.

    Examples
    --------
    The second input lies on the hyperplane of the neuron only up to rounding.

    >>> network = Network.from_layers([[[0.1, 0.2]], [[1.0]]], [[-0.3], [0.0]])
    >>> pattern = activation_pattern(network, [[0.0, 5.0], [1.0, 1.0]])
    >>> pattern.masks[0].ravel()
    array([ True,  True])
    >>> len(pattern.uncertain), len(pattern.ties)
    (1, 0)
    """
    X = check_inputs(network, inputs)
    chunks = [_certify(network, X[i : i + CHUNK], i) for i in range(0, len(X), CHUNK)]
    return ActivationPattern(
        masks=tuple(_concatenate(parts) for parts in zip(*(c.masks for c in chunks), strict=True)),
        margin=min(chunk.margin for chunk in chunks),
        ties=np.concatenate([chunk.ties for chunk in chunks]),
        uncertain=np.concatenate([chunk.uncertain for chunk in chunks]),
    )


def check_inputs(network: Network, inputs: ArrayLike) -> FloatArray:
    """Cast a sample to float64 of shape (N, n_0), or raise."""
    if not isinstance(network, Network):
        raise KindError(f"network must be a patterndim.Network, got {type(network).__name__}")
    return float_array("inputs", inputs, ("N", network.widths[0]))


def _concatenate(parts: Sequence[BoolArray]) -> BoolArray:
    mask = np.concatenate(parts)
    mask.flags.writeable = False
    return mask


def _certify(network: Network, X: FloatArray, first: int) -> ActivationPattern:
    """Pattern of a chunk of inputs that starts at input ``first``."""
    with np.errstate(over="ignore", invalid="ignore"):
        masks, ratios = _propagate(network, X)
    doubts = [np.argwhere(ratio <= 1.0) for ratio in ratios]
    ties = []
    if samples := sorted({int(x) for doubt in doubts for x in doubt[:, 0]}):
        for layer, signs in enumerate(exact_signs(network, X[samples])):
            masks[layer][samples] = signs > 0
            tied = np.argwhere(signs == 0)
            tied[:, 0] = np.array(samples)[tied[:, 0]]
            ties.append(tied)
    return ActivationPattern(
        masks=tuple(masks),
        margin=min((float(ratio.min()) for ratio in ratios), default=float("inf")),
        ties=_places(ties, first),
        uncertain=_places(doubts, first),
    )


def _places(found: Sequence[IntArray], first: int) -> IntArray:
    """(input, layer, neuron) of what was found layer by layer as (row, neuron)."""
    places = [
        np.stack([rows[:, 0] + first, np.full(len(rows), layer), rows[:, 1]], axis=1)
        for layer, rows in enumerate(found, start=1)
    ]
    together = np.concatenate([np.empty((0, 3), dtype=np.int64), *places])
    return together[np.lexsort(together.T[::-1])]


def _propagate(network: Network, X: FloatArray) -> tuple[list[BoolArray], list[FloatArray]]:
    """Masks of the hidden layers and the ratios of abs(z) to its error bound."""
    architecture = network.architecture
    masks, ratios = [], []
    states = [(X, np.zeros_like(X))]
    for v in architecture.hidden_layers:
        sums = np.zeros((3, len(X), architecture.widths[v]))
        terms = 0
        for e in architecture.incoming[v]:
            h, error = states[architecture.connections[e].source]
            if (W := network.weights[e]) is None:
                sums += (h, np.abs(h), error)
                terms += 1
            else:
                _accumulate(h, error, W, sums)
                terms += W.shape[1]
        if (b := network.biases[v - 1]) is not None:
            sums[0] += b
            sums[1] += np.abs(b)
            terms += 1
        mask = np.empty(sums.shape[1:], dtype=np.bool_)
        h, error, ratio = np.empty_like(sums[0]), np.empty_like(sums[0]), np.empty_like(sums[0])
        slope = float(architecture.layers[v].slope)
        propagation.activate(sums, terms, slope, mask, h, error, ratio)
        states.append((h, error))
        masks.append(mask)
        ratios.append(ratio)
    return masks, ratios


def _accumulate(h: FloatArray, error: FloatArray, W: FloatArray, sums: FloatArray) -> None:
    transposed = np.require(W.T, None, ["C", "W"])

    def work(start: int, stop: int) -> None:
        propagation.accumulate_bounded(h, error, transposed, start, stop, sums)

    share_rows(work, len(h), 3 * h.size * W.shape[0])
