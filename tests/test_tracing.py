"""Traces: every quantity against a plain computation, every source against the networks in it."""

import os
from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.checkpoints import numbers
from patterndim.errors import (
    ArgumentError,
    FileError,
    KindError,
    MemoryLimitError,
    ShapeError,
)
from patterndim.quantities import NAMES, View, columns, dimensions, single, view
from patterndim.training import Snapshot, sgd
from tests import oracles
from tests.strategies import networks, sample


def row_of(network, X, name, output="affine"):
    (row,) = pdm.trace([network], X, quantities=[name], outputs=[output])
    return row


def plain_rank(network, X, output):
    rows = oracles.jacobian(network, X, Fraction)
    if output == "softmax":
        rows = oracles.softmax_rows(rows, network.widths[-1])
    return oracles.rational_rank(rows) if rows else 0


@settings(max_examples=25)
@given(networks(), st.integers(0, 100), st.sampled_from(["affine", "softmax"]))
def test_dimensions_are_exact_ranks_with_their_evidence(network, seed, output):
    X = sample(network, seed, 4)
    names = ["local_dimension", "flatness", "generic_dimension", "dimension_bound", "bounds"]
    (row,) = pdm.trace([network], X, quantities=names, outputs=[output])
    rank, P = plain_rank(network, X, output), network.parameter_count
    assert row["local_dimension"] == rank
    assert row["local_dimension_lower"] <= rank <= row["local_dimension_upper"]
    assert row["local_dimension_kind"] in ("proved", "probable")
    assert (row["flatness"], row["flatness_kind"]) == (P - rank, row["local_dimension_kind"])
    assert row["flatness_lower"] <= P - rank == row["flatness_upper"]
    assert row["generic_dimension"] == pdm.generic_dimension(network, X, output=output).value
    assert rank <= row["generic_dimension"] <= row["dimension_bound"]
    outputs = network.widths[-1] - (output == "softmax")
    assert row["bounds_outputs"] == outputs * len(X)
    assert row["bounds_every_sample"] == pdm.dimension_bound(network, output=output).value
    assert rank <= row["bounds_regions"]
    assert row["dimension_bound"] <= min(row["bounds_outputs"], row["bounds_regions"])
    assert row["dimension_bound_name"]
    assert (row["P"], row["H"], row["N"]) == (P, network.hidden_neurons, 4)
    assert (row["step"], row["sample"], row["output"]) == (0, "X", output)
    assert row["n_L"] == network.widths[-1]


@given(networks(), st.integers(0, 100))
def test_regions_and_gates_are_counted_by_sets(network, seed):
    X = sample(network, seed, 7)
    names = ["perceived_regions", "aligned_neurons"]
    (row,) = pdm.trace([network], X, quantities=names)
    masks = pdm.activation_pattern(network, X).masks
    patterns = [tuple(np.concatenate([m[x] for m in masks]).tolist()) for x in range(7)]
    sizes = [patterns.count(pattern) for pattern in set(patterns)]
    assert row["perceived_regions"] == len(sizes)
    assert row["perceived_regions_largest"] == max(sizes)
    assert row["perceived_regions_single"] == sizes.count(1)
    total = dict.fromkeys(("", "_distinct", "_dead", "_linear"), 0)
    for layer, mask in enumerate(masks, start=1):
        slope = network.architecture.layers[layer].slope
        gates = [tuple(np.where(column, 1.0, slope).tolist()) for column in mask.T]
        live = [gate for gate in gates if any(gate)]
        # Gates that never vary are one gate up to a factor.
        shapes = [gate if len(set(gate)) > 1 else "constant" for gate in live]
        expected = {
            "": sum(shapes.count(shape) > 1 for shape in shapes),
            "_distinct": len(set(shapes)),
            "_dead": len(gates) - len(live),
            "_linear": shapes.count("constant"),
        }
        for ending, number in expected.items():
            assert row[f"aligned_neurons{ending}_{layer}"] == number
            total[ending] += number
    for ending, number in total.items():
        assert row[f"aligned_neurons{ending}"] == number


