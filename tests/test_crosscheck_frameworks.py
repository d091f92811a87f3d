"""Cross-checks of pipelines of torch and JAX: right ones pass, planted faults are named."""

from itertools import pairwise

import numpy as np
import pytest

import patterndim as pdm
from patterndim.comparison.autodiff import differentiated
from patterndim.errors import ArgumentError, KindError
from patterndim.formats import read

pytestmark = pytest.mark.compiled
N = 24


def sample(inputs=7):
    return np.random.default_rng(0).normal(size=(N, inputs))


class TorchPipeline:
    """The Jacobian as users of torch compute it, with every step open to mistakes."""

    def __init__(self, torch, dtype, activation=None):
        torch.manual_seed(1)
        nn = torch.nn
        self.torch, self.dtype = torch, dtype
        self.model = nn.Sequential(
            nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)
        ).to(dtype)
        self.X = torch.as_tensor(sample()).to(dtype)

    def blocks(self, model=None, X=None, context=None):
        """Dict by parameter of arrays (N, n_L, ...)."""
        func, model = self.torch.func, self.model if model is None else model
        parameters = {k: v.detach() for k, v in model.named_parameters()}

        def outputs(p, x):
            return func.functional_call(model, p, (x[None],))[0]

        J = func.vmap(func.jacrev(outputs), in_dims=(None, 0), randomness="different")
        return J(parameters, self.X if X is None else X)

    def rows(self, **changes):
        """Array (N n_L, P) in the order of named_parameters."""
        blocks = self.blocks(**changes).values()
        return self.torch.cat([b.reshape(N * b.shape[1], -1) for b in blocks], dim=1)

    def sequential(self, *activations, end=()):
        """The same layers with other activations and something at the end."""
        a, b, c = (self.model[i] for i in (0, 2, 4))
        return self.torch.nn.Sequential(a, activations[0], b, activations[-1], c, *end)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(params=["float64", "float32"])
def pipeline(request, torch):
    return TorchPipeline(torch, getattr(torch, request.param))


def test_right_torch_pipelines_pass(pipeline, torch):
    name = str(pipeline.dtype).removeprefix("torch.")
    X = sample()
    for jacobian in (None, pipeline.blocks(), pipeline.rows(), list(pipeline.blocks().values())):
        found = pdm.crosscheck(pipeline.model, X, jacobian, ranks=False)
        assert found.agrees, found
        assert all(block.wrong == 0 for block in found.blocks)
        assert found.verdict == f"agrees to {name}"
        assert found.dtype == name
    assert found.source == "torch.nn.Module 7-8-8-4"
    model = pipeline.sequential(torch.nn.LeakyReLU(0.1), torch.nn.LeakyReLU(0.3))
    assert pdm.crosscheck(model, X, ranks=False).verdict == f"agrees to {name}"
    for end in (torch.nn.Softmax(1), torch.nn.LogSoftmax(1), torch.nn.Sigmoid()):
        model = pipeline.sequential(torch.nn.ReLU(), end=[end])
        found = pdm.crosscheck(model, X, ranks=False)
        assert found.verdict == f"agrees to {name}", found


def test_a_function_of_the_inputs_may_be_given(pipeline, torch):
    def by_torch(X):
        return pipeline.rows(X=torch.as_tensor(X).to(pipeline.dtype))

    found = pdm.crosscheck(pipeline.model, sample(), by_torch, ranks=False)
    assert found.agrees
    assert found.method == "by by_torch"


def exchanged(p):
    blocks = p.blocks()
    blocks["0.bias"], blocks["2.bias"] = blocks["2.bias"], blocks["0.bias"]
    return blocks


def turned(p):
    blocks = p.blocks()
    blocks["0.weight"] = blocks["0.weight"].swapaxes(2, 3)
    return blocks


def frozen(p):
    return {name: block for name, block in p.blocks().items() if name != "2.weight"}


def detached(p):
    blocks = p.blocks()
    blocks["0.weight"] = p.torch.zeros_like(blocks["0.weight"])
    return blocks


