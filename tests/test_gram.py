"""The kernels of Gram matrices: compiled equals interpreted, and plain sums."""

import numpy as np
import pytest

import patterndim as pdm
from patterndim.kernels import gram


def interpreted(kernel):
    return getattr(kernel, "py_func", kernel)


def problem():
    """Two layers of 5 and 3 neurons, 3 inputs of 2 rows each against 5 of 3; zeros as in masks."""
    rng = np.random.default_rng(0)
    left = rng.standard_normal((6, 8)) * rng.integers(0, 2, (6, 8))
    left[1] = 0.0
    return left, rng.standard_normal((8, 15)), rng.standard_normal((2, 3, 5))


def test_rows_are_sums_over_layers_and_agree_bit_for_bit():
    left, right, scale = problem()
    edges, chosen, first = np.array([0, 5, 8]), np.array([2, 1]), np.array([0, 14, 0])
    one, two = np.full((6, 15), 7.0), np.full((6, 15), 7.0)
    gram.fill_gram(left, right, scale, edges, chosen, first, one)
    interpreted(gram.fill_gram)(left, right, scale, edges, chosen, first, two)
    assert np.array_equal(one, two)
    expected = np.full((6, 15), 7.0)
    for r in range(2, 6):
        for c in range(15):
            expected[r, c] = sum(
                scale[layer, r // 2, c // 3] * sum(left[r, k] * right[k, c] for k in span)
                for layer, span in enumerate((range(5), range(5, 8)))
            )
    np.testing.assert_allclose(one, expected, rtol=0, atol=1e-14)
    done = np.zeros((6, 15))
    gram.fill_gram(left, right, scale, edges, chosen, np.array([0, 14, 15]), done)
    assert np.array_equal(done[2:4], one[2:4])
    assert not done[4:].any()


def test_mirrors_across_their_squares():
    size = 2 * gram.SQUARE + 9
    A = np.random.default_rng(0).standard_normal((size, size))
    one, two = A.copy(), A.copy()
    gram.mirror(0, 3, one)
    interpreted(gram.mirror)(0, 3, two)
    assert np.array_equal(one, np.triu(A) + np.triu(A, 1).T)
    assert np.array_equal(one, two)
    gram.mirror(0, 1, A)
    assert not np.array_equal(A, A.T)


@pytest.mark.compiled
def test_one_signature_whatever_the_layout():
    network = pdm.Network.random((5, 8, 7, 3), rng=0)
    X = np.random.default_rng(0).standard_normal((30, 5))
    for given in (X, np.asfortranarray(X), X.tolist(), X[::2]):
        for outputs in ("full", "trace"):
            pdm.ntk(network, given, outputs=outputs)
            pdm.ntk(network, given, X, outputs=outputs)
    for kernel in (gram.fill_gram, gram.mirror):
        assert len(kernel.signatures) == 1
