import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.arithmetic import (
    MODULUS_COUNT,
    MODULUS_RANGE,
    Modular,
    is_prime,
    prime_failure,
    random_prime,
)
from patterndim.errors import ArgumentError, KindError, NonFiniteError, ShapeError
from patterndim.rank import Rank, modular_rank, numerical_rank, sketched_rank
from patterndim.rank.echelon import Echelon
from patterndim.rank.modular import minor_bits
from tests import oracles
from tests.strategies import matrices

METHODS = [modular_rank, numerical_rank, sketched_rank]
PRIMES = [3, 5, 7, 251, 65537, 8388593, 16777213]


@given(matrices())
@pytest.mark.parametrize("method", METHODS)
def test_rank_is_the_rank_over_the_rationals(method, A):
    assert method(A).value == oracles.exact_rank(A)


@given(matrices(), st.sampled_from(PRIMES))
def test_rank_modulo_a_prime_equals_flint(A, modulus):
    rank = modular_rank(A, modulus=modulus)
    assert rank.value == oracles.flint_rank(A, modulus)
    assert rank.value <= oracles.exact_rank(A)
    assert rank.failure_probability == (0.0 if rank.kind == "proved" else 1.0)
    minor = A[np.ix_(rank.pivot_rows, rank.pivot_columns)]
    if rank.value:
        assert oracles.flint_rank(minor, modulus) == rank.value
    assert minor.shape == (rank.value, rank.value)


@given(matrices(max_size=12), st.integers(0, 2**32))
def test_floats_map_exactly_to_residues(A, seed):
    rng = np.random.default_rng(seed)
    B = A * np.exp2(rng.integers(-1070, 900, A.shape)) * rng.standard_normal(A.shape)
    assert modular_rank(B, modulus=8388593).value == oracles.flint_rank(B, 8388593)


@pytest.mark.compiled
@pytest.mark.parametrize("modulus", [3, 2097169, 4194301, 8388593, 16777213])
def test_products_stay_exact_up_to_the_last_bit(modulus):
    """Residues of the largest size, and inner lengths that need several blocks."""
    arithmetic = Modular(modulus)
    rng = np.random.default_rng(0)
    half = modulus // 2
    inner = 2 * arithmetic.inner_length + 99
    assert arithmetic.inner_length * (half + 8.5) ** 2 + half + 8.5 <= 2**53 - 2**24
    for left in (np.full((3, inner), float(half)), arithmetic.random(rng, (40, inner))):
        fresh = arithmetic.random(rng, (inner, 7))
        right = np.where(rng.random((inner, 7)) < 0.5, left[0, 0], fresh)
        product = arithmetic.product(left, right)
        integers = left.astype(np.int64).astype(object), right.astype(np.int64).astype(object)
        expected = integers[0] @ integers[1] % modulus
        assert np.array_equal(product.astype(np.int64) % modulus, expected.astype(np.int64))
        assert np.abs(product).max() <= modulus / 2 + 8
        target = arithmetic.random(rng, (45, 9))
        before = target.copy()
        arithmetic.subtract_product(target, 2, 1, left, right)
        before[2 : 2 + len(left), 1:8] -= product
        difference = (before - target).astype(np.int64) % modulus
        assert not difference.any()


@given(st.lists(matrices(max_size=30), min_size=2, max_size=4), st.integers(1, 30))
def test_extending_an_echelon_form_is_the_same_as_starting_again(parts, seed):
    length = min(part.shape[1] for part in parts)
    parts = [part[:, :length] for part in parts]
    arithmetic = Modular(8388593)
    echelon = Echelon(arithmetic, length)
    for count in range(1, len(parts) + 1):
        grown = echelon.extend(arithmetic.encode(parts[count - 1]))
        together = np.concatenate(parts[:count])
        assert echelon.rank == oracles.flint_rank(together, 8388593)
        assert grown <= len(parts[count - 1])
    minor = np.concatenate(parts)[np.ix_(echelon.pivot_vectors, echelon.pivot_coordinates)]
    assert echelon.rank == 0 or oracles.flint_rank(minor, 8388593) == echelon.rank


def test_gram_matrix_loses_rank_over_a_finite_field():
    J = np.array([[1, 2]])
    assert modular_rank(J, modulus=5).value == 1
    assert modular_rank(J @ J.T, modulus=5).value == 0


def test_modular_rank_is_only_a_lower_bound():
    rank = modular_rank(np.diag([1, 7, 49]), modulus=7)
    assert (rank.value, rank.kind, rank.lower, rank.upper) == (1, "probable", 1, 3)
    assert rank.failure_probability == 1.0
    assert modular_rank(np.diag([1, 7, 49])).kind == "proved"