# science, section 2.2: scalar output, X = 0..5; kinks, then rank, regions, different rows.
CASES = [
    ([(2.5, 1)], 3, 2, 1),
    ([(1.5, 1), (3.5, 1)], 5, 3, 2),
    ([(1.5, 1), (1.2, 1)], 3, 2, 1),
    ([(2.5, 1), (2.6, -1)], 4, 2, 2),
    ([(1.5, -1), (3.5, 1)], 5, 3, 2),
    ([(0.5, 1), (2.5, 1), (4.5, 1)], 6, 4, 3),
    ([(9.0, 1), (2.5, 1)], 3, 2, 1),
]


@pytest.mark.parametrize(("kinks", "rank", "regions", "rows"), CASES)
def test_cases_that_can_be_checked_by_hand(kinks, rank, regions, rows):
    weights = [[float(direction)] for _, direction in kinks]
    biases = [-where * direction for where, direction in kinks]
    network = pdm.Network.from_layers([weights, [[1.0] * len(kinks)]], [biases, [0.0]])
    names = ["local_dimension", "perceived_regions", "aligned_neurons"]
    (row,) = pdm.trace([network], np.arange(6.0)[:, np.newaxis], quantities=names)
    found = row["local_dimension"], row["perceived_regions"], row["aligned_neurons_distinct"]
    assert found == (rank, regions, rows)


def learning(steps=6, count=30):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((count, 5)), rng.integers(0, 3, count)
    network = pdm.Network.random((5, 6, 5, 3), rng=0, init="glorot")
    snapshots = list(sgd(network, X, y, steps=steps, rate=0.3, batch=16))
    return X, y, snapshots


def test_changes_and_drifts_are_from_the_previous_and_from_the_first_network():
    X, _, snapshots = learning()
    names = ["pattern_changes", "balances"]
    rows = pdm.trace(snapshots, {"a": X, "b": X[:7]}, quantities=names, at=[0, 2, 5, 6])
    chosen = [snapshots[step].network for step in (0, 2, 5, 6)]
    assert [row["step"] for row in rows[::2]] == [0, 2, 5, 6]
    for k, network in enumerate(chosen):
        for sample_name, S, row in (("a", X, rows[2 * k]), ("b", X[:7], rows[2 * k + 1])):
            assert row["sample"] == sample_name
            c, start = (np.concatenate(pdm.learning_space.balance(n)) for n in (network, chosen[0]))
            assert row["balances"] == np.abs(c).max()
            assert row["balances_drift"] == np.abs(c - start).max()
            assert row["balances_negative"] == sum(value < 0 for value in c.tolist())
            if k == 0:
                assert row["pattern_changes"] is row["pattern_changes_fraction"] is None
                continue
            masks, before = (
                np.concatenate(pdm.activation_pattern(n, S).masks, axis=1)
                for n in (network, chosen[k - 1])
            )
            count = sum(int(a != b) for a, b in zip(masks.flat, before.flat, strict=True))
            assert row["pattern_changes"] == count
            assert row["pattern_changes_fraction"] == count / masks.size
    assert sum(row["pattern_changes"] for row in rows[2:]) > 0
    assert rows[-1]["balances_drift"] > 0


def test_networks_of_another_architecture_have_nothing_to_compare_with():
    networks = [pdm.Network.random((3, n, 1), rng=0) for n in (2, 3, 3)]
    names = ["pattern_changes", "balances"]
    rows = pdm.trace(networks, np.eye(3), quantities=names)
    assert [row["pattern_changes"] for row in rows] == [None, None, 0]
    assert [row["balances_drift"] for row in rows] == [0.0, 0.0, 0.0]


def test_older_views_are_let_go():
    network, X = pdm.Network.random((3, 4, 1), rng=0), np.eye(3)
    first = View(network, X, 0)
    second = View(network, X, 0, previous=first)
    third = View(network, X, 0, previous=second)
    assert third.previous is second
    assert second.previous is None
    assert third.first is second.first is first is first.first


