"""
Upper bounds of the dimensions of many networks of one architecture that hold for certain.

They are those of `patterndim.bounds`, where they are derived: outputs, live parameters minus
independent rescalings, perceived regions.  The graph is given as in `bulk_patterns`, without
slopes.
"""

from numba import njit

from patterndim.typing import BoolArray, FloatArray, IntArray

kernel = njit(cache=True, nogil=True)

OUTPUTS, PARAMETERS, REGIONS = 0, 1, 2


@kernel
def bound(
    X: FloatArray,
    masks: BoolArray,
    graph: tuple[IntArray, IntArray, BoolArray],
    outputs: int,
    space: tuple[BoolArray, BoolArray, BoolArray, IntArray, IntArray, IntArray],
    found: tuple[BoolArray, IntArray],
) -> None:
    """
    Overwrite live (K, P) and bounds (K, 2) of networks with masks (K, H, N).

    ``graph`` ends with which layers are leaky, (L + 1,).  A bound is its value and which it is.
    ``space`` is reach and lead (neurons, N), arrive (N,), keys (N, words), table (a power of 2 of
    at least 2 N places), and parent (at least N and neurons + 1).
    """
    layers = graph[0]
    reach, lead, arrive, keys, table, parent = space
    live, bounds = found
    inputs, last = X.shape[1], layers.shape[1] - 1
    for k in range(len(masks)):
        sample = X[k if X.shape[0] > 1 else 0]
        for j in range(layers[1, 0]):
            for x in range(inputs):
                reach[j, x] = sample[x, j] != 0.0
        for i in range(layers[1, last]):
            lead[layers[0, last] + i] = True
        for v in range(1, last):
            _arrive(graph, v, masks[k], reach, arrive)
        for v in range(last - 1, 0, -1):
            _depart(graph, v, masks[k], lead, arrive)
        best = outputs * inputs
        bounds[k, 0], bounds[k, 1] = best, OUTPUTS
        count = _live_count(graph, outputs, reach, lead, live[k])
        count -= _rescalings(graph, reach, lead, live[k], parent)
        if count < best:
            best = count
            bounds[k, 0], bounds[k, 1] = best, PARAMETERS
        count = _regions(masks[k], outputs, layers[1, 0] + 1, best, keys, table, parent)
        if count < best:
            bounds[k, 0], bounds[k, 1] = count, REGIONS


@kernel
def _arrive(
    graph: tuple[IntArray, IntArray, BoolArray],
    v: int,
    mask: BoolArray,
    reach: BoolArray,
    arrive: BoolArray,
) -> None:
    """Where a path from the inputs or a bias can pass the neurons of layer v."""
    layers, connections, leaky = graph
    first, width = layers[0, v], layers[1, v]
    arrive[:] = layers[2, v] >= 0
    for e in range(connections.shape[1]):
        if connections[1, e] == v and connections[2, e] >= 0 and layers[2, v] < 0:
            u = connections[0, e]
            for j in range(layers[0, u], layers[0, u] + layers[1, u]):
                for x in range(arrive.size):
                    arrive[x] |= reach[j, x]
    for i in range(width):
        reach[first + i] = arrive
        for e in range(connections.shape[1]):
            if connections[1, e] == v and connections[2, e] < 0:
                source = layers[0, connections[0, e]] + i
                for x in range(arrive.size):
                    reach[first + i, x] |= reach[source, x]
        if not leaky[v]:
            for x in range(arrive.size):
                reach[first + i, x] &= mask[first - layers[1, 0] + i, x]


@kernel
def _depart(
    graph: tuple[IntArray, IntArray, BoolArray],
    u: int,
    mask: BoolArray,
    lead: BoolArray,
    arrive: BoolArray,
) -> None:
    """Where a path from the neurons of layer u can reach the outputs."""
    layers, connections, leaky = graph
    first, width = layers[0, u], layers[1, u]
    arrive[:] = False
    for e in range(connections.shape[1]):
        if connections[0, e] == u and connections[2, e] >= 0:
            v = connections[1, e]
            for i in range(layers[0, v], layers[0, v] + layers[1, v]):
                for x in range(arrive.size):
                    arrive[x] |= lead[i, x]
    for j in range(width):
        lead[first + j] = arrive
        for e in range(connections.shape[1]):
            if connections[0, e] == u and connections[2, e] < 0:
                target = layers[0, connections[1, e]] + j
                for x in range(arrive.size):
                    lead[first + j, x] |= lead[target, x]
        if not leaky[u]:
            for x in range(arrive.size):
                lead[first + j, x] &= mask[first - layers[1, 0] + j, x]