def backward(p, zero):
    """Row after row by ``backward`` into ``.grad``."""
    torch, rows = p.torch, []
    for parameter in p.model.parameters():
        parameter.grad = None
    for x in p.X:
        for c in range(4):
            if zero:
                p.model.zero_grad()
            p.model(x[None])[0, c].backward()
            rows.append(torch.cat([q.grad.reshape(-1) for q in p.model.parameters()]).clone())
    return torch.stack(rows)


def halves(p):
    """As an autocast to bfloat16 does it: parameters and inputs rounded first."""
    model = p.sequential(p.torch.nn.ReLU())
    half = p.torch.bfloat16
    parameters = {k: v.detach().to(half) for k, v in model.named_parameters()}

    def outputs(q, x):
        return p.torch.func.functional_call(model, q, (x[None],))[0]

    J = p.torch.func.vmap(p.torch.func.jacrev(outputs), in_dims=(None, 0))
    return J(parameters, p.X.to(half))


def dropped(p):
    """A loader with ``drop_last``."""
    batches = [p.X[i : i + 10] for i in range(0, N, 10) if i + 10 <= N]
    parts = [list(p.blocks(X=batch).values()) for batch in batches]
    return [p.torch.cat(blocks) for blocks in zip(*parts, strict=True)]


TORCH = [
    ("swapped biases", "0.bias, 2.bias", exchanged),
    ("transposed weight", "0.weight", turned),
    ("missing block", "2.weight", frozen),
    ("zero block", "0.weight", detached),
    ("accumulated gradients", "all rows so far", lambda p: backward(p, zero=False)),
    ("bfloat16 precision", "bfloat16 numbers", halves),
    ("missing samples", "20 to 23 of 24", dropped),
    ("softmax left in", "softmax", lambda p: p.rows(model=head(p, p.torch.nn.Softmax(1)))),
    ("sigmoid left in", "sigmoid", lambda p: p.rows(model=head(p, p.torch.nn.Sigmoid()))),
    ("wrong slope", "0.01 instead of 0", lambda p: p.rows(model=other(p, "LeakyReLU"))),
    ("wrong activation", "GELU", lambda p: p.rows(model=other(p, "GELU"))),
    ("wrong activation", "SiLU", lambda p: p.rows(model=other(p, "SiLU"))),
    ("wrong activation", "ELU", lambda p: p.rows(model=other(p, "ELU"))),
    ("no activation", "all hidden layers", lambda p: p.rows(model=other(p, "Identity"))),
    ("no activation", "in layer 2", lambda p: p.rows(model=other(p, "ReLU", "Identity"))),
    ("wrong inputs", "divided by 255", lambda p: p.rows(X=p.X / 255)),
    ("shuffled samples", "in other places", lambda p: p.rows(X=p.X[p.torch.randperm(N)])),
    ("summed outputs", "sum", lambda p: p.rows().reshape(N, 4, -1).sum(1, keepdim=True)),
    ("scaled", "24, the number of inputs", lambda p: p.rows() / N),
    ("output-major rows", "output first", lambda p: p.rows().reshape(N, 4, -1).swapaxes(0, 1)),
    ("parameter order", "reverse order", lambda p: reordered(p, (4, 5, 2, 3, 0, 1))),
    ("parameter order", "bias of a layer", lambda p: reordered(p, (1, 0, 3, 2, 5, 4))),
    ("column-major weights", "column by column", lambda p: by_columns(p)),
    ("other parameters", "training step", lambda p: trained(p)),
    ("dropout", "0.25", lambda p: p.rows(model=with_dropout(p))),
]


def head(p, end):
    return p.sequential(p.torch.nn.ReLU(), end=[end])


def other(p, *names):
    return p.sequential(*(getattr(p.torch.nn, name)() for name in names))


def reordered(p, order):
    blocks = [b.reshape(N, 4, -1) for b in p.blocks().values()]
    return p.torch.cat([blocks[i] for i in order], dim=2)