@pytest.mark.parametrize("output", ["affine", "softmax"])
@pytest.mark.parametrize("method", ["dense", "gram"])
def test_spectrum_is_that_of_the_dense_jacobian(method, output, monkeypatch):
    if method == "gram":
        monkeypatch.setattr(dimensions, "DENSE", 100)
    network = pdm.Network.random((5, 6, 4, 3), rng=0, bias_std=0.1)
    X = sample(network, 0, 40, integers=False)
    row = row_of(network, X, "spectrum", output)
    J = pdm.parameter_jacobian(network, X, output=output)
    values = np.linalg.svd(J, compute_uv=False)
    count = row["spectrum_resolved"]
    assert row["spectrum_method"] == method
    assert row["spectrum_largest"] == pytest.approx(values[0])
    assert row["spectrum_smallest"] == pytest.approx(values[count - 1], rel=1e-3)
    found = row_of(network, X, "local_dimension", output)
    assert count == found["local_dimension"] < len(values)
    assert row["spectrum_gap"] > 100
    assert row["spectrum_precision"] < 1e-6


def test_functional_dimension_is_that_of_the_function():
    network = pdm.Network.random((1, 3, 1), rng=0, bias_std=0.5)
    row = row_of(network, [[0.0]], "functional_dimension")
    found = pdm.functional_dimension(network)
    assert row["functional_dimension"] == found.value == 7
    assert row["functional_dimension_complete"] == found.complete


@given(networks(integers=False))
def test_weight_alignment_is_made_of_cosines(network):
    row = row_of(network, np.ones((1, network.widths[0])), "weight_alignment")
    means = []
    plain = oracles.describe(network)
    for layer in network.architecture.hidden_layers:
        vectors = [[] for _ in range(network.widths[layer])]
        for _, target, W in plain[2]:
            for i, weights in enumerate(W or [] if target == layer else []):
                vectors[i] += weights
        for i, b in enumerate(plain[3][layer] or []):
            vectors[i].append(b)
        vectors = [np.array(v) for v in vectors if any(v)]
        if len(vectors) < 2:
            assert row[f"weight_alignment_{layer}"] is None
            continue
        cosine = [
            [v @ w / np.sqrt((v @ v) * (w @ w)) for j, w in enumerate(vectors) if i != j]
            for i, v in enumerate(vectors)
        ]
        means.append(np.mean(np.abs(cosine)))
        assert row[f"weight_alignment_{layer}"] == pytest.approx(means[-1])
        nearest = np.mean([max(cosines) for cosines in cosine])
        assert row[f"weight_alignment_nearest_{layer}"] == pytest.approx(nearest)
        s = np.linalg.svd(np.array(vectors), compute_uv=False) ** 2
        directions = s.sum() ** 2 / (s**2).sum()
        assert row[f"weight_alignment_directions_{layer}"] == pytest.approx(directions)
    total = row["weight_alignment"]
    assert total == (pytest.approx(np.mean(means)) if means else None)


def test_aligned_weights_are_seen():
    W = np.outer([1.0, 2.0, 0.5, 0.0], [3.0, -1.0])
    network = pdm.Network.from_layers([W, np.ones((1, 4))])
    row = row_of(network, [[1.0, 1.0]], "weight_alignment")
    for ending in ("", "_1", "_nearest_1", "_directions_1"):
        assert row[f"weight_alignment{ending}"] == pytest.approx(1.0)