@kernel
def _live_count(
    graph: tuple[IntArray, IntArray, BoolArray],
    outputs: int,
    reach: BoolArray,
    lead: BoolArray,
    live: BoolArray,
) -> int:
    """Overwrite which parameters some sample has a path through; return how many count."""
    layers, connections, _ = graph
    last = layers.shape[1] - 1
    count = 0
    for e in range(connections.shape[1]):
        u, v, place = connections[0, e], connections[1, e], connections[2, e]
        if place >= 0:
            total = 0
            for i in range(layers[0, v], layers[0, v] + layers[1, v]):
                for j in range(layers[0, u], layers[0, u] + layers[1, u]):
                    live[place] = _meet(lead[i], reach[j])
                    total += live[place]
                    place += 1
            # Of the output layer only so many combinations count.
            count += total // layers[1, v] * outputs if v == last else total
    for v in range(1, last + 1):
        place = layers[2, v]
        if place >= 0:
            total = 0
            for i in range(layers[1, v]):
                live[place + i] = lead[layers[0, v] + i].any()
                total += live[place + i]
            count += total // layers[1, v] * outputs if v == last else total
    return count


@kernel
def _meet(one: BoolArray, other: BoolArray) -> bool:
    """Whether two rows are true somewhere together."""
    for x in range(one.size):  # noqa: SIM110
        if one[x] and other[x]:
            return True
    return False


@kernel
def _rescalings(
    graph: tuple[IntArray, IntArray, BoolArray],
    reach: BoolArray,
    lead: BoolArray,
    live: BoolArray,
    parent: IntArray,
) -> int:
    """
    Independent rescalings: components of bound neurons minus components of joined ones.

    All that is bound is joined too, so they are the joints that are new after binding.
    """
    layers, connections, _ = graph
    nodes = layers[0, layers.shape[1] - 1] + 1
    for node in range(nodes):
        parent[node] = node
    merged = 0
    for e in range(connections.shape[1]):
        if connections[2, e] < 0 and not connections[3, e]:
            _join_identity(layers, connections[0, e], connections[1, e], reach, lead, parent)
    for e in range(connections.shape[1]):
        u, v, place = connections[0, e], connections[1, e], connections[2, e]
        if place < 0:
            merged += _join_identity(layers, u, v, reach, lead, parent)
            continue
        for i in range(layers[1, v]):
            for j in range(layers[1, u]):
                if live[place + i * layers[1, u] + j]:
                    merged += _join(parent, _node(layers, u, j), _node(layers, v, i))
    for v in range(1, layers.shape[1]):
        if layers[2, v] >= 0:
            for i in range(layers[1, v]):
                if live[layers[2, v] + i]:
                    merged += _join(parent, 0, _node(layers, v, i))
    return merged


@kernel
def _node(layers: IntArray, v: int, i: int) -> int:
    """Node of a hidden neuron; inputs, outputs and constants are one node, 0."""
    return layers[0, v] + i + 1 if 0 < v < layers.shape[1] - 1 else 0


@kernel
def _join_identity(
    layers: IntArray, u: int, v: int, reach: BoolArray, lead: BoolArray, parent: IntArray
) -> int:
    """Join both ends of an identity where it carries a path; return how many joints were new."""
    merged = 0
    for i in range(layers[1, v]):
        if _meet(lead[layers[0, v] + i], reach[layers[0, u] + i]):
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
    words = keys.shape[1]
    table[:] = -1
    count = 0
    for x in range(inputs):
        mixed = 0
        for word in range(words):
            key = 0
            for i in range(32 * word, min(neurons, 32 * word + 32)):
                key = 2 * key + mask[i, x]
            keys[x, word] = key
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
