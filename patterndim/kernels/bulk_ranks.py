"""
Ranks modulo a prime of the Jacobians of many small networks of one architecture.

Graphs are given as in `bulk_patterns`, their slopes as residues.  Residues r are float64 integers
with abs(r) <= p/2 + 8, and p is below 2**23: a sum of at most LONGEST = 256 products of residues
and two residues is an integer below 256 * (2**22 + 8)**2 + 2**23 + 16 < 2**53 - 2**24, exact in
any order of summation.  After that many everything is reduced.
"""

from numba import njit

from patterndim.typing import BoolArray, FloatArray, IntArray

Graph = tuple[IntArray, IntArray, FloatArray]

kernel = njit(cache=True, nogil=True)

LANES = 64
LONGEST = 256
ROUND = 1.5 * 2.0**52  # adding and subtracting it rounds a float64 below 2**51 to an integer


@njit(cache=True, nogil=True, inline="always")
def _reduce(value: float, modulus: float, inverse: float) -> float:
    """Almost reduced residue of an integer with abs(value) <= 2**53 - 2**24, as in `residues`."""
    return value - ((value * inverse + ROUND) - ROUND) * modulus


@kernel
def ranks(
    residues: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    masks: BoolArray,
    kept: BoolArray,
    graphs: tuple[Graph, Graph],
    modulus: tuple[float, float],
    space: tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, IntArray],
    found: tuple[IntArray, IntArray],
) -> None:
    """
    Overwrite the ranks (K,), which are at most the bounds (K,).

    ``residues`` are thetas (K, P), X (1 or K, N, n_0), the output map C (outputs, n_L) and random
    directions (2, P); ``kept`` (K, P) are the columns that take part; ``modulus`` comes with its
    inverse.  ``space`` is h and B (neurons, LANES), the echelon form (P, P + LANES), vectors
    (5, P + LANES), tests (3, LANES), and places (2, P) of free and pivot columns.

    The echelon form is reduced: a pivot row is 1 at its own column, 0 at the other pivot columns,
    and only its entries in the free columns are stored.  Rows of J are tested before they are
    eliminated: with w random on the free columns and -(echelon form) w on the pivot columns, r w
    is 0 if r depends on the pivot rows, and otherwise with probability about 1/p.
    """
    thetas, X, C, directions = residues
    h, B, echelon, vectors, tests, places = space
    (values, bounds), graph, last = found, graphs[0], graphs[0][0].shape[1] - 1
    for k in range(len(thetas)):
        theta, inputs = thetas[k], X[k if X.shape[0] > 1 else 0]
        columns = _list_columns(kept[k], places[0])
        limit = min(bounds[k], columns)
        values[k], tested = 0, -1
        for near in range(0, inputs.shape[0], LANES):
            if values[k] >= limit:
                break
            block = near, min(LANES, inputs.shape[0] - near)
            for j in range(inputs.shape[1]):
                for x in range(block[1]):
                    h[j, x] = inputs[near + x, j]
            for v in range(1, last):
                _fill_layer(theta, graphs[0], v, masks[k], modulus, block, vectors[3], h)
            for c in range(C.shape[0]):
                for i in range(C.shape[1]):
                    for x in range(block[1]):
                        B[h.shape[0] - C.shape[1] + i, x] = C[c, i]
                for v in range(last - 1, 0, -1):
                    _fill_layer(theta, graphs[1], v, masks[k], modulus, block, vectors[3], B)
                if values[k] > tested:
                    tested = values[k]
                    _null_vectors(echelon, directions, places, tested, columns, modulus, vectors)
                _test(h, B, vectors, graph, modulus, block[1], tests)
                for x in range(block[1]):
                    if values[k] < limit and (tests[0, x] != 0.0 or tests[1, x] != 0.0):
                        _fill_row(h, B, graph, modulus, x, vectors[2])
                        values[k] += _extend(vectors, echelon, places, values[k], columns, modulus)


