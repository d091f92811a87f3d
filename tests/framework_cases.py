"""Networks of the frameworks, what they hold, and how they are run there."""

import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from patterndim.data import digits

RNG = np.random.default_rng(7)


@dataclass
class Case:
    """A network of a framework, what it holds, and how it is run there."""

    source: Any
    arrays: dict[str, np.ndarray]
    run: Any
    dtype: str = "float32"
    head: str = "identity"
    widths: tuple[int, ...] = ()


# --- torch ---


def torch_case(module, head="identity", widths=()):
    import torch

    module = module.eval()
    kinds = {torch.bfloat16: "bfloat16"}
    dtype = next(module.parameters()).dtype
    arrays = {name: value.detach().double().numpy() for name, value in module.named_parameters()}

    def run(X):
        with torch.no_grad():
            return module(torch.tensor(X, dtype=dtype)).double().numpy()

    name = kinds.get(dtype, str(dtype).removeprefix("torch."))
    return Case(module, arrays, run, name, head, widths)


def torch_modules():
    """Modules with a forward of their own; torch is imported only here."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Residual(nn.Module):
        """x + f(x), the ReLU after the sum, or inside f."""

        def __init__(self, after, slope=0.0):
            super().__init__()
            self.enter, self.out = nn.Linear(5, 8), nn.Linear(8, 3)
            self.inner, self.outer = nn.Linear(8, 6), nn.Linear(6, 8)
            self.after, self.slope = after, slope

        def forward(self, x):
            h = functional.leaky_relu(self.enter(x.view(x.shape[0], -1)), self.slope)
            y = self.outer(torch.relu(self.inner(h)))
            h = functional.leaky_relu(h + y, self.slope) if self.after else h + y.relu()
            return self.out(functional.dropout(h, 0.2, training=self.training))

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(6, 6, bias=False) for _ in range(11))

        def forward(self, x):
            for layer in self.layers[:-1]:
                x = functional.relu(functional.relu(layer(x), inplace=True))
            return functional.log_softmax(self.layers[-1](torch.flatten(x, 1)), dim=-1)

    class Projection(nn.Module):
        """A trained skip connection, which carries no bias of its own; two blocks in a row."""

        def __init__(self):
            super().__init__()
            self.skip, self.first = nn.Linear(4, 5, bias=False), nn.Linear(4, 7)
            self.second, self.last = nn.Linear(7, 5), nn.Linear(5, 5)

        def forward(self, x):
            h = self.second(self.first(x).relu_())
            h += self.skip(x)
            h = torch.add(torch.relu(h), functional.relu(self.last(torch.relu(h))))
            return torch.sigmoid(h.reshape(-1, 5) + h.view(h.size(0), 5))

    class Stream(nn.Module):
        """x + f(x) without an activation behind the sum, as in transformers."""

        def __init__(self, blocks=2):
            super().__init__()
            self.enter, self.out = nn.Linear(4, 5), nn.Linear(5, 3)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 5)) for _ in range(blocks)
            )

        def forward(self, x):
            x = self.enter(x)
            for block in self.blocks:
                x = x + block(x)
            return self.out(x)

    class Affine(nn.Module):
        """Matrices in a row, a sum of two biases, a sum of leaky activations."""

        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 2), nn.Linear(2, 5), nn.Linear(4, 5)
            self.d, self.e = nn.Linear(5, 5), nn.Linear(5, 3)

        def forward(self, x):
            h = self.b(self.a(x)) + self.c(x)
            y = functional.leaky_relu(h, 0.25) + functional.leaky_relu(self.d(h), 0.5)
            return self.e(y)

    return Residual, Functional, Projection, Stream, Affine


def torch_sequential():
    from torch import nn

    return torch_case(
        nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)),
        widths=(7, 5, 4, 2),
    )


def torch_nested():
    from torch import nn

    block = nn.Sequential(nn.Linear(5, 4), nn.LeakyReLU(0.125), nn.Dropout(0.5))
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(7, 5, bias=False), nn.ReLU(), block, nn.Identity(), nn.Linear(4, 3)
    )
    return torch_case(nn.Sequential(module.double(), nn.Softmax(dim=1)), "softmax", (7, 5, 4, 3))


def torch_low(dtype):
    import torch

    case = torch_sequential()
    return torch_case(case.source.to(getattr(torch, dtype)), widths=case.widths)


def torch_residual(after, slope=0.0, double=False):
    module = torch_modules()[0](after, slope)
    exact = () if after else (8,)
    return torch_case(module.double() if double else module, widths=(5, 8, 6, 8, *exact, 3))


def torch_functional():
    return torch_case(torch_modules()[1](), "log_softmax", (6,) * 12)


def torch_projection():
    return torch_case(torch_modules()[2]().double(), "sigmoid", widths=(4, 7, 5, 5, 5))


def torch_stream():
    return torch_case(torch_modules()[3]().double(), widths=(4, 5, 7, 5, 7, 5, 3))


def torch_affine():
    return torch_case(torch_modules()[4](), widths=(4, 2, 5, 5, 5, 5, 5, 3))


# --- scikit-learn, on the bundled digits ---


def sklearn_case(kind, targets, dtype, head="identity", **options):
    from sklearn import neural_network

    X, y = digits()
    X, y = X[:400].astype(dtype), targets(y[:400])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        model = getattr(neural_network, kind)(max_iter=15, random_state=0, **options).fit(X, y)
    arrays = {}
    for i, (W, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        arrays |= {f"coefs_[{i}]": W, f"intercepts_[{i}]": b}

    def run(inputs):
        if kind == "MLPRegressor":
            return model.predict(inputs.astype(dtype)).reshape(len(inputs), -1)
        found = model.predict_proba(inputs.astype(dtype))
        return found[:, 1:] if y.ndim == 1 and y.max() == 1 else found

    return Case(model, arrays, run, dtype, head)


# --- JAX ---


def flat(tree, prefix=""):
    """Arrays of nested dicts by their paths."""
    found = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}/") if hasattr(value, "items") else {name: np.asarray(value)}
    return found


def linen(live, residual=False, head=None):
    import jax
    from flax import linen as nn

    class MLP(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.relu(nn.Dense(6)(x))
            y = nn.Dense(6, use_bias=False)(h)
            h = nn.leaky_relu(y + h, 0.25) if residual else nn.relu(y)
            z = nn.Dense(3)(h)
            return z if head is None else getattr(nn, head)(z)

    module = MLP()
    variables = module.init(jax.random.PRNGKey(0), np.ones((1, 4), np.float32))
    source = module.bind(variables) if live else variables

    def run(X):
        return np.asarray(module.apply(variables, X.astype(np.float32)))

    return Case(source, flat(variables), run, head=head or "identity", widths=(4, 6, 6, 3))


def nnx_sequential(live):
    from flax import nnx

    rngs = nnx.Rngs(0)
    module = nnx.Sequential(
        nnx.Linear(4, 6, rngs=rngs), nnx.relu, nnx.Dropout(0.5, rngs=rngs),
        nnx.Linear(6, 2, rngs=rngs),
    )  # fmt: skip
    module.eval()
    state = nnx.state(module, nnx.Param)
    arrays = flat(nnx.to_pure_dict(state))

    def run(X):
        return np.asarray(module(X.astype(np.float32)))

    return Case(module if live else state, arrays, run, widths=(4, 6, 2))


def relu_of_pairs(pairs, X):
    for W, b in pairs[:-1]:
        X = np.maximum(X @ W + b, 0.0)
    return X @ pairs[-1][0] + pairs[-1][1]


def haiku_style():
    sizes = [5, 4, 4, 4, 2]
    tree = {
        f"mlp/~/linear_{k}": {"w": RNG.normal(size=(n, m)), "b": RNG.normal(size=m)}
        for k, (n, m) in enumerate(pairwise(sizes))
    }
    pairs = [(layer["w"], layer["b"]) for layer in tree.values()]
    shuffled = {name: tree[name] for name in reversed(tree)}
    return Case(shuffled, flat(tree), lambda X: relu_of_pairs(pairs, X), "float64")


def pairs():
    given = [(RNG.normal(size=(3, 5)), RNG.normal(size=5)), (RNG.normal(size=(5, 2)), np.ones(2))]
    names = {f"{k}/{'wb'[i]}": a for k, pair in enumerate(given) for i, a in enumerate(pair)}
    return Case(given, names, lambda X: relu_of_pairs(given, X), "float64", widths=(3, 5, 2))


def jax_function():
    import jax

    given = [(RNG.normal(size=(5, 3)), RNG.normal(size=5)), (RNG.normal(size=(2, 5)), np.ones(2))]
    given = [tuple(a.astype(np.float32) for a in pair) for pair in given]
    given[0] = jax.numpy.asarray(given[0][0], jax.numpy.bfloat16), given[0][1]

    @jax.jit
    def run(parameters, X):
        (V, a), (W, b) = parameters
        return jax.nn.sigmoid(jax.numpy.maximum(0.0, a + X @ V.astype(X.dtype).T) @ W.T + b)

    arrays = {
        f"{k}/{i}": np.asarray(a).astype(np.float32)
        for k, pair in enumerate(given)
        for i, a in enumerate(pair)
    }

    def forward(X):
        return np.asarray(run(given, X.astype(np.float32)))

    return Case((run, given), arrays, forward, head="sigmoid", widths=(3, 5, 2))


def jax_affine():
    """A bias of the input, matrices in a row, two biases of one matrix."""
    from jax import numpy as jnp

    given = {"a": RNG.normal(size=4), "b": RNG.normal(size=5), "c": RNG.normal(size=5)}
    given |= {"V": RNG.normal(size=(4, 3)), "W": RNG.normal(size=(3, 5))}
    given = {name: array.astype(np.float32) for name, array in given.items()}

    def run(p, X):
        h = (X + p["a"]) @ p["V"] @ p["W"] + p["b"]
        return h + p["c"]

    def forward(X):
        return np.asarray(run(given, jnp.asarray(X, jnp.float32)))

    return Case((run, given), given, forward)


# --- Keras ---


def keras_case(model, head="identity", dtype="float32"):
    import keras

    arrays = {w.path: np.asarray(w).astype(np.float64) for w in model.weights}
    shape = model.inputs[0].shape[1:]

    def run(X):
        inputs = X.astype(np.float32).reshape(len(X), *shape)
        return keras.ops.convert_to_numpy(model(inputs, training=False)).astype(np.float64)

    return Case(model, arrays, run, dtype, head)


def keras_sequential():
    import keras
    from keras import layers

    model = keras.Sequential([
        layers.Input((3, 2)), layers.Flatten(), layers.Dense(5, activation="relu"),
        layers.Dropout(0.5), layers.Dense(4, use_bias=False), layers.LeakyReLU(0.25),
        layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    return keras_case(model, "softmax")


def keras_functional():
    import keras
    from keras import layers

    x = keras.Input((4,))
    h = layers.Dense(5, activation="relu")(x)
    y = layers.Dense(5)(layers.ReLU()(layers.Dense(6)(h)))
    h = layers.Activation("relu")(layers.Add()([h, y]))
    h = keras.ops.relu(h + layers.Dense(5, activation="linear")(h))
    block = keras.Sequential([layers.Dense(3), layers.ReLU(negative_slope=0.5)])
    return keras_case(keras.Model(x, layers.Dense(2)(block(h))))


def keras_linear():
    import keras
    from keras import layers

    x = keras.Input((4,))
    h = layers.Dense(5)(layers.Dense(2)(x))
    h = h + layers.Dense(5)(layers.Dense(6, activation="relu")(h))
    return keras_case(keras.Model(x, layers.Dense(2)(h)))


def keras_named():
    """Inputs and outputs by name."""
    import keras
    from keras import layers

    x = keras.Input((4,), name="start")
    y = layers.Dense(2)(layers.Dense(3, activation="relu")(x))
    plain = keras_case(keras.Model(x, y))
    return replace(plain, source=keras.Model({"start": x}, {"end": y}))


def keras_twins():
    import keras
    from keras import layers

    def block(width):
        x = keras.Input((4,))
        return keras.Model(x, layers.Dense(width, activation="relu", name="d")(x))

    x = keras.Input((4,))
    h = layers.Dense(3, name="last")(block(4)(block(4)(x)))
    model = keras.Model(x, layers.Softmax(axis=[-1])(h))
    case = keras_case(model, "softmax")
    names = ["d/kernel", "d/bias", "d/kernel_1", "d/bias_1", "last/kernel", "last/bias"]
    arrays = [np.asarray(v) for v in model.weights]
    return replace(case, arrays=dict(zip(names, arrays, strict=True)))


def keras_low():
    import keras
    from keras import layers

    options = {"dtype": "bfloat16"}
    model = keras.Sequential([
        layers.Input((4,)), layers.Dense(5, activation="relu", **options),
        layers.Dense(1, activation="sigmoid", **options),
    ])  # fmt: skip
    return keras_case(model, "sigmoid", "bfloat16")


CASES = {
    "torch Sequential float32": torch_sequential,
    "torch Sequential float64, nested, softmax": torch_nested,
    "torch Sequential float16": lambda: torch_low("float16"),
    "torch Sequential bfloat16": lambda: torch_low("bfloat16"),
    "torch residual, ReLU after the sum": lambda: torch_residual(True),
    "torch residual, leaky, float64": lambda: torch_residual(True, 0.1, True),
    "torch residual, ReLU before the sum": lambda: torch_residual(False),
    "torch residual, ReLU before the sum, float64": lambda: torch_residual(False, 0.0, True),
    "torch functional, log_softmax": torch_functional,
    "torch projection, float64": torch_projection,
    "torch residual without an activation behind the sum": torch_stream,
    "torch matrices in a row, sums of biases": torch_affine,
    "sklearn ten classes": lambda: sklearn_case(
        "MLPClassifier", lambda y: y, "float64", "softmax", hidden_layer_sizes=(20, 10)
    ),
    "sklearn two classes": lambda: sklearn_case(
        "MLPClassifier", lambda y: y % 2, "float32", "sigmoid", hidden_layer_sizes=(12,)
    ),
    "sklearn labels": lambda: sklearn_case(
        "MLPClassifier",
        lambda y: np.stack([y % 2, y // 5], axis=1),
        "float64",
        "sigmoid",
        hidden_layer_sizes=(12,),
    ),
    "sklearn regression": lambda: sklearn_case(
        "MLPRegressor", lambda y: y.astype(float), "float32", hidden_layer_sizes=(9, 5)
    ),
    "sklearn linear regression": lambda: sklearn_case(
        "MLPRegressor", lambda y: np.stack([y, -y], 1), "float64", hidden_layer_sizes=(),
        activation="identity",
    ),
    "sklearn linear hidden layers": lambda: sklearn_case(
        "MLPRegressor", lambda y: y.astype(float), "float64", hidden_layer_sizes=(4, 5),
        activation="identity",
    ),
    "flax linen variables": lambda: linen(False),
    "flax linen, bound": lambda: linen(True, head="softmax"),
    "flax linen, bound, residual": lambda: linen(True, residual=True, head="log_softmax"),
    "flax nnx state": lambda: nnx_sequential(False),
    "flax nnx module": lambda: nnx_sequential(True),
    "haiku style": haiku_style,
    "pairs": pairs,
    "JAX function": jax_function,
    "JAX function without activation": jax_affine,
    "keras Sequential": keras_sequential,
    "keras functional": keras_functional,
    "keras models inside with equal names": keras_twins,
    "keras linear layers": keras_linear,
    "keras inputs and outputs by name": keras_named,
    "keras Sequential bfloat16": keras_low,
}  # fmt: skip
