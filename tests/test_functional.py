"""The functional dimension against exact oracles, laws and identities of the theory."""

import itertools
import json
import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patterndim as pdm
from patterndim import regions
from patterndim.cli import main
from patterndim.errors import ArgumentError, KindError, MemoryLimitError, ShapeError
from patterndim.functional import report, sampling_failure
from tests import oracles
from tests.strategies import networks, sample
from tests.test_regions import points_inside, rows, tent

low_dimensional = networks(max_width=3).filter(lambda network: network.widths[0] <= 2)


def exact(network, **options):
    return pdm.functional_dimension(network, method="exact", **options)


def rational_functional_dimensions(network):
    """Ranks over the rationals of J, and behind a softmax, at true points inside every region."""
    found = regions.space(network)
    plain = oracles.describe(network, Fraction)
    names, J, C_J = oracles.parameters(plain), [], []
    for region in range(len(found)):
        for point in points_inside(found, region):
            columns = [oracles.derivative(plain, point, name) for name in names]
            part = [list(row) for row in zip(*columns, strict=True)]
            J += part
            C_J += oracles.softmax_rows(part, len(part))
    return oracles.rational_rank(J), oracles.rational_rank(C_J)


@given(networks(max_width=2, max_hidden=2))
@settings(max_examples=25)
def test_exact_is_the_rank_over_the_rationals_at_true_points(network):
    expected = rational_functional_dimensions(network)
    for output, value in zip(("affine", "softmax"), expected, strict=True):
        found = exact(network, output=output)
        assert found.value == value
        assert (found.method, found.complete, found.lower) == ("exact", True, value)
        assert value <= found.upper
        assert (found.kind == "proved") == (value == found.upper)
        assert (found.failure_probability == 0.0) == (found.kind == "proved")


@given(low_dimensional, st.integers(0, 1000), st.booleans())
@settings(max_examples=12)
def test_a_sample_never_exceeds_the_exact_dimension(network, seed, integers):
    """Small integers are often on boundaries, where no region has the pattern."""
    sampler = (lambda rng, n: rng.integers(-2, 3, (n, network.widths[0]))) if integers else None
    options = {"patience": 50, "limit": 100, "scale": 3.0, "sampler": sampler}
    found = pdm.functional_dimension(network, rng=seed, **options)
    whole = exact(network)
    assert found.value <= whole.value
    assert found.upper >= whole.upper
    assert found.regions <= whole.regions


@pytest.mark.parametrize("widths", [(1, 4, 1), (2, 3, 1), (2, 2, 2, 1), (1, 3, 3, 2)])
def test_a_large_sample_reaches_the_exact_dimension(widths):
    for seed in range(3):
        network = pdm.Network.random(widths, rng=seed, bias_std=0.1)
        found = regions.space(network)
        everywhere = [np.array(points_inside(found, r), dtype=float) for r in range(len(found))]

        def sampler(rng, count, everywhere=everywhere):
            """Inputs from all regions alike, however small or far away."""
            chosen = [everywhere[i] for i in rng.integers(len(everywhere), size=count)]
            return np.array([rng.dirichlet(np.ones(len(X))) @ X for X in chosen])

        found = pdm.functional_dimension(network, sampler=sampler, rng=seed, patience=200)
        assert found.value == exact(network).value
        if found.kind == "proved":
            assert (found.complete, found.failure_probability) == (True, 0.0)
            assert found.sampling_failure is found.unseen is None
        else:
            assert (found.complete, found.failure_probability) == (False, 1.0)
            assert 0.0 <= found.sampling_failure <= 1.0
            assert (found.unseen, found.regions) == (0.0, len(everywhere))


def test_the_sample_is_drawn_once_and_its_rank_is_its_local_dimension():
    drawn, buffer = [], np.empty((2048, 3))

    def sampler(rng, count):
        drawn.append(rng.uniform(-2.0, 2.0, (count, 3)))
        buffer[:count] = drawn[-1]
        return buffer[:count]  # the same memory every time

    network = pdm.Network.random((3, 2, 2, 1), rng=2, bias_std=0.1)
    found = pdm.functional_dimension(network, sampler=sampler, patience=100, rng=1)
    X = np.concatenate(drawn)
    assert found.kind == "probable"
    assert len(X) == found.inputs + 1000  # the last are for the estimates
    quiet = int(re.fullmatch(r"no growth in the last (\d+) draws", found.reason)[1])
    before = X[: found.inputs - quiet]
    assert 100 <= quiet < found.inputs
    assert pdm.local_dimension(network, before).value == found.value
    assert found.value == pdm.local_dimension(network, X[: found.inputs]).value
    known = set(rows(pdm.activation_pattern(network, X[: found.inputs])))
    fresh = rows(pdm.activation_pattern(network, X[found.inputs :]))
    assert found.regions == len(known)
    assert found.unseen == np.mean([masks not in known for masks in fresh])
    masses = [fresh.count(masks) / 1000 for masks in set(fresh)]
    assert found.sampling_failure == pytest.approx(sampling_failure(masses, found.inputs, 3))


