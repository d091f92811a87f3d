"""
Slow, obvious references.  Nothing here imports patterndim.

A network is given as plain data: ``widths``, ``slopes`` (one per layer), and ``connections`` in
the order of the parameters, each ``(source, target, W)`` with W a nested list or None for the
identity, and ``biases``, one list or None per layer.  Numbers may be floats or Fractions.
"""

import itertools
import math
from fractions import Fraction

import flint
import numpy as np


def describe(network, number=float):
    """Plain data of a patterndim network, its numbers converted (exactly) by ``number``."""
    architecture = network.architecture

    def convert(array):
        if array is None:
            return None
        return [[number(float(w)) for w in row] for row in np.atleast_2d(array)]

    connections = [
        (c.source, c.target, convert(W))
        for c, W in zip(architecture.connections, network.weights, strict=True)
    ]
    biases = [None] + [None if b is None else convert(b)[0] for b in network.biases]
    slopes = [number(float(layer.slope)) for layer in architecture.layers]
    return architecture.widths, slopes, connections, biases


def forward(plain, x):
    """Preactivations and activations of every layer at one input."""
    widths, slopes, connections, biases = plain
    z, h = [None], [list(x)]
    for v in range(1, len(widths)):
        total = [0 * x[0]] * widths[v]
        for source, target, W in connections:
            if target == v:
                for i in range(widths[v]):
                    if W is None:
                        total[i] += h[source][i]
                    else:
                        for j in range(widths[source]):
                            total[i] += W[i][j] * h[source][j]
        if biases[v] is not None:
            total = [a + b for a, b in zip(total, biases[v], strict=True)]
        z.append(total)
        last = v == len(widths) - 1
        h.append(total if last else [a if a > 0 else slopes[v] * a for a in total])
    return z, h


def exact_signs(network, X):
    """Signs of all hidden preactivations in Fractions, one array per layer; 1 in a linear one."""
    plain = describe(network, Fraction)
    slopes = plain[1]
    rows = [forward(plain, [Fraction(float(a)) for a in x])[0] for x in X]

    def sign(a, slope):
        return 1 if slope == 1 else (a > 0) - (a < 0)

    hidden = range(1, len(plain[0]) - 1)
    return [np.array([[sign(a, slopes[v]) for a in z[v]] for z in rows]) for v in hidden]


def derivative(plain, x, parameter):
    """Derivative of the outputs by one parameter, by the chain rule layer after layer."""
    widths, slopes, connections, _ = plain
    z, h = forward(plain, x)
    change = [[0 * x[0]] * widths[0]]
    kind, where, i, j = parameter
    for v in range(1, len(widths)):
        total = [0 * x[0]] * widths[v]
        for e, (source, target, W) in enumerate(connections):
            if target != v:
                continue
            for a in range(widths[v]):
                if W is None:
                    total[a] += change[source][a]
                else:
                    for b in range(widths[source]):
                        total[a] += W[a][b] * change[source][b]
            if kind == "weight" and where == e:
                total[i] += h[source][j]
        if kind == "bias" and where == v:
            total[i] += 1
        if v < len(widths) - 1:
            total = [t * (1 if a > 0 else slopes[v]) for t, a in zip(total, z[v], strict=True)]
        change.append(total)
    return change[-1]


def parameters(plain):
    """Names of all parameters in the order of theta."""
    widths, _, connections, biases = plain
    names = []
    for v in range(1, len(widths)):
        for e, (source, target, W) in enumerate(connections):
            if target == v and W is not None:
                names += [
                    ("weight", e, i, j) for i in range(widths[v]) for j in range(widths[source])
                ]
        if biases[v] is not None:
            names += [("bias", v, i, None) for i in range(widths[v])]
    return names


def jacobian(network, X, number=float):
    """Parameter Jacobian as nested lists, rows input-major."""
    plain = describe(network, number)
    rows = []
    for x in X:
        x = [number(float(a)) for a in x]
        columns = [derivative(plain, x, parameter) for parameter in parameters(plain)]
        rows += [list(row) for row in zip(*columns, strict=True)]
    return rows


def softmax_rows(rows, outputs):
    """Rows of differences with the last output: what a softmax lets through."""
    return [
        [a - b for a, b in zip(rows[x + c], rows[x + outputs - 1], strict=True)]
        for x in range(0, len(rows), outputs)
        for c in range(outputs - 1)
    ]


