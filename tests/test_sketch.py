"""Random columns and the compression of long ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.arithmetic import Modular, Real
from patterndim.factors import factor, gates
from patterndim.heads import output_map
from patterndim.rank.echelon import Echelon
from patterndim.sketch import Compression, Directions, FactorTiles
from tests import oracles
from tests.strategies import networks, sample

P = 8388593


@given(networks(integers=False), st.integers(0, 1000))
def test_columns_lie_in_the_range_of_the_jacobian_and_span_it(network, seed):
    X = sample(network, seed, 4, integers=False)
    J = pdm.parameter_jacobian(network, X)
    gate = gates(network.architecture, pdm.activation_pattern(network, X).masks)
    C = output_map(network.widths[-1], "affine")
    factors = factor(network.architecture, network.theta, X, gate, Real(), C)
    tiles = FactorTiles.of(factors, 512)
    directions = Directions(network.architecture, Real(), (seed,), 3, len(J) + 8)
    columns = directions.sketch(tiles, slice(0, len(J) + 5))
    # output-major to input-major
    columns = columns.reshape(-1, network.widths[-1], 4).transpose(0, 2, 1).reshape(-1, len(J))
    together = np.concatenate([J, columns.T], axis=1)
    expected = pdm.local_dimension(network, X).value
    assert pdm.rank.numerical_rank(together, rtol=1e-9).value <= expected
    assert np.linalg.matrix_rank(columns, tol=1e-9 * np.abs(columns).max()) <= expected


def low_rank(rng, count, rows, rank):
    arithmetic = Modular(P)
    left, right = arithmetic.random(rng, (count, rank)), arithmetic.random(rng, (rank, rows))
    return arithmetic.product(left, right)


@pytest.mark.parametrize(("width", "enough"), [(60, True), (49, False), (20, False)])
def test_compression_keeps_the_rank_or_says_that_it_did_not(width, enough):
    rng = np.random.default_rng(0)
    vectors = low_rank(rng, 70, 500, 50)
    compression = Compression(Modular(P), (1, 2), width, 8)
    whole = np.zeros((70, compression.length))
    compression.rows(0, 500).add(vectors, whole)
    parts = np.zeros_like(whole)
    for where in (slice(0, 123), slice(123, 400), slice(400, 500)):
        part = np.ascontiguousarray(vectors[:, where])
        compression.rows(where.start, where.stop).add(part, parts)
    assert not ((whole - parts).astype(np.int64) % P).any()
    assert oracles.flint_rank(whole.astype(np.int64), P) == min(50, width + 8)
    echelon = Echelon(Modular(P), compression.length)
    echelon.extend(whole)
    assert echelon.rank == min(50, width + 8)
    assert compression.sufficed(echelon.pivot_coordinates) == enough