@given(st.integers(0, 1000))
@settings(max_examples=5)
def test_T6_the_dimension_of_a_sample_grows_with_it(seed):
    network = pdm.Network.random((2, 3, 3, 1), rng=seed, bias_std=0.1)
    values = [
        pdm.functional_dimension(network, rng=seed, limit=n, patience=n).value
        for n in (1, 5, 25, 100)
    ]
    assert values == sorted(values)
    assert values[0] == 1


def test_T6_the_bound_holds_where_the_masses_are_known():
    """Kink at 0, symmetric law: all sides of six inputs are equally likely."""
    network = pdm.Network.from_layers([[[1.0]], [[2.0]]], [[0.0], [0.0]])
    places = np.arange(1.0, 7.0)
    full = exact(network).value
    values = [
        pdm.local_dimension(network, (places * sides)[:, np.newaxis]).value
        for sides in itertools.product((-1.0, 1.0), repeat=6)
    ]
    assert max(values) == full == 3
    failed = np.mean([value < full for value in values])
    # All on the right, or at most one there; the bound allows at most one on either side.
    assert failed == (1 + 1 + 6) / 2**6
    assert sampling_failure([0.5, 0.5], 6, 1) == pytest.approx(2 * (1 + 6) / 2**6)
    assert failed <= sampling_failure([0.5, 0.5], 6, 1)


def test_T6_the_bound_is_a_sum_of_binomial_tails():
    masses, N, n0 = [0.7, 0.2, 0.1], 30, 2
    tails = [math.comb(N, j) * p**j * (1 - p) ** (N - j) for p in masses for j in range(n0 + 1)]
    assert sampling_failure(masses, N, n0) == pytest.approx(sum(tails))
    assert sampling_failure(masses, 2, n0) == 1.0
    assert sampling_failure([1.0], 3, n0) == 0.0
    with pytest.raises(ArgumentError, match=r"masses must be from 0 to 1, got -1 to 0\.5"):
        sampling_failure([0.5, -1.0], 3, 2)


@given(low_dimensional, st.integers(0, 1000))
@settings(max_examples=30)
def test_T7_rescaling_and_permutation_keep_the_functional_dimension(network, seed):
    rng = np.random.default_rng(seed)
    hidden = network.widths[1:-1]
    other = network
    if all(c.trainable for c in network.architecture.connections):
        other = pdm.rescale(other, [2.0 ** rng.integers(-3, 4, width) for width in hidden])
        other = pdm.permute(other, [rng.permutation(width) for width in hidden])
    else:
        other = pdm.rescale(other, [np.ones(width) for width in hidden])
    first, second = exact(network), exact(other, rng=seed)
    assert (first.value, first.upper, first.regions) == (second.value, second.upper, second.regions)


def test_T7_the_functional_dimension_is_that_of_the_achievable_patterns():
    network = pdm.Network.random((2, 2, 2, 1), rng=1, bias_std=0.1)
    found = regions.space(network)
    by_patterns = pdm.functional_dimension(network, method="patterns", patterns=found.pattern)
    assert by_patterns.value == exact(network).value
    assert by_patterns.inputs == 3 * len(found)
    assert by_patterns.reason == "given patterns"
    assert not by_patterns.complete
    # In each region alone: the rank of J at true points there.
    for region in range(len(found)):
        masks = [mask[[region, region]] for mask in found.pattern.masks]
        alone = pdm.functional_dimension(network, method="patterns", patterns=masks)
        assert (alone.regions, alone.inputs) == (1, 3)
        X = np.array(points_inside(found, region), dtype=float)
        assert set(rows(pdm.activation_pattern(network, X))) == {rows(found.pattern)[region]}
        assert pdm.local_dimension(network, X).value == alone.value <= 3


def test_patterns_that_reach_the_bound_are_complete():
    network = pdm.Network.random((2, 5, 1), rng=0, bias_std=0.1)
    pattern = regions.space(network).pattern
    found = pdm.functional_dimension(network, method="patterns", patterns=pattern)
    assert (found.value, found.kind, found.complete) == (16, "proved", True)
    assert found.reason == "met the bound for all samples"


