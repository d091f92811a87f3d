"""Networks of the frameworks: in, with equal parameters and outputs, and out again."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import patterndim as pdm
from patterndim.errors import ArgumentError, KindError
from patterndim.formats import imported, read, to_flax, to_torch
from tests.framework_cases import CASES, torch_residual
from tests.test_network import residual

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@pytest.mark.compiled
@pytest.mark.parametrize("name", CASES)
def test_networks_come_in_with_equal_parameters_and_outputs(name):
    case = CASES[name]()
    found = read(case.source)
    assert {part.name for part in found.parameters} == set(case.arrays)
    places = np.zeros(found.network.parameter_count, dtype=int)
    for part in found.parameters:
        array = case.arrays[part.name]
        assert part.shape == array.shape
        expected = (array.T if part.transposed else array).astype(np.float64).reshape(-1)
        assert np.array_equal(found.network.theta[part.start : part.stop], expected)
        places[part.start : part.stop] += 1
    assert (places == 1).all()
    assert found.dtype == np.dtype("float32" if case.dtype == "bfloat16" else case.dtype)
    assert found.head == case.head
    assert found.output == ("softmax" if "softmax" in case.head else "affine")
    assert not case.widths or found.network.widths == case.widths

    X = np.random.default_rng(1).normal(size=(50, found.network.widths[0]))
    X = X.astype(found.dtype if case.dtype != "bfloat16" else np.float16).astype(np.float64)
    expected = case.run(X)
    outputs = imported.HEADS[found.head](pdm.outputs(found.network, X))
    scale = max(1.0, np.abs(expected).max())
    assert np.abs(outputs - expected).max() < 30 * EPSILON[case.dtype] * scale
    if found.outputs is not None:
        assert np.array_equal(found.outputs(X).astype(np.float64), expected)


def by_hand(network, X):
    """Outputs, layer by layer."""
    h = [X]
    for v in range(1, len(network.widths)):
        z = np.zeros((len(X), network.widths[v]))
        for e in network.architecture.incoming[v]:
            source, W = h[network.architecture.connections[e].source], network.weights[e]
            z += source if W is None else source @ W.T
        if network.biases[v - 1] is not None:
            z += network.biases[v - 1]
        slope = network.architecture.layers[v].slope
        h.append(z if v == len(network.widths) - 1 else np.maximum(z, slope * z))
    return h[-1]


def twisted():
    """Skips over layers and beside matrices, two matrices between two layers, an exact layer."""
    rng = np.random.default_rng(3)
    connections = [
        (0, 1, rng.normal(size=(4, 3))),
        (1, 2, rng.normal(size=(4, 4))),
        (1, 2, "identity"),
        (0, 2, rng.normal(size=(4, 3))),
        (1, 3, "identity"),
        (2, 3, "identity"),
        (3, 4, rng.normal(size=(4, 4))),
        (3, 4, rng.normal(size=(4, 4))),
        (2, 4, "identity"),
    ]
    biases = [rng.normal(size=4), None, None, rng.normal(size=4)]
    return pdm.Network.from_graph((3, 4, 4, 4, 4), connections, biases, slope=[0.0, 0.0, 0.25])


NETWORKS = {
    "deep": pdm.Network.random((3, 5, 4, 2), bias_std=1.0),
    "leaky": pdm.Network.random((3, 5, 4, 2), bias_std=1.0, slope=[0.1, 0.0]),
    "no bias": pdm.Network.random((3, 5, 2), bias=False),
    "linear": pdm.Network.random((3, 2)),
    "some biases": pdm.Network.from_layers([np.eye(2) / 3, np.ones((1, 2)) / 7], [[1, 2], None]),
    "residual": residual(),
    "leaky residual": residual(0.25),
    "twisted": twisted(),
}


@pytest.mark.compiled
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_go_to_torch_and_back_bit_for_bit(name):
    import torch

    network = NETWORKS[name]
    state = torch.random.get_rng_state()
    module = to_torch(network)
    assert torch.equal(state, torch.random.get_rng_state())
    back = pdm.load(module)
    assert back.architecture == network.architecture
    assert np.array_equal(back.theta, network.theta)
    X = np.random.default_rng(0).normal(size=(20, network.widths[0]))
    with torch.no_grad():
        outputs = module(torch.tensor(X))
    assert outputs.dtype == torch.float64
    assert np.allclose(outputs.numpy(), by_hand(network, X), rtol=1e-13, atol=1e-13)
    if "residual" not in name and name != "twisted":
        assert isinstance(module, torch.nn.Sequential)
        slopes = [layer.slope for layer in network.architecture.layers[1:-1]]
        again = pdm.load(module.state_dict(), slope=slopes)
        assert again.architecture == network.architecture
        assert np.array_equal(again.theta, network.theta)


@pytest.mark.parametrize("name", ["deep", "leaky", "no bias", "linear", "some biases"])
def test_networks_go_to_flax_and_back_bit_for_bit(name):
    network = NETWORKS[name]
    tree = to_flax(network)
    slopes = [layer.slope for layer in network.architecture.layers[1:-1]]
    back = pdm.load(tree, slope=slopes)
    assert back.architecture == network.architecture
    assert np.array_equal(back.theta, network.theta)
    first = tree["params"]["Dense_0"]["kernel"]
    assert first.shape == network.widths[:2]
    assert first.flags.c_contiguous
    first += 1.0  # a copy
    assert np.array_equal(back.theta, network.theta)


@pytest.mark.compiled
def test_flax_takes_what_goes_to_flax():
    import jax
    from flax import linen as nn

    class MLP(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Dense(5)(x))
            x = nn.relu(nn.Dense(4)(x))
            return nn.Dense(2)(x)

    network, X = NETWORKS["deep"], np.random.default_rng(0).normal(size=(20, 3))
    with jax.enable_x64(True):
        outputs = np.asarray(MLP().apply(to_flax(network), X))
    assert outputs.dtype == np.float64
    assert np.allclose(outputs, by_hand(network, X), rtol=1e-13, atol=1e-13)


@pytest.mark.compiled
def test_layers_put_in_change_no_rank():
    """The dimension by patterndim, and the rank of the Jacobian by torch in float64."""
    import torch

    for after in (True, False):
        module = torch_residual(after, double=True).source
        X = np.random.default_rng(2).normal(size=(9, 5))
        parameters = dict(module.named_parameters())

        def run(values, X=X, module=module):
            return torch.func.functional_call(module, values, (torch.tensor(X),)).reshape(-1)

        blocks = torch.func.jacrev(run)(parameters)
        J = np.concatenate([b.detach().reshape(27, -1).numpy() for b in blocks.values()], axis=1)
        found = pdm.local_dimension(pdm.load(module), X)
        assert int(found) == np.linalg.matrix_rank(J)
        assert found.kind == "proved"


@pytest.mark.compiled
def test_layers_that_work_in_place_leave_the_inputs_alone():
    from torch import nn

    layers = [nn.ReLU(inplace=True), nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)]
    module = nn.Sequential(*layers).double()
    X = np.random.default_rng(0).normal(size=(6, 3))
    given = X.copy()
    found = read(module)
    assert np.allclose(found.outputs(X), pdm.outputs(found.network, X))
    assert pdm.crosscheck(module, X, ranks=False).agrees
    assert np.array_equal(X, given)


@pytest.mark.compiled
def test_sums_in_place_are_followed():
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            h = self.relu(self.a(x))
            z = self.b(h)
            z += h
            z = self.relu(z)
            return self.c(z.view(z.size(0), -1))

    module = Residual().double()
    X = np.random.default_rng(0).normal(size=(20, 3))
    with torch.no_grad():
        expected = module(torch.tensor(X)).numpy()
    assert np.allclose(pdm.outputs(pdm.load(module), X), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_torch_compile_wraps_is_read():
    import torch

    found = read(torch.compile(to_torch(NETWORKS["deep"])))
    assert np.array_equal(found.network.theta, NETWORKS["deep"].theta)
    assert found.parameters[0].name == "0.weight"


@pytest.mark.compiled
def test_modules_load_in_many_threads_at_once():
    modules = [to_torch(NETWORKS[name]) for name in ("deep", "residual", "twisted")] * 8
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(pdm.load, modules))
    for network, module in zip(found, modules, strict=True):
        assert np.array_equal(network.theta, pdm.load(module).theta)


def test_trees_are_ordered_by_numbers_or_by_shapes():
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(3, 3)) for _ in range(12)]
    numbered = {f"layer{k}": {"w": layers[k]} for k in sorted(range(12), key=str)}
    assert np.array_equal(pdm.load(numbered).theta, pdm.load(layers).theta)
    named = {
        "out": {"kernel": rng.normal(size=(4, 1))},
        "hidden_10": {"kernel": rng.normal(size=(4, 4))},
        "enter": {"kernel": rng.normal(size=(2, 4))},
        "hidden_2": {"kernel": rng.normal(size=(4, 4))},
    }
    order = ["enter", "hidden_2", "hidden_10", "out"]
    expected = np.concatenate([named[name]["kernel"].T.reshape(-1) for name in order])
    assert np.array_equal(pdm.load(named).theta, expected)
    assert [part.name.split("/")[0] for part in read(named).parameters] == list(named)


def test_a_hundred_numbered_layers_and_one_of_a_name_are_ordered():
    layers = {f"fc{k}": {"w": np.eye(3) * k} for k in range(100)} | {"out": {"w": np.ones((3, 1))}}
    found = pdm.load(dict(reversed(layers.items())))
    expected = [*(np.eye(3).reshape(-1) * k for k in range(100)), np.ones(3)]
    assert np.array_equal(found.theta, np.concatenate(expected))


def test_sequences_hold_pairs_matrices_and_empty_entries():
    W, b, V = np.ones((3, 4)), np.arange(4.0), np.full((4, 2), 2.0)
    expected = pdm.Network.from_layers([W.T, V.T], [b, None])
    for tree in (
        [(W, b), (V, None)],
        [(W, b), (), (V,)],
        (W, b, V),
        [{"w": W, "b": b}, {"w": V, "b": None}],
    ):
        found = pdm.load(tree)
        assert found.architecture == expected.architecture
        assert np.array_equal(found.theta, expected.theta)


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match="network must have no skip connections, got some"):
        to_flax(residual())
    for function in (to_flax, to_torch):
        with pytest.raises(KindError, match=r"network must be a patterndim.Network, got int"):
            function(3)


@pytest.mark.compiled
def test_a_bias_without_a_matrix_does_not_go_to_torch():
    connections = [(0, 1, np.eye(2)), (1, 2, "identity"), (2, 3, np.eye(2))]
    network = pdm.Network.from_graph((2, 2, 2, 2), connections, [None, np.ones(2), None])
    with pytest.raises(ArgumentError, match="must have a matrix beside each bias, got none in lay"):
        to_torch(network)


@pytest.mark.compiled
def test_loading_imports_no_framework_that_the_source_is_not_of(tmp_path):
    pdm.save(pdm.Network.random((3, 2, 1)), tmp_path / "network.npz")
    code = f"""
import sys, numpy as np, patterndim as pdm
pdm.load({str(tmp_path / "network.npz")!r}); pdm.load([np.ones((2, 2))])
for source in (3, "x.txt"):
    try: pdm.load(source)
    except pdm.errors.PatterndimError: pass
print(*{{"torch", "jax", "flax", "keras", "sklearn"}} & set(sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


@pytest.mark.compiled
def test_a_sum_keeps_its_first_bias_there_and_back():
    """Of two matrices with biases in one sum the other is a linear layer, each time the same."""
    import torch
    from torch import nn

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.p, self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.p(x) + self.b(torch.relu(self.a(x)))

    network = pdm.load(Sum().double())
    again = pdm.load(to_torch(network))
    assert network.widths == (3, 4, 2, 2)
    assert again.architecture == network.architecture
    assert np.array_equal(again.theta, network.theta)
