"""
What the known symmetries of a frozen pattern cost: directions that J does not see, counted.

The subspaces spanned by dead parameters, rescalings, output shifts, linear neurons and aligned
neurons are built up in this order, layer by layer; each share is by how much the dimension grows,
so the shares add up to the dimension of their sum.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from patterndim.architecture import Architecture
from patterndim.arithmetic import Modular, Real, random_prime
from patterndim.bounds import Bound, input_bound
from patterndim.frozen import FrozenJacobian
from patterndim.live import live_parameters
from patterndim.rank.echelon import Echelon
from patterndim.tangents import Group, Tangents, neuron_groups
from patterndim.typing import BoolArray, FloatArray


@dataclass(frozen=True)
class Block:
    """Tangent vectors (k, P) of one cause in one layer, and the neurons they belong to."""

    cause: str
    layer: int
    neurons: tuple[int, ...]
    vectors: FloatArray


@dataclass(frozen=True)
class Share:
    """
    Dimensions lost to one cause.

    Attributes
    ----------
    scope : {"always", "sample"}
        Whether no input that was tried shows these directions, or only this sample does not.
    cause : str
        "dead", "rescaling", "softmax" (or "head": another one), "linear", "aligned", "hidden" or
        "few inputs".
    layer : int or None
        Layer of the neurons (for dead parameters, the layer that they lead to).
    neurons : tuple of int
        The neurons, where the cause is a matter of particular ones.
    count : int
        Dimensions.
    """

    scope: str
    cause: str
    layer: int | None
    neurons: tuple[int, ...]
    count: int


def blocks(
    frozen: FrozenJacobian, theta: FloatArray, arithmetic: Modular | Real, causes: tuple[str, ...]
) -> Iterator[Block]:
    """Tangent vectors of the symmetries at ``theta``, floats or residues, by cause and layer."""
    architecture = frozen.architecture
    tangents = Tangents(architecture, theta, arithmetic)
    groups = neuron_groups(architecture, frozen.pattern.masks)
    if "rescaling" in causes:
        for layer, vectors in tangents.rescalings():
            yield Block("rescaling", layer, (), vectors)
    cause = "softmax" if frozen.head.name == "softmax" else "head"
    if cause in causes and len(hidden := frozen.head.hidden):
        vectors = tangents.output_shifts(arithmetic.encode(hidden))
        yield Block(cause, len(architecture.layers) - 1, (), vectors)
    for cause in ("linear", "aligned"):
        for group in groups:
            if cause in causes and group.linear == (cause == "linear"):
                vectors = np.concatenate([tangents.mixtures(group), tangents.shifts(group)])
                if len(vectors):
                    yield Block(cause, group.layer, tuple(group.neurons.tolist()), vectors)


SYMMETRIES = ("rescaling", "softmax", "head", "linear", "aligned")


def shares(
    frozen: FrozenJacobian, theta: FloatArray, arithmetic: Modular, live: BoolArray
) -> list[Share]:
    """Dimensions lost to each cause and layer at residues ``theta``; they add up."""
    found = [
        Share("always", "dead", layer, (), int(where.sum()))
        for layer, where in dead_by_layer(frozen, ~live)
    ]
    echelon = Echelon(arithmetic, int(live.sum()))
    if echelon.length:
        for block in blocks(frozen, theta, arithmetic, SYMMETRIES):
            grown = echelon.extend(np.ascontiguousarray(block.vectors[:, live]))
            found.append(Share("always", block.cause, block.layer, block.neurons, grown))
    return [share for share in found if share.count]


def dead_by_layer(frozen: FrozenJacobian, dead: BoolArray) -> Iterator[tuple[int, BoolArray]]:
    """(layer, which of the dead parameters (P,) lead to it)."""
    architecture = frozen.architecture
    for v in range(1, len(architecture.layers)):
        where = np.zeros_like(dead)
        for part in architecture.parameter_slices(v):
            where[part] = dead[part]
        yield v, where


def finer_bound(frozen: FrozenJacobian, rng: np.random.Generator, most: float) -> Bound:
    """
    Least of the bound that is known and of those that cost more: inputs, symmetries.

    Symmetries are counted if that takes at most so many numbers.
    """
    bounds = [frozen.upper, input_bound(frozen.X, frozen.pattern, frozen.head)]
    if 0 < symmetry_size(frozen) <= most:
        bounds.append(symmetry_bound(frozen, rng))
    return min(bounds, key=lambda bound: bound.value)


def symmetry_size(frozen: FrozenJacobian) -> int:
    """Entries of all tangent vectors, or 0 if there are none beyond rescalings."""
    architecture = frozen.architecture
    groups = neuron_groups(architecture, frozen.pattern.masks)
    extra = sum(extra_symmetries(architecture, group) for group in groups)
    return (extra + architecture.hidden_neurons) * architecture.parameter_count if extra else 0


def symmetry_bound(frozen: FrozenJacobian, rng: np.random.Generator) -> Bound:
    """
    Live parameters minus the symmetries that linear and aligned neurons add to rescaling.

    The tangent vectors are counted at random residues.  That count is at most the generic one,
    and for every theta J has at most the generic rank, live parameters minus generic symmetries:
    so the bound holds for certain.
    """
    arithmetic = Modular(random_prime(rng))
    theta = arithmetic.random(rng, (frozen.architecture.parameter_count,))
    live = live_parameters(frozen.architecture, frozen.X, frozen.passing, frozen.head.reach)
    mask = live.parameters(frozen.architecture)
    lost = sum(share.count for share in shares(frozen, theta, arithmetic, mask))
    return Bound(frozen.architecture.parameter_count - lost, "symmetries")


def extra_symmetries(architecture: Architecture, group: Group) -> int:
    """Number of tangent vectors of a group beyond rescaling: mixtures, and shifts if linear."""
    size = len(group.neurons)
    mixtures = 0 if group.layer in architecture.bare_layers else size * (size - 1)
    return mixtures + size if group.linear else mixtures
