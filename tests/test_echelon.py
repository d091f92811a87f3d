"""Elimination modulo a prime: against flint, across every block boundary, for any threads."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterndim import arithmetic as arithmetics
from patterndim.arithmetic import Modular
from patterndim.rank import echelon as echelons
from patterndim.rank import modular, modular_rank
from patterndim.rank.echelon import PANEL, Echelon
from tests import oracles

PRIMES = [3, 5, 7, 251, 65537, 2097169, 4194301, 8388593, 16777213]
KINDS = ["dense", "product", "sparse", "zero lines", "permutation", "repeated", "zero", "blocks"]


def matrix(rng, rows, columns, modulus, kind):
    """Random integers of one of the kinds."""
    dense = rng.integers(-(modulus // 2), modulus // 2 + 1, (rows, columns))
    if kind == "product":
        inner = rng.integers(0, min(rows, columns) + 1)
        left, right = rng.integers(0, modulus, (rows, inner)), rng.integers(0, 2, (inner, columns))
        return left @ right
    if kind == "sparse":
        return dense * (rng.random(dense.shape) < 1.5 / columns)
    if kind == "zero lines":
        dense[rng.random(rows) < 0.5] = 0
        dense[:, rng.random(columns) < 0.5] = 0
    if kind == "permutation":
        size = max(rows, columns)
        return rng.permutation(np.eye(size, dtype=np.int64))[:rows, :columns]
    if kind == "repeated":
        return dense[rng.integers(0, rows, rows)]
    if kind == "zero":
        dense[:] = 0
    if kind == "blocks":
        dense[: rows // 2, : columns // 2] = 0
        dense[rows // 2 :, columns // 3 :] = 0
    return dense


def check(A, modulus):
    """Equal to flint modulo the same prime, with pivots whose minor is not zero."""
    rank = modular_rank(A, modulus=modulus)
    assert rank.value == oracles.flint_rank(A, modulus)
    assert len(rank.pivot_rows) == len(rank.pivot_columns) == rank.value
    minor = A[np.ix_(rank.pivot_rows, rank.pivot_columns)]
    assert rank.value == 0 or oracles.flint_rank(minor, modulus) == rank.value


@pytest.fixture
def shrink(monkeypatch):
    """Make small matrices cross the boundaries of panels, batches and inner products."""

    def change(panel, inner, batch):
        monkeypatch.setattr(echelons, "PANEL", panel)
        monkeypatch.setattr(arithmetics, "INNER", inner)
        monkeypatch.setattr(arithmetics, "TILE", 7)
        monkeypatch.setattr(modular, "BATCH", batch)
        monkeypatch.setattr(modular, "SMALL", 0)

    return change


@pytest.mark.compiled
def test_ten_thousand_matrices_agree_with_flint(shrink):
    rng = np.random.default_rng(0)
    blocks = [(3, 2, 16), (4, 64, 8), (8, 5, 1000), (5, 8, 7), (1, 1, 3), None, None]
    for number in range(10_000):
        if number % 500 == 0 and blocks[number // 500 % 7] is not None:
            shrink(*blocks[number // 500 % 7])
        elif number % 500 == 0:
            shrink(PANEL, 2048, 2048)
            modular.SMALL = 64 if number // 500 % 2 else 0
        rows, columns = rng.integers(1, 25, 2)
        if number % 9 == 0:
            rows = 1
        if number % 11 == 0:
            columns = 1
        modulus = PRIMES[number // 8 % 9]
        check(matrix(rng, rows, columns, modulus, KINDS[number % 8]), modulus)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_every_size_agree_with_flint(shrink, kind):
    rng = np.random.default_rng(KINDS.index(kind))
    for panel, inner, batch in [(2, 3, 6), (3, 2, 100), (4, 100, 9)]:
        shrink(panel, inner, batch)
        for rows, columns in [(13, 8), (8, 12), (9, 9), (1, 9), (9, 1)]:
            check(matrix(rng, rows, columns, 7, kind), 7)
            check(matrix(rng, rows, columns, 16777213, kind), 16777213)


@pytest.mark.compiled
@pytest.mark.parametrize("size", [126, 127, 128, 129, 256, 257, 385])
def test_sizes_around_every_block_boundary(size, monkeypatch):
    rng = np.random.default_rng(size)
    monkeypatch.setattr(modular, "BATCH", 256)
    for columns, kind in [(size, "dense"), (size + 1, "product"), (130, "sparse"), (65, "dense")]:
        for modulus in (3, 4194301, 16777213):
            check(matrix(rng, size, columns, modulus, kind), modulus)
    check(matrix(rng, size, size, 7, "permutation"), 7)


@pytest.mark.compiled
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("modulus", [3, 8388593])
def test_one_vector_at_a_time_is_the_same_as_all_at_once(monkeypatch, kind, modulus):
    monkeypatch.setattr(echelons, "PANEL", 8)
    rng = np.random.default_rng(modulus)
    A, arithmetic = matrix(rng, 60, 50, modulus, kind), Modular(modulus)
    echelon = Echelon(arithmetic, 50)
    grown = [echelon.extend(arithmetic.encode(A[row : row + 1])) for row in range(60)]
    assert sum(grown) == echelon.rank == oracles.flint_rank(A, modulus)
    assert echelon.pivot_vectors == np.flatnonzero(grown).tolist()
    minor = A[np.ix_(echelon.pivot_vectors, echelon.pivot_coordinates)]
    assert echelon.rank == 0 or oracles.flint_rank(minor, modulus) == echelon.rank


@pytest.mark.compiled
def test_inner_products_longer_than_one_exact_block():
    """More pivots than the inner length of the largest prime, all of its largest residue."""
    rng = np.random.default_rng(0)
    half = 16777213 // 2
    A = np.where(rng.random((400, 390)) < 0.5, half, -half)
    check(A, 16777213)
    check(A[:, :300].T, 16777213)


@given(st.integers(0, 2**32), st.sampled_from([3, 7, 4194301]))
def test_pivot_vectors_are_the_first_independent_ones(seed, modulus):
    rng = np.random.default_rng(seed)
    A = matrix(rng, 14, 6, modulus, KINDS[seed % 8]) % modulus
    greedy, rank = [], 0
    for row in range(14):
        if oracles.flint_rank(A[[*greedy, row]], modulus) > rank:
            greedy.append(row)
            rank += 1
    panel, arithmetic = echelons.PANEL, Modular(modulus)
    try:
        for echelons.PANEL in (2, 3, panel):
            # Few at a time, so that panels are joined, or more.
            for bounds in (range(15), (0, 0, 2, 4, 14), (0, 5, 6, 14)):
                echelon = Echelon(arithmetic, 6)
                for start, stop in pairwise(bounds):
                    echelon.extend(arithmetic.encode(A[start:stop]))
                assert sorted(echelon.pivot_vectors) == greedy
                assert (echelon.count, echelon.rank) == (14, rank)
                minor = A[np.ix_(echelon.pivot_vectors, echelon.pivot_coordinates)]
                assert rank == 0 or oracles.flint_rank(minor, modulus) == rank
    finally:
        echelons.PANEL = panel
    assert sorted(modular_rank(A, modulus).pivot_rows.tolist()) == greedy


def test_a_stack_gives_a_rank_for_each_matrix():
    stack = np.array([np.eye(3), np.ones((3, 3)), np.zeros((3, 3))])
    ranks = modular_rank(stack)
    assert [rank.value for rank in ranks] == [3, 1, 0]
    assert [rank.kind for rank in ranks] == ["proved", "probable", "proved"]


@pytest.mark.parametrize("shape", [(40, 4, 7), (40, 7, 4), (5, 1, 3), (5, 3, 1), (3, 70, 66)])
@pytest.mark.parametrize("kind", [np.int64, np.float64, object])
def test_a_stack_is_the_same_as_its_matrices_alone(shape, kind, monkeypatch):
    monkeypatch.setattr(modular, "CHUNK", 90)
    rng = np.random.default_rng(0)
    stack = np.stack([matrix(rng, *shape[1:], 7, KINDS[k % 8]) for k in range(shape[0])])
    # Multiples of 2, with rows of zeros: only the bits above the lowest one count.
    stack = (stack * rng.choice([2, 4, 1 << 40], (shape[0], 1, 1))).astype(kind)
    for A in (stack, np.asfortranarray(stack), stack[::-1, :, ::-1]):
        for together, alone in zip(modular_rank(A), map(modular_rank, A), strict=True):
            assert together == alone
            assert np.array_equal(together.pivot_rows, alone.pivot_rows)
            assert np.array_equal(together.pivot_columns, alone.pivot_columns)
    values = [rank.value for rank in modular_rank(stack)]
    assert values == [oracles.exact_rank(A) for A in stack]


THREADS = """
import sys
import numpy as np
from patterndim.rank import modular_rank
rng = np.random.default_rng(0)
A = rng.integers(-3, 4, (900, 300)) @ rng.integers(-3, 4, (300, 800))
B = rng.integers(0, 3, (700, 400)) / 4
stack = rng.integers(-1, 2, (4000, 9, 8))
for found in (modular_rank(A), modular_rank(A, 3), modular_rank(B, 7), *modular_rank(stack)):
    print(found, found.pivot_rows.tolist(), found.pivot_columns.tolist())
"""


@pytest.mark.compiled
def test_the_number_of_threads_changes_nothing(monkeypatch):
    outputs = set()
    for threads in "124":
        monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", threads)
        command = [sys.executable, "-c", THREADS]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        assert run.stdout.count("Rank(value=") == 4003
        outputs.add(run.stdout)
    assert len(outputs) == 1
