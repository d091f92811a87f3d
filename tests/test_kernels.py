"""Kernels against their own Python functions, and the rules of `patterndim.kernels`."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import patterndim as pdm
from patterndim.arithmetic import Modular
from patterndim.kernels import elimination, propagation, residues, sketch, thread_count
from patterndim.parallel import share_rows

FILES = sorted(Path(residues.__file__).parent.glob("[!_]*.py"))


def interpreted(kernel):
    return getattr(kernel, "py_func", kernel)


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return rng, Modular(8388593)


def test_products_agree_bit_for_bit():
    rng, _ = arrays()
    left, right = rng.standard_normal((5, 7)), rng.standard_normal((7, 4))
    left[1, 2] = 0.0
    compiled, plain = np.zeros((5, 4)), np.zeros((5, 4))
    propagation.accumulate(left, right, 1, 4, compiled)
    interpreted(propagation.accumulate)(left, right, 1, 4, plain)
    assert np.array_equal(compiled, plain)
    assert not compiled[[0, 4]].any()
    np.testing.assert_allclose(compiled[1:4], (left @ right)[1:4], rtol=1e-13)
    sums, twin = np.zeros((3, 5, 4)), np.zeros((3, 5, 4))
    error = np.abs(rng.standard_normal((5, 7))) * 1e-16
    propagation.accumulate_bounded(left, error, right, 0, 5, sums)
    interpreted(propagation.accumulate_bounded)(left, error, right, 0, 5, twin)
    assert np.array_equal(sums, twin)
    np.testing.assert_allclose(sums[1], np.abs(left) @ np.abs(right), rtol=1e-13)
    np.testing.assert_allclose(sums[2], error @ np.abs(right), rtol=1e-13)


@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_activations_agree_bit_for_bit(slope):
    rng, _ = arrays()
    sums = np.abs(rng.standard_normal((3, 6, 5)))
    sums[0] *= rng.choice([-1.0, 1.0, 1e-17, 0.0], (6, 5))
    sums[2] *= 1e-16
    sums[0, 0, 0], sums[1, 0, 1] = np.nan, np.inf
    found = []
    for run in (propagation.activate, interpreted(propagation.activate)):
        out = np.empty((6, 5), dtype=bool), *(np.empty((6, 5)) for _ in range(3))
        run(sums, 9, slope, *out)
        found.append(out)
    for one, two in zip(*found, strict=True):
        assert np.array_equal(one, two, equal_nan=one.dtype != bool)
    mask, h, _, ratio = found[0]
    assert ratio[0, 0] == ratio[0, 1] == 0.0
    certain = ratio > 1
    assert np.array_equal(mask[certain], sums[0][certain] > 0)
    assert np.array_equal(h[certain], np.where(mask, sums[0], slope * sums[0])[certain])


def test_residue_kernels_agree_bit_for_bit():
    rng, arithmetic = arrays()
    p, inverse = 8388593.0, 1.0 / 8388593.0
    values = np.concatenate(
        [
            rng.standard_normal(50) * np.exp2(rng.integers(-1000, 1000, 50)),
            [0.0, 5e-324, -1.7e308, 1.0, -3.0],
        ]
    )
    bits, powers = values.view(np.int64).reshape(5, 11), arithmetic._powers
    integers = rng.integers(-(2**63), 2**63 - 1, (4, 9))
    integers[0] = rng.integers(-(2**51), 2**51, 9)
    for name, *arguments in (
        ("float_residues", bits, 8388593, inverse, powers),
        ("integer_residues", integers, 8388593, inverse),
    ):
        one, two = (np.empty(arguments[0].shape) for _ in range(2))
        getattr(residues, name)(*arguments, one)
        interpreted(getattr(residues, name))(*arguments, two)
        assert np.array_equal(one, two)
    big = rng.integers(-(2**52), 2**52, (6, 8)).astype(float)
    one, two = big.copy(), big.copy()
    residues.reduce_rows(one, 1, 5, p, inverse)
    interpreted(residues.reduce_rows)(two, 1, 5, p, inverse)
    assert np.array_equal(one, two)
    assert not ((big - one).astype(np.int64) % 8388593).any()


def test_elimination_kernels_agree_bit_for_bit():
    rng, arithmetic = arrays()
    p, inverse = 8388593.0, 1.0 / 8388593.0
    A = arithmetic.random(rng, (12, 10))
    A[3] = A[1]
    A[:, 2] = 0.0
    results = []
    for run in (elimination.invert, interpreted(elimination.invert)):
        B, order, swaps = A.copy(), np.empty(12, dtype=np.int64), np.empty(10, dtype=np.int64)
        T = np.empty((12, 12))
        found = run(B, p, inverse, order, swaps, T)
        results.append((found, order, swaps[:found], T))
    for left, right in zip(*results, strict=True):
        assert np.array_equal(left, right)
    found, order, swaps, T = results[0]
    assert found == 9
    assert order.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9, 3, 10, 11]
    elimination.swap_columns(A, 0, 12, 0, swaps)
    reduced = arithmetic.product(T[order], A)
    assert np.array_equal(reduced[:9, :9], np.eye(9))
    assert not reduced[9:].any()
    assert np.array_equal(A[:, 9], np.zeros(12))
    assert elimination.first_column(A, np.arange(12), 3) == 3
    assert elimination.first_column(A, np.arange(12), 9) == 10
    assert elimination.first_column(A, np.arange(0), 3) == 10
    results = []
    stack = np.stack([A, np.roll(A, 5, axis=1), np.zeros((12, 10)), A])
    for run in (elimination.ranks, interpreted(elimination.ranks)):
        out = [np.full(shape, -1) for shape in ((4,), (4, 10), (4, 10))]
        run(stack.copy(), 0, 3, p, inverse, *out)
        results.append(out)
    for left, right in zip(*results, strict=True):
        assert np.array_equal(left, right)
    found, vectors, coordinates = results[0]
    assert found.tolist() == [9, 9, 0, -1]
    assert vectors[0].tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9, -1]
    assert coordinates[1, 0] == 0
    product, target = rng.integers(-(2**52), 2**52, (3, 4)).astype(float), np.zeros((5, 6))
    twin, rows = target.copy(), np.array([4, 0, 2])
    elimination.store_rows(product, 0, 2, p, inverse, rows, 2, target)
    interpreted(elimination.store_rows)(product, 0, 2, p, inverse, rows, 2, twin)
    assert np.array_equal(target, twin)
    assert np.array_equal(target[[4, 0], 2:], arithmetic.reduce(product[:2].copy()))
    assert not target[1:4].any()


def test_jacobian_kernels_agree_bit_for_bit():
    rng, _ = arrays()
    B, h = rng.standard_normal((2, 4, 3)), rng.standard_normal((4, 5))
    one, two = np.zeros((4, 2, 20)), np.zeros((4, 2, 20))
    propagation.fill_jacobian(B, h, 0, 4, 3, one)
    interpreted(propagation.fill_jacobian)(B, h, 0, 4, 3, two)
    assert np.array_equal(one, two)
    assert one[2, 1, 3 + 1 * 5 + 4] == B[1, 2, 1] * h[2, 4]


def test_sketch_kernels_agree_bit_for_bit_and_with_integers():
    rng, arithmetic = arrays()
    p, inverse = 8388593.0, 1.0 / 8388593.0
    most = 2**53 - 2**24
    left, right = (rng.integers(-most, most, (2, 3, n)).astype(float) for n in (12, 6))
    one, two = np.empty((3, 8)), np.empty((3, 8))
    sketch.combine(left, right.copy(), p, inverse, 4, one)
    interpreted(sketch.combine)(left, right.copy(), p, inverse, 4, two)
    assert np.array_equal(one, two)
    assert np.abs(one).max() <= p / 2 + 8
    big, small = (a.astype(np.int64).astype(object) for a in (left[:, :, :8], right[:, :, :4]))
    exact = (big * np.tile(small, 2)).sum(axis=0) - one.astype(np.int64)
    assert not (exact % 8388593).any()
    vectors, weights = arithmetic.random(rng, (3, 7)), arithmetic.random(rng, (2, 7))
    places = rng.integers(0, 5, (2, 7))
    one, two, exact = np.ones((3, 6)), np.ones((3, 6)), np.ones((3, 6), dtype=np.int64)
    sketch.compress(vectors, places, weights, p, inverse, one)
    interpreted(sketch.compress)(vectors, places, weights, p, inverse, two)
    for t, i in np.ndindex(2, 7):
        exact[:, places[t, i]] += int(weights[t, i]) * vectors[:, i].astype(np.int64)
    assert np.array_equal(one, two)
    assert not ((exact - one.astype(np.int64)) % 8388593).any()
    one = rng.integers(-most, most, (3, 5)).astype(float)
    two, exact = one.copy(), one.astype(np.int64)
    sketch.reduce(one, p, inverse)
    interpreted(sketch.reduce)(two, p, inverse)
    assert np.array_equal(one, two)
    assert not ((one.astype(np.int64) - exact) % 8388593).any()


SIGNATURES = """
import numpy as np
import patterndim as pdm
from patterndim.kernels import elimination, gram, propagation, residues, sketch
rng = np.random.default_rng(0)
for network in (pdm.Network.random((5, 8, 7, 3), rng=0), pdm.Network.random((3, 2), rng=0)):
    X = rng.standard_normal((30, network.widths[0]))
    for given in (X, np.asfortranarray(X), X.tolist(), X[::2], X.astype(np.float32)):
        for method in ("modular", "sketched", "numerical"):
            pdm.local_dimension(network, given, method=method)
        pdm.input_jacobian(network, given)