@kernel
def _list_columns(kept: BoolArray, free: IntArray) -> int:
    """Overwrite ``free`` with the columns that are kept; return how many there are."""
    columns = 0
    for column in range(kept.size):
        free[columns] = column
        columns += kept[column]
    return columns


@kernel
def _add_products(
    factors: FloatArray, values: FloatArray, modulus: tuple[float, float], out: FloatArray
) -> None:
    """Add the sum of factors[j] * values[j, :] to ``out``, and reduce it."""
    (p, inverse), inner, lanes = modulus, factors.size, out.size
    j = 0
    while j < inner:
        stop = min(j + LONGEST, inner)
        while j + 4 <= stop:
            one, two, three, four = factors[j], factors[j + 1], factors[j + 2], factors[j + 3]
            for x in range(lanes):
                out[x] += (
                    one * values[j, x]
                    + two * values[j + 1, x]
                    + three * values[j + 2, x]
                    + four * values[j + 3, x]
                )
            j += 4
        while j < stop:
            one = factors[j]
            for x in range(lanes):
                out[x] += one * values[j, x]
            j += 1
        for x in range(lanes):
            out[x] = _reduce(out[x], p, inverse)


@kernel
def _fill_layer(
    theta: FloatArray,
    graph: Graph,
    v: int,
    mask: BoolArray,
    modulus: tuple[float, float],
    block: tuple[int, int],
    factors: FloatArray,
    values: FloatArray,
) -> None:
    """Overwrite h on the way up, B on the way down, in the rows of hidden layer v."""
    layers, connections, slopes = graph
    (p, inverse), (near, lanes) = modulus, block
    for i in range(layers[1, v]):
        out = values[layers[0, v] + i, :lanes]
        b = theta[layers[2, v] + i] if layers[2, v] >= 0 else 0.0
        for x in range(lanes):
            out[x] = b
        for e in range(connections.shape[1]):
            if connections[1, e] != v:
                continue
            first, width = layers[0, connections[0, e]], layers[1, connections[0, e]]
            if connections[2, e] < 0:
                for x in range(lanes):
                    out[x] = _reduce(out[x] + values[first + i, x], p, inverse)
                continue
            place = connections[2, e] + i * connections[3, e]
            for j in range(width):
                factors[j] = theta[place + j * connections[4, e]]
            _add_products(factors[:width], values[first:], modulus, out)
        active = mask[layers[0, v] - layers[1, 0] + i, near:]
        for x in range(lanes):
            leaked = _reduce(out[x] * slopes[v], p, inverse)
            out[x] = out[x] if active[x] else leaked


@kernel
def _null_vectors(
    echelon: FloatArray,
    directions: FloatArray,
    places: IntArray,
    rank: int,
    columns: int,
    modulus: tuple[float, float],
    vectors: FloatArray,
) -> None:
    """Overwrite vectors[0:2] with random null vectors of the echelon form."""
    p, inverse = modulus
    for column in range(directions.shape[1]):
        vectors[0, column], vectors[1, column] = 0.0, 0.0
    for c in range(columns - rank):
        vectors[0, places[0, c]], vectors[1, places[0, c]] = directions[0, c], directions[1, c]
    for i in range(rank):
        one, two = 0.0, 0.0
        for c in range(columns - rank):
            one += echelon[i, c] * directions[0, c]
            two += echelon[i, c] * directions[1, c]
            if c % LONGEST == 0:
                one, two = _reduce(one, p, inverse), _reduce(two, p, inverse)
        vectors[0, places[1, i]] = _reduce(-one, p, inverse)
        vectors[1, places[1, i]] = _reduce(-two, p, inverse)