def test_integers_of_any_size_are_exact():
    big = 10**40
    A = [[big, big + 1], [2 * big, 2 * big + 2]]
    assert modular_rank(A).value == 1
    assert modular_rank([[big, big + 1], [2 * big, 2 * big + 3]]).kind == "proved"
    assert modular_rank(np.array([[2**64 - 1, 1], [1, 0]], dtype=np.uint64)).value == 2
    assert modular_rank(np.array([[True, False], [True, False]])).value == 1


def test_unproved_ranks_state_a_failure_probability():
    A = np.outer(np.arange(1, 30), np.arange(1, 20))
    rank = modular_rank(A)
    assert rank.kind == "probable"
    # A 2 x 2 minor has fewer than 22 bits: no prime of the range divides it twice.
    assert 0 < rank.failure_probability < 2 / MODULUS_COUNT
    assert MODULUS_RANGE[0] <= rank.modulus < MODULUS_RANGE[1]
    fractions = modular_rank(A / 3)
    assert fractions.failure_probability > rank.failure_probability


def test_failure_probability_covers_the_worst_minor():
    """A minor that 200 primes of the range divide: any of them would lose a rank."""
    rng = np.random.default_rng(0)
    primes = {random_prime(rng) for _ in range(200)}
    A = np.array([[1, 0, 1], [0, int(np.prod(list(primes), dtype=object)), 0], [1, 0, 1]])
    assert modular_rank(A, modulus=min(primes)).value == 1
    assert modular_rank(A, rng=5).value == 2
    assert prime_failure(minor_bits(A[np.newaxis], np.array([2]))[0]) >= len(primes) / MODULUS_COUNT
    assert prime_failure(float("nan")) == prime_failure(float("inf")) == 1.0


def test_random_primes_are_uniform_over_the_range():
    low, high = MODULUS_RANGE
    sieve = np.ones(high, dtype=bool)
    sieve[:2] = False
    for n in range(2, int(high**0.5) + 1):
        if sieve[n]:
            sieve[n * n :: n] = False
    assert sieve[low:high].sum() == MODULUS_COUNT
    rng = np.random.default_rng(0)
    primes = np.array([random_prime(rng) for _ in range(500)])
    assert sieve[primes].all()
    assert primes.min() >= low
    counts, _ = np.histogram(primes, bins=4, range=MODULUS_RANGE)
    assert (np.abs(counts - 125) < 5 * 125**0.5).all()
    assert all(is_prime(n) == bool(sieve[n]) for n in range(5000))


def test_numerical_rank_reports_the_gap():
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.standard_normal((20, 20)))
    A = Q @ np.diag([*np.ones(7), *np.full(13, 1e-20)])
    rank = numerical_rank(A)
    assert (rank.value, rank.kind, rank.lower, rank.upper) == (7, "numerical", 0, 20)
    assert rank.gap > 1e10
    assert rank.sigma[0] == pytest.approx(1.0)
    assert numerical_rank(np.diag([1.0, 1e-3, 1e-9]), rtol=1e-6).value == 2
    zero = numerical_rank(np.zeros((3, 2)))
    assert (zero.value, zero.gap) == (0, None)
    assert numerical_rank(np.eye(2)).gap is None
    assert numerical_rank(np.diag([1.0, 0.0])).gap == float("inf")
    assert numerical_rank(np.diag([1e-320, 1e-321])).value == 2
    assert numerical_rank(np.diag([1e308, 1e300])).value == 2


def test_tolerance_comes_from_the_precision_of_the_data():
    rng = np.random.default_rng(0)
    A = (rng.standard_normal((60, 5)) @ rng.standard_normal((5, 60))).astype(np.float32)
    assert np.linalg.matrix_rank(A.astype(np.float64)) > 5
    assert numerical_rank(A).value == 5
    assert numerical_rank(A.astype(np.float64)).value == 5
    assert sketched_rank(A.astype(np.float64)).value == 5
    assert numerical_rank(A.astype(np.float64), rtol=1e-15).value > 5
    assert (
        numerical_rank(np.diag([1, 1e-3]).astype(np.float16)).rtol == 2 * np.finfo(np.float16).eps
    )


def test_sketches_never_over_count_and_take_operators():
    from scipy.sparse.linalg import aslinearoperator

    rng = np.random.default_rng(0)
    for inner in (0, 1, 40, 130, 300):
        A = rng.standard_normal((400, inner)) @ rng.standard_normal((inner, 310))
        assert sketched_rank(A).value == inner
        assert sketched_rank(aslinearoperator(A), rng=1).value == inner
    assert sketched_rank(np.eye(3), rtol=0.0).value == 3
    assert sketched_rank(A, rng=7) == sketched_rank(A, rng=7)