@pytest.mark.parametrize("m", [2, 3, 4])
def test_m_tent_maps_have_functional_dimension_3m_plus_2(m):
    found = exact(tent(m))
    assert found.value == 3 * m + 2
    assert found.upper == tent(m).parameter_count - 2 * m == 4 * m + 1
    assert found.regions == 2**m + 2


def test_the_law_of_1_1_1_1_by_signs():
    """The signs of w_2 and b_2 decide: 1, 3, 3, 4, each with probability 1/4."""
    by_signs = {(-1, -1): 1, (1, -1): 3, (1, 1): 3, (-1, 1): 4}
    for w1, b1, w2, b2, w3 in itertools.product((-1, 1), repeat=5):
        # b_2 is small, so that the second kink is at a positive activation.
        network = pdm.Network.from_layers(
            [[[1.3 * w1]], [[0.7 * w2]], [[1.1 * w3]]], [[0.4 * b1], [0.3 * b2], [0.2]]
        )
        assert exact(network).value == by_signs[w2, b2]
        assert network.parameter_count - network.hidden_neurons == 4


@pytest.mark.parametrize("widths", [(2, 2, 1), (2, 3, 1), (2, 2, 2, 1), (1, 2, 2, 1), (2, 3, 2)])
def test_the_maximum_is_P_minus_H_and_some_draw_attains_it(widths):
    best = 0
    for seed in range(20):
        network = pdm.Network.random(widths, rng=seed, bias_std=0.5)
        found = exact(network)
        assert found.upper <= network.parameter_count - network.hidden_neurons
        best = max(best, found.value)
    assert best == network.parameter_count - network.hidden_neurons


@given(networks(integers=False), st.integers(0, 1000))
@settings(max_examples=60)
@pytest.mark.compiled
def test_U2_the_bound_for_all_samples_holds(network, seed):
    X = 3 * sample(network, seed, 40, integers=False)
    bound = pdm.functional_dimension(network, limit=1).upper
    assert pdm.local_dimension(network, X).value <= bound
    architecture = network.architecture
    if all(connection.trainable for connection in architecture.connections):
        linear = any(layer.slope == 1.0 for layer in architecture.layers)
        assert bound <= network.parameter_count - network.hidden_neurons
        assert linear or bound == network.parameter_count - network.hidden_neurons


@pytest.mark.compiled
def test_a_wide_deep_network_takes_a_growing_sample():
    values = []
    network = pdm.Network.random((10, 10, 10, 10, 1), rng=2, bias_std=0.1)
    found = pdm.functional_dimension(network, progress=lambda *rank: values.append(rank))
    assert (found.value, found.kind, found.bound) == (311, "proved", "parameters")
    assert values == sorted(values)
    assert values[-1] == (311, 311)


def test_inputs_on_boundaries_are_moved_off():
    """At 0 both neurons would be inactive, in a pattern that no open set has."""
    network = pdm.Network.from_layers([[[1.0], [-1.0]], [[1.0, 3.0]]], [[0.0, 0.0], [0.0]])
    found = pdm.functional_dimension(
        network, sampler=lambda rng, count: np.zeros((count, 1)), patience=100
    )
    assert (found.regions, found.ties) == (2, 0)
    assert found.value == exact(network).value == 4
    assert pdm.local_dimension(network, [[-1.0], [0.0], [1.0], [2.0], [-2.0]]).value == 5


def test_ties_of_whole_regions_are_reported_and_taken_as_inactive():
    network = pdm.Network.from_layers([[[1.0], [0.0]], [[1.0, 3.0]]], [[1.0, 0.0], [0.0]])
    found = exact(network)
    assert (found.value, found.regions, found.ties) == (3, 2, 2)
    drawn = pdm.functional_dimension(network, patience=50)
    assert (drawn.value, drawn.ties) == (3, drawn.inputs)
    text = dict(report.lines(network, found))
    assert text["ties"] == "2 exact zeros on whole regions"


@pytest.mark.parametrize("method", ["sample", "patterns", "exact"])
def test_without_hidden_layers_the_dimension_is_P(method):
    network = pdm.Network.random((2, 3), rng=0)
    patterns = [] if method == "patterns" else None
    found = pdm.functional_dimension(network, method=method, patterns=patterns)
    assert (found.value, found.kind, found.regions) == (9, "proved", 1)


def test_softmax_of_one_output_has_dimension_zero():
    network = pdm.Network.random((2, 3, 1), rng=0, bias_std=0.1)
    found = pdm.functional_dimension(network, output="softmax")
    assert (found.value, found.kind, found.bound, found.inputs) == (0, "proved", "outputs", 0)
    assert exact(network, output="softmax").value == 0


