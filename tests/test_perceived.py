"""Perceived regions against plain sets of patterns and maps in Fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.errors import KindError, ShapeError
from patterndim.regions import perceived
from tests import oracles
from tests.strategies import networks, sample


def frozen_outputs(plain, x, masks):
    """Outputs at a rational point with given masks, in Fractions."""
    widths, slopes, connections, biases = plain
    h = [list(x)]
    for v in range(1, len(widths)):
        z = [Fraction(0)] * widths[v] if biases[v] is None else list(biases[v])
        for source, target, W in connections:
            if target == v:
                for i in range(widths[v]):
                    row = None if W is None else W[i]
                    z[i] += (
                        h[source][i]
                        if row is None
                        else sum(w * a for w, a in zip(row, h[source], strict=True))
                    )
        if v < len(widths) - 1:
            z = [a if on else slopes[v] * a for a, on in zip(z, masks[v - 1], strict=True)]
        h.append(z)
    return tuple(h[-1])


def affine_map(network, masks):
    """Outputs at 0 and at the unit vectors, which determine the affine map."""
    plain, n = oracles.describe(network, Fraction), network.widths[0]
    points = [[Fraction(0)] * n, *([Fraction(int(i == j)) for i in range(n)] for j in range(n))]
    return tuple(frozen_outputs(plain, point, masks) for point in points)


@given(networks(), st.integers(0, 1000))
def test_regions_are_the_different_patterns_and_maps_are_equal_in_fractions(network, seed):
    X = sample(network, seed, 12)
    found = perceived(network, X, ranks=True, maps=True)
    masks = [np.array(mask) for mask in pdm.activation_pattern(network, X).masks]
    rows = [tuple(np.concatenate([m[x] for m in masks]).tolist()) for x in range(len(X))]
    assert len(found) == len(set(rows)) == len(found.ranks) == len(found.maps)
    of_region, of_map = {}, {}
    for x, row in enumerate(rows):
        region = int(found.ids[x])
        assert of_region.setdefault(region, row) == row
        exact = affine_map(network, [m[x] for m in masks])
        assert of_map.setdefault(int(found.maps[region]), exact) == exact
    assert len(set(of_map.values())) == len(of_map)
    for region, row in of_region.items():
        assert tuple(np.concatenate([m[region] for m in found.pattern.masks])) == row
        inside = X[[x for x, other in enumerate(rows) if other == row]]
        assert found.sizes[region] == len(inside)
        extended = [[*map(int, x), 1] for x in inside]
        assert int(found.ranks[region]) == oracles.exact_rank(extended)


# science: scalar output, one input, X = 0..5; kinks as (where, direction), regions perceived.
CASES = [
    ([(2.5, 1)], 2),
    ([(1.5, 1), (3.5, 1)], 3),
    ([(1.5, 1), (1.2, 1)], 2),
    ([(2.5, 1), (2.6, -1)], 2),
    ([(1.5, -1), (3.5, 1)], 3),
    ([(0.5, 1), (2.5, 1), (4.5, 1)], 4),
    ([(9.0, 1), (2.5, 1)], 2),
]


@pytest.mark.parametrize(("kinks", "count"), CASES)
def test_regions_that_can_be_counted_by_hand(kinks, count):
    weights = [[float(direction)] for _, direction in kinks]
    biases = [-where * direction for where, direction in kinks]
    network = pdm.Network.from_layers([weights, [[1.0] * len(kinks)]], [biases, [0.0]])
    X = np.arange(6.0)[:, np.newaxis]
    found = perceived(network, X)
    assert len(found) == count
    assert (found.ranks, found.maps) == (None, None)
    assert found.sizes.sum() == 6


def test_a_neuron_of_no_use_splits_regions_but_not_maps():
    """The kink at 3.5 has weight 0; that of the dead layer above never shows."""
    network = pdm.Network.from_layers(
        [[[1.0], [1.0]], [[1.0, 0.0], [-1.0, -1.0]], [[1.0, 1.0]]],
        [[-1.5, -3.5], [0.0, -1.0], [0.0]],
    )
    found = perceived(network, np.arange(6.0)[:, np.newaxis], maps=True)
    assert len(found) == 3
    assert found.maps.tolist() == [0, 1, 1]
    assert repr(found) == "PerceivedRegions(3 regions of 6 inputs)"


def test_maps_that_agree_modulo_the_prime_are_told_apart():
    """Output weights that differ by multiples of the prime: only integers can see it."""
    prime = pdm.arithmetic.random_prime(np.random.default_rng(0))
    network = pdm.Network.from_layers([[[1.0]], [[float(prime)]]], [[-0.5], [0.0]])
    found = perceived(network, [[0.0], [1.0]], maps=True)
    assert found.maps.tolist() == [0, 1]


def test_a_network_without_hidden_layer_is_one_region():
    found = perceived(pdm.Network.random((3, 2)), np.eye(3), ranks=True, maps=True)
    assert (len(found), found.sizes.tolist(), found.maps.tolist()) == (1, [3], [0])
    assert found.ranks[0].value == 3
    assert found.ranks[0].kind == "proved"


def test_samples_of_another_kind_are_refused():
    network = pdm.Network.random((3, 2, 1))
    with pytest.raises(ShapeError, match=r"inputs must have shape \(N, 3\), got \(2,\)"):
        perceived(network, [1.0, 2.0])
    with pytest.raises(KindError, match=r"network must be a patterndim\.Network, got str"):
        perceived("network", np.eye(3))