def by_columns(p):
    blocks = [b.swapaxes(2, 3) if b.ndim == 4 else b for b in p.blocks().values()]
    return p.torch.cat([b.reshape(N, 4, -1) for b in blocks], dim=2)


def trained(p):
    """After one step of gradient descent of a copy."""
    copy = p.torch.nn.Sequential(*(layer for layer in p.model))
    state = {k: v.clone() for k, v in copy.state_dict().items()}
    (copy(p.X) ** 2).mean().backward()
    with p.torch.no_grad():
        for parameter in copy.parameters():
            parameter -= 0.1 * parameter.grad
    rows = p.rows(model=copy)
    copy.load_state_dict(state)
    return rows


def with_dropout(p):
    """The last hidden layer's dropout, left on."""
    torch = p.torch
    torch.manual_seed(0)
    end = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Dropout(0.25))
    return p.sequential(torch.nn.ReLU(), end)


@pytest.mark.parametrize("index", range(len(TORCH)), ids=lambda index: TORCH[index][0])
def test_faults_of_torch_pipelines_are_named(torch, index):
    """In float32 and float64 by turns."""
    name, says, plant = TORCH[index]
    pipeline = TorchPipeline(torch, (torch.float32, torch.float64)[index % 2])
    rows = plant(pipeline)
    found = pdm.crosscheck(pipeline.model, sample(), rows, ranks=False)
    assert [fault.name for fault in found.faults] == [name], found
    assert says in found.faults[0].message


def test_inflated_deflated_and_exact_rank_of_a_float32_network(torch):
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(
        *(nn.Linear(50, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU()),
        *(nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 10)),
    )
    X = np.random.default_rng(0).normal(size=(400, 50))
    found = pdm.crosscheck(model, X)
    assert found.verdict == "agrees to float32"
    deflated, inflated, double = found.ranks
    exact = found.dimension
    assert exact == pdm.local_dimension(pdm.load(model), X.astype(np.float32))
    assert deflated.value < exact.value == double.value < inflated.value
    assert deflated.gap < 2 < 1e6 < double.gap  # float32 cuts where there is no gap
    assert inflated.value > exact.upper  # impossible for any network with this pattern
    table = str(found)
    for rank in found.ranks:
        assert f"{rank.value:,}   {rank.recipe}" in table
    assert "too few" in table
    assert "too many: impossible" in table
    assert f"{exact.value:,}   exact arithmetic, {exact.kind}" in table


@pytest.fixture(scope="module")
def jax():
    return pytest.importorskip("jax")


class JaxPipeline:
    """The Jacobian as users of JAX compute it: a list of (W, b) pairs, W of shape (in, out)."""

    def __init__(self, jax, dtype, relu=None):
        rng = np.random.default_rng(1)
        widths = (7, 8, 8, 4)
        self.jax, self.dtype = jax, dtype
        self.relu = jax.nn.relu if relu is None else relu
        self.parameters = [
            (rng.normal(size=(n, m)) / np.sqrt(n), 0.3 * rng.normal(size=m))
            for n, m in pairwise(widths)
        ]
        self.parameters = [(W.astype(dtype), b.astype(dtype)) for W, b in self.parameters]
        self.X = sample().astype(dtype)

    def __call__(self, parameters, X):
        *hidden, (W, b) = parameters
        for V, c in hidden:
            X = self.relu(X @ V + c)
        return X @ W + b

    def tree(self, X=None, function=None):
        """Tree like the parameters, of arrays (N, n_L, ...)."""
        function = self if function is None else function
        J = self.jax.vmap(self.jax.jacrev(lambda p, x: function(p, x[None])[0]), in_axes=(None, 0))
        return J(self.parameters, self.jax.numpy.asarray(self.X if X is None else X))

    def rows(self, tree):
        """Array (N n_L, P) as ``ravel_pytree`` orders it."""
        leaves = self.jax.tree.leaves(tree)
        return np.concatenate([np.asarray(a).reshape(4 * N, -1) for a in leaves], axis=1)

    @property
    def network(self):
        return pdm.Network.from_layers(
            [W.T for W, _ in self.parameters], [b for _, b in self.parameters]
        )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_jax_pipelines_pass(jax, dtype):
    with jax.enable_x64(dtype == "float64"):
        p = JaxPipeline(jax, dtype)
        function, tree, J = (p, p.parameters), p.parameters, p.tree()
        for model, jacobian in ((function, None), (function, J), (tree, J), (tree, p.rows(J))):
            found = pdm.crosscheck(model, p.X, jacobian, ranks=False)
            assert found.verdict == f"agrees to {dtype}", found
    if dtype == "float64":  # whatever JAX is set to now
        for model in (p.parameters, p.network):
            found = pdm.crosscheck(model, p.X, ranks=False)
            assert (found.method, found.verdict) == ("jax.jacrev", "agrees to float64")


