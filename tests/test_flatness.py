import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.errors import ArgumentError, KindError, MemoryLimitError, NonFiniteError, ShapeError
from tests.strategies import networks, sample


def softmax_hessians(outputs):
    q = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    q /= q.sum(axis=1, keepdims=True)
    return np.array([np.diag(row) - np.outer(row, row) for row in q])


def dense_curvature(network, X, loss):
    """J^T J and the Gauss-Newton matrix, written out."""
    J = pdm.parameter_jacobian(network, X)
    H = np.eye(len(J))
    if loss == "cross-entropy":
        H = np.zeros_like(H)
        m = network.widths[-1]
        for x, block in enumerate(softmax_hessians(pdm.outputs(network, X))):
            H[x * m : (x + 1) * m, x * m : (x + 1) * m] = block
    return J.T @ J, J.T @ H @ J / len(X)


@given(networks(), st.integers(0, 1000), st.sampled_from(["square", "cross-entropy"]))
def test_curvatures_equal_those_of_the_matrices(network, seed, loss):
    X = sample(network, seed, 5) / 4
    flat = pdm.flatness(network, X, loss=loss, top=3)
    assert flat.value == network.parameter_count - flat.dimension.value
    matrices = dense_curvature(network, X, loss)
    for curvature, matrix in zip((flat.jacobian, flat.gauss_newton), matrices, strict=True):
        scale = max(1.0, np.abs(matrix).max())
        assert abs(curvature.trace - np.trace(matrix)) <= 1e-10 * scale * len(matrix)
        values = np.linalg.eigvalsh(matrix)[::-1][: len(curvature.eigenvalues)]
        np.testing.assert_allclose(curvature.eigenvalues, values, atol=1e-9 * scale)


@pytest.mark.parametrize("loss", ["square", "cross-entropy"])
def test_larger_problems_go_through_products_alone(loss):
    network = pdm.Network.random((8, 10, 8, 4), rng=0, bias_std=0.2)
    X = np.random.default_rng(0).standard_normal((60, 8))
    flat = pdm.flatness(network, X, loss=loss, top=4)
    matrices = dense_curvature(network, X, loss)
    for curvature, matrix in zip((flat.jacobian, flat.gauss_newton), matrices, strict=True):
        np.testing.assert_allclose(curvature.trace, np.trace(matrix), rtol=1e-11)
        values = np.linalg.eigvalsh(matrix)[::-1]
        np.testing.assert_allclose(curvature.eigenvalues, values[:4], rtol=1e-9)
        rank = int((values > 1e-11 * values[0]).sum())
        assert curvature.rank.value == rank


def test_flatness_is_not_changed_by_rescaling_but_curvature_is():
    network = pdm.Network.random((3, 5, 2), rng=0, bias_std=0.3)
    X = np.random.default_rng(0).standard_normal((20, 3))
    other = pdm.rescale(network, [np.full(5, 16.0)])
    one, two = pdm.flatness(network, X), pdm.flatness(other, X)
    assert one.value == two.value
    assert two.jacobian.trace > 2 * one.jacobian.trace


@given(networks(), st.integers(0, 1000))
def test_singular_values_agree_with_the_svd_down_to_their_precision(network, seed):
    X = sample(network, seed, 6)
    J = pdm.parameter_jacobian(network, X)
    truth = np.linalg.svd(J, compute_uv=False)
    for method in ("gram", "dense"):
        spectrum = pdm.singular_values(network, X, method=method)
        assert spectrum.complete
        assert len(spectrum.values) == len(truth)
        tolerance = spectrum.precision * max(truth[0], 1e-300)
        np.testing.assert_allclose(spectrum.values, truth, atol=4 * tolerance)
        assert spectrum.resolved <= np.linalg.matrix_rank(J) or method == "gram"
    few = pdm.singular_values(network, X, count=1)
    assert few.values.shape == (1,)