A = rng.integers(-2, 3, (500, 400))
A[:, :200] = A[:, 200:]
pdm.rank.modular_rank(A)
pdm.rank.modular_rank(np.asfortranarray(A[::2, ::2] / 3))
pdm.rank.modular_rank(np.eye(200)[::-1])
for given in (A[:20, :30].reshape(2, 30, 10), A.T[:40].reshape(5, 8, 500)[:, :, ::2] / 3):
    pdm.rank.modular_rank(given)
pdm.local_dimension(network, rng.standard_normal((3000, 3)))
pdm.ntk(network, X)
for module in (elimination, gram, propagation, residues, sketch):
    for name, kernel in vars(module).items():
        if getattr(kernel, "signatures", None):
            print(name, len(kernel.signatures))
"""


@pytest.mark.compiled
def test_every_kernel_has_one_signature():
    command = [sys.executable, "-c", SIGNATURES]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    counts = dict(line.split() for line in run.stdout.splitlines())
    assert set(counts) >= {
        "accumulate",
        "accumulate_bounded",
        "activate",
        "fill_jacobian",
        "first_column",
        "float_residues",
        "integer_residues",
        "invert",
        "ranks",
        "store_rows",
        "swap_columns",
        "subtract_rows",
        "combine",
        "compress",
    }
    assert set(counts.values()) == {"1"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_kernels_keep_to_their_rules(path):
    text = path.read_text()
    assert "fastmath" not in text
    assert "parallel=True" not in text
    for node in ast.walk(ast.parse(text)):
        assert not isinstance(node, ast.Raise | ast.Assert)
        if isinstance(node, ast.ImportFrom):
            assert node.module in ("numba", "patterndim.typing")
    assert pdm.__version__


def test_a_failure_in_a_thread_is_raised_in_the_caller():
    def work(start, stop):
        if start:
            raise MemoryError("in a thread")

    for rows in (1, 4):
        share_rows(lambda start, stop: None, rows, 10**9)
    if thread_count() > 1:
        with pytest.raises(MemoryError, match="in a thread"):
            share_rows(work, 4, 10**9)