def test_ranks_are_numbers_with_evidence():
    rank = modular_rank(np.eye(4))
    assert int(rank) == 4
    assert range(rank)[-1] == 3
    assert isinstance(rank, Rank)
    assert "pivot" not in repr(rank)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("A", "error", "message"),
    [
        (np.ones(3), ShapeError, "A must have shape"),
        (np.ones((0, 3)), ShapeError, "must .*not (be|.*)empty"),
        ([[1, 2], [3]], ShapeError, "A must be a rectangular array"),
        ([["x"]], KindError, "A must hold real numbers"),
        ([[1j]], KindError, "A must hold real numbers"),
        ([[np.nan]], NonFiniteError, "A must be finite"),
        ([[np.inf, 1.0]], NonFiniteError, "A must be finite"),
    ],
)
def test_bad_matrices_are_refused(method, A, error, message):
    with pytest.raises(error, match=message):
        method(A)


def test_other_objects_are_refused():
    with pytest.raises(KindError, match="A must hold real numbers or integers, got other objects"):
        modular_rank([[None, 1]])
    with pytest.raises(KindError, match="at most 64 bits"):
        modular_rank(np.ones((2, 2), dtype=np.longdouble))


@pytest.mark.parametrize("modulus", [0, 1, 2, 4, 9, -7, 2**24 + 43, 2**61 - 1, 8388593 * 3])
def test_bad_moduli_are_refused(modulus):
    with pytest.raises(ArgumentError, match=f"odd prime below 2\\*\\*24, got {modulus}"):
        modular_rank(np.eye(2), modulus=modulus)


def test_bad_options_are_refused():
    with pytest.raises(KindError, match=r"modulus must be an integer, got 7\.0"):
        modular_rank(np.eye(2), modulus=7.0)
    with pytest.raises(ArgumentError, match="rtol must be at least 0 and below 1, got 2"):
        numerical_rank(np.eye(2), rtol=2)
    with pytest.raises(ArgumentError, match="rtol must be at least 0 and below 1, got -1"):
        sketched_rank(np.eye(2), rtol=-1)
    from scipy.sparse.linalg import aslinearoperator

    with pytest.raises(KindError, match="A must hold real numbers, got dtype complex128"):
        sketched_rank(aslinearoperator(np.eye(2) * 1j))
    with pytest.raises(ShapeError, match=r"A must have shape \(m, n\), not empty, got \(0, 2\)"):
        sketched_rank(aslinearoperator(np.empty((0, 2))))


def test_the_package_exports_the_methods():
    assert pdm.rank.modular_rank is modular_rank


def test_lists_of_integers_that_numpy_would_round_are_exact_or_refused():
    """numpy reads a list that needs int64 and uint64 at once as rounded floats."""
    k = 2**62 + 400
    assert modular_rank([[3 * k, -3], [k, -1]]).value == 1
    assert modular_rank([[k, 0], [2**63 + 5, -1]]).kind == "proved"
    with pytest.raises(KindError, match="A must hold real numbers or integers"):
        modular_rank([[2**53 + 1, 0.5]])
    for method in (numerical_rank, sketched_rank):
        with pytest.raises(KindError, match="A must be exact in float64, got integers"):
            method([[3 * k, -3], [k, -1]])
    with pytest.raises(KindError, match="must be exact in float64, got integers"):
        pdm.Network.from_layers([[[2**53 + 1, 0.5]]])


def test_masked_matrices_are_refused():
    with pytest.raises(KindError, match="A must not have masked entries"):
        modular_rank(np.ma.array([[1, 2], [2, 5]], mask=[[0, 0], [0, 1]]))


def test_bits_of_large_integers_are_not_rounded_away():
    A = np.array([[2**60 + 1, 2**60], [2**61 + 2, 2**61]])
    stack = np.stack([A, A // 2])
    bits = minor_bits(stack, np.array([2, 2]))
    assert 120 < bits[1] < bits[0] < minor_bits(stack.astype(object), np.array([2, 2]))[0] + 4
    # Only what is above the lowest bit counts: 0.75 is 3 / 4.
    bits = minor_bits(np.array([[[0.0, 0.0]], [[0.75, 96.0]]]), np.array([1, 1]))
    assert 8.5 < bits[1] < 10


@pytest.mark.parametrize("value", [1.7e308, 5e-324, 1e-310])
def test_matrices_near_the_ends_of_float64_keep_their_rank(value):
    assert numerical_rank(np.full((2, 2), value)).value == 1
    assert numerical_rank(np.full((2, 2), 1.7e308)).gap > 1e10
    if value < 1:
        assert sketched_rank(np.full((2, 2), value)).value == 1
    else:
        with pytest.raises(NonFiniteError, match="A @ Omega must be finite"):
            sketched_rank(np.full((200, 200), value))
