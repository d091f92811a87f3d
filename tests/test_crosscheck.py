"""Cross-checks of plain arrays: faults are named, correct Jacobians never are."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patterndim as pdm
from patterndim import cli
from patterndim.errors import (
    ArgumentError,
    KindError,
    MemoryLimitError,
    MismatchError,
    NonFiniteError,
    PatterndimError,
    ShapeError,
)
from patterndim.formats import read
from tests.planted import PLANTED, Pipeline, join, mantissa, softmax, transposed
from tests.strategies import networks, sample

FEW = ("W2 transposed", "bias first", "last batch zero", "slope 0.2", "one entry wrong", "TF32")


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline()


@pytest.mark.parametrize(
    "planted",
    [
        pytest.param(p, id=p.title, marks=[] if p.title in FEW else pytest.mark.compiled)
        for p in PLANTED
    ],
)
def test_planted_faults_are_found_and_named(planted, pipeline):
    found = pdm.crosscheck(pipeline.network, pipeline.X, planted.plant(pipeline), ranks=False)
    assert not found.agrees
    assert [fault.name for fault in found.faults] == [planted.name]
    assert planted.says in found.faults[0].message
    assert f"FAULT  {planted.name}: " in str(found)


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(1, 4))
def test_faults_are_named_on_other_networks(seed):
    pipeline = Pipeline(seed)
    for planted in PLANTED:
        found = pdm.crosscheck(pipeline.network, pipeline.X, planted.plant(pipeline), ranks=False)
        assert [fault.name for fault in found.faults] == [planted.name], planted.title


@pytest.mark.compiled
@settings(max_examples=60)
@given(networks(), st.integers(0, 2**32), st.booleans())
def test_correct_jacobians_agree_in_every_precision(network, rng, integers):
    X = sample(network, rng, 5, integers)
    J = pdm.parameter_jacobian(network, X)
    for values in (J, J.astype(np.float32), mantissa(J, 11), mantissa(J, 8)):
        found = pdm.crosscheck(network, X, values, precision="bfloat16", ranks=False)
        assert found.agrees, found
    noise = 1 + 2.0**-53 * np.random.default_rng(rng).uniform(-4, 4, J.shape)
    assert pdm.crosscheck(network, X, J * noise, ranks=False).agrees


@settings(max_examples=10)
@given(networks(max_width=3, max_hidden=2), st.integers(0, 2**32))
def test_a_sound_jacobian_is_never_at_fault(network, rng):
    X = sample(network, rng, 4, False)
    found = pdm.crosscheck(network, X, pdm.parameter_jacobian(network, X), ranks=False)
    assert found.verdict == "agrees to float64"
    assert found.blocks
    assert all(block.wrong == 0 for block in found.blocks)


@pytest.mark.compiled
@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([(0.0, True), (0.2, True), (0.0, False)]))
def test_wrong_masks_are_found(rng, kind):
    """Forward and backward through one wrong mask at each of two inputs."""
    generator, (slope, bias) = np.random.default_rng(rng), kind
    network = pdm.Network.random((3, 5, 6, 2), rng=generator, init="torch", slope=slope, bias=bias)
    X = generator.normal(size=(7, 3))
    masks = [mask.copy() for mask in pdm.activation_pattern(network, X).masks]
    flips = [(1, 1, int(generator.integers(5))), (4, 2, int(generator.integers(6)))]
    for n, layer, i in flips:
        masks[layer - 1][n, i] ^= True
    J = from_masks(network, X, masks)
    right = pdm.parameter_jacobian(network, X).reshape(J.shape)
    if min(np.abs(J - right)[n].max() for n, _, _ in flips) < 1e-6:
        return  # a dead input: no trace
    found = pdm.crosscheck(network, X, J, ranks=False)
    assert [fault.name for fault in found.faults] == ["wrong masks"]
    assert [(p.sample, p.layer, p.neuron) for p in found.masks] == flips
    for place in found.masks:
        mask = masks[place.layer - 1][place.sample, place.neuron]
        assert place.factor == (1.0 if mask else slope)
        assert place.sign == np.sign(place.preactivation) == (-1 if mask else 1)


def from_masks(network, X, masks, slopes=None):
    """Jacobian (N, n_L, P) of a multilayer perceptron with any masks, input by input."""
    slopes = (
        [layer.slope for layer in network.architecture.layers[1:-1]] if slopes is None else slopes
    )
    a, rows = network.architecture, []
    for n, x in enumerate(X):
        gates = [np.where(mask[n], 1.0, s) for mask, s in zip(masks, slopes, strict=True)]
        h = [x]
        for v, gate in enumerate(gates):
            b = network.biases[v]
            h.append((network.weights[v] @ h[-1] + (0 if b is None else b)) * gate)
        B = np.eye(network.widths[-1])
        J = np.empty((network.widths[-1], network.parameter_count))
        for v in range(len(gates), -1, -1):
            J[:, a.weight_slices[v]] = (B[:, :, None] * h[v]).reshape(len(J), -1)
            if a.bias_slices[v + 1] is not None:
                J[:, a.bias_slices[v + 1]] = B
            if v:
                B = (B @ network.weights[v]) * gates[v - 1]
        rows.append(J)
    return np.array(rows)


def test_a_slope_for_every_neuron_is_another_activation(pipeline):
    slopes = np.random.default_rng(0).uniform(0.1, 0.9, (2, 6))
    masks = pdm.activation_pattern(pipeline.network, pipeline.X).masks
    J = from_masks(pipeline.network, pipeline.X, masks, slopes)
    found = pdm.crosscheck(pipeline.network, pipeline.X, J, ranks=False)
    assert found.faults[0].name == "wrong activation"
    assert "are not those of this activation" in found.faults[0].message
    for place in found.masks:
        if place.layer == 1 and place.sign < 0:
            assert place.factor == pytest.approx(slopes[0, place.neuron], rel=1e-9)


def test_a_forward_pass_of_another_network_is_a_fault(pipeline, files):
    imported = read(files / "network.npz")
    right = replace(imported, outputs=lambda X: pdm.outputs(imported.network, X))
    assert pdm.crosscheck(right, pipeline.X, pipeline.J(), ranks=False).agrees
    wrong = replace(imported, outputs=lambda X: pdm.outputs(imported.network, 1.001 * X))
    found = pdm.crosscheck(wrong, pipeline.X, pipeline.J(), ranks=False)
    assert [fault.name for fault in found.faults] == ["forward pass"]
    assert "samples 0 to 19, by up to" in found.faults[0].message


def test_two_faults_at_once_are_both_named(pipeline):
    blocks = [transposed(b) if b.ndim == 4 else b for b in pipeline.blocks()]
    both = pdm.crosscheck(pipeline.network, pipeline.X, join(blocks)[:15], ranks=False)
    assert [f.name for f in both.faults] == ["missing samples", "column-major weights"]
    single = softmax(pipeline).astype(np.float32)
    both = pdm.crosscheck(pipeline.network, pipeline.X, single, ranks=False)
    assert [f.name for f in both.faults] == ["softmax left in", "float32 precision"]


def test_the_worst_entry_and_the_errors_of_blocks(pipeline):
    J = pipeline.J()
    where = pipeline.network.architecture.weight_slices[1]
    J[4, 2, where.start + 6 * 3 + 5] += 0.25
    found = pdm.crosscheck(pipeline.network, pipeline.X, J, ranks=False)
    worst = found.worst
    assert (worst.layer, worst.parameter, worst.index) == (2, "W2", (3, 5))
    assert (worst.sample, worst.output) == (4, 2)
    assert worst.given - worst.expected == pytest.approx(0.25)
    blocks = {block.parameter: block for block in found.blocks}
    assert list(blocks) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    assert [blocks[name].wrong for name in blocks] == [0, 0, 1, 0, 0, 0]
    assert blocks["W2"].error == pytest.approx(0.25)
    assert blocks["W2"].units > found.allowed > blocks["W1"].units
    assert found.eps == 2.0**-52
    assert "W2[3, 5] (layer 2), sample 4, output 2" in str(found)


def test_jacobians_in_every_container(pipeline):
    names = ["W1", "b1", "W2", "b2", "W3", "b3"]
    blocks = pipeline.blocks()
    rows = [block.reshape(60, *block.shape[2:]) for block in blocks]
    J = pipeline.J()
    for jacobian in (
        dict(zip(names, blocks, strict=True)),
        dict(zip(names[::-1], blocks[::-1], strict=True)),
        dict(zip(names, rows, strict=True)),
        [(blocks[0], blocks[1]), (blocks[2], blocks[3]), blocks[4:]],
        rows,
        J.reshape(60, -1).tolist(),
        np.asfortranarray(J),
        lambda X: J,
        lambda X, chunk=3: J if X.shape == (20, 5) else None,
        lambda theta, X, chunk=3: J if theta.shape == (99,) else None,
    ):
        assert pdm.crosscheck(pipeline.network, pipeline.X, jacobian, ranks=False).agrees
    one = pdm.Network.random((5, 4, 1), rng=0)
    J = pdm.parameter_jacobian(one, pipeline.X)
    assert pdm.crosscheck(one, pipeline.X, J, ranks=False).agrees
    assert pdm.crosscheck(one, pipeline.X, J[:, None, :], ranks=False).agrees


def test_a_required_precision_may_be_given(pipeline):
    J = pipeline.J().astype(np.float32)
    assert not pdm.crosscheck(pipeline.network, pipeline.X, J, ranks=False)
    found = pdm.crosscheck(pipeline.network, pipeline.X, J, precision="float32", ranks=False)
    assert found.verdict == "agrees to float32"
    wide = J.astype(np.float64)
    found = pdm.crosscheck(pipeline.network, pipeline.X, wide, precision="float32", ranks=False)
    assert found.agrees
    assert "float32 entries in a float64 array" in found.notes[0]


def test_masks_that_rounding_cannot_tell_are_no_fault():
    """The preactivation of one neuron is 2^-30: float32 sees a zero, or less."""
    W, b = [[1.0, 1.0], [1.0, -1.0]], [-1.0, 0.5]
    network = pdm.Network.from_layers([W, [[1.0, 2.0], [0.3, 1.0]]], [b, [0.0, 0.0]])
    X = np.array([[0.5, 0.5 + 2.0**-30], [0.1, 0.7], [2.0, 1.3]])
    masks = [mask.copy() for mask in pdm.activation_pattern(network, X).masks]
    assert masks[0][0, 0]
    masks[0][0, 0] = False
    J = from_masks(network, X, masks)
    found = pdm.crosscheck(network, X, J.astype(np.float32), precision="float32", ranks=False)
    assert found.verdict == "agrees to float32"
    place = found.masks[0]
    assert (place.sample, place.layer, place.neuron) == (0, 1, 0)
    assert (place.sign, place.factor, place.rounding) == (1, 0.0, True)
    assert place.preactivation == pytest.approx(2.0**-30)
    assert "within rounding" in str(found)
    found = pdm.crosscheck(network, X, J, ranks=False)
    assert [fault.name for fault in found.faults] == ["wrong masks"]


def test_one_mask_at_a_tie_is_told_from_all_of_them():
    network = pdm.Network.from_layers([[[1.0], [2.0]], [[1.0, 3.0]]], [[0.0, 0.0], [0.0]])
    X = np.array([[0.0], [1.0], [-1.0]])
    masks = [mask.copy() for mask in pdm.activation_pattern(network, X).masks]
    masks[0][0, 1] = True
    found = pdm.crosscheck(network, X, from_masks(network, X, masks), ranks=False)
    assert [fault.name for fault in found.faults] == ["wrong mask at a tie"]
    assert "1 at 1 of 2 exact zeros: at sample 0, layer 1, neuron 1" in found.faults[0].message
    assert found.ties == 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda J: J[:7], ShapeError, r"jacobian must have shape \(60, 99\) or \(20, 3, 99\), got"),
        (lambda J: J[:, 0], ShapeError, r"jacobian must have shape .*, got \(60,\)"),
        (lambda J: J[None, None], ShapeError, "jacobian must have shape"),
        (lambda J: J + 1j, KindError, "jacobian must hold real numbers, got dtype complex128"),
        (lambda J: J.astype(str), KindError, "jacobian must hold real numbers"),
        (lambda J: {}, ShapeError, "jacobian must hold arrays, got none"),
        (lambda J: {"W9": J}, ShapeError, r"jacobian must have keys of parameters \(W1, .*'W9'"),
        (lambda J: {"W1": J}, ShapeError, "jacobian must have blocks of shape"),
    ],
)
def test_unusable_jacobians_are_refused_in_one_line(pipeline, change, error, message):
    J = pipeline.J().reshape(60, -1)
    with pytest.raises(error, match=message) as raised:
        pdm.crosscheck(pipeline.network, pipeline.X, change(J), ranks=False)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, PatterndimError)


def test_other_arguments_are_refused(pipeline, monkeypatch):
    J = pipeline.J()
    with pytest.raises(ShapeError, match=r"inputs must have shape \(N, 5\)"):
        pdm.crosscheck(pipeline.network, pipeline.X[:, :3], J)
    with pytest.raises(NonFiniteError, match="inputs must be finite"):
        pdm.crosscheck(pipeline.network, pipeline.X * np.inf, J)
    with pytest.raises(ArgumentError, match="precision must be one of float64"):
        pdm.crosscheck(pipeline.network, pipeline.X, J, precision="double")
    with pytest.raises(KindError, match="source must be a path or a network"):
        pdm.crosscheck(3, pipeline.X, J)
    with pytest.raises(MemoryLimitError, match=r"give the Jacobian of 2 inputs, or a function"):
        pdm.crosscheck(pipeline.network, pipeline.X, J, memory=100_000)
    with pytest.raises(MemoryLimitError, match="memory must be at least 38016 bytes here"):
        pdm.crosscheck(pipeline.network, pipeline.X, lambda X: J, memory=1000)
    monkeypatch.setattr("patterndim.comparison.autodiff.find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match=r"jacobian must be given .* JAX is not installed"):
        pdm.crosscheck(pipeline.network, pipeline.X)


@pytest.mark.compiled
def test_parameters_of_one_name_are_refused(pipeline):
    pytest.importorskip("jax")
    weights, biases = pipeline.network.weights, pipeline.network.biases
    imported = read([(W.T, b) for W, b in zip(weights, biases, strict=True)])
    assert pdm.crosscheck(imported, pipeline.X, ranks=False).agrees
    same = tuple(replace(parameter, name="w") for parameter in imported.parameters)
    with pytest.raises(ShapeError, match="model must have one name per parameter, got a name"):
        pdm.crosscheck(replace(imported, parameters=same), pipeline.X)


def test_little_memory_takes_some_of_the_inputs(pipeline):
    def jacobian(X):
        return pipeline.J(X=X)

    options = {"ranks": False, "memory": 310_000}
    found = pdm.crosscheck(pipeline.network, pipeline.X, jacobian, rng=3, **options)
    assert found.agrees
    assert found.inputs == 8
    assert found.notes[0].startswith("8 of 20 inputs were drawn at random")
    assert found.notes[0] in str(found)


def test_assertions_name_the_fault(pipeline):
    pdm.assert_jacobian_matches(pipeline.network, pipeline.X, pipeline.J())
    with pytest.raises(
        AssertionError, match="jacobian does not agree: softmax left in\n"
    ) as raised:
        pdm.assert_jacobian_matches(pipeline.network, pipeline.X, softmax(pipeline))
    assert isinstance(raised.value, MismatchError)
    assert "largest error" in str(raised.value)


@pytest.mark.compiled
def test_ranks_of_recipes_stand_beside_the_exact_one(pipeline, monkeypatch):
    X = np.random.default_rng(2).normal(size=(60, 5))
    J = pipeline.J(X=X)
    found = pdm.crosscheck(pipeline.network, X, J)
    exact = pdm.local_dimension(pipeline.network, X)
    assert found.dimension == exact
    rows = J.reshape(180, -1)
    wide = rows.astype(np.float32).astype(np.float64)
    assert [rank.value for rank in found.ranks] == [
        np.linalg.matrix_rank(rows.astype(np.float32)),
        np.linalg.matrix_rank(wide),
        np.linalg.matrix_rank(rows),
    ]
    assert found.ranks[1].value > exact.value == found.ranks[2].value
    assert f"{exact.value}   exact arithmetic, {exact.kind}" in str(found)
    monkeypatch.setattr("patterndim.comparison.recipes.AFFORDABLE", 1.0)
    found = pdm.crosscheck(pipeline.network, X, J)
    assert (found.ranks, found.dimension) == ((), exact)
    assert "ranks=True finds them" in found.notes[0]


@pytest.fixture
def files(tmp_path, pipeline):
    pdm.save(pipeline.network, tmp_path / "network.npz")
    np.save(tmp_path / "X.npy", pipeline.X)
    np.save(tmp_path / "J.npy", pipeline.J())
    np.save(tmp_path / "bad.npy", -pipeline.J())
    return tmp_path


@pytest.mark.compiled
def test_the_command_prints_a_table_or_json(files, capsys):
    paths = ["crosscheck", str(files / "network.npz"), str(files / "X.npy"), "--jacobian"]
    assert cli.main([*paths, str(files / "J.npy")]) == 0
    out, err = capsys.readouterr()
    assert "W1" in out
    assert out.startswith("Agrees to float64\n.npz archive 5-6-6-3, P = 99, H = 12, on 20 inputs")
    assert "exact arithmetic" in out
    assert err == ""
    assert cli.main([*paths, str(files / "bad.npy"), "--json", "--no-ranks"]) == 1
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["faults"][0]["name"] == "sign flipped"
    assert found["widths"] == [5, 6, 6, 3]
    assert found["dimension"] is None
    assert found["agrees"] is False
    assert cli.main([*paths, str(files / "J.npy"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["dimension"]["kind"] in ("proved", "probable")
    assert len(found["ranks"]) == 3
    assert cli.main([*paths, str(files / "missing.npy")]) == 2
    assert capsys.readouterr().err.startswith("patterndim: error: source must be a readable .npy")


@pytest.mark.compiled
def test_the_command_asks_jax_for_a_jacobian(files, capsys):
    pytest.importorskip("jax")
    assert cli.main(["crosscheck", str(files / "network.npz"), str(files / "X.npy")]) == 0
    assert "Jacobian: jax.jacrev, float64" in capsys.readouterr().out


@pytest.mark.parametrize(
    "plant", [lambda J: -J, lambda J: 0 * J, lambda J: 3 * J], ids=["-1", "0", "3"]
)
def test_entries_in_float16_are_compared(pipeline, plant):
    for J, agrees in ((pipeline.J(), True), (plant(pipeline.J()), False)):
        half = J.astype(np.float16)
        found = pdm.crosscheck(pipeline.network, pipeline.X, half, precision="float16", ranks=False)
        assert found.agrees is agrees, found


@pytest.mark.parametrize("named", [True, False])
def test_blocks_have_the_shapes_of_their_source(pipeline, named):
    """Here (in, out): all of them as theta has them are all transposed."""
    network, N, K = pipeline.network, len(pipeline.X), pipeline.network.widths[-1]
    model = read([(W.T, b) for W, b in zip(network.weights, network.biases, strict=True)])
    right, turned = {}, {}
    for p in model.parameters:
        block = pipeline.J()[..., p.start : p.stop].reshape(N, K, *p.shape[::-1])
        turned[p.name] = block
        right[p.name] = block.swapaxes(2, 3) if p.transposed else block
    assert any(p.transposed for p in model.parameters)
    for blocks, faults in ((right, []), (turned, ["transposed weight"])):
        given = blocks if named else list(blocks.values())
        found = pdm.crosscheck(model, pipeline.X, given, ranks=False)
        assert [fault.name for fault in found.faults] == faults, found
        assert all(block.wrong == 0 for block in found.blocks) is found.agrees


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("factor", [1e307, 1e-300, 5e-324])
def test_factors_near_the_ends_of_the_numbers(pipeline, factor):
    found = pdm.crosscheck(pipeline.network, pipeline.X, pipeline.J() * factor, ranks=False)
    assert [fault.name for fault in found.faults] == ["scaled"]
    assert len(found.faults[0].message) < 60


def test_a_jacobian_of_the_largest_numbers_is_at_fault(pipeline):
    J = pipeline.J()
    found = pdm.crosscheck(pipeline.network, pipeline.X, np.sign(J) * 1.7e308, ranks=False)
    assert [fault.name for fault in found.faults] == ["unexplained"]


def test_a_factor_of_zero_between_inputs_is_no_division():
    network = pdm.Network.from_layers([[[1.0]]], [[0.0]])
    found = pdm.crosscheck(network, [[1], [2]], [[2, 1], [-1, 1]], ranks=False)
    assert [fault.name for fault in found.faults] == ["wrong inputs"]


def test_a_jacobian_must_be_an_array_without_gaps(pipeline):
    with pytest.raises(ShapeError, match="jacobian must be a rectangular array, got"):
        pdm.crosscheck(pipeline.network, pipeline.X, [[1, 2], [3]])
    with pytest.raises(KindError, match="jacobian must not have masked entries"):
        pdm.crosscheck(pipeline.network, pipeline.X, np.ma.masked_less(pipeline.J(), 0.0))


def test_one_dead_input_in_several_places(pipeline):
    J = pipeline.J()[[0, 1, 2, 0, 0]]
    found = pdm.crosscheck(pipeline.network, pipeline.X[:5], J, ranks=False)
    assert found.faults[0].message == "sample 0 stands in several places"


@pytest.mark.parametrize(("precision", "factor"), [("bfloat16", 1.1), ("TF32", 0.99)])
def test_a_factor_does_not_hide_in_a_coarse_precision(pipeline, precision, factor):
    options = {"precision": precision, "ranks": False}
    bits = {"bfloat16": 8, "TF32": 11}[precision]
    assert pdm.crosscheck(pipeline.network, pipeline.X, mantissa(pipeline.J(), bits), **options)
    found = pdm.crosscheck(pipeline.network, pipeline.X, pipeline.J() * factor, **options)
    assert [str(fault) for fault in found.faults] == [
        f"scaled: all entries are multiplied by {factor}"
    ]
