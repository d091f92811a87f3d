"""What stands behind the outputs: softmax and heads given by their Jacobians."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patterndim as pdm
from patterndim import plan
from patterndim.bounds import input_bound, output_bound, parameter_bound, region_bound
from patterndim.dyadic import null_vectors
from patterndim.errors import ArgumentError, KindError, NonFiniteError, ShapeError
from patterndim.frozen import FrozenJacobian
from patterndim.heads import Head, softmax_jacobian
from patterndim.redundancy import symmetry_bound
from tests import oracles
from tests.strategies import networks, sample

STYLES = ("integers", "fractions", "sparse", "product", "kernel", "one row")


def head_of(style, rng, inputs, outputs, each):
    """Random head, (k, n_L) or (N, k, n_L), of one of several structures."""
    lead = (inputs,) if each else ()
    k = 1 if style == "one row" else int(rng.integers(1, outputs + 2))
    C = rng.integers(-3, 4, (*lead, k, outputs)).astype(float)
    if style == "fractions":
        C *= 2.0 ** rng.integers(-60, 60, C.shape)
    elif style == "sparse":
        C *= rng.random(C.shape) < 0.4
        C[..., rng.random(outputs) < 0.3] = 0.0
    elif style == "product":
        C = C[..., :1] @ rng.integers(-3, 4, (*lead, 1, outputs))
    elif style == "kernel":  # some combination of outputs that no input shows
        w = rng.integers(-2, 3, outputs).astype(float)
        C = C @ (np.dot(w, w) * np.eye(outputs) - np.outer(w, w))
    return C


heads = st.tuples(st.sampled_from(STYLES), st.booleans(), st.integers(0, 1000))


@settings(max_examples=50)
@given(networks(max_hidden=2), heads)
def test_ranks_behind_a_head_are_those_of_fractions_and_all_bounds_hold(network, head):
    style, each, seed = head
    rng, outputs = np.random.default_rng(seed), network.widths[-1]
    X = sample(network, seed, int(rng.integers(1, 9)))
    X = X[rng.integers(0, len(X), len(X))]  # some inputs twice
    C = head_of(style, rng, len(X), outputs, each)
    rank = oracles.rational_rank(oracles.behind(C, oracles.jacobian(network, X, Fraction)))
    dimension = pdm.local_dimension(network, X, output=C)
    assert dimension.value == rank <= dimension.upper
    assert (dimension.kind == "proved") == (rank == dimension.upper)
    generic = pdm.generic_dimension(network, X, output=C)
    assert rank <= generic.value <= generic.upper
    assert generic.value <= pdm.dimension_bound(network, X, output=C).value
    if not each:
        assert generic.value <= pdm.dimension_bound(network, output=C).value
        one = pdm.local_dimensions(network.architecture, [network.theta], X, output=C)[0]
        assert one.value == rank


@pytest.mark.compiled
@settings(max_examples=60)
@given(networks(max_width=3, max_hidden=2), heads)
def test_every_bound_holds_where_there_are_more_rows_than_parameters(network, head):
    style, each, seed = head
    rng, architecture = np.random.default_rng(seed), network.architecture
    network = network.replace(theta=rng.integers(-20, 21, network.parameter_count))
    X = sample(network, seed, 50)
    C = head_of("integers" if style == "fractions" else style, rng, 50, network.widths[-1], each)
    if each:
        C[: rng.integers(0, 50)] = 0.0
    # Integers: exact in float64, and so is the rank of them modulo a prime a lower bound.
    rank = oracles.flint_rank(pdm.parameter_jacobian(network, X, output=C), 8_388_593)
    read = Head.of(C, network.widths[-1], 50)
    frozen = FrozenJacobian.build(architecture, X, pdm.activation_pattern(network, X), read)
    for bound in (
        output_bound(X, read),
        parameter_bound(architecture, X, frozen.passing, read),
        region_bound(architecture, X, frozen.pattern, read),
        input_bound(X, frozen.pattern, read),
        symmetry_bound(frozen, rng),
        pdm.dimension_bound(network, X, output=C),
        pdm.dimension_bound(network, output=C if C.ndim == 2 else np.eye(network.widths[-1])),
    ):
        assert rank <= bound.value, bound
    assert pdm.local_dimension(network, X, output=C).value == rank


@settings(max_examples=20)
@given(networks(max_hidden=2), heads)
def test_what_a_head_hides_is_explained(network, head):
    style, each, seed = head
    X = sample(network, seed, 6)
    C = head_of(style, np.random.default_rng(seed), 6, network.widths[-1], each)
    found = pdm.explain(network, X, output=C, probes=0)
    assert found.count() == found.deficit
    assert found.dimension == pdm.local_dimension(network, X, output=C)
    space = pdm.null_space(network, X, output=C)
    J = pdm.parameter_jacobian(network, X, output=C)
    assert space.dimension.value == found.dimension.value
    assert len(space.basis) == found.deficit
    assert np.abs(J @ space.basis.T).max(initial=0.0) <= 1e-9 * max(np.abs(J).max(), 1.0)


@settings(max_examples=15)
@given(networks(integers=False), st.booleans(), st.integers(0, 1000))
def test_all_floats_come_from_the_same_matrix(network, each, seed):
    X = sample(network, seed, 5, integers=False)
    rng = np.random.default_rng(seed)
    C = rng.standard_normal((5, 3, network.widths[-1])) if each else np.eye(network.widths[-1])[:1]
    for output in (C, "softmax"):
        D = output
        if output is not C:
            D = softmax_jacobian(pdm.outputs(network, X))
        plain = pdm.parameter_jacobian(network, X)
        whole = plain.reshape(5, network.widths[-1], -1)
        expected = (D @ whole).reshape(-1, network.parameter_count)
        scale = 1e-12 * max(np.abs(plain).max(), 1.0)
        J = pdm.parameter_jacobian(network, X, output=output)
        np.testing.assert_allclose(J, expected, rtol=0, atol=scale)
        operator = pdm.jacobian_operator(network, X, output=output)
        V, U = rng.standard_normal((J.shape[1], 3)), rng.standard_normal((J.shape[0], 3))
        np.testing.assert_allclose(operator @ V, J @ V, rtol=1e-9, atol=1e3 * scale)
        np.testing.assert_allclose(operator.T @ U, J.T @ U, rtol=1e-9, atol=1e3 * scale)
        K = pdm.ntk(network, X, output=output)
        np.testing.assert_allclose(K, J @ J.T, rtol=1e-9, atol=1e-9 * np.abs(J).max() ** 2)
        flat = pdm.flatness(network, X, output=output)
        assert flat.jacobian.trace == pytest.approx(np.sum(J**2), rel=1e-9, abs=1e-20)
        assert flat.gauss_newton.trace == pytest.approx(flat.jacobian.trace / 5)
        assert flat.dimension == pdm.local_dimension(network, X, output=output)
        sigma = pdm.singular_values(network, X, output=output, method="dense").values
        np.testing.assert_allclose(sigma, np.linalg.svd(J)[1], atol=1e-9 * max(sigma[0], 1e-9))
        inner = pdm.input_jacobian(network, X, output=output)
        np.testing.assert_allclose(inner, D @ pdm.input_jacobian(network, X), rtol=1e-9, atol=1e-9)
        rank = pdm.local_dimension(network, X, output=output).value
        assert pdm.local_dimension(network, X, output=output, method="numerical").upper >= rank


SMOOTH = {
    "logistic": lambda xp, z: 1 / (1 + xp.exp(-z)),
    "normalised": lambda xp, z: z / xp.sqrt((z**2).sum()),
    "softmax": lambda xp, z: xp.exp(z - z.max()) / xp.exp(z - z.max()).sum(),
    "loss": lambda xp, z: ((xp.tanh(z) - 0.5) ** 2).sum()[None],
}


@pytest.mark.compiled
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_heads_agree_with_jax_autodiff_of_the_whole(name):
    jax = pytest.importorskip("jax")
    network = pdm.Network.random((4, 6, 5, 3), rng=0, bias_std=0.3, slope=0.1)
    X = sample(network, 0, 7, integers=False)

    def head(z):
        return SMOOTH[name](jax.numpy, z)

    def run(theta):
        h, last = jax.numpy.asarray(X), len(network.weights) - 1
        weights, biases = network.architecture.weights_of(theta), network.architecture.biases_of
        for v, W in enumerate(weights):
            z = h @ W.T + biases(theta)[v + 1]
            h = z if v == last else jax.numpy.where(z > 0, z, 0.1 * z)
        return jax.vmap(head)(h).reshape(-1)

    with jax.enable_x64(True):
        expected = np.asarray(jax.jacrev(run)(jax.numpy.asarray(network.theta)))
        C = jax.vmap(jax.jacfwd(head))(jax.numpy.asarray(pdm.outputs(network, X)))
    J = pdm.parameter_jacobian(network, X, output=C)
    np.testing.assert_allclose(J, expected, rtol=1e-11, atol=1e-13)
    if name == "softmax":
        J = pdm.parameter_jacobian(network, X, output="softmax")
        np.testing.assert_allclose(J, expected, rtol=1e-11, atol=1e-13)


@settings(max_examples=25)
@given(networks(max_width=4), st.integers(0, 1000))
def test_an_exact_softmax_jacobian_gives_the_ranks_and_bounds_of_the_name(network, seed):
    X, rng = sample(network, seed, 5), np.random.default_rng(seed)
    n = network.widths[-1]
    # Powers of two that add up to 1: q and diag(q) - q q^T are exact.
    q = np.array([rng.permutation(2.0 ** -np.minimum(np.arange(1, n + 1), n - 1)) for _ in X])
    C = q[:, :, np.newaxis] * (np.eye(n) - q[:, np.newaxis])
    one, two = (pdm.local_dimension(network, X, output=output) for output in ("softmax", C))
    assert (one.value, one.upper, one.kind) == (two.value, two.upper, two.kind)
    bounds = (pdm.dimension_bound(network, X, output=output) for output in ("softmax", C))
    assert next(bounds) == next(bounds)


def test_a_rounded_softmax_jacobian_has_full_rank():
    network = pdm.Network.random((5, 12, 4), rng=0)
    X = sample(network, 0, 3, integers=False)
    C = softmax_jacobian(pdm.outputs(network, X))
    assert pdm.local_dimension(network, X, output="softmax").value == 3 * 3
    assert pdm.local_dimension(network, X, output=C).value == 3 * 4


@pytest.mark.compiled
def test_memory_executors_and_methods_give_the_same_rank(monkeypatch):
    monkeypatch.setattr(plan, "SHAPES", ((16, 16), (4, 8)))
    network = pdm.Network.random((6, 8, 8, 4), rng=0, bias_std=0.5)
    X = sample(network, 0, 90, integers=False)
    C = np.random.default_rng(1).standard_normal((90, 2, 4))
    C[::3, 1] = 0.0
    expected = pdm.local_dimension(network, X, output=C)
    with ThreadPoolExecutor(3) as executor:
        assert pdm.local_dimension(network, X, output=C, executor=executor) == expected
    monkeypatch.setattr(plan, "SHAPES", ((4, 8),))
    assert pdm.local_dimension(network, X, output=C, memory="50MB") == expected
    assert pdm.local_dimension(network, X[:20], output=C[:20]).value == 20 * 2 - 7
    for method in ("sketched", "numerical"):
        found = pdm.local_dimension(network, X[:20], output=C[:20], method=method)
        assert found.value == 20 * 2 - 7


def test_what_is_certain_about_a_head():
    C = np.array([[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[2.0, 2.0, 0.0], [0.0, 0.0, 1.0]]])
    head = Head.of(C, 3, 2)
    assert head.hidden.tolist() in ([[1, -1, 0]], [[-1, 1, 0]])
    assert head.span == 2
    assert head.ranks(2).tolist() == [1, 2]
    assert head.spans(np.array([0, 1])).tolist() == [2, 2]
    assert head.spans(np.array([0, 0])).tolist() == [2]
    assert Head.of(C[0], 3).ranks(4).tolist() == [1] * 4
    assert Head.of("softmax", 1).span == 0


def test_null_vectors_are_exact():
    rng = np.random.default_rng(0)
    for _ in range(30):
        m, n, r = (int(a) for a in rng.integers(1, 6, 3))
        A = (
            rng.integers(-5, 6, (m, r))
            @ rng.integers(-5, 6, (r, n))
            * 2.0 ** rng.integers(-900, 900)
        )
        basis = null_vectors(A, np.eye(n, dtype=int).astype(object))
        exact = [[Fraction(a) for a in row] for row in A.tolist()]
        assert len(basis) == n - oracles.rational_rank(exact)
        for w in basis:
            assert all(sum(a * b for a, b in zip(row, w, strict=True)) == 0 for row in exact)
        assert oracles.rational_rank([[Fraction(a) for a in w] for w in basis]) == len(basis)


def test_a_large_head_has_certain_bounds_without_its_kernel(monkeypatch):
    monkeypatch.setattr("patterndim.heads.EXACT", 5)
    head = Head.of(np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]]), 3)
    assert head.hidden.tolist() == [[0, 0, 1]]
    assert head.ranks(1).tolist() == [2]


def test_heads_of_many_outputs_take_no_exact_elimination(monkeypatch):
    monkeypatch.setattr("patterndim.heads.null_vectors", None)
    rng = np.random.default_rng(0)
    C = rng.standard_normal((60, 60)) * 2.0 ** rng.integers(-500, 500, (60, 60))
    assert Head.of(C, 60).span == 60
    C[:, 1] = C[:, 0]
    C[:, 2] = 0.0
    assert Head.of(C, 60).hidden.nonzero()[1].tolist() == [2]


NETWORK = pdm.Network.random((2, 3, 2), rng=0)
ONES = np.ones((4, 2))


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        ("logits", ArgumentError, "output must be one of affine, softmax, got 'logits'"),
        (np.ones(2), ShapeError, r"output must have shape \(k, 2\), got \(2,\)"),
        (np.ones((3, 3)), ShapeError, r"output must have shape \(k, 2\), got \(3, 3\)"),
        (np.ones((3, 1, 2)), ShapeError, r"output must have shape \(4, k, 2\), got \(3, 1, 2\)"),
        (np.ones((0, 2)), ShapeError, "output must not be empty"),
        ([[1.0, np.nan]], NonFiniteError, "output must be finite, got nan"),
        (None, KindError, "output must hold real numbers, got dtype object"),
        ([["a", "b"]], KindError, "output must hold real numbers"),
    ],
)
def test_bad_heads_are_refused(output, error, message):
    for run in (
        pdm.local_dimension,
        pdm.generic_dimension,
        pdm.dimension_bound,
        pdm.parameter_jacobian,
        pdm.jacobian_operator,
        pdm.input_jacobian,
        pdm.ntk,
        pdm.singular_values,
        pdm.null_space,
        pdm.flatness,
    ):
        with pytest.raises(error, match=message):
            run(NETWORK, ONES, output=output)


def test_a_matrix_for_each_input_is_refused_where_inputs_are_added():
    each = np.ones((4, 1, 2))
    message = r"output must be one matrix \(k, 2\) for all inputs here, got \(4, 1, 2\)"
    for run in (
        lambda: pdm.functional_dimension(NETWORK, output=each),
        lambda: pdm.explain(NETWORK, ONES, output=each),
        lambda: pdm.ntk(NETWORK, ONES, ONES, output=each),
        lambda: pdm.dimension_bound(NETWORK, output=each),
        lambda: pdm.local_dimensions(NETWORK.architecture, [NETWORK.theta], ONES, output=each),
    ):
        with pytest.raises(ShapeError, match=message):
            run()
    assert pdm.functional_dimension(NETWORK, output=np.ones((1, 2))).value == 10
    for output in ("softmax", each):
        with pytest.raises(
            ArgumentError, match='output must be "affine" with loss "cross-entropy"'
        ):
            pdm.flatness(NETWORK, ONES, loss="cross-entropy", output=output)
