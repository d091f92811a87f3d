"""
Upper bounds of the dimensions of many networks of one architecture that hold for certain.

They are those of `patterndim.bounds`, where they are derived: outputs, live parameters minus
independent rescalings, perceived regions.  Graphs are as in `bulk_patterns`.  What happens at a
neuron for each input is kept in words of 32 bits.
"""

from numba import njit

from patterndim.typing import BoolArray, FloatArray, IntArray

Graph = tuple[IntArray, IntArray, FloatArray]

kernel = njit(cache=True, nogil=True)

OUTPUTS, PARAMETERS, REGIONS = 0, 1, 2
WORD = 32


@kernel
def bound(
    X: FloatArray,
    masks: BoolArray,
    graphs: tuple[Graph, Graph],
    outputs: int,
    space: tuple[IntArray, IntArray, IntArray, IntArray, IntArray],
    found: tuple[BoolArray, IntArray],
) -> None:
    """
    Overwrite live (K, P) and bounds (K, 2) of networks with masks (K, H, N).

    ``graphs`` are those of the way up and the way down.  A bound is its value and which it is.
    ``space`` is bits of patterns (neurons, words), of paths on both ways (2, neurons, words),
    keys (N, words of H), a table (a power of 2 of at least 2 N places), and parents (at least N
    and neurons + 1).
    """
    layers, connections, _ = graphs[0]
    bits, paths, keys, table, parent = space
    live, bounds = found
    inputs, last = X.shape[1], layers.shape[1] - 1
    for k in range(len(masks)):
        sample = X[k if X.shape[0] > 1 else 0]
        for i in range(masks.shape[1]):
            _pack(masks[k, i], bits[layers[1, 0] + i])
        for j in range(layers[1, 0]):
            for word in range(bits.shape[1]):
                paths[0, j, word] = 0
            for x in range(inputs):
                paths[0, j, x // WORD] |= int(sample[x, j] != 0.0) << (x % WORD)
        for i in range(layers[0, last], layers[0, last] + layers[1, last]):
            for word in range(bits.shape[1]):
                paths[1, i, word] = _ones(inputs, word)
        for way in range(2):
            for step in range(1, last):
                v = last - step if way else step
                _spread(graphs[way], v, inputs, bits, paths[way])
        bounds[k, 0], bounds[k, 1] = outputs * inputs, OUTPUTS
        count = _live_count(layers, connections, outputs, paths, live[k])
        count -= _rescalings(layers, connections, paths, live[k], parent)
        if count < bounds[k, 0]:
            bounds[k, 0], bounds[k, 1] = count, PARAMETERS
        count = _regions(masks[k], outputs, layers[1, 0] + 1, bounds[k, 0], keys, table, parent)
        if count < bounds[k, 0]:
            bounds[k, 0], bounds[k, 1] = count, REGIONS


@kernel
def _pack(mask: BoolArray, bits: IntArray) -> None:
    """Overwrite the bits of a mask, those beyond its end with zeros."""
    for word in range(bits.size):
        packed = 0
        for x in range(word * WORD, min(mask.size, word * WORD + WORD)):
            packed |= int(mask[x]) << (x - word * WORD)
        bits[word] = packed


@kernel
def _ones(inputs: int, word: int) -> int:
    """Return the word in which the bits of all inputs are set."""
    return (1 << min(WORD, inputs - word * WORD)) - 1


@kernel
def _spread(graph: Graph, v: int, inputs: int, bits: IntArray, paths: IntArray) -> None:
    """Overwrite the inputs for which a path leads to, and through, the neurons of layer v."""
    layers, connections, slopes = graph
    for word in range(paths.shape[1]):
        arrived = _ones(inputs, word) if layers[2, v] >= 0 else 0
        for e in range(connections.shape[1]):
            if connections[1, e] == v and connections[2, e] >= 0:
                u = connections[0, e]
                for j in range(layers[0, u], layers[0, u] + layers[1, u]):
                    arrived |= paths[j, word]
        for i in range(layers[1, v]):
            here = arrived
            for e in range(connections.shape[1]):
                if connections[1, e] == v and connections[2, e] < 0:
                    here |= paths[layers[0, connections[0, e]] + i, word]
            neuron = layers[0, v] + i
            paths[neuron, word] = here if slopes[v] > 0.0 else here & bits[neuron, word]


@kernel
def _meet(one: IntArray, other: IntArray) -> bool:
    """Whether two paths meet for some input."""
    for word in range(one.size):  # noqa: SIM110
        if one[word] & other[word]:
            return True
    return False


@kernel
def _live_count(
    layers: IntArray, connections: IntArray, outputs: int, paths: IntArray, live: BoolArray
) -> int:
    """Overwrite which parameters some sample has a path through; return how many count."""
    last = layers.shape[1] - 1
    count = 0
    for e in range(connections.shape[1]):
        u, v, place = connections[0, e], connections[1, e], connections[2, e]
        if place >= 0:
            total = 0
            for i in range(layers[0, v], layers[0, v] + layers[1, v]):
                for j in range(layers[0, u], layers[0, u] + layers[1, u]):
                    live[place] = _meet(paths[1, i], paths[0, j])
                    total += live[place]
                    place += 1
            # Of the output layer only so many combinations count.
            count += total // layers[1, v] * outputs if v == last else total
    for v in range(1, last + 1):
        place = layers[2, v]
        if place >= 0:
            total = 0
            for i in range(layers[0, v], layers[0, v] + layers[1, v]):
                live[place] = _meet(paths[1, i], paths[1, i])
                total += live[place]
                place += 1
            count += total // layers[1, v] * outputs if v == last else total
    return count


@kernel
def _rescalings(
    layers: IntArray, connections: IntArray, paths: IntArray, live: BoolArray, parent: IntArray
) -> int:
    """
    Independent rescalings: components of bound neurons minus components of joined ones.

    All that is bound is joined too, so they are the joints that are new after binding.
    """
    last = layers.shape[1] - 1
    for node in range(layers[0, last] + 1):
        parent[node] = node
    for e in range(connections.shape[1]):
        if connections[2, e] < 0 and not connections[5, e]:
            _join_identity(layers, connections[0, e], connections[1, e], paths, parent)
    merged = 0
    for e in range(connections.shape[1]):
        u, v, place = connections[0, e], connections[1, e], connections[2, e]
        if place < 0:
            merged += _join_identity(layers, u, v, paths, parent)
            continue
        for i in range(layers[1, v]):
            for j in range(layers[1, u]):
                if live[place + i * layers[1, u] + j]:
                    merged += _join(parent, _node(layers, u, j), _node(layers, v, i))
    for v in range(1, layers.shape[1]):
        for i in range(layers[1, v]):
            if layers[2, v] >= 0 and live[layers[2, v] + i]:
                merged += _join(parent, _node(layers, last, i), _node(layers, v, i))
    return merged


@kernel
def _node(layers: IntArray, v: int, i: int) -> int:
    """Node of a hidden neuron; inputs, outputs and constants are one node, 0."""
    return layers[0, v] + i + 1 if 0 < v < layers.shape[1] - 1 else 0


@kernel
def _join_identity(layers: IntArray, u: int, v: int, paths: IntArray, parent: IntArray) -> int:
    """Join both ends of an identity where it carries a path; return how many joints are new."""
    merged = 0
    for i in range(layers[1, v]):
        if _meet(paths[1, layers[0, v] + i], paths[0, layers[0, u] + i]):
            merged += _join(parent, _node(layers, u, i), _node(layers, v, i))
    return merged


@kernel
def _join(parent: IntArray, one: int, other: int) -> int:
    """Join two components; return 1 if they were not yet one."""
    while parent[one] != one:
        one = parent[one]
    while parent[other] != other:
        other = parent[other]
    parent[max(one, other)] = min(one, other)
    return int(one != other)


@kernel
def _regions(
    mask: BoolArray,
    outputs: int,
    span: int,
    enough: int,
    keys: IntArray,
    table: IntArray,
    sizes: IntArray,
) -> int:
    """
    Outputs times the sum over perceived regions of min(samples there, span), or ``enough``.

    Regions are told apart by their whole patterns, in a table with open addressing.
    """
    neurons, inputs = mask.shape
    for place in range(table.size):
        table[place] = -1
    count = 0
    for x in range(inputs):
        mixed = 0
        for word in range(keys.shape[1]):
            key = 0
            for i in range(WORD * word, min(neurons, WORD * word + WORD)):
                key = 2 * key + int(mask[i, x])
            keys[x, word] = key
            # Below 2**31 * 31 + 2**32, then below 2**31 * 48271: no overflow.
            mixed = (mixed * 31 + key) % 2147483647 * 48271 % 2147483647
        place = mixed % table.size
        while table[place] >= 0 and not _equal(keys[table[place]], keys[x]):
            place = (place + 1) % table.size
        if table[place] < 0:
            table[place] = x
            sizes[x] = 0
        sizes[table[place]] += 1
        if sizes[table[place]] <= span:
            count += outputs
            if count >= enough:
                return enough
    return count


@kernel
def _equal(one: IntArray, other: IntArray) -> bool:
    """Whether two short keys are equal."""
    for word in range(one.size):  # noqa: SIM110
        if one[word] != other[word]:
            return False
    return True
