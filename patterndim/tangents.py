"""
Tangent vectors of the symmetries that a network has while its pattern is frozen.

Write z_i for the preactivation of hidden neuron i, g_i for its gate, ``M`` for the matrices
between layers (with identities added in).  On the sample the outputs do not change to first
order when

- neuron i of a layer takes up a multiple of neuron j, ``z_i + e z_j``, and the outgoing weights
  of j give it back: ``M[:, j] - e (g_i / g_j) M[:, i]``.  That needs ``g_i / g_j`` constant over
  the sample: always for i = j (rescaling), for neurons with equal gates (aligned ones), and for
  neurons whose gates do not vary at all (linear ones).
- a linear neuron is shifted, ``z_i + e``, and the biases of the next layers take it back.
- the head has w with C w = 0 at all inputs, (1, ..., 1) for a softmax: w times any row is added to
  the last matrix, or w to the last bias.

Each is a vector v with J v = 0 for every theta with that pattern.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from patterndim.architecture import Architecture
from patterndim.arithmetic import Modular, Real
from patterndim.typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Group:
    """
    Hidden neurons of one layer whose gates are proportional to each other on a sample.

    Attributes
    ----------
    layer : int
        Layer, from 1.
    neurons : array of int64, shape (k,)
        The neurons.
    linear : bool
        Whether their gates do not vary, so that the neurons are affine on the sample.
    gates : array of float64, shape (k,)
        Gates at the first input: their ratios hold everywhere.
    """

    layer: int
    neurons: IntArray
    linear: bool
    gates: FloatArray


def neuron_groups(architecture: Architecture, masks: Sequence[BoolArray]) -> list[Group]:
    """Groups of live-gated neurons, layer by layer; a neuron unlike all others is alone."""
    groups = []
    for layer, mask in zip(architecture.hidden_layers, masks, strict=True):
        constant = mask.all(axis=0) | ~mask.any(axis=0)
        gates = np.where(mask[0], 1.0, architecture.layers[layer].slope)
        linear = np.flatnonzero(constant & (gates != 0.0))
        if linear.size:
            groups.append(Group(layer, linear, True, gates[linear]))
        varying = np.flatnonzero(~constant)
        if varying.size:
            patterns = np.ascontiguousarray(np.packbits(mask, axis=0)[:, varying].T)
            _, which = np.unique(patterns, axis=0, return_inverse=True)
            for number in range(int(which.max()) + 1):
                neurons = varying[which.reshape(-1) == number]
                groups.append(Group(layer, neurons, False, np.ones(neurons.size)))
    return groups


class Tangents:
    """Tangent vectors at parameters of an arithmetic; each block has shape (k, P)."""

    def __init__(
        self, architecture: Architecture, theta: FloatArray, arithmetic: Modular | Real
    ) -> None:
        self.architecture = architecture
        self.arithmetic = arithmetic
        self.theta = theta
        self.free = {(c.source, c.target) for c in architecture.connections if c.trainable}
        joins = {(c.source, c.target) for c in architecture.connections}
        self.edges = [_Edge(architecture, theta, ends) for ends in sorted(joins)]
        self.biases = architecture.biases_of(theta)

    def rescalings(self) -> Iterator[tuple[int, FloatArray]]:
        """
        (first layer, block) for the rescalings of each layer: one vector per neuron.

        Neurons joined by bare identities are rescaled together, those joined to the input or
        output not at all.
        """
        for layer, components in _components(self.architecture, self.free).items():
            yield layer, self._rescaling(components)

    def _rescaling(self, layers: tuple[int, ...]) -> FloatArray:
        """Vectors that rescale neuron i of all these (identity-joined) layers together."""
        width = self.architecture.widths[layers[0]]
        block = np.zeros((width, self.theta.size))
        i = np.arange(width)
        for edge in self.edges:
            if (W := edge.view(block)) is not None:
                if edge.target in layers:
                    W[i, i] += edge.M
                if edge.source in layers:
                    W[i, :, i] -= edge.M.T
        for layer in layers:
            b, out = self.biases[layer], self._bias(block, layer)
            if b is not None and out is not None:
                out[i, i] += b
        return self.arithmetic.reduce(block)

    def mixtures(self, group: Group) -> FloatArray:
        """Vectors by which different neurons of a group take up each other: k (k - 1)."""
        size = len(group.neurons)
        if size < 2 or group.layer in self.architecture.bare_layers:
            return np.zeros((0, self.theta.size))
        left, right = np.nonzero(~np.eye(size, dtype=bool))
        ratio = self.arithmetic.quotient(group.gates[left], group.gates[right])
        i, j = group.neurons[left], group.neurons[right]
        block = np.zeros((left.size, self.theta.size))
        row = np.arange(left.size)
        for edge in self.edges:
            if (W := edge.view(block)) is not None:
                if edge.target == group.layer:
                    W[row, i] += edge.M[j]
                if edge.source == group.layer:
                    W[row, :, j] -= self._product(edge.M.T[i], ratio[:, np.newaxis])
        b, out = self.biases[group.layer], self._bias(block, group.layer)
        if b is not None and out is not None:
            out[row, i] += b[j]
        return self.arithmetic.reduce(block)

    def shifts(self, group: Group) -> FloatArray:
        """Vectors that shift the neurons of a linear group, where biases can take it back."""
        targets = [edge.target for edge in self.edges if edge.source == group.layer]
        layers = self.architecture.layers
        if not group.linear or not all(layers[v].bias for v in (group.layer, *targets)):
            return np.zeros((0, self.theta.size))
        block = np.zeros((len(group.neurons), self.theta.size))
        row = np.arange(len(block))
        values = self.arithmetic.encode(group.gates)[:, np.newaxis]
        for edge in self.edges:
            if edge.source == group.layer:
                taken = self._product(edge.M.T[group.neurons], values)
                self._bias_of(block, edge.target)[row] -= taken
        self._bias_of(block, group.layer)[row, group.neurons] += 1.0
        return self.arithmetic.reduce(block)

    def output_shifts(self, hidden: FloatArray) -> FloatArray:
        """Vectors that change the outputs along some that the head does not show, (m, n_L)."""
        last = len(self.architecture.layers) - 1
        blocks = [np.zeros((0, self.theta.size))]
        for edge in self.edges:
            if edge.target == last and edge.where is not None:
                width = edge.M.shape[1]
                block = np.zeros((len(hidden) * width, self.theta.size))
                W = edge.view(block)
                if W is not None:
                    j = np.tile(np.arange(width), len(hidden))
                    W[np.arange(len(block)), :, j] = np.repeat(hidden, width, axis=0)
                blocks.append(block)
        if self.architecture.layers[last].bias:
            block = np.zeros((len(hidden), self.theta.size))
            self._bias_of(block, last)[...] = hidden
            blocks.append(block)
        return np.concatenate(blocks)

    def _product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Entrywise product; of residues below p it is less than 2**48."""
        return self.arithmetic.reduce(np.ascontiguousarray(left * right))

    def _bias(self, block: FloatArray, layer: int) -> FloatArray | None:
        where = self.architecture.bias_slices[layer]
        return None if where is None else block[:, where]

    def _bias_of(self, block: FloatArray, layer: int) -> FloatArray:
        where = self.architecture.bias_slices[layer]
        if where is None:
            raise LookupError(f"layer {layer} has no bias")
        return block[:, where]


