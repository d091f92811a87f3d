"""
Ranks modulo a prime of the Jacobians of many small networks of one architecture.

The graph is given as in `bulk_patterns`, its slopes as residues.  Residues r are float64 integers
with abs(r) <= p/2 + 8, and p is below 2**23: a sum of at most 511 products of residues and one
residue is an integer below 511 * (2**22 + 8)**2 + 2**22 + 8 < 2**53 - 2**24, exact in any order
of summation.  The caller sees to it that P, and the terms of any preactivation, are at most 511.
"""

from numba import njit

from patterndim.typing import BoolArray, FloatArray, IntArray

kernel = njit(cache=True, nogil=True)

LANES = 64
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
    graph: tuple[IntArray, IntArray, FloatArray],
    modulus: tuple[float, float],
    space: tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, IntArray],
    found: tuple[IntArray, IntArray],
) -> None:
    """
    Overwrite the ranks (K,), which are at most the bounds (K,).

    ``residues`` are thetas (K, P), X (1 or K, N, n_0), the output map C (outputs, n_L) and random
    directions (2, P); ``kept`` (K, P) are the columns that take part; ``modulus`` comes with its
    inverse.  ``space`` is h and B (neurons, LANES), the echelon form (P, P), vectors (5, P),
    tests (3, LANES), and places (2, P) of free and pivot columns.

    The echelon form is reduced: a pivot row is 1 at its own column, 0 at the other pivot columns,
    and only its entries in the free columns are stored.  Rows of J are tested before they are
    eliminated: with w random on the free columns and -(echelon form) w on the pivot columns, r w
    is 0 if r depends on the pivot rows, and otherwise with probability about 1/p.
    """
    thetas, X, C, directions = residues
    h, B, echelon, vectors, tests, places = space
    values, bounds = found
    for k in range(len(thetas)):
        theta, inputs = thetas[k], X[k if X.shape[0] > 1 else 0]
        columns = 0
        for column in range(theta.size):
            if kept[k, column]:
                places[0, columns] = column
                columns += 1
        limit = min(bounds[k], columns)
        rank, tested = 0, -1
        for near in range(0, inputs.shape[0], LANES):
            if rank >= limit:
                break
            lanes = min(LANES, inputs.shape[0] - near)
            _forward(theta, inputs, masks[k], graph, modulus, (near, lanes), h)
            for c in range(C.shape[0]):
                _backward(theta, C[c], masks[k], graph, modulus, (near, lanes), B)
                if rank > tested:
                    _null_vectors(echelon, directions, places, rank, columns, modulus, vectors)
                    tested = rank
                _test(h, B, vectors, graph, modulus, lanes, tests)
                for x in range(lanes):
                    if rank < limit and (tests[0, x] != 0.0 or tests[1, x] != 0.0):
                        _fill_row(h, B, graph, modulus, x, vectors[2])
                        rank += _extend(vectors, echelon, places, rank, columns, modulus)
        values[k] = rank


@kernel
def _add_products(
    theta: FloatArray, place: int, step: int, inner: int, values: FloatArray, out: FloatArray
) -> None:
    """Add the sum of theta[place + step * j] * values[j, :] over j < inner to ``out``."""
    lanes = out.size
    j = 0
    while j + 4 <= inner:
        one, two = theta[place + step * j], theta[place + step * (j + 1)]
        three, four = theta[place + step * (j + 2)], theta[place + step * (j + 3)]
        for x in range(lanes):
            out[x] += (
                one * values[j, x]
                + two * values[j + 1, x]
                + three * values[j + 2, x]
                + four * values[j + 3, x]
            )
        j += 4
    while j < inner:
        one = theta[place + step * j]
        for x in range(lanes):
            out[x] += one * values[j, x]
        j += 1


@kernel
def _gate(
    mask: BoolArray, slope: float, modulus: tuple[float, float], near: int, out: FloatArray
) -> None:
    """Reduce, multiply by 1 where the mask of one neuron is true, else by the slope."""
    p, inverse = modulus
    for x in range(out.size):
        value = _reduce(out[x], p, inverse)
        leaked = _reduce(value * slope, p, inverse)
        out[x] = value if mask[near + x] else leaked