def test_softmax_loses_one_row_of_output_parameters():
    network = pdm.Network.random((2, 4, 3), rng=0, bias_std=0.1)
    assert exact(network).value == 23
    found = pdm.functional_dimension(network, output="softmax", scale=0.3)
    assert (found.value, found.kind) == (23 - 5, "proved")


def test_the_seed_decides_everything():
    network = pdm.Network.random((3, 2, 2, 1), rng=2, bias_std=0.1)
    first, again = (pdm.functional_dimension(network, rng=7, patience=60) for _ in range(2))
    assert first == again
    generators = [np.random.default_rng(7) for _ in range(2)]
    by = [pdm.functional_dimension(network, rng=rng, patience=60) for rng in generators]
    assert by[0] == by[1] != first


def test_the_limit_ends_the_sample_and_primes_lower_the_chance():
    network = pdm.Network.random((3, 2, 2, 1), rng=2, bias_std=0.1)
    one, three = (
        pdm.functional_dimension(network, limit=150, patience=10**6, primes=primes)
        for primes in (1, 3)
    )
    assert one.reason == "limit of 150 draws"
    assert one.inputs == 150
    assert 0.0 < three.rank_failure < one.rank_failure < 0.1
    names = [name for name, _ in report.lines(network, one)]
    assert names[-1] == "estimates"


def test_the_report_tells_how_sure_it_is():
    found = exact(tent(2))
    text = dict(report.lines(tent(2), found))
    assert text["kind"].startswith("probable: at least 8 for certain")
    assert text["complete"] == "yes: all activation regions"
    assert text["ties"] == "1 exact zeros on whole regions"
    network = pdm.Network.random((3, 2, 2, 1), rng=2, bias_std=0.1)
    text = dict(report.lines(network, pdm.functional_dimension(network, patience=60)))
    assert text["kind"].startswith("a lower bound for certain")


def test_bad_options_are_refused():
    network = pdm.Network.random((3, 3, 1), rng=0)
    find = pdm.functional_dimension
    with pytest.raises(KindError, match=r"network must be a patterndim.Network, got str"):
        find("network")
    with pytest.raises(ArgumentError, match="method must be one of sample, patterns, exact, got"):
        find(network, method="all")
    with pytest.raises(ArgumentError, match="network must have at most 2 inputs, got n_0 = 3"):
        find(network, method="exact")
    with pytest.raises(ArgumentError, match='patterns must be given with method "patterns"'):
        find(network, method="patterns")
    with pytest.raises(ArgumentError, match='and no other, got method "sample"'):
        find(network, patterns=[np.ones((1, 3), dtype=bool)])
    with pytest.raises(ShapeError, match=r"pattern must have masks of shapes \[\(1, 3\)\]"):
        find(network, method="patterns", patterns=[np.ones((1, 4), dtype=bool)])
    with pytest.raises(KindError, match=r"masks\[0\] must be an array of bool"):
        find(network, method="patterns", patterns=[np.ones((1, 3))])
    with pytest.raises(ArgumentError, match="scale must be positive, got 0"):
        find(network, scale=0.0)
    with pytest.raises(KindError, match="sampler must be callable"):
        find(network, sampler=3)
    with pytest.raises(ShapeError, match=r"sampler\(rng, count\) must have shape \(count, 3\)"):
        find(network, sampler=lambda rng, count: np.ones((count, 2)))
    with pytest.raises(ShapeError, match=r"sampler\(rng, 21\) must have shape \(21, 3\), got \(5"):
        find(network, sampler=lambda rng, count: np.ones((5, 3)))
    with pytest.raises(MemoryLimitError, match=r"memory must be at least \d+ bytes here"):
        find(network, memory=1000)
    with pytest.raises(MemoryLimitError, match=r"memory must be at least \d+ bytes here"):
        exact(pdm.Network.random((2, 3, 1), rng=0), memory=1000)
    for name in ("patience", "limit", "primes"):
        with pytest.raises(ArgumentError, match=f"{name} must be at least 1, got 0"):
            find(network, **{name: 0})


def test_the_command_prints_a_report_and_json(tmp_path, capsys):
    network = pdm.Network.random((2, 5, 1), rng=0, bias_std=0.1)
    path = str(tmp_path / "network.npz")
    pdm.save(network, path)
    assert main(["functional", path, "--method", "exact"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^functional dimension +16$", text, re.MULTILINE)
    assert main(["functional", path, "--json", "--output", "softmax"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == 0  # a softmax of one output
    assert main(["functional", path, "--memory", "10"]) == 2
    assert "memory must be at least" in capsys.readouterr().err
