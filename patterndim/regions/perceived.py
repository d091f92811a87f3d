"""The activation regions that a sample perceives."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np

from patterndim.arithmetic import Modular, random_prime
from patterndim.dyadic import IntegerArray
from patterndim.factors import factor, gates
from patterndim.network import Network
from patterndim.pattern import ActivationPattern, activation_pattern, check_inputs
from patterndim.rank.modular import modular_rank
from patterndim.rank.result import Rank
from patterndim.regions.integers import IntegerLayer
from patterndim.typing import ArrayLike, BoolArray, FloatArray, IntArray, Seed
from patterndim.validation import seed as as_seed


@dataclass(frozen=True, eq=False)
class PerceivedRegions:
    """
    Activation regions that contain an input of a sample; ``len(regions)`` counts them.

    Attributes
    ----------
    ids : array of int64, shape (N,)
        The region of each input, numbered from 0.
    sizes : array of int64, shape (R,)
        Number of inputs in each region.
    pattern : ActivationPattern
        Masks of shapes (R, n_l), one row per region; margin, ties and uncertain signs are those
        of the sample (input, layer, neuron).
    ranks : tuple of Rank, or None
        For each region the rank of its inputs with a 1 appended, at most n_0 + 1: within the
        region every output is an affine function of the input.  If asked for.
    maps : array of int64, shape (R,), or None
        Which affine map the network is in each region, numbered from 0; two regions have the
        same number if and only if their maps are equal.  If asked for.
    """

    ids: IntArray
    sizes: IntArray
    pattern: ActivationPattern
    ranks: tuple[Rank, ...] | None = None
    maps: IntArray | None = None

    def __len__(self) -> int:
        """Return the number R of regions."""
        return len(self.sizes)

    def __repr__(self) -> str:
        """Count."""
        return f"PerceivedRegions({len(self)} regions of {len(self.ids)} inputs)"


def perceived(
    network: Network,
    inputs: ArrayLike,
    *,
    ranks: bool = False,
    maps: bool = False,
    rng: Seed = 0,
) -> PerceivedRegions:
    """
    Activation regions that a sample perceives: the different patterns of its inputs.

    The local dimension is at most n_L times the sum of the ranks of their inputs [1]_.

    Parameters
    ----------
    network : Network
        ReLU or leaky ReLU network.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    ranks : bool
        Whether to find the rank of the inputs in each region, modulo a random prime.
    maps : bool
        Whether to find which regions share one affine map.  Maps that differ modulo a prime
        differ; those that do not are compared in exact integers, so the answer is certain.
    rng : int or numpy.random.Generator
        Source of the prime for the ranks.

    Returns
    -------
    PerceivedRegions
        Number, sizes and masks of the regions, and the region of each input.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``inputs`` is not a finite real array of shape (N, n_0).

    See Also
    --------
    space, box : all activation regions, of few inputs.

    References
    ----------
    .. [1] J. Bona-Pellissier, F. Malgouyres, F. Bachoc, "Geometry-induced implicit
       regularization in deep ReLU neural networks", arXiv:2402.08269.

    Examples
    --------
    The second neuron has weight 0 to the output: where it becomes active the map does not change.

    >>> network = Network.from_layers([[[1.0], [1.0]], [[1.0, 0.0]]], [[-0.5, -2.5], [0.0]])
    >>> found = perceived(network, [[0.0], [1.0], [2.0], [3.0], [4.0]], ranks=True, maps=True)
    >>> found.ids, found.sizes, found.maps
    (array([0, 1, 1, 2, 2]), array([1, 2, 2]), array([0, 1, 1]))
    >>> [int(rank) for rank in found.ranks]
    [1, 2, 2]
    """
    X, seed = check_inputs(network, inputs), as_seed(rng)
    pattern = activation_pattern(network, X)
    ids = pattern.regions() if pattern.masks else np.zeros(len(X), dtype=np.int64)
    _, first = np.unique(ids, return_index=True)
    masks = tuple(mask[first] for mask in pattern.masks)
    own = ActivationPattern(masks, pattern.margin, pattern.ties, pattern.uncertain)
    sizes = np.bincount(ids)
    return PerceivedRegions(
        ids,
        sizes,
        own,
        _ranks(X, ids, sizes, seed) if ranks else None,
        _maps(network, masks, len(sizes)) if maps else None,
    )


def _ranks(X: FloatArray, ids: IntArray, sizes: IntArray, seed: int) -> tuple[Rank, ...]:
    """Rank of the inputs of each region with a 1 appended; regions of one size in one call."""
    extended = np.column_stack([X, np.ones(len(X))])[np.argsort(ids, kind="stable")]
    first = np.cumsum(sizes) - sizes
    found: dict[int, Rank] = {}
    for size in np.unique(sizes):
        regions = np.flatnonzero(sizes == size)
        stack = extended[first[regions, np.newaxis] + np.arange(size)]
        ranks = cast("tuple[Rank, ...]", modular_rank(stack, rng=seed))
        found |= zip(regions.tolist(), ranks, strict=True)
    return tuple(found[region] for region in range(len(sizes)))


def _maps(network: Network, masks: tuple[BoolArray, ...], count: int) -> IntArray:
    """Index of the affine map of each region."""
    residues = _residues(network, masks, count)
    seen: dict[tuple[bytes, tuple[int, ...]], int] = {}
    times = Counter(residues)
    maps = np.empty(count, dtype=np.int64)
    for region, residue in enumerate(residues):
        # Only maps that look the same are worth the exact integers.
        exact = _form(network, [mask[region] for mask in masks]) if times[residue] > 1 else ()
        maps[region] = seen.setdefault((residue, exact), len(seen))
    return maps


def _residues(network: Network, masks: tuple[BoolArray, ...], count: int) -> list[bytes]:
    """Affine map of each region modulo a prime: value and derivative at the formal input 0."""
    architecture = network.architecture
    arithmetic = Modular(random_prime(np.random.default_rng(0)))
    zero, C = np.zeros((count, network.widths[0])), np.eye(network.widths[-1])
    gate = gates(architecture, masks)
    factors = factor(architecture, network.theta, zero, gate, arithmetic, C, to_input=True)
    matrices = factors.sensitivity(0).transpose(1, 0, 2).reshape(count, -1)
    numbers = np.concatenate([matrices, factors.outputs], axis=1)
    # Residues may come as any of a few representatives.
    unique = np.mod(numbers, arithmetic.modulus).astype(np.int32)
    return [row.tobytes() for row in unique]


def _form(network: Network, masks: list[BoolArray]) -> tuple[int, ...]:
    """Affine map with given masks in integers, up to a power of two common to all masks."""
    inputs = network.widths[0]
    identity: IntegerArray = np.eye(inputs, inputs + 1, dtype=int).astype(object)
    forms = [identity]
    layers = list(_layers(network))
    for layer, mask in zip(layers[:-1], masks, strict=True):
        forms.append(layer.activations(layer.preactivations(forms), mask.tolist()))
    return tuple(layers[-1].preactivations(forms).reshape(-1).tolist())


def _layers(network: Network) -> Iterator[IntegerLayer]:
    exponents = [0]
    for v in range(1, len(network.widths)):
        layer = IntegerLayer(network, v, exponents)
        exponents.append(layer.exponent)
        yield layer