@kernel
def _forward(
    theta: FloatArray,
    inputs: FloatArray,
    mask: BoolArray,
    graph: tuple[IntArray, IntArray, FloatArray],
    modulus: tuple[float, float],
    block: tuple[int, int],
    h: FloatArray,
) -> None:
    """Overwrite h, the activations of all layers but the last."""
    layers, connections, slopes = graph
    near, lanes = block
    for j in range(layers[1, 0]):
        for x in range(lanes):
            h[j, x] = inputs[near + x, j]
    for v in range(1, layers.shape[1] - 1):
        for i in range(layers[1, v]):
            out = h[layers[0, v] + i, :lanes]
            out[:] = theta[layers[2, v] + i] if layers[2, v] >= 0 else 0.0
            for e in range(connections.shape[1]):
                if connections[1, e] == v:
                    first, width = layers[0, connections[0, e]], layers[1, connections[0, e]]
                    place = connections[2, e]
                    if place < 0:
                        out += h[first + i, :lanes]
                    else:
                        _add_products(theta, place + i * width, 1, width, h[first:], out)
            _gate(mask[layers[0, v] - layers[1, 0] + i], slopes[v], modulus, near, out)


@kernel
def _backward(
    theta: FloatArray,
    seed: FloatArray,
    mask: BoolArray,
    graph: tuple[IntArray, IntArray, FloatArray],
    modulus: tuple[float, float],
    block: tuple[int, int],
    B: FloatArray,
) -> None:
    """Overwrite B, the sensitivities of one combination of the outputs to all layers."""
    layers, connections, slopes = graph
    near, lanes = block
    last = layers.shape[1] - 1
    for i in range(layers[1, last]):
        B[layers[0, last] + i, :lanes] = seed[i]
    for u in range(last - 1, 0, -1):
        for j in range(layers[1, u]):
            out = B[layers[0, u] + j, :lanes]
            out[:] = 0.0
            for e in range(connections.shape[1]):
                if connections[0, e] == u:
                    first, width = layers[0, connections[1, e]], layers[1, connections[1, e]]
                    place = connections[2, e]
                    if place < 0:
                        out += B[first + j, :lanes]
                    else:
                        _add_products(theta, place + j, layers[1, u], width, B[first:], out)
            _gate(mask[layers[0, u] - layers[1, 0] + j], slopes[u], modulus, near, out)


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
    vectors[:2] = 0.0
    for c in range(columns - rank):
        for q in range(2):
            vectors[q, places[0, c]] = directions[q, c]
    for i in range(rank):
        one, two = 0.0, 0.0
        for c in range(columns - rank):
            one += echelon[i, c] * directions[0, c]
            two += echelon[i, c] * directions[1, c]
        vectors[0, places[1, i]] = _reduce(-one, p, inverse)
        vectors[1, places[1, i]] = _reduce(-two, p, inverse)


@kernel
def _test(
    h: FloatArray,
    B: FloatArray,
    vectors: FloatArray,
    graph: tuple[IntArray, IntArray, FloatArray],
    modulus: tuple[float, float],
    lanes: int,
    tests: FloatArray,
) -> None:
    """Overwrite tests[0:2] with the products of the rows of J and two null vectors."""
    layers, connections, _ = graph
    p, inverse = modulus
    for q in range(2):
        out, inner = tests[q, :lanes], tests[2, :lanes]
        out[:] = 0.0
        for e in range(connections.shape[1]):
            u, v, place = connections[0, e], connections[1, e], connections[2, e]
            if place < 0:
                continue
            for i in range(layers[1, v]):
                inner[:] = 0.0
                width = layers[1, u]
                _add_products(vectors[q], place + i * width, 1, width, h[layers[0, u] :], inner)
                left = B[layers[0, v] + i]
                for x in range(lanes):
                    out[x] += left[x] * _reduce(inner[x], p, inverse)
        for v in range(1, layers.shape[1]):
            if layers[2, v] >= 0:
                _add_products(vectors[q], layers[2, v], 1, layers[1, v], B[layers[0, v] :], out)
        for x in range(lanes):
            out[x] = _reduce(out[x], p, inverse)


@kernel
def _fill_row(
    h: FloatArray,
    B: FloatArray,
    graph: tuple[IntArray, IntArray, FloatArray],
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
    p, inverse = modulus
    free, pivots = places[0], places[1]
    last = columns - rank - 1
    # Loops over whole blocks of 16; what lies beyond the free columns does not matter.
    padded = (last + 16) // (16) * (16)
    factors, rest = vectors[3], vectors[4, :padded]
    for i in range(rank):
        factors[i] = vectors[2, pivots[i]]
    for c in range(last + 1):
        rest[c] = -vectors[2, free[c]]
    rest[last + 1 :] = 0.0
    _add_products(factors, 0, 1, rank, echelon, rest)
    for c in range(padded):
        rest[c] = _reduce(rest[c], p, inverse)
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
    echelon[rank, :padded] = rest
    return 1