def test_jax_without_x64_is_named(jax):
    with jax.enable_x64(False):
        p = JaxPipeline(jax, "float64")
        for model, jacobian in (
            (
                p.network,
                [b.swapaxes(2, 3) if b.ndim == 4 else b for b in jax.tree.leaves(p.tree())],
            ),
            ((p, p.parameters), None),
            (p.parameters, p.tree()),
        ):
            found = pdm.crosscheck(model, p.X, jacobian, ranks=False)
            assert [fault.name for fault in found.faults] == ["jax without x64"], found
            assert "jax_enable_x64" in str(found)


def test_a_flax_module_is_differentiated_as_it_is(jax):
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Linear(7, 8, rngs=rngs), nnx.relu, nnx.Linear(8, 4, rngs=rngs))
    found = pdm.crosscheck(model, sample(), ranks=False)
    assert found.verdict == "agrees to float32", found
    assert found.method == "jax.jacrev"


def sums(p):
    """``jax.grad`` of the sum of the outputs."""
    tree = p.jax.vmap(p.jax.grad(lambda q, x: p(q, x[None])[0].sum()), in_axes=(None, 0))(
        p.parameters, p.X
    )
    return p.jax.tree.map(lambda block: block[:, None], tree)


def whole(p):
    """``jax.jacrev`` of the mean over the batch."""
    tree = p.jax.jacrev(lambda q: p(q, p.X).mean(axis=0))(p.parameters)
    return p.jax.tree.map(lambda block: block[None], tree)


JAX = [
    (
        "softmax left in",
        "softmax",
        lambda p: p.tree(function=lambda q, X: p.jax.nn.softmax(p(q, X))),
    ),
    ("summed outputs", "sum", sums),
    ("averaged samples", "mean", whole),
    ("wrong inputs", "divided by 255", lambda p: p.tree(X=p.X / 255)),
    ("shuffled samples", "reverse", lambda p: p.tree(X=p.X[::-1])),
    ("missing samples", "dropped", lambda p: p.tree(X=p.X[:20])),
    ("parameter order", "1/0, 1/1", lambda p: [*p.tree()[1::-1], p.tree()[2]]),
    (
        "bfloat16 precision",
        "bfloat16",
        lambda p: p.jax.tree.map(lambda a: a.astype("bfloat16"), p.tree()),
    ),
    ("sign flipped", "-1", lambda p: p.jax.tree.map(lambda a: -a, p.tree())),
]


@pytest.mark.parametrize(("name", "says", "plant"), JAX, ids=lambda value: str(value)[:20])
def test_faults_of_jax_pipelines_are_named(jax, name, says, plant):
    with jax.enable_x64(True):
        p = JaxPipeline(jax, "float64")
        found = pdm.crosscheck((p, p.parameters), p.X, plant(p), ranks=False)
    assert [fault.name for fault in found.faults] == [name], found
    assert says in found.faults[0].message


