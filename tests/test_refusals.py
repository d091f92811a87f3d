"""What is no network of dense layers, sums and (leaky) ReLU is refused, by the layer's name."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest

import patterndim as pdm
from patterndim.errors import (
    ArgumentError,
    KindError,
    MissingPackageError,
    NonFiniteError,
    ShapeError,
)
from patterndim.formats import read, to_torch
from patterndim.formats.verification import PROBES, verified

W, V = np.ones((3, 4)), np.ones((4, 2))


def module(forward, **parts):
    """Module of torch with a forward of its own."""
    from torch import nn

    class Custom(nn.Module):
        def __init__(self):
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

    Custom.forward = forward
    return Custom().eval()


def torch_refusals():
    import torch
    from torch import nn
    from torch.nn import functional
    from torch.nn.utils import parametrizations

    def sequential(*layers, train=False):
        return nn.Sequential(nn.Linear(3, 3), *layers, nn.Linear(3, 2)).train(train)

    def linear(bias=True):
        return nn.Linear(3, 3, bias=bias)

    shared = linear()
    tied = nn.Sequential(linear(), nn.ReLU(), linear())
    tied[2].weight = tied[0].weight
    storage = nn.Sequential(linear(), nn.ReLU(), linear())
    storage[2].weight = nn.Parameter(storage[0].weight.data)
    both = torch.randn(10, 10)
    overlapping = nn.Sequential(linear(), nn.ReLU(), linear())
    overlapping[0].weight = nn.Parameter(both[:3, :3])
    overlapping[2].weight = nn.Parameter(both[2:5, 2:5])
    expanded = linear()
    expanded.weight = nn.Parameter(torch.randn(1, 3).expand(3, 3))
    replaced = sequential(nn.ReLU())
    replaced[1].forward = lambda x: 1.5 * functional.relu(x)
    hooked = sequential(nn.ReLU())
    hooked[1].register_forward_hook(lambda module, inputs, output: output.clamp(max=6.0))
    broken = nn.Sequential(linear(), nn.ReLU(), nn.Linear(4, 2))
    infinite = sequential(nn.ReLU())
    infinite[0].weight.data[1, 2] = float("inf")
    own = {"__name__": "own"}
    exec("import torch.fx\ndef relu(x): return -x\ntorch.fx.wrap('relu')", own)

    def added(self, x):
        h = same = functional.relu(self.a(x))
        h += self.b(h)
        return self.c(functional.relu(h)) + same

    def flipped(self, x):
        return self.a(x) if x.sum() > 0 else -self.a(x)

    made = "must be made of dense layers, sums and \\(leaky\\) ReLU: got "
    return {
        "layer": (sequential(nn.Tanh()), made + "layer '1' of type Tanh, which is none of these"),
        "nested layer": (
            sequential(nn.Sequential(nn.ReLU(), nn.Sequential(nn.GELU()))),
            made + "layer '1.1.0' of type GELU",
        ),
        "convolution": (nn.Sequential(nn.Conv2d(1, 2, 3)), made + "layer '0' of type Conv2d"),
        "batch norm": (sequential(nn.BatchNorm1d(3)), made + "layer '1' of type BatchNorm1d"),
        "prelu": (sequential(nn.PReLU()), made + "layer '1' of type PReLU"),
        "slope": (sequential(nn.LeakyReLU(1.5)), made + "layer '1' .*slope 1.5 is not from 0 to 1"),
        "dropout": (
            sequential(nn.ReLU(), nn.Dropout(), train=True),
            made + "layer '2' of type Dropout, which is random: call eval\\(\\) first",
        ),
        "softmax inside": (
            sequential(nn.Softmax(dim=1)),
            made + "layer '2' of type Linear, after a softmax, which must come last",
        ),
        "softmax over inputs": (
            nn.Sequential(linear(), nn.Softmax(dim=0)),
            made + "layer '1' of type Softmax, which must act on the outputs of one input",
        ),
        "function": (
            module(lambda s, x: torch.sin(s.a(x)), a=linear()), made + "function 'sin' as 'sin'"
        ),
        "method": (
            module(lambda s, x: s.a(x).detach(), a=linear()), made + "method 'detach' as 'detach'"
        ),
        "function of the same name": (
            module(lambda s, x: own["relu"](s.a(x)), a=linear()),
            made + "function 'own.relu'",
        ),
        "constant": (
            module(lambda s, x: s.a(x) + 1.0, a=linear()),
            made + "function 'add' as 'add', which must add two arrays that depend on the input",
        ),
        "constant first": (
            module(lambda s, x: 1.0 + s.a(x), a=linear()),
            made + "function 'add' as 'add', which must act on an array that depends on the input",
        ),
        "scaled sum": (
            module(lambda s, x: torch.add(x, s.a(x), alpha=2), a=linear()),
            made + "function 'add' as 'add', which must add two arrays",
        ),
        "arguments": (
            module(lambda s, x: functional.softmax(s.a(x), 1, dtype=torch.float16), a=linear()),
            made + "function 'softmax' as 'softmax', with arguments that are not supported",
        ),
        "flatten all": (
            module(lambda s, x: torch.flatten(s.a(x)), a=linear()),
            made + "function 'flatten' .*, which must keep the inputs apart, with start_dim=1",
        ),
        "view": (
            module(lambda s, x: s.a(x).view(-1), a=linear()),
            made + "method 'view' as 'view', which must keep \\(N, n\\), got sizes \\(-1,\\)",
        ),
        "attribute": (
            module(lambda s, x: s.a(x).T, a=linear()), made + "function 'getattr' .* of 'T'"
        ),
        "size": (
            module(lambda s, x: s.a(x).view(x.shape[1], -1), a=linear()),
            made + "function 'getitem' .*, which must be the number of inputs",
        ),
        "weights of no parameter": (
            module(lambda s, x: functional.linear(x, torch.ones(2, 3)), a=linear()),
            made + "function 'linear' as 'linear', whose weight and bias must be parameters",
        ),
        "reparametrised": (
            parametrizations.weight_norm(linear()), "must be made of|must be traceable"
        ),
        "used twice": (
            module(lambda s, x: s.a(torch.relu(s.a(x))), a=linear()),
            made + "a.weight, which must be used once and not shared",
        ),
        "shared": (
            nn.Sequential(shared, nn.ReLU(), shared),
            "must not share parameters, got '0.weight' again as '2.weight'",
        ),
        "tied": (tied, "must not share parameters, got '0.weight' again as '2.weight'"),
        "tied in memory": (
            storage, "must not share parameters, got '0.weight' again as '2.weight'"
        ),
        "overlapping": (overlapping, "must not share parameters, got '0.weight' again as '2.wei"),
        "expanded": (expanded, "must not share parameters, got 'weight' again as 'weight'"),
        "lazy": (nn.Sequential(nn.LazyLinear(4)), "must have been run once, got '0.weight' of no"),
        "changed by +=": (
            module(added, a=linear(), b=linear(), c=linear()),
            "must not read what it has changed in place, got 'relu' read again by 'add",
        ),
        "changed by a function": (
            module(
                lambda s, x: (lambda z: (functional.relu(z, inplace=True), s.b(z))[1])(s.a(x)),
                a=linear(), b=linear(),
            ),
            "must not read what it has changed in place, got 'a' read again by 'b'",
        ),
        "changed by a module, through a view": (
            module(
                lambda s, x: (lambda z: s.r(z.view(-1, 3)) + z)(s.a(x)),
                a=linear(), r=nn.ReLU(inplace=True),
            ),
            "must not read what it has changed in place, got 'a' read again by 'add'",
        ),
        "replaced": (replaced, made + "layer '1' of type ReLU, which is none of these"),
        "unequal widths": (
            module(lambda s, x: s.a(x) + s.b(x), a=linear(), b=nn.Linear(3, 1, bias=False)),
            "a sum must be of equal widths, got \\[3, 1\\] in layer 1",
        ),
        "broken": (broken, "2.weight must take 3 inputs, got 4"),
        "unused": (
            module(lambda s, x: s.a(x), a=linear(), b=linear()),
            "must use all its parameters, got 'b.bias' unused",
        ),
        "hook": (hooked, "must have no hooks, got some at '1'"),
        "control flow": (module(flipped, a=linear()), "must be traceable by torch.fx"),
        "no input": (module(lambda s: s.a.weight, a=linear()), "must return one array, got"),
        "two inputs": (
            module(lambda s, x, y: s.a(x) + y, a=linear()), "must take one input, got also 'y'"
        ),
        "two outputs": (
            module(lambda s, x: (s.a(x), x), a=linear()), "must return one array, got"
        ),
        "no parameters": (nn.Sequential(nn.ReLU()), "must have at least one linear layer"),
        "meta": (nn.Linear(3, 2, device="meta"), "must hold real numbers, got 'weight' of .* meta"),
        "complex": (
            nn.Linear(3, 2, dtype=torch.complex64), "must hold real numbers, got 'weight'"
        ),
        "infinite": (infinite, "0.weight must be finite, got inf at \\(1, 2\\)"),
    }  # fmt: skip


def relu(x):
    """Nothing like ReLU."""
    return -x


@pytest.mark.compiled
def test_torch_modules_are_refused_by_the_name_of_the_layer():
    for what, (source, message) in torch_refusals().items():
        with pytest.raises((ArgumentError, ShapeError, NonFiniteError), match=message):
            pytest.fail(f"{what}: {read(source)}")


def keras_refusals():
    import keras
    from keras import layers

    def sequential(*given):
        return keras.Sequential([layers.Input((3,)), *given, layers.Dense(2)])

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    class Squared(layers.Dense):
        def call(self, x):
            return super().call(x) ** 2

    class Extended(keras.Model):
        def __init__(self):
            x = keras.Input((3,))
            super().__init__(x, layers.Dense(2)(x))
            self.more = layers.Dense(2, name="more")
            self.more.build((None, 3))

    x, y = keras.Input((3,)), keras.Input((3,))
    shared = layers.Dense(3, activation="relu")
    lora = layers.Dense(3, activation="relu", name="low")
    adapted = sequential(lora)
    lora.enable_lora(2)
    made = "keras.Model must be made of dense layers, sums and \\(leaky\\) ReLU: got layer "
    return {
        "activation": (
            sequential(layers.Dense(3, activation="tanh", name="a")),
            made + "'a' of type Dense with 'tanh', which is none of these",
        ),
        "own activation": (
            sequential(layers.Dense(3, activation=relu, name="a")),
            made + "'a' of type Dense with 'relu', which is none of these",
        ),
        "clipped": (
            sequential(layers.Dense(3), layers.ReLU(max_value=6, name="r")),
            made + "'r' of type ReLU, which is none of these",
        ),
        "batch norm": (
            sequential(layers.BatchNormalization(name="n")),
            made + "'n' of type BatchNormalization, which is none of these",
        ),
        "own layer": (sequential(Squared(3, name="s")), made + "'s' of type Squared"),
        "images": (
            keras.Sequential([layers.Input((3, 2)), layers.Dense(2, name="d")]),
            made + "'d' of type Dense, which is none of these",
        ),
        "concatenation": (
            keras.Model(x, layers.Dense(2)(layers.Concatenate(name="c")([x, x]))),
            made + "'c' of type Concatenate, which must act on one array",
        ),
        "shared": (
            keras.Model(x, shared(shared(x))), "which must be used once and not shared"
        ),
        "lora": (adapted, made + "'low' of type Dense, whose kernel and bias must be plain"),
        "unbuilt": (
            keras.Sequential([layers.Dense(3)], name="model"),
            "must be Sequential or functional, and built, got 'model' of type Sequential",
        ),
        "unused": (Extended(), "must use all its weights, got '.*more/bias' unused"),
        "subclassed": (Subclassed(), "must be Sequential or functional, and built"),
        "two inputs": (
            keras.Model([x, y], layers.Add()([x, y])), "must have one input and one output, got 2"
        ),
    }  # fmt: skip


@pytest.mark.compiled
def test_keras_models_are_refused_by_the_name_of_the_layer():
    for what, (source, message) in keras_refusals().items():
        with pytest.raises(ArgumentError, match=message):
            pytest.fail(f"{what}: {read(source)}")


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda z: 1.5 * np.maximum(z, 0.0), "must compute what its layers say, got outputs that"),
        (lambda z: np.minimum(np.maximum(z, 0.0), 500.0), "must compute what its layers say"),
        (lambda z: np.zeros(z.shape, dtype=int), "must give floats, got outputs of int64"),
    ],
)
def test_what_small_inputs_do_not_tell_large_ones_do(forward, message):
    bias = np.full(4, -30.0)  # at inputs of size 1, all neurons are off
    found = read([(W, bias), (np.eye(4),)])
    assert verified(found, lambda X: np.maximum(X @ W + bias, 0.0)) is found
    with pytest.raises(ArgumentError, match=message):
        verified(found, lambda X: forward(X @ W + bias))


def test_large_inputs_tell_nothing_where_they_overflow():
    half = W.astype(np.float16) * np.float16(100.0)
    found = read([half, half.T])
    assert verified(found, lambda X: np.maximum(X @ half, 0) @ half.T.astype(np.float32)) is found
    single = read([half.astype(np.float32), half.T.astype(np.float32)])

    def mixed(X):
        with np.errstate(over="ignore", invalid="ignore"):
            return (np.maximum(X.astype(np.float16) @ half, 0) @ half.T).astype(np.float16)

    assert not np.isfinite(mixed(np.full((1, 3), 1000.0))).any()
    assert verified(single, mixed) is single


def jax_refusals():
    import jax
    from flax import nnx
    from jax import numpy as jnp

    def function(activation, head=lambda z: z):
        return lambda p, X: head(activation(X @ p[0]) @ p[1]), [W, V]

    small, bias = np.full((4, 1), 1e-6, np.float32), np.full(1, -18.0, np.float32)
    tall = np.ones((PROBES, 3))
    rngs = nnx.Rngs(0)
    dropout = nnx.Sequential(nnx.Linear(3, 3, rngs=rngs), nnx.Dropout(0.5, rngs=rngs))
    norm = nnx.Sequential(nnx.Linear(3, 3, rngs=rngs), nnx.BatchNorm(3, rngs=rngs))
    norm.eval()
    relu = jax.nn.relu
    made = "JAX function must be made of dense layers, sums and \\(leaky\\) ReLU: got "
    return {
        "tanh": (function(jnp.tanh), made + "'tanh' in the function, which is none of these"),
        "clipped": (function(jax.nn.relu6), made + "'min' in"),
        "constant": (
            function(lambda z: z + jax.lax.iota(float, 4)), made + "'add' in the function"
        ),
        "stopped": (function(lambda z: jax.lax.stop_gradient(relu(z))), made + "'stop_gradient'"),
        "traced slope": (
            (lambda p, X: jax.nn.leaky_relu(X @ p[0], p[1]), [W, np.ones(())]),
            made + "'jit' in the function, whose slope must be a number",
        ),
        "contraction": (
            (lambda p, X: p[0].T @ X.T, [W]), made + "'transpose' in the function"
        ),
        "first axis": (
            (lambda p, X: jax.lax.dot_general(X, p, (((0,), (0,)), ((), ()))), tall),
            made + "'dot_general' in .*, which must contract the last axis",
        ),
        "one output that is no softmax": (
            (lambda p, X: jnp.exp(relu(X @ p[0]) @ p[1] + p[2]), [W, small, bias]),
            "must end in softmax, log_softmax, sigmoid or none, got another end",
        ),
        "integers": (function(lambda z: relu(z).astype(int)), made + "'convert_element_type'"),
        "integers at last": (
            function(relu, lambda z: z.astype(int)), made + "'convert_element_type'"
        ),
        "integers of a softmax": (
            function(relu, lambda z: jax.nn.softmax(z).astype(int)), "must end in softmax"
        ),
        "two leaves of one name": (
            (lambda p, X: relu(X @ p["a/b"]) @ p["a"]["b"], {"a/b": W, "a": {"b": V}}),
            "must give each array a name of its own, got 'a/b' twice",
        ),
        "another end": (function(relu, jnp.exp), "must end in softmax, log_softmax, sigmoid"),
        "unused": ((lambda p, X: X @ p[0], [W, V]), "must use all its parameters, got '1' unused"),
        "none": ((lambda p, X: X, {}), "JAX function must have parameters, got none"),
        "two outputs": ((lambda p, X: (X @ p, X), W), "must return one array, got 2"),
        "deep": ((lambda p, X: X, nested(2000)), "JAX function must have a tree of param"),
        "error": ((lambda p, X: X @ p[0] @ p[1], [W, W]), "must run on \\(N, n_0\\) inputs"),
        "dropout": (dropout, "flax.nnx.Module must run on .* in evaluation mode \\(eval\\(\\) or"),
        "norm": (norm, "flax.nnx.Module must be made of dense layers"),
    }  # fmt: skip


@pytest.mark.compiled
def test_jax_functions_are_refused_by_what_they_do():
    for what, (source, message) in jax_refusals().items():
        with pytest.raises(ArgumentError, match=message):
            pytest.fail(f"{what}: {read(source)}")


@pytest.mark.compiled
def test_linen_modules_must_be_bound():
    from flax import linen

    with pytest.raises(KindError, match=r"must be bound to its parameters, model.bind\(variables"):
        pdm.load(linen.Dense(3))


def nested(depth):
    """Matrix in lists in lists."""
    tree = W
    for _ in range(depth):
        tree = [tree]
    return tree


@pytest.mark.parametrize(
    ("tree", "error", "message"),
    [
        ({}, ArgumentError, "must have at least one linear layer, got none"),
        ([1.0], ArgumentError, "must have arrays at its leaves, got float at '0'"),
        ({"a": "text"}, ArgumentError, "must have arrays at its leaves, got str at 'a'"),
        ({"a": {"scale": W}}, ArgumentError, "must hold dense layers only.*got 'a/scale'"),
        ({"a": {"w": W, "kernel": W}}, ArgumentError, "must hold dense layers only.*'a/kernel'"),
        ({"a": {"bias": W[0]}}, ArgumentError, "must have a matrix beside 'a/bias', got none"),
        ({"a": {"kernel": np.ones((2, 3, 3))}}, ShapeError, "a/kernel must be a matrix, got shape"),
        ({"a": {"kernel": W, "bias": W[:, 0]}}, ShapeError, r"a/bias must have shape \(4,\)"),
        (
            {"a/kernel": W, "a": {"kernel": V}},
            ArgumentError,
            "must give each array a name of its own, got 'a/kernel' twice",
        ),
        ({0: W, "0": W}, ArgumentError, "must give each array a name of its own, got '0' twice"),
        (nested(2000), ArgumentError, "parameter tree must be at most 50 deep, got more"),
        (
            {"fc" + "9" * 5000: {"w": W}, "fc1": {"w": np.ones((4, 3))}},
            ArgumentError,
            "must tell the order of its layers",
        ),
        (
            [(np.ma.masked_array(W, W > 0), W[0])],
            KindError,
            "0/w must not have masked entries, got a masked array",
        ),
        ([W, W], ShapeError, "layers must chain, got 0/w of 4 outputs before 1/w of 3 inputs"),
        ([(W.T, W[0])], ShapeError, r"0/b must have shape \(3,\) to go with 0/w of shape \(4, 3\)"),
        ([np.ones((2, 2)) * 1j], KindError, "0/w must hold real numbers, got dtype complex128"),
        ([W * np.nan], NonFiniteError, r"0/w must be finite, got nan at \(0, 0\)"),
        (
            {"a": {"kernel": np.eye(3)}, "b": {"kernel": np.eye(3)}},
            ArgumentError,
            r"must tell the order of its layers .*, got a/kernel, b/kernel: pass a list of \(W, b",
        ),
        (
            {"in": {"w": W}, "out": {"w": W}},
            ArgumentError,
            "must tell the order of its layers by their numbers or shapes",
        ),
        (
            {"a1": {"w": np.eye(3)}, "a_1": {"w": np.eye(3)}},
            ArgumentError,
            "must tell the order of its layers by their numbers or shapes, got a1/w, a_1/w",
        ),
        (
            {f"{chr(97 + k)}": {"w": np.eye(2)} for k in range(26)}
            | {f"{chr(97 + k)}z": {"w": np.ones((2, 3))} for k in range(2)},
            ArgumentError,
            "must tell the order of its layers",
        ),
    ],
)
def test_trees_are_refused(tree, error, message):
    with pytest.raises(error, match=message):
        pdm.load(tree)


def test_other_objects_are_refused():
    with pytest.raises(KindError, match=r"must be a path or a network of torch, JAX, .*, got int"):
        pdm.load(3)
    with pytest.raises(KindError, match=r"source must be a path, got bytes"):
        pdm.load(b"network.npz")
    with pytest.raises(ArgumentError, match=r"source must end in .npz.*, got 'network.txt'"):
        pdm.load("network.txt")


def test_slopes_are_for_sources_that_tell_none(tmp_path):
    assert pdm.load([W, V], slope=0.25).architecture.layers[1].slope == 0.25
    with pytest.raises(ShapeError, match="slope must be a number or one per hidden layer, 1, got"):
        pdm.load([W, V], slope=[0.1, 0.2])
    with pytest.raises(KindError, match="slope must be a sequence, got 'steep'"):
        pdm.load([W, V], slope="steep")
    with pytest.raises(ArgumentError, match="slope of layer 1 must be at least 0 and at most 1"):
        pdm.load([W, V], slope=2.0)
    pdm.save(pdm.load([W, V]), tmp_path / "network.npz")
    with pytest.raises(ArgumentError, match=r"slope must not be given for a source that tells it"):
        pdm.load(tmp_path / "network.npz", slope=0.1)


@dataclass
class Estimator:
    """Stands for a fitted one, with the faults of a broken or a newer library."""

    coefs_: list
    intercepts_: list
    activation: str = "relu"
    out_activation_: str = "identity"
    fault: str = ""

    def predict(self, X):
        if self.fault == "raises":
            raise RuntimeError("out of order")
        if self.fault == "shape":
            return np.ones((len(X) - 1, 2))
        return np.full((len(X), 2), np.nan if self.fault == "nan" else 2.0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"activation": "tanh"},
            ArgumentError,
            "must have activation relu or identity, got 'tanh'",
        ),
        ({"out_activation_": "exp"}, ArgumentError, "must have an output of .*, got 'exp'"),
        ({"fault": "raises"}, ArgumentError, "must run on .* inputs: out of order"),
        ({"fault": "shape"}, ShapeError, r"must give outputs of shape \(\d+, 2\), got"),
        ({"fault": "wrong"}, ArgumentError, "must compute what its layers say, got outputs that"),
        ({"fault": "nan"}, ArgumentError, "must compute what its layers say, got outputs that"),
    ],
)
def test_estimators_are_refused(changes, error, message):
    kind = type("MLPRegressor", (Estimator,), {"__module__": "sklearn.neural_network"})
    with pytest.raises(error, match=message):
        pdm.load(kind([W, V], [W[0], V[0]], **changes))


@pytest.mark.compiled
def test_estimators_must_be_fitted():
    from sklearn.neural_network import MLPClassifier

    with pytest.raises(ArgumentError, match="sklearn MLPClassifier must be fitted"):
        pdm.load(MLPClassifier())


@pytest.mark.compiled
def test_a_missing_framework_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPackageError, match=r'pip install "patterndim\[torch\]"'):
        to_torch(pdm.Network.random((3, 2, 1)))