@kernel
def _test(
    h: FloatArray,
    B: FloatArray,
    vectors: FloatArray,
    graph: Graph,
    modulus: tuple[float, float],
    lanes: int,
    tests: FloatArray,
) -> None:
    """Overwrite tests[0:2] with the products of the rows of J and two null vectors."""
    layers, connections, _ = graph
    p, inverse = modulus
    for q in range(2):
        out, inner = tests[q, :lanes], tests[2, :lanes]
        for x in range(lanes):
            out[x] = 0.0
        for e in range(connections.shape[1]):
            u, v, place = connections[0, e], connections[1, e], connections[2, e]
            if place < 0:
                continue
            for i in range(layers[1, v]):
                for x in range(lanes):
                    inner[x] = 0.0
                factors = vectors[q, place : place + layers[1, u]]
                _add_products(factors, h[layers[0, u] :], modulus, inner)
                left = B[layers[0, v] + i]
                for x in range(lanes):
                    out[x] = _reduce(out[x] + left[x] * inner[x], p, inverse)
                place += layers[1, u]
        for v in range(1, layers.shape[1]):
            if layers[2, v] >= 0:
                factors = vectors[q, layers[2, v] : layers[2, v] + layers[1, v]]
                _add_products(factors, B[layers[0, v] :], modulus, out)


@kernel
def _fill_row(
    h: FloatArray,
    B: FloatArray,
    graph: Graph,
    modulus: tuple[float, float],
    x: int,
    row: FloatArray,
) -> None:
    """Overwrite a row of J."""
    layers, connections, _ = graph
    p, inverse = modulus
    for e in range(connections.shape[1]):
        u, v, place = connections[0, e], connections[1, e], connections[2, e]
        if place >= 0:
            for i in range(layers[0, v], layers[0, v] + layers[1, v]):
                for j in range(layers[0, u], layers[0, u] + layers[1, u]):
                    row[place] = _reduce(B[i, x] * h[j, x], p, inverse)
                    place += 1
    for v in range(1, layers.shape[1]):
        if layers[2, v] >= 0:
            for i in range(layers[1, v]):
                row[layers[2, v] + i] = B[layers[0, v] + i, x]


@kernel
def _inverse(value: int, modulus: int) -> int:
    """Inverse modulo a prime, at most p/2 in absolute value, by the Euclidean algorithm."""
    previous, current = modulus, value % modulus
    a, b = 0, 1
    while current > 1:
        quotient = previous // current
        previous, current = current, previous - quotient * current
        a, b = b, a - quotient * b
    return b


@kernel
def _extend(
    vectors: FloatArray,
    echelon: FloatArray,
    places: IntArray,
    rank: int,
    columns: int,
    modulus: tuple[float, float],
) -> int:
    """Eliminate the row in vectors[2] and return 1 if it was independent, 0 if not."""
    (p, inverse), free, pivots = modulus, places[0], places[1]
    last = columns - rank - 1
    # Loops over whole blocks of 16; what lies beyond the free columns does not matter.
    padded = (last + 16) // (16) * (16)
    factors, rest = vectors[3], vectors[4, :padded]
    for i in range(rank):
        factors[i] = vectors[2, pivots[i]]
    for c in range(last + 1):
        rest[c] = -vectors[2, free[c]]
    for c in range(last + 1, padded):
        rest[c] = 0.0
    _add_products(factors[:rank], echelon, modulus, rest)
    pivot = 0
    while pivot <= last and rest[pivot] == 0.0:
        pivot += 1
    if pivot > last:
        return 0
    scale = float(_inverse(int(rest[pivot]), int(p)))
    for c in range(padded):
        rest[c] = _reduce(rest[c] * scale, p, inverse)
    for i in range(rank):
        factor = echelon[i, pivot]
        for c in range(padded):
            echelon[i, c] = _reduce(echelon[i, c] - factor * rest[c], p, inverse)
        # The last free column takes the place of the new pivot column.
        echelon[i, pivot] = echelon[i, last]
    pivots[rank], free[pivot], rest[pivot] = free[pivot], free[last], rest[last]
    for c in range(padded):
        echelon[rank, c] = rest[c]
    return 1