class _Edge:
    """All connections between two layers as one matrix: trainable ones plus identities."""

    def __init__(
        self, architecture: Architecture, theta: FloatArray, ends: tuple[int, int]
    ) -> None:
        self.source, self.target = ends
        self.shape = architecture.widths[self.target], architecture.widths[self.source]
        self.where: slice | None = None
        self.M = np.zeros(self.shape)
        for where, c in zip(architecture.weight_slices, architecture.connections, strict=True):
            if (c.source, c.target) == ends:
                if where is None:
                    self.M += np.eye(*self.shape)
                else:
                    # Of several trainable matrices between the same layers the first moves.
                    self.M += theta[where].reshape(self.shape)
                    self.where = where if self.where is None else self.where

    def view(self, block: FloatArray) -> FloatArray | None:
        """The part of vectors (k, P) that is the matrix: (k, n_v, n_u), or None."""
        if self.where is None:
            return None
        return block[:, self.where].reshape(len(block), *self.shape)


def _components(
    architecture: Architecture, free: set[tuple[int, int]]
) -> dict[int, tuple[int, ...]]:
    """Hidden layers that are rescaled together, by their first; none joined to input or output."""
    label = list(range(len(architecture.layers)))
    for c in architecture.connections:
        if (c.source, c.target) not in free:
            one, other = label[c.source], label[c.target]
            label = [one if found == other else found for found in label]
    ends = {label[0], label[-1]}
    found: dict[int, tuple[int, ...]] = {}
    for layer in architecture.hidden_layers:
        if label[layer] not in ends:
            first = label.index(label[layer])
            found[first] = (*found.get(first, ()), layer)
    return found