def test_single_jacobian_is_of_float32_all_along():
    network = pdm.Network.random((3, 6, 5, 2), rng=1, bias_std=0.5, slope=[0.1, 0.0])
    X = sample(network, 0, 9, integers=False)
    J, found = pdm.parameter_jacobian(network, X), single.single_jacobian(network, X)
    assert found.dtype == np.float32
    error = np.abs(found[J != 0] / J[J != 0] - 1.0).max()
    # Rounded only once, at the end, every entry would be right to half a unit of the last place.
    assert 2.0**-23 < error < 1e-3
    np.testing.assert_allclose(found, J, atol=1e-6 * np.abs(J).max())
    soft = single.single_jacobian(network, X, softmax=True).astype(float)
    outputs = pdm.outputs(network, X)
    q = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    slopes = np.array([np.diag(p) - np.outer(p, p) for p in q])
    expected = (slopes @ J.reshape(9, 2, -1)).reshape(18, -1)
    np.testing.assert_allclose(soft, expected, atol=1e-6 * np.abs(J).max())


@pytest.mark.compiled
@pytest.mark.parametrize("output", ["affine", "softmax"])
def test_the_float32_recipe_reports_more_than_there_can_be(output):
    """Widths 2-8-8-2 at 300 inputs: above P - H, which no exact rank exceeds."""
    network = pdm.Network.random((2, 8, 8, 2), rng=0, bias_std=0.1)
    X = np.random.default_rng(0).standard_normal((300, 2))
    names = ["local_dimension", "float32_rank"]
    (row,) = pdm.trace([network], X, quantities=names, outputs=[output])
    assert row["local_dimension"] <= row["P"] - row["H"] < row["float32_rank"]


def test_the_float32_matrix_must_fit():
    network = pdm.Network.random((3, 4, 2), rng=0)
    with pytest.raises(
        MemoryLimitError, match="memory must be at least 4160 bytes for this J, got"
    ):
        pdm.trace([network], np.ones((10, 3)), quantities=["float32_rank"], memory=4000)


def test_full_row_rank_implies_that_behind_a_softmax(monkeypatch):
    """And a proved local dimension the generic one: nothing is computed again."""
    network = pdm.Network.random((6, 8, 3), rng=0)
    X = sample(network, 0, 4, integers=False)
    names, calls = ["local_dimension", "flatness", "generic_dimension"], []

    def counted(*arguments, **options):
        calls.append(options["output"])
        return pdm.local_dimension(*arguments, **options)

    monkeypatch.setattr(view, "local_dimension", counted)
    monkeypatch.setattr(view, "generic_dimension", None)
    affine, soft = pdm.trace([network], X, quantities=names, outputs=["affine", "softmax"])
    assert calls == ["affine"]
    assert (affine["local_dimension"], affine["local_dimension_bound"]) == (12, "outputs")
    computed = pdm.local_dimension(network, X, output="softmax")
    assert (soft["local_dimension"], soft["local_dimension_kind"]) == (8, "proved")
    assert (computed.value, computed.kind) == (8, "proved")
    for name in ("lower", "upper"):
        assert soft[f"local_dimension_{name}"] == getattr(computed, name)
    assert soft["local_dimension_bound"] == "outputs"
    assert soft["generic_dimension"] == 8


@pytest.mark.compiled
def test_every_quantity_has_columns_of_its_name_and_plain_values_in_one_table():
    networks = [pdm.Network.random((2, 3, 2), rng=seed, bias_std=0.5) for seed in range(2)]
    X = sample(networks[0], 0, 6, integers=False)
    rows = pdm.trace(
        networks, {"train": X, "few": X[:3]}, quantities=NAMES[::-1], outputs=["softmax", "affine"]
    )
    assert len(rows) == 2 * 2 * 2
    assert [(row["sample"], row["output"]) for row in rows[:3]] == [
        ("train", "softmax"),
        ("train", "affine"),
        ("few", "softmax"),
    ]
    for row in rows:
        assert list(row) == list(rows[0])
        assert all(v is None or type(v) in (int, float, str, bool) for v in row.values())
    for name in NAMES:
        assert any(column.startswith(name) for column in rows[0])
    places = [next(i for i, c in enumerate(rows[0]) if c.startswith(name)) for name in NAMES]
    assert places == sorted(places, reverse=True)


def test_every_quantity_is_explained():
    for name in NAMES:
        assert f'"{name}"' in pdm.trace.__doc__


