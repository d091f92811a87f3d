import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import svdvals

from patterndim.rank import sketched, sketched_rank, triangle
from patterndim.rank.triangle import Triangle


def with_values(values, rows, columns, rng):
    """Matrix with given singular values."""
    U, _ = np.linalg.qr(rng.standard_normal((rows, len(values))))
    V, _ = np.linalg.qr(rng.standard_normal((columns, len(values))))
    return (U * values) @ V.T


def grown(A, cuts):
    """Triangle of the columns of A, appended piece by piece."""
    first, *pieces = np.split(A, cuts, axis=1)
    result = Triangle(first)
    for piece in pieces:
        result.extend(piece)
    return result


@given(st.integers(1, 12), st.integers(2, 20), st.integers(0, 2**32))
def test_r_has_the_inner_products_of_the_columns_however_they_arrive(rows, columns, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((rows, columns)) * 2.0 ** rng.integers(-300, 300)
    cuts = np.unique(rng.integers(1, columns, 3))
    result = grown(A, cuts)
    R = result.matrix() / result.scale
    assert R.shape == (min(rows, columns), columns)
    assert np.array_equal(R, np.triu(R))
    scale = np.abs(A).max()
    np.testing.assert_allclose(
        (R / scale).T @ (R / scale), (A / scale).T @ (A / scale), atol=1e-13 * rows * columns
    )


@pytest.mark.parametrize("rank", [1, 17, 59])
def test_values_at_the_cut_are_the_singular_values(rank, monkeypatch):
    """A gap of 1e8: the bounds differ from the values by its inverse square, and by rounding."""
    monkeypatch.setattr(triangle, "SMALL", 0)
    monkeypatch.setattr(triangle, "spectral_rank", None)  # would fail
    rng = np.random.default_rng(rank)
    values = np.concatenate([rng.uniform(0.1, 3.0, rank), rng.uniform(1e-10, 1e-9, 60 - rank)])
    A = with_values(values, 80, 90, rng)
    sketch = A @ rng.standard_normal((90, 75))
    found = grown(sketch, [20, 40]).rank(1e-6, 80)
    sigma = svdvals(sketch)
    assert (found.value, found.kind, found.upper) == (rank, "numerical", 80)
    assert found.sigma[0] == pytest.approx(sigma[rank - 1], rel=1e-6)
    # The iteration finds norms from below, the bound is from above.
    assert 0.9 * sigma[rank] < found.sigma[1] < 3.0 * sigma[rank]
    assert found.gap == pytest.approx(found.sigma[0] / found.sigma[1])


def test_a_full_row_rank_has_no_gap(monkeypatch):
    monkeypatch.setattr(triangle, "SMALL", 0)
    rng = np.random.default_rng(0)
    A = rng.standard_normal((50, 110))
    found = grown(A, [30, 60]).rank(1e-12, 50)
    assert (found.value, found.gap) == (50, None)
    assert found.sigma[0] == pytest.approx(svdvals(A)[-1], rel=1e-6)
    assert np.isnan(found.sigma[1])


@pytest.mark.parametrize("seed", range(5))
def test_what_the_bounds_do_not_decide_is_left_to_the_svd(seed, monkeypatch):
    """Singular values that fall evenly through the tolerance: no gap to prove anything with."""
    monkeypatch.setattr(triangle, "SMALL", 0)
    rng = np.random.default_rng(seed)
    A = with_values(10.0 ** -np.linspace(0, 12, 60), 70, 80, rng)
    sketch = A @ rng.standard_normal((80, 75))
    rtol = 10.0 ** -rng.uniform(4, 8)
    sigma = svdvals(sketch)
    found = grown(sketch, [25]).rank(rtol, 70)
    assert found.value == np.count_nonzero(sigma > rtol * sigma[0])
    assert found.sigma[0] == pytest.approx(sigma[found.value - 1], rel=1e-6)


def test_a_wrong_guess_of_the_rank_is_never_believed(monkeypatch):
    monkeypatch.setattr(triangle, "SMALL", 0)
    rng = np.random.default_rng(0)
    result = grown(with_values(np.ones(20), 40, 60, rng), [30])
    for guess in (0, 1, 19, 20, 21, 35):
        monkeypatch.setattr(Triangle, "guess", lambda *_, guess=guess: guess)
        assert result.rank(1e-10, 40).value == 20


def test_wide_sketches_find_the_rank_and_its_gap():
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((1000, 700)), rng.standard_normal((700, 950))
    found = sketched_rank(left @ right)
    assert found.value == 700
    assert found.gap > 1e9
    assert sketched_rank(rng.standard_normal((750, 900))).value == 750


def test_random_numbers_do_not_depend_on_the_threads(monkeypatch):
    drawn = []
    for threads in (1, 2, 4):
        monkeypatch.setattr("patterndim.parallel.thread_count", lambda threads=threads: threads)
        drawn.append(sketched._gaussian(np.random.default_rng(0), 5000, 20))
    assert drawn[0].shape == (5000, 20)
    assert len(np.unique(drawn[0])) == 100_000
    assert np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], drawn[2])
