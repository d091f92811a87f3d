"""Faults planted in Jacobians: what is done to a correct pipeline, and what it should be called."""

from dataclasses import dataclass

import numpy as np

import patterndim as pdm


@dataclass(frozen=True)
class Planted:
    """A fault by name, a piece of its message, and how to plant it in a `Pipeline`."""

    title: str
    name: str
    says: str
    plant: object


class Pipeline:
    """A network with a sample, and Jacobians (N, n_L, P) of variations of it in float64."""

    def __init__(self, seed=0):
        self.network = pdm.Network.random((5, 6, 6, 3), rng=seed, bias_std=0.5)
        self.X = np.random.default_rng(seed).normal(size=(20, 5))

    def J(self, network=None, X=None):
        network = self.network if network is None else network
        rows = pdm.parameter_jacobian(network, self.X if X is None else X)
        return rows.reshape(-1, 3, network.parameter_count)

    def blocks(self, J=None):
        """Blocks W1, b1, W2, b2, W3, b3 of shapes (N, n_L, ...)."""
        J = self.J() if J is None else J
        a = self.network.architecture
        result = []
        for v in (1, 2, 3):
            shape = (self.network.widths[v], self.network.widths[v - 1])
            result.append(J[:, :, a.weight_slices[v - 1]].reshape(*J.shape[:2], *shape))
            result.append(J[:, :, a.bias_slices[v]])
        return result

    def q(self):
        z = pdm.outputs(self.network, self.X)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)


def join(blocks):
    return np.concatenate([block.reshape(*block.shape[:2], -1) for block in blocks], axis=2)


def with_block(index, change):
    def plant(pipeline):
        blocks = pipeline.blocks()
        blocks[index] = change(blocks[index])
        return join(blocks)

    return plant


def reordered(order):
    return lambda pipeline: join([pipeline.blocks()[i] for i in order])


def transposed(p):
    return np.swapaxes(p, 2, 3)


def zeroed(J, samples):
    J = J.copy()
    J[samples] = 0.0
    return J


def softmax(p):
    q = p.q()
    head = q[:, :, None] * (np.eye(3) - q[:, None, :])
    return head @ p.J()


def stale(p, step=1e-3):
    rng = np.random.default_rng(5)
    theta = p.network.theta + step * rng.normal(size=p.network.parameter_count)
    return p.J(p.network.replace(theta=theta))


def with_slope(p, slope):
    weights, biases = p.network.weights, p.network.biases
    return p.J(pdm.Network.from_layers(weights, biases, slope=slope))


def relu(z):
    return np.maximum(z, 0.0)


def step(z):
    return (z > 0).astype(float)


def dtanh(z):
    return 1.0 - np.tanh(z) ** 2


def linear(p):
    return activated(p, lambda z: z, np.ones_like)


def activated(p, activation, derivative, operand=lambda a: a):
    """Jacobian with any activation, the operands of every product first made less precise."""
    W1, W2, W3 = (operand(W) for W in p.network.weights)
    b1, b2, _ = p.network.biases
    X = operand(p.X)
    z1 = X @ W1.T + b1
    h1 = operand(activation(z1))
    z2 = h1 @ W2.T + b2
    h2 = operand(activation(z2))
    B3 = np.tile(np.eye(3), (len(X), 1, 1))
    B2 = operand((B3 @ W3) * derivative(z2)[:, None, :])
    B1 = operand((B2 @ W2) * derivative(z1)[:, None, :])
    blocks = []
    for B, h in ((B1, X), (B2, h1), (B3, h2)):
        blocks += [B[:, :, :, None] * h[:, None, None, :], B]
    return join(blocks)


def noisy(J, unit, seed=3):
    return J * (1 + unit * np.random.default_rng(seed).uniform(-1, 1, J.shape))