def same_but(rows, *left_out):
    return [{k: v for k, v in row.items() if k not in left_out} for row in rows]


def test_sources_of_all_kinds_give_the_same_table(tmp_path):
    X, _, snapshots = learning(steps=3, count=6)
    run = partial(pdm.trace, inputs=X, quantities=["local_dimension", "pattern_changes"])
    nets = [s.network for s in snapshots]
    thetas = np.array([net.theta for net in nets])
    expected = run(iter(nets))
    assert [row["step"] for row in expected] == [0, 1, 2, 3]
    known = run(snapshots)
    assert [(row["loss"], row["accuracy"], row["epoch"]) for row in known] == [
        (s.loss, s.accuracy, s.epoch) for s in snapshots
    ]
    assert same_but(known, "loss", "accuracy", "epoch") == expected
    assert run(thetas, architecture=nets[0].architecture) == expected
    assert run(thetas.tolist(), architecture=(5, 6, 5, 3)) == expected
    assert run(dict(enumerate(nets))) == expected
    assert [row["step"] for row in run({10: nets[0], 5: nets[1]})] == [10, 5]
    names = ["epoch_0_step_7.npz", "epoch_1_step_9.npz", "epoch_2_step_10.npz", "last.npz"]
    for net, name in zip(nets, names, strict=True):
        pdm.save(net, tmp_path / name)
    (tmp_path / ".hidden").write_text("not a network")
    (tmp_path / "folder").mkdir()
    for folder in (tmp_path, os.fspath(tmp_path)):
        found = run(folder)
        assert [row["file"] for row in found] == names
        assert [(row["step"], row["epoch"]) for row in found] == [
            (7, 0),
            (9, 1),
            (10, 2),
            (None, None),
        ]
        assert same_but(found, "file", "step", "epoch") == same_but(expected, "step")
    assert run([tmp_path / name for name in names]) == expected
    (tmp_path / "strange").mkdir()
    pdm.save(nets[0], tmp_path / "strange" / "\u00b21.npz")  # a digit for Python, no number
    assert [row["step"] for row in run(tmp_path / "strange")] == [1]
    # Only the files of those steps are read.
    (tmp_path / names[0]).write_bytes(b"damaged")
    assert [row["step"] for row in run(tmp_path, at=[9, 10, 11])] == [9, 10]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("step_100", (100, None)),
        ("epoch=2-step=300", (300, 2)),
        ("Step7_of_9", (7, None)),
        ("epoch003", (None, 3)),
        ("resnet18_v2_000050", (50, None)),
        ("checkpoint-500", (500, None)),
        ("final", (None, None)),
        ("ckpt-100-loss0.35", (100, None)),
        ("epoch_3_1200", (1200, 3)),
        ("epoch=3-val_loss=0.35", (None, 3)),
        ("checkpoint_2_iter_40_ep_1", (40, 1)),
        ("globalStep12-v1", (12, None)),
        ("net_7-acc0.9", (7, None)),
        ("\u00b21", (1, None)),
    ],
)
def test_steps_and_epochs_are_found_in_names(name, expected):
    assert numbers(name) == expected


def test_own_snapshots_functions_and_progress():
    network = pdm.Network.random((2, 3, 2), rng=0)
    seen = []
    functions = {
        "norm": lambda network, X: np.linalg.norm(network.theta),
        "size": lambda network, X: {"": X.shape[0], "columns": np.int64(X.shape[1])},
        "rank": lambda network, X: pdm.local_dimension(network, X),
    }
    rows = pdm.trace(
        [Snapshot(30, network, 0.5)],
        [[1, 2]],
        quantities=[],
        functions=functions,
        progress=seen.append,
    )
    (row,) = rows
    assert seen == rows
    assert (row["step"], row["loss"], row["epoch"]) == (30, 0.5, None)
    assert row["norm"] == np.linalg.norm(network.theta)
    assert (row["size"], row["size_columns"]) == (1, 2)
    assert (row["rank"], row["rank_kind"]) == (2, "proved")


