"""Exact enumeration of activation regions against counts, areas and exact signs."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import patterndim as pdm
from patterndim import regions
from patterndim.errors import ArgumentError, KindError, NonFiniteError, ShapeError
from tests import oracles
from tests.strategies import networks

low_dimensional = networks(max_width=3).filter(lambda network: network.widths[0] <= 2)


def tent(m):
    """Composition of m tent maps."""
    weights, biases = [[[1.0], [1.0]]], [[0.0, -0.5]]
    for _ in range(m - 1):
        weights.append([[2.0, -4.0], [2.0, -4.0]])
        biases.append([0.0, -0.5])
    return pdm.Network.from_layers([*weights, [[2.0, -4.0]]], [*biases, [0.0]])


def rows(pattern):
    """Masks of every input or region as tuples of 0 and 1."""
    return [tuple(row) for row in np.concatenate(pattern.masks, axis=1).astype(int).tolist()]


def exact_masks(network, point):
    """Signs of all hidden preactivations at a rational point, in Fractions; 1 in linear layers."""
    plain = oracles.describe(network, Fraction)
    z = oracles.forward(plain, point)[0]
    signs = []
    for v in range(1, len(z) - 1):
        signs += [1 if plain[1][v] == 1 else (a > 0) - (a < 0) for a in z[v]]
    return signs


def corners(found, region):
    """Corners of a bounded region in Fractions."""
    return [tuple(Fraction(x, ray[-1]) for x in ray[:-1]) for ray in found.rays[region]]


def points_inside(found, region):
    """Points of a region, as many as it has rays, that span its cone, in Fractions."""
    scaled = [
        [Fraction(x, ray[-1] or max(map(abs, ray))) for x in ray] for ray in found.rays[region]
    ]
    total = [sum(column) for column in zip(*scaled, strict=True)]
    sums = [[a + b for a, b in zip(total, ray, strict=True)] for ray in scaled]
    return [[x / y[-1] for x in y[:-1]] for y in sums]


def measure(points, middle):
    """Length of an interval or area of a convex polygon around a point inside, exact."""
    if len(middle) == 1:
        return max(points)[0] - min(points)[0]
    moved = [(x - middle[0], y - middle[1]) for x, y in points]
    moved.sort(key=lambda point: math.atan2(point[1], point[0]))
    ends = zip(moved, moved[1:] + moved[:1], strict=True)
    return sum(a * d - b * c for (a, b), (c, d) in ends) / 2


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8])
def test_k_lines_in_general_position_cut_the_plane(k):
    found = regions.space(pdm.Network.random((2, k, 1), rng=k, bias_std=0.1))
    assert len(found) == 1 + k + math.comb(k, 2)
    assert found.bounded.sum() == math.comb(k - 1, 2)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_k_points_cut_the_line(k):
    found = regions.space(pdm.Network.random((1, k, 1), rng=k, bias_std=0.1))
    assert len(found) == k + 1
    assert found.bounded.sum() == k - 1


@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_m_tent_maps_have_2_to_the_m_regions(m):
    assert len(regions.box(tent(m), [0.0], [1.0])) == 2**m
    assert len(regions.space(tent(m))) == 2**m + 2


@given(low_dimensional)
def test_every_interior_point_has_the_claimed_pattern_and_ties(network):
    found = regions.space(network)
    assert len(set(rows(found.pattern))) == len(found) == len(found.points)
    ties = {tuple(place) for place in found.pattern.ties.tolist()}
    for region, masks in enumerate(rows(found.pattern)):
        signs = exact_masks(network, found.interior(region))
        assert masks == tuple(int(sign > 0) for sign in signs)
        places = [
            (region, v, i)
            for v in network.architecture.hidden_layers
            for i in range(network.widths[v])
        ]
        assert [place in ties for place in places] == [sign == 0 for sign in signs]


@given(low_dimensional, st.integers(0, 1000))
def test_no_sampled_pattern_is_missing(network, seed):
    rng = np.random.default_rng(seed)
    scales = np.repeat([0.1, 1.0, 10.0, 1000.0], 50)[:, np.newaxis]
    X = scales * rng.standard_normal((200, network.widths[0]))
    pattern = pdm.activation_pattern(network, X)
    known = set(rows(regions.space(network).pattern))
    usual = set(range(200)) - set(pattern.ties[:, 0].tolist())
    assert {rows(pattern)[x] for x in usual} <= known


@given(low_dimensional)
def test_the_regions_of_a_box_fill_it(network):
    inputs = network.widths[0]
    low, high = [-2.75] * inputs, [3.0] * inputs
    found = regions.box(network, low, high)
    total = sum(measure(corners(found, r), found.interior(r)) for r in range(len(found)))
    assert total == Fraction(5.75) ** inputs
    assert found.bounded.all()
    assert set(rows(found.pattern)) <= set(rows(regions.space(network).pattern))


@given(networks(integers=False, max_width=4).filter(lambda network: network.widths[0] <= 2))
@settings(max_examples=20)
def test_a_large_box_meets_every_region_of_gaussian_networks(network):
    everywhere = regions.space(network)
    far = max(
        abs(Fraction(x, r[-1])) for rs in everywhere.rays for r in rs if r[-1] for x in r[:-1]
    )
    assume(far < 2**40)
    side = np.full(network.widths[0], 2.0**41)
    inside = regions.box(network, -side, side)
    assert rows(inside.pattern) == rows(everywhere.pattern)


def test_regions_thinner_than_rounding_are_found():
    """Kinks at 1 and 1 / (1 + 2**-52): no float64 lies between them."""
    network = pdm.Network.from_layers(
        [[[1.0], [1.0 + 2.0**-52]], [[1.0, 1.0]]], [[-1.0, -1.0], [0.0]]
    )
    found = regions.space(network)
    assert rows(found.pattern) == [(0, 0), (0, 1), (1, 1)]
    (x,) = found.interior(1)
    assert 1 / (1 + Fraction(2) ** -52) < x < 1
    assert found.bounded.tolist() == [False, True, False]
    assert repr(found) == "Regions(3, 1 bounded)"


def test_huge_and_tiny_numbers_are_exact():
    network = pdm.Network.from_layers([[[1e300]], [[1.0]]], [[1e-300], [0.0]])
    found = regions.box(network, [-1e308], [2.0**-1074])
    assert len(found) == 2
    assert corners(found, 1)[1] == (Fraction(2) ** -1074,)
    network = pdm.Network.from_layers([[[1e-300]], [[1.0]]], [[1e300], [0.0]])
    found = regions.space(network)  # the kink is near -1e600
    (kink,) = [Fraction(*ray) for ray in found.rays[0] if ray[-1]]
    assert kink == -Fraction(1e300) / Fraction(1e-300)
    assert found.points.ravel().tolist() == [-np.inf, np.inf]


def test_preactivations_that_are_zero_on_a_region_are_ties():
    network = pdm.Network.from_layers(
        [[[1.0, 0.0], [0.0, 0.0]], [[1.0, 1.0]], [[1.0]]], [[-1.0, 0.0], [0.0], [0.0]]
    )
    found = regions.space(network)
    assert rows(found.pattern) == [(0, 0, 0), (1, 0, 1)]
    assert found.pattern.ties.tolist() == [[0, 1, 1], [0, 2, 0], [1, 1, 1]]
    assert found.tied.tolist() == [0, 1]


def test_without_hidden_layers_there_is_one_region():
    network = pdm.Network.random((2, 3), rng=0)
    found = regions.space(network)
    assert (len(found), found.pattern.masks, found.interior(0)) == (1, (), (0, 0))
    assert not found.bounded[0]
    assert regions.box(network, [0, 0], [2, 4]).points.tolist() == [[1.0, 2.0]]


def test_bad_arguments_are_refused():
    network = pdm.Network.random((2, 3, 1), rng=0)
    with pytest.raises(KindError, match=r"network must be a patterndim.Network, got str"):
        regions.space("network")
    with pytest.raises(ArgumentError, match="network must have at most 2 inputs, got n_0 = 3"):
        regions.space(pdm.Network.random((3, 3, 1), rng=0))
    with pytest.raises(ShapeError, match=r"low must have shape \(2,\), got \(1,\)"):
        regions.box(network, [0.0], [1.0, 1.0])
    with pytest.raises(NonFiniteError, match=r"high must be finite, got inf at \(1,\)"):
        regions.box(network, [0.0, 0.0], [1.0, np.inf])
    with pytest.raises(ArgumentError, match=r"low must be below high, got \[0.0, 1.0\] and"):
        regions.box(network, [0.0, 1.0], [1.0, 1.0])
