"""Local dimensions of many small networks of one architecture, all by compiled loops."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from patterndim.architecture import Architecture
from patterndim.arithmetic import MODULUS_RANGE, Modular, prime_failure, random_prime
from patterndim.bounds import every_sample_bound, has_linear_layers
from patterndim.heads import Head
from patterndim.kernels import bulk_bounds, bulk_patterns, bulk_ranks
from patterndim.minors import entry_bits
from patterndim.network import Network
from patterndim.parallel import share_rows
from patterndim.pattern import activation_pattern
from patterndim.typing import BoolArray, FloatArray, IntArray

#: Names of the bounds; `bulk_bounds` numbers the first three.
BOUNDS = ("outputs", "parameters", "regions", "inputs", "symmetries")
#: Most parameters: beyond, blocked elimination of one network at a time catches up.
LARGEST = 1000
#: Networks per batch, and bytes that their masks may take.
BATCH, MASKS = 512, 2**26


#: An architecture as the kernels see it; see `kernels.bulk_patterns`.
Graph = tuple[IntArray, IntArray, FloatArray]


def graphs(architecture: Architecture) -> tuple[Graph, Graph]:
    """Graphs of the way up, from the inputs to the outputs, and of the way down."""
    widths = np.array(architecture.widths)
    slopes = np.array([layer.slope for layer in architecture.layers])
    biases = [-1 if where is None else where.start for where in architecture.bias_slices]
    places = [-1 if where is None else where.start for where in architecture.weight_slices]
    ends = [(c.source, c.target) for c in architecture.connections]
    matrices = {end for end, place in zip(ends, places, strict=True) if place >= 0}
    beside = [end in matrices for end in ends]
    sources, targets = np.array(ends).T
    ones = np.ones_like(sources)
    first = np.cumsum(widths) - widths
    up = np.array([sources, targets, places, widths[sources], ones, beside], dtype=np.int64)
    down = np.array([targets, sources, places, ones, widths[sources], beside], dtype=np.int64)
    return (
        (np.array([first, widths, biases], dtype=np.int64), up, slopes),
        (np.array([first, widths, np.full_like(biases, -1)], dtype=np.int64), down, slopes),
    )


@dataclass
class Found:
    """What is known about each of K networks, arrays of shape (K,)."""

    value: IntArray
    upper: IntArray
    bound: IntArray
    modulus: IntArray
    failure: FloatArray
    ties: IntArray
    uncertain: IntArray

    @classmethod
    def nothing(cls, count: int) -> "Found":
        """Arrays to fill."""
        whole = (np.full(count, -1, dtype=np.int64) for _ in range(6))
        value, upper, bound, modulus, ties, uncertain = whole
        return cls(value, upper, bound, modulus, np.zeros(count), ties, uncertain)


def fits(architecture: Architecture) -> bool:
    """Whether networks are small enough for `Bulk`."""
    return architecture.parameter_count <= LARGEST


class Bulk:
    """
    The computation for one architecture, one head C (k, n_L) of full row rank and one seed.

    The primes and the random directions are the same for all networks, so what is found about
    one of them does not depend on the others.
    """

    def __init__(self, architecture: Architecture, head: Head, seed: int, primes: int) -> None:
        rng = np.random.default_rng(seed)
        self.architecture = architecture
        self.graphs = graphs(architecture)
        self.C = head.C
        # What holds at every sample: more than the kernels know, if layers are linear.
        linear = has_linear_layers(architecture)
        self.always = every_sample_bound(architecture, head) if linear else None
        self.trials = []
        for _ in range(primes):
            arithmetic = Modular(random_prime(rng))
            directions = arithmetic.random(rng, (2, architecture.parameter_count))
            self.trials.append((arithmetic, directions))

    def run(
        self, thetas: FloatArray, X: FloatArray, progress: Callable[[int, int], None] | None
    ) -> Found:
        """Dimensions for thetas (K, P) and samples (1, N, n_0) or (K, N, n_0)."""
        found = Found.nothing(len(thetas))
        masks = max(1, self.architecture.hidden_neurons * X.shape[1])
        batch = max(1, min(BATCH, MASKS // masks))
        for first in range(0, len(thetas), batch):
            count = min(batch, len(thetas) - first)

            def work(start: int, stop: int, first: int = first) -> None:
                part = slice(first + start, first + stop)
                self._solve(thetas[part], X[part] if len(X) > 1 else X, found, part)

            share_rows(work, count, count * thetas.shape[1] * X.shape[1])
            if progress is not None:
                progress(first + count, len(thetas))
        return found

    def _solve(self, thetas: FloatArray, X: FloatArray, found: Found, part: slice) -> None:
        """Fill in ``found[part]``."""
        masks, counts = self._certify(thetas, X)
        found.uncertain[part], found.ties[part] = counts[:, 0], counts[:, 1]
        live, bounds = self._bound(X, masks)
        if self.always is not None:
            least = self.always.value, BOUNDS.index(self.always.name)
            bounds[bounds[:, 0] > self.always.value] = least
        upper = np.ascontiguousarray(bounds[:, 0])
        found.upper[part], found.bound[part] = upper, bounds[:, 1]
        value, modulus = found.value[part], found.modulus[part]
        left = np.arange(len(thetas))
        for arithmetic, directions in self.trials:
            those = X[left] if len(X) > 1 else X
            ranks = self._ranks(
                arithmetic, directions, thetas[left], those, masks[left], live[left], upper[left]
            )
            better = left[ranks > value[left]]
            value[better], modulus[better] = ranks[ranks > value[left]], arithmetic.modulus
            left = np.flatnonzero(value < upper)
            if left.size == 0:
                return
        those = X[left] if len(X) > 1 else X
        found.failure[part][left] = self._failures(thetas[left], those, value[left])

    def _certify(self, thetas: FloatArray, X: FloatArray) -> tuple[BoolArray, IntArray]:
        """Masks (K, H, N); uncertain signs, ties and doubts that were left to exact arithmetic."""
        neurons = sum(self.architecture.widths)
        masks = np.empty(
            (len(thetas), self.architecture.hidden_neurons, X.shape[1]), dtype=np.bool_
        )
        counts = np.empty((len(thetas), 3), dtype=np.int64)
        lanes = bulk_patterns.LANES
        space = (
            np.empty((neurons, lanes)),
            np.empty((neurons, lanes)),
            np.empty((3, max(self.architecture.widths), lanes)),
        )
        with np.errstate(over="ignore", invalid="ignore"):
            bulk_patterns.certify(thetas, X, self.graphs[0], space, (masks, counts))
        for k in np.flatnonzero(counts[:, 2]).tolist():
            network = Network(self.architecture, thetas[k])
            pattern = activation_pattern(network, X[k if len(X) > 1 else 0])
            np.concatenate([mask.T for mask in pattern.masks], out=masks[k])
            counts[k, :2] = len(pattern.uncertain), len(pattern.ties)
        return masks, counts

    def _bound(self, X: FloatArray, masks: BoolArray) -> tuple[BoolArray, IntArray]:
        """Live parameters (K, P), and the least bound and which it is (K, 2)."""
        count, hidden, inputs = masks.shape
        neurons, words = sum(self.architecture.widths), -(-inputs // bulk_bounds.WORD)
        live = np.empty((count, self.architecture.parameter_count), dtype=np.bool_)
        bounds = np.empty((count, 2), dtype=np.int64)
        space = (
            np.empty((neurons, words), dtype=np.int64),
            np.empty((2, neurons, words), dtype=np.int64),
            np.empty((inputs, max(1, -(-hidden // bulk_bounds.WORD))), dtype=np.int64),
            np.empty(2 ** (2 * inputs - 1).bit_length(), dtype=np.int64),
            np.empty(max(inputs, neurons + 1), dtype=np.int64),
        )
        bulk_bounds.bound(X, masks, self.graphs, len(self.C), space, (live, bounds))
        return live, bounds

    def _ranks(
        self,
        arithmetic: Modular,
        directions: FloatArray,
        thetas: FloatArray,
        X: FloatArray,
        masks: BoolArray,
        live: BoolArray,
        upper: IntArray,
    ) -> IntArray:
        """Ranks modulo one prime, (K,)."""
        count, size = thetas.shape
        residues = (
            arithmetic.encode(thetas),
            arithmetic.encode(X),
            arithmetic.encode(self.C),
            directions,
        )
        neurons, lanes = sum(self.architecture.widths), bulk_ranks.LANES
        space = (
            np.empty((neurons, lanes)),
            np.empty((neurons, lanes)),
            np.zeros((size, size + lanes)),
            np.empty((5, size + lanes)),
            np.empty((3, lanes)),
            np.empty((2, size), dtype=np.int64),
        )
        up, down = ((*graph[:2], arithmetic.encode(graph[2])) for graph in self.graphs)
        modulus = float(arithmetic.modulus), arithmetic.inverse
        kept = self._kept(residues[0], live)
        values = np.empty(count, dtype=np.int64)
        bulk_ranks.ranks(residues, masks, kept, (up, down), modulus, space, (values, upper))
        return values

    def _kept(self, thetas: FloatArray, live: BoolArray) -> BoolArray:
        """
        Columns of J, (K, P), that carry its rank modulo p, for residues of parameters.

        Columns of dead parameters are zero.  Where no identity meets a layer, J is zero times
        the tangent of the rescaling of each of its neurons, incoming parameters minus outgoing
        ones.  So each of these neurons lets one column go, that of a live incoming parameter
        that is not zero: taken neuron by neuron these tangents are triangular there, because
        those of later neurons do not have the parameter.
        """
        kept, usable = live.copy(), live & (thetas != 0.0)
        for incoming in self._incoming:
            good = usable[:, incoming]
            found = np.flatnonzero(good.any(axis=1))
            kept[found, incoming[good[found].argmax(axis=1)]] = False
        return kept

    @cached_property
    def _incoming(self) -> list[IntArray]:
        """For every hidden neuron that no identity meets, where its parameters are in theta."""
        architecture, found = self.architecture, []
        met = [v for c in architecture.connections if not c.trainable for v in (c.source, c.target)]
        for v in architecture.hidden_layers:
            where = [architecture.weight_slices[e] for e in architecture.incoming[v]]
            bias = architecture.bias_slices[v]
            for i in range(0 if v in met else architecture.widths[v]):
                rows = [slice(0, 0) if bias is None else slice(bias.start + i, bias.start + i + 1)]
                for part in where:
                    if part is not None:
                        width = (part.stop - part.start) // architecture.widths[v]
                        first = part.start + i * width
                        rows.append(slice(first, first + width))
                found.append(np.concatenate([np.arange(row.start, row.stop) for row in rows]))
        return found

    def _failures(self, thetas: FloatArray, X: FloatArray, ranks: IntArray) -> list[float]:
        """
        Bounds on the chances that all primes found too low a rank.

        Either a prime divides a nonzero minor of size rank + 1, as in `failure.failure`; or some
        row that is independent of the rows before it passed both tests as dependent, each row
        with probability p**-2.
        """
        size = ranks + 1.0
        largest, lowest = entry_bits(self.architecture, thetas, X)
        bits = size * (largest + np.log2(size) - lowest)
        missed = len(self.C) * X.shape[1] / float(MODULUS_RANGE[0]) ** 2
        return [min(1.0, prime_failure(b) + missed) ** len(self.trials) for b in bits.tolist()]