def test_the_derivative_at_exact_zeros_is_told(jax, torch):
    rng = np.random.default_rng(0)
    X = rng.integers(-2, 3, (N, 3)).astype(float)
    weights = [rng.integers(-2, 3, s).astype(float) for s in ((6, 3), (5, 6), (2, 5))]
    biases = [rng.integers(-2, 3, s).astype(float) for s in (6, 5, 2)]
    network = pdm.Network.from_layers(weights, biases)
    pairs = list(zip(weights, biases, strict=True))
    assert len(pdm.activation_pattern(network, X).ties) > 5

    def rows(relu):
        def outputs(pairs, x):
            *hidden, (V, c) = pairs
            for W, b in hidden:
                x = relu(W @ x + b)
            return V @ x + c

        with jax.enable_x64(True):
            tree = jax.vmap(jax.jacrev(outputs), in_axes=(None, 0))(pairs, jax.numpy.asarray(X))
            return jax.tree.map(np.asarray, tree)

    assert pdm.crosscheck(network, X, rows(jax.nn.relu), ranks=False).agrees
    for relu, factor in (
        (lambda z: jax.numpy.maximum(z, 0.0), 0.5),
        (lambda z: jax.numpy.where(z >= 0.0, z, 0.0), 1.0),
    ):
        found = pdm.crosscheck(network, X, rows(relu), ranks=False)
        assert [fault.name for fault in found.faults] == ["derivative at zero"], found
        assert f"is taken as {factor:g}" in found.faults[0].message
        assert {(place.sign, place.factor) for place in found.masks} == {(0, factor)}
        assert "tie" in str(found)


@pytest.mark.parametrize("head", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_confident_heads_are_right(pipeline, torch, head):
    """Where q is almost 1, the 1 - q in a derivative has lost most of its digits."""
    nn = torch.nn
    end = getattr(nn, head)(*((1,) if head != "Sigmoid" else ()))
    model = nn.Sequential(nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 4), end).to(pipeline.dtype)
    with torch.no_grad():
        model[2].weight *= 40
    found = pdm.crosscheck(model, sample(), ranks=False)
    assert found.agrees, found


def test_modules_that_work_in_place_leave_the_inputs_alone(torch):
    nn = torch.nn
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(7, 4)).double()
    X = sample()
    blocks, _ = differentiated(model, read(model), X)
    assert blocks["1.weight"].shape == (N, 4, 4, 7)
    assert np.array_equal(X, sample())


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_models_of_half_precision_agree_to_it(torch, name):
    model = TorchPipeline(torch, getattr(torch, name)).model
    for precision in (None, name):
        found = pdm.crosscheck(model, sample(), precision=precision, ranks=False)
        assert found.verdict == f"agrees to {name}", found
    found = pdm.crosscheck(model, sample(), precision="float32", ranks=False)
    assert [fault.name for fault in found.faults] == [f"{name} precision"]


def test_flax_modules_of_bfloat16_agree_to_it(jax):
    nnx = pytest.importorskip("flax.nnx")
    options = {"rngs": nnx.Rngs(0), "param_dtype": "bfloat16"}
    model = nnx.Sequential(nnx.Linear(7, 8, **options), nnx.relu, nnx.Linear(8, 4, **options))
    assert pdm.crosscheck(model, sample(), ranks=False).verdict == "agrees to bfloat16"


def test_compiled_modules_are_differentiated_as_they_were(pipeline, torch):
    compiled = torch.compile(pipeline.model, backend="eager")
    assert pdm.crosscheck(compiled, sample(), ranks=False).agrees
    blocks = {f"_orig_mod.{name}": block for name, block in pipeline.blocks().items()}
    assert pdm.crosscheck(compiled, sample(), blocks, ranks=False).agrees


def test_modules_of_several_precisions_and_sparse_jacobians_are_refused(torch):
    model = TorchPipeline(torch, torch.float32).model
    J = pdm.parameter_jacobian(pdm.load(model), sample())
    with pytest.raises(KindError, match="jacobian must be readable by numpy, got Tensor"):
        pdm.crosscheck(model, sample(), torch.tensor(J).to_sparse())
    model[0].double()
    with pytest.raises(ArgumentError, match="of one precision, got float32, float64"):
        pdm.crosscheck(model, sample())