REVERSED = (4, 5, 2, 3, 0, 1)
PLANTED = [
    Planted("W2 transposed", "transposed weight", "W2", with_block(2, transposed)),
    Planted(
        "all weights flattened by columns",
        "column-major weights",
        "column by column",
        lambda p: join([transposed(b) if b.ndim == 4 else b for b in p.blocks()]),
    ),
    Planted("b1 and b2 exchanged", "swapped biases", "b1, b2", reordered((0, 3, 2, 1, 4, 5))),
    Planted("bias first", "parameter order", "bias of a layer", reordered((1, 0, 3, 2, 5, 4))),
    Planted("last layer first", "parameter order", "reverse order", reordered(REVERSED)),
    Planted("weights first", "parameter order", "all weights", reordered((0, 2, 4, 1, 3, 5))),
    Planted("layer 2 left out", "missing block", "W2, b2", reordered((0, 1, 4, 5))),
    Planted("biases left out", "missing block", "b1, b2, b3", reordered((0, 2, 4))),
    Planted("b1 never computed", "zero block", "b1", with_block(1, np.zeros_like)),
    Planted("sign of W3", "sign flipped", "W3", with_block(4, np.negative)),
    Planted("W1 doubled", "scaled", "W1 are multiplied by 2", with_block(0, lambda b: 2 * b)),
    Planted("sign of all", "sign flipped", "all entries", lambda p: -p.J()),
    Planted("absolute values", "absolute values", "lost their signs", lambda p: np.abs(p.J())),
    Planted("mean over inputs", "scaled", "20, the number of inputs", lambda p: p.J() / 20),
    Planted("mean over outputs", "scaled", "mean over outputs", lambda p: p.J() / 3),
    Planted("last batch dropped", "missing samples", "16 to 19 of 20", lambda p: p.J()[:16]),
    Planted("first inputs dropped", "missing samples", "0, 1 of 20", lambda p: p.J()[2:]),
    Planted(
        "last batch zero", "zero samples", "18, 19 are zero", lambda p: zeroed(p.J(), [18, 19])
    ),
    Planted("all zero", "zero samples", "every row is zero", lambda p: 0 * p.J()),
    Planted("one input zero", "zero samples", "sample 4", lambda p: zeroed(p.J(), [4])),
    Planted(
        "samples shuffled",
        "shuffled samples",
        "in other places",
        lambda p: p.J()[np.random.default_rng(1).permutation(20)],
    ),
    Planted("samples reversed", "shuffled samples", "reverse", lambda p: p.J()[::-1]),
    Planted(
        "one input twice",
        "repeated samples",
        "sample 3",
        lambda p: p.J()[[0, 1, 2, 3, 3, *range(5, 20)]],
    ),
    Planted("outputs permuted", "permuted outputs", "output", lambda p: p.J()[:, [2, 0, 1]]),
    Planted("one output lacking", "missing outputs", "output 2", lambda p: p.J()[:, :2]),
    Planted(
        "output-major rows",
        "output-major rows",
        "one output first",
        lambda p: p.J().swapaxes(0, 1).reshape(60, -1),
    ),
    Planted("softmax left in", "softmax left in", "of the softmax", softmax),
    Planted(
        "log-softmax left in",
        "log-softmax left in",
        "of the log-softmax",
        lambda p: (np.eye(3) - p.q()[:, None, :]) @ p.J(),
    ),
    Planted("outputs summed", "summed outputs", "sum", lambda p: p.J().sum(1, keepdims=True)),
    Planted(
        "sums of outputs in every row",
        "summed outputs",
        "sum",
        lambda p: np.repeat(p.J().sum(axis=1, keepdims=True), 3, axis=1),
    ),
    Planted("samples summed", "summed samples", "all 20", lambda p: p.J().sum(0, keepdims=True)),
    Planted(
        "samples averaged", "averaged samples", "all 20", lambda p: p.J().mean(0, keepdims=True)
    ),
    Planted("inputs / 255", "wrong inputs", "divided by 255", lambda p: p.J(X=p.X / 255)),
    Planted("inputs * 255", "wrong inputs", "multiplied by 255", lambda p: p.J(X=p.X * 255)),
    Planted(
        "inputs standardised",
        "wrong inputs",
        "standardised",
        lambda p: p.J(X=(p.X - p.X.mean(axis=0)) / p.X.std(axis=0)),
    ),
    Planted("features reversed", "wrong inputs", "another order", lambda p: p.J(X=p.X[:, ::-1])),
    Planted(
        "noise on the inputs",
        "wrong inputs",
        "other inputs",
        lambda p: p.J(X=p.X + np.random.default_rng(1).normal(size=p.X.shape)),
    ),
    Planted("a step later", "other parameters", "training step", stale),
    Planted("other initialisation", "other parameters", "other", lambda p: stale(p, 0.1)),
    Planted(
        "parameters in half precision",
        "rounded numbers",
        "the parameters were rounded to bfloat16",
        lambda p: p.J(p.network.replace(theta=mantissa(p.network.theta, 8))),
    ),
    Planted("slope 0.2", "wrong slope", "0.2 instead of 0", lambda p: with_slope(p, 0.2)),
    Planted("slope 0.01", "wrong slope", "0.01 instead of 0", lambda p: with_slope(p, 0.01)),
    Planted("no activation", "no activation", "all hidden layers", linear),
    Planted("tanh", "wrong activation", "tanh", lambda p: activated(p, np.tanh, dtanh)),
    Planted(
        "gradients never zeroed",
        "accumulated gradients",
        "all rows so far",
        lambda p: np.cumsum(p.J().reshape(60, -1), axis=0),
    ),
    Planted(
        "gradients zeroed once per output",
        "accumulated gradients",
        "all samples so far",
        lambda p: np.cumsum(p.J(), axis=0),
    ),
    Planted(
        "TF32",
        "TF32 precision",
        "like those of TF32",
        lambda p: activated(p, relu, step, lambda a: mantissa(a, 11)),
    ),
    Planted(
        "products in bfloat16",
        "bfloat16 precision",
        "like those of bfloat16",
        lambda p: activated(p, relu, step, lambda a: mantissa(a, 8)),
    ),
    Planted(
        "float32",
        "float32 precision",
        "in a float32 array",
        lambda p: p.J().astype(np.float32),
    ),
    Planted(
        "float32 in a float64 array",
        "float32 precision",
        "in a float64 array",
        lambda p: p.J().astype(np.float32).astype(np.float64),
    ),
    Planted("float16", "float16 precision", "float16 numbers", lambda p: p.J().astype(np.float16)),
    Planted("bfloat16 entries", "bfloat16 precision", "bfloat16", lambda p: mantissa(p.J(), 8)),
    Planted(
        "finite differences",
        "low precision",
        "finite differences?",
        lambda p: noisy(p.J(), 1e-9),
    ),
    Planted(
        "NaN",
        "not finite",
        "sample 7",
        lambda p: p.J() + np.where(np.arange(20) == 7, np.nan, 0)[:, None, None],
    ),
    Planted(
        "one entry wrong",
        "unexplained",
        "1 of",
        lambda p: p.J() + 1e-3 * (np.arange(p.J().size) == 1000).reshape(p.J().shape),
    ),
]


def mantissa(values, bits):
    """Nearest numbers with so many significant bits, through the decimal digits of Python."""
    m, e = np.frexp(values)
    return np.rint(m * 2**bits) / 2**bits * 2.0**e