def behind(C, rows):
    """Rows of C J in Fractions: C an array (k, n_L) or (N, k, n_L), J as nested lists."""
    found, outputs = [], C.shape[-1]
    for x in range(len(rows) // outputs):
        block = rows[x * outputs : (x + 1) * outputs]
        for weights in (C if C.ndim == 2 else C[x]).tolist():
            exact = [Fraction(w) for w in weights]
            columns = zip(*block, strict=True)
            found.append([sum(w * a for w, a in zip(exact, c, strict=True)) for c in columns])
    return found


def rational_rank(rows):
    """Rank over the rationals of nested lists of Fractions, by python-flint."""
    if not rows:
        return 0
    integers = []
    for row in rows:
        denominator = math.lcm(*(a.denominator for a in row))
        integers.append([a.numerator * (denominator // a.denominator) for a in row])
    return flint.fmpz_mat(integers).rank()


def exact_rank(matrix):
    """Rank over the rationals of an array of floats or integers."""
    return rational_rank([[Fraction(a) for a in row] for row in np.asarray(matrix).tolist()])


def flint_rank(matrix, modulus):
    """Rank modulo a prime of an array of floats (dyadic rationals) or integers."""
    matrix = np.asarray(matrix)
    entries = residues(matrix, modulus) if matrix.dtype.kind == "f" else matrix % modulus
    return flint.nmod_mat(*matrix.shape, [int(a) for a in entries.ravel()], modulus).rank()


def residues(values, modulus):
    """Array of Python integers: floats modulo a prime, each as numerator over denominator."""
    flat = [Fraction(float(a)) for a in np.asarray(values).ravel()]
    found = [a.numerator * pow(a.denominator, -1, modulus) % modulus for a in flat]
    return np.array(found, dtype=object).reshape(np.shape(values))


def modular_jacobian(network, X, masks, modulus):
    """J of a multilayer perceptron modulo a prime, from given masks, in Python integers."""
    W = [residues(w, modulus) for w in network.weights]
    b = [residues(v, modulus) for v in network.biases]
    h = [residues(X, modulus)]
    for layer, (w, v) in enumerate(zip(W, b, strict=True)):
        z = (h[-1] @ w.T + v) % modulus
        h.append(z * masks[layer] if layer < len(masks) else z)
    rows = []
    for x in range(len(X)):
        for c in range(len(b[-1])):
            B, row = np.eye(len(b[-1]), dtype=int).astype(object)[c], []
            for layer in range(len(W) - 1, -1, -1):
                row = [np.outer(B, h[layer][x]).ravel() % modulus, B, *row]
                if layer:
                    B = (B @ W[layer]) % modulus * masks[layer - 1][x]
            rows.append(np.concatenate(row))
    return np.array(rows)


def path_lifting(network, X, masks):
    """
    Factors of a ReLU perceptron by paths: alpha (N, paths), Phi and its derivative by theta.

    Paths start at an input or at the bias of a hidden neuron and end at a neuron of the last
    hidden layer; one constant path stands for the output bias (Stock and Gribonval,
    arXiv:2107.09370).  ``Phi`` is (paths, outputs) and ``D`` (paths, outputs, P), in Fractions.
    """
    plain = describe(network, Fraction)
    widths, _, connections, biases = plain
    names = {name: position for position, name in enumerate(parameters(plain))}
    last = len(widths) - 1

    def extended(layer, nodes):
        """All ways on from a path that has reached a layer, as lists of nodes."""
        if layer == last - 1:
            return [nodes]
        more = range(widths[layer + 1])
        return [path for i in more for path in extended(layer + 1, [*nodes, (layer + 1, i)])]

    starts = [[(0, j)] for j in range(widths[0])]
    paths = [path for start in starts for path in extended(0, start)]
    for layer in range(1, last):
        for i in range(widths[layer] if biases[layer] is not None else 0):
            paths += [[None, *path] for path in extended(layer, [(layer, i)])]
    alpha, Phi, D = [], [], []
    for path in paths:
        factors = []  # (parameter, value) along the path, without the output weight
        nodes = path[1:] if path[0] is None else path
        if path[0] is None:
            layer, i = nodes[0]
            factors.append((("bias", layer, i, None), biases[layer][i]))
        for (u, j), (v, i) in itertools.pairwise(nodes):
            factors.append((("weight", v - 1, i, j), connections[u][2][i][j]))
        end = nodes[-1][1]
        rows, derivatives = [], []
        for k in range(widths[last]):
            whole = [*factors, (("weight", last - 1, k, end), connections[last - 1][2][k][end])]
            rows.append(math.prod((value for _, value in whole), start=Fraction(1)))
            gradient = [Fraction(0)] * len(names)
            for position, (name, _) in enumerate(whole):
                others = [value for q, (_, value) in enumerate(whole) if q != position]
                gradient[names[name]] += math.prod(others, start=Fraction(1))
            derivatives.append(gradient)
        Phi.append(rows)
        D.append(derivatives)
        column = []
        for x, row in enumerate(X):
            value = Fraction(1) if path[0] is None else Fraction(float(row[nodes[0][1]]))
            for layer, i in nodes:
                value *= int(masks[layer - 1][x][i]) if layer else 1
            column.append(value)
        alpha.append(column)
    if biases[last] is not None:
        alpha.append([Fraction(1)] * len(X))
        Phi.append(biases[last])
        gradients = [[Fraction(0)] * len(names) for _ in range(widths[last])]
        for k, gradient in enumerate(gradients):
            gradient[names["bias", last, k, None]] = Fraction(1)
        D.append(gradients)
    return [list(row) for row in zip(*alpha, strict=True)], Phi, D