def test_the_largest_values_by_products():
    network = pdm.Network.random((8, 10, 8, 4), rng=0, bias_std=0.2)
    X = np.random.default_rng(0).standard_normal((60, 8))
    truth = np.linalg.svd(pdm.parameter_jacobian(network, X), compute_uv=False)
    spectrum = pdm.singular_values(network, X, method="lanczos", count=5)
    np.testing.assert_allclose(spectrum.values, truth[:5], rtol=1e-10)
    assert not spectrum.complete
    assert spectrum.resolved == 5


def test_what_the_gram_matrix_cannot_resolve_is_counted_or_refused():
    """The Gram matrix squares: singular values below about 1e-8 of the largest are noise."""
    network, X = pdm.Network.from_layers([np.eye(2)]), np.diag([1.0, 1e-10])  # J is X kron I
    dense = pdm.singular_values(network, X, method="dense")
    gram = pdm.singular_values(network, X)
    assert gram.resolved < len(gram.values)
    assert dense.precision < 1e-14 < gram.precision
    with pytest.raises(ArgumentError, match=r"rtol must be at least 3\.0e-08 for method 'gram'"):
        pdm.singular_values(network, X, rtol=1e-9)
    assert pdm.singular_values(network, X, method="dense", rtol=1e-9).resolved > 0


def test_rounding_behind_a_softmax_is_no_singular_value():
    """Outputs that sum to 1 have rank N (n_L - 1) at most, also where a softmax is nearly 0, 1."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        network = pdm.Network.from_layers([10.0 * rng.standard_normal((2, 2))])
        for method in ("dense", "gram"):
            x = rng.standard_normal((1, 2))
            found = pdm.singular_values(network, x, output="softmax", method=method)
            assert found.resolved == 1
    q = 1e-30  # of the second output, beside 1.0
    network = pdm.Network.from_layers([[[0.0], [np.log(q)]]])
    found = pdm.singular_values(network, [[1.0]], output="softmax", method="dense")
    assert found.values[0] == pytest.approx(2 * q, rel=1e-12)


def test_what_squares_beyond_float64_is_refused():
    network = pdm.Network.from_layers([np.full((3, 2), 1e155), np.full((2, 3), 1e-5)])
    X = np.ones((1, 2))
    with pytest.raises(NonFiniteError, match=r"must not make J\^T J overflow float64"):
        pdm.flatness(network, X)
    with pytest.raises(NonFiniteError, match=r"must not make J J\^T overflow float64"):
        pdm.singular_values(network, X)
    assert np.isfinite(pdm.singular_values(network, X, method="dense").values).all()


NETWORK, X = pdm.Network.random((3, 4, 2)), np.ones((2, 3))


@pytest.mark.parametrize(
    ("function", "options", "error", "message"),
    [
        (pdm.flatness, {"loss": "hinge"}, ArgumentError, "loss must be one of square, cross-ent"),
        (pdm.flatness, {"top": 0}, ArgumentError, "top must be at least 1, got 0"),
        (pdm.flatness, {"inputs": X[0]}, ShapeError, r"inputs must have shape \(N, 3\)"),
        (pdm.singular_values, {"method": "qr"}, ArgumentError, "method must be one of gram"),
        (pdm.singular_values, {"count": 0}, ArgumentError, "count must be at least 1, got 0"),
        (pdm.singular_values, {"count": "x"}, KindError, "count must be an integer, got 'x'"),
        (
            pdm.singular_values,
            {"method": "lanczos"},
            ArgumentError,
            "count must be from 1 to 3 for method 'lanczos', got None",
        ),
        (
            pdm.singular_values,
            {"method": "lanczos", "count": 4},
            ArgumentError,
            "count must be from 1 to 3 for method 'lanczos', got 4",
        ),
        (
            pdm.singular_values,
            {"memory": 8},
            MemoryLimitError,
            r"memory must be at least \d+ bytes here, got 8",
        ),
    ],
)
def test_bad_arguments_are_refused(function, options, error, message):
    arguments = {"inputs": X, **options}
    with pytest.raises(error, match=message):
        function(NETWORK, arguments.pop("inputs"), **arguments)