NETWORK = pdm.Network.random((2, 3, 2), rng=0)
BAD = [
    (
        {"snapshots": NETWORK},
        KindError,
        "snapshots must be a folder or an iterable .*, got Network",
    ),
    ({"snapshots": 5}, KindError, "snapshots must be a folder or an iterable of .*, got int"),
    ({"snapshots": "nowhere"}, FileError, "snapshots must be an existing folder, got 'nowhere'"),
    ({"snapshots": {"a": NETWORK}}, KindError, "steps of snapshots must be an integer, got 'a'"),
    ({"snapshots": np.ones((2, 9))}, KindError, "architecture must be given for parameter vectors"),
    ({"architecture": (2, 3, 1), "snapshots": [[0.0]]}, ShapeError, "theta must have shape"),
    ({"inputs": [1.0]}, ShapeError, r"inputs must have shape \(N, n_0\), got \(1,\)"),
    ({"inputs": {"a": [[1.0]]}}, ShapeError, r"inputs a must have shape \(N, 2\), got \(1, 1\)"),
    ({"inputs": {}}, ArgumentError, "inputs must hold a sample, got an empty mapping"),
    ({"inputs": {1: [[1.0]]}}, KindError, "inputs must have names that are strings, got 1"),
    ({"quantities": ["rank"]}, ArgumentError, "quantities must be one of local_dimension, gen"),
    ({"quantities": "flatness"}, KindError, "quantities must be a sequence, got 'flatness'"),
    ({"outputs": ["tanh"]}, ArgumentError, "outputs must be one of affine, softmax, got 'tanh'"),
    ({"at": [-1]}, ArgumentError, "at must be at least 0, got -1"),
    ({"at": [5, 7]}, ArgumentError, "at must hold steps that there are, 0, got 5, 7"),
    ({"at": [5], "snapshots": []}, ArgumentError, "steps that there are, none, got 5"),
    ({"at": [50], "snapshots": [NETWORK] * 12}, ArgumentError, r"0, 1, .*, 9, \.\.\., got 50"),
    ({"at": 3}, KindError, "at must be a sequence, got 3"),
    ({"functions": [len]}, KindError, "functions must be a mapping, got list"),
    ({"functions": {"a": 3}}, KindError, "functions must be callables by name, got 'a': 3"),
    ({"functions": {"flatness": len}}, ArgumentError, "functions must not be named as quanti"),
    ({"functions": {"step": len}}, ArgumentError, "quantities or other columns are, got 'step'"),
    (
        {"functions": {"local_dimension_kind": lambda network, X: 1}},
        ArgumentError,
        "functions must give new columns, got 'local_dimension_kind' twice",
    ),
    (
        {"functions": {"n": lambda network, X: {"L": 1}}},
        ArgumentError,
        "functions must give new columns, got 'n_L' twice",
    ),
    ({"progress": 3}, KindError, "progress must be callable, got 3"),
    ({"memory": "much"}, ArgumentError, "memory must be a positive number of bytes"),
    ({"rng": -1}, ArgumentError, "rng must be at least 0, got -1"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_arguments_are_refused(change, error, message):
    arguments = {"snapshots": [NETWORK], "inputs": [[1.0, 2.0]], **change}
    with pytest.raises(error, match=message):
        pdm.trace(arguments.pop("snapshots"), arguments.pop("inputs"), **arguments)


def test_an_empty_folder_and_values_that_are_not_plain_are_refused(tmp_path):
    with pytest.raises(
        FileError, match=r"snapshots must be a folder with files, got .* without any"
    ):
        pdm.trace(tmp_path, [[1.0, 2.0]])
    with pytest.raises(KindError, match=r"a must be a number, text, a Rank or .*, got ndarray"):
        pdm.trace([NETWORK], [[1.0, 2.0]], functions={"a": lambda network, X: X})
    with pytest.raises(KindError, match=r"b must be a number, text, .*, got SimpleNamespace"):
        columns("b", SimpleNamespace())
