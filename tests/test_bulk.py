"""Many networks at once against one at a time, and against ranks over the rationals."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patterndim as pdm
from patterndim import bulk, failure, minors
from patterndim.arithmetic import random_prime
from patterndim.errors import ArgumentError, KindError, NonFiniteError, ShapeError
from tests.strategies import networks, sample
from tests.test_dimension import random_network, rational_dimension


def agree(many, single):
    """Whether both say the same, but that one at a time may find a finer bound."""
    names = ["value", "lower", "ties", "uncertain"]
    if single.upper == many.upper:
        names += ["upper", "kind", "bound"]
    same = all(getattr(many, name) == getattr(single, name) for name in names)
    finer = single.bound in ("inputs", "symmetries") and single.upper < many.upper
    return same and (finer or single.upper == many.upper)


def variants(theta, rng, integers=True):
    """Parameter vectors of one architecture: as given, sparse, and of few values (duplicates)."""
    other = rng.integers(-2, 3, theta.size) if integers else rng.standard_normal(theta.size)
    return np.array([theta, theta * (rng.random(theta.size) < 0.5), other, np.sign(theta)])


@settings(max_examples=30)
@given(networks(), st.sampled_from(["affine", "softmax"]), st.integers(0, 100), st.booleans())
def test_bulk_answers_are_those_of_one_at_a_time_and_right(network, output, seed, shared):
    rng = np.random.default_rng(seed)
    thetas = variants(network.theta, rng)
    X = sample(network, rng, 5) if shared else np.array([sample(network, rng, 5) for _ in thetas])
    found = pdm.local_dimensions(network.architecture, thetas, X, output=output)
    assert len(found) == len(thetas)
    for k, dimension in enumerate(found):
        single, x = network.replace(theta=thetas[k]), X if shared else X[k]
        assert agree(dimension, pdm.local_dimension(single, x, output=output))
        assert dimension.value == rational_dimension(single, x, output)


@pytest.mark.compiled
def test_hundreds_of_small_networks_agree_with_flint_over_the_rationals():
    """Skips, identities, leaky layers, absent biases; integers with many ties, and Gaussians."""
    proved = ties = 0
    for seed in range(80):
        rng = np.random.default_rng(10_000 + seed)
        integers = seed % 2 == 0
        network = random_network(rng, integers)
        thetas = variants(network.theta, rng, integers)
        X = sample(network, rng, int(rng.integers(1, 70 if seed % 16 == 0 else 9)), integers)
        found = pdm.local_dimensions(network.architecture, thetas, X, rng=seed)
        for k, dimension in enumerate(found):
            single = network.replace(theta=thetas[k])
            assert dimension.value == rational_dimension(single, X), (seed, k)
            assert agree(dimension, pdm.local_dimension(single, X)), (seed, k)
        proved += int(found.proved.sum())
        ties += int((found.ties > 0).sum())
    assert proved > 150
    assert ties > 50


@pytest.mark.compiled
@pytest.mark.parametrize("output", ["affine", "softmax"])
def test_networks_of_many_samples_agree_with_one_at_a_time(output):
    """More samples than a block has lanes, several outputs, deep networks that lose dimensions."""
    for widths, slope in (((3, 6, 5, 4, 2), 0.0), ((2, 3, 4), 0.125), ((4, 3, 3, 3, 3, 2), 0.0)):
        architecture = pdm.Architecture.from_widths(widths, slope=slope)
        drawn = [pdm.Network.random(architecture, rng=k, init="torch") for k in range(30)]
        drawn += [pdm.Network.random(architecture, rng=k) for k in range(30)]
        X = np.random.default_rng(0).standard_normal((150, widths[0]))
        thetas = np.array([network.theta for network in drawn])
        found = pdm.local_dimensions(architecture, thetas, X, output=output)
        for network, dimension in zip(drawn, found, strict=True):
            assert agree(dimension, pdm.local_dimension(network, X, output=output))
        assert 0 < found.proved.sum() < 60 or widths == (2, 3, 4)


@pytest.mark.compiled
@pytest.mark.parametrize("widths", [(300, 2, 1), (9, 12, 12, 11, 3)])
def test_sums_longer_than_one_exact_block(widths):
    """More than 256 inputs, or pivots."""
    architecture = pdm.Architecture.from_widths(widths)
    assert bulk.fits(architecture)
    drawn = [pdm.Network.random(architecture, rng=k, bias_std=0.5) for k in range(3)]
    X = np.random.default_rng(0).standard_normal((330, widths[0]))
    found = pdm.local_dimensions(architecture, [network.theta for network in drawn], X)
    assert (found.value > 256).any()
    for network, dimension in zip(drawn, found, strict=True):
        assert agree(dimension, pdm.local_dimension(network, X))


def test_each_bound_can_be_the_tight_one():
    architecture = pdm.Architecture.from_widths((2, 3, 1))
    theta = [1.0, 2, 3, -1, -2, 1, 0.5, 0.25, 2, 1, -1, 2, 0.125]
    plane = np.random.default_rng(0).standard_normal((40, 2))
    close = [5.0, 1.0] + plane / 100
    for X, value, bound in (
        (plane[:2], 2, "outputs"),
        (plane, 10, "parameters"),
        (close, 3, "regions"),
    ):
        found = pdm.local_dimensions(architecture, [theta], X)
        assert (found.value[0], found.proved[0], found.bound[0]) == (value, True, bound)


def test_no_hidden_layer_and_a_softmax_of_one_output():
    architecture = pdm.Architecture.from_widths((2, 1))
    found = pdm.local_dimensions(architecture, [[1, 2, 3], [0, 0, 0]], [[1, 0], [0, 1], [1, 1]])
    assert found.value.tolist() == [3, 3]
    none = pdm.local_dimensions((2, 1), [[1, 2, 3]], [[1, 0], [0, 1]], output="softmax")
    assert (none.value[0], none.upper[0], none.proved[0]) == (0, 0, True)


def test_inputs_on_hyperplanes_are_ties_and_near_them_are_uncertain():
    network = pdm.Network.from_layers([[[0.1, 0.2]], [[1.0]]], [[-0.3], [0.0]])
    X = np.array([[0.0, 5.0], [1.0, 1.0]])
    thetas = [network.theta, [1.0, 0.0, -1.0, 1.0, 0.0]]
    found = pdm.local_dimensions(network.architecture, thetas, X)
    assert found.uncertain.tolist() == [1, 1]
    assert found.ties.tolist() == [0, 1]
    assert found.value.tolist() == [2, 1]


def test_zeros_behind_dead_layers_are_ties_that_need_no_exact_arithmetic(monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(bulk, "activation_pattern", refuse)
    found = pdm.local_dimensions((1, 1, 1, 1), [[1.0, 0, 1, 0, 1, 0.5]], [[1.0], [-1.0], [-2.0]])
    assert (found.ties[0], found.uncertain[0], found.value[0]) == (2, 2, 2)


def test_networks_beyond_the_range_of_floats():
    architecture = pdm.Architecture.from_widths((1, 2, 2, 1), slope=0.5)
    thetas = np.array([1e200, -1e200, 1, 2, 1e200, 1e-200, 3, 1e300, 1, 1, 1e-300, 1e300, 1])
    X = [[1e200], [-1e-200], [0.5], [3.0]]
    found = pdm.local_dimensions(architecture, [thetas, -thetas], X)
    for k, theta in enumerate((thetas, -thetas)):
        single = pdm.Network(architecture, theta)
        assert agree(found[k], pdm.local_dimension(single, X))
        assert found[k].value == rational_dimension(single, X)
    assert found.uncertain.all()


def test_an_unlucky_prime_gives_a_lower_bound_and_a_second_one_mends_it():
    """The first prime divides the determinant of J = [[1, 0], [0, p]]."""
    p = random_prime(np.random.default_rng(7))
    architecture = pdm.Architecture.from_widths((2, 1), bias=False)
    X = [[1.0, 0.0], [0.0, float(p)]]
    one, two = (pdm.local_dimensions(architecture, [[1, 1]], X, rng=7, primes=n) for n in (1, 2))
    assert (one.value[0], one.upper[0], one.proved[0], one.modulus[0]) == (1, 2, False, p)
    assert 0 < one.failure_probability[0] < 1e-4
    assert (two.value[0], two.proved[0], two.failure_probability[0]) == (2, True, 0.0)
    assert two.modulus[0] != p


@settings(max_examples=30)
@given(networks(integers=False), st.integers(0, 100))
def test_failure_probabilities_bound_the_same_minors_as_for_one_network(network, seed):
    rng = np.random.default_rng(seed)
    architecture = network.architecture
    thetas = variants(network.theta, rng) * np.exp2(rng.integers(-30, 30, network.theta.size))
    X = np.array([sample(network, rng, 3, integers=False) for _ in thetas])
    largest, lowest = minors.entry_bits(architecture, thetas, X)
    C = np.eye(architecture.widths[-1])
    for k, theta in enumerate(thetas):
        assert largest[k] == pytest.approx(failure._largest_entry(architecture, theta, X[k], C))
        assert lowest[k] == failure._lowest_entry(architecture, theta, X[k], C)


def test_bounds_of_larger_networks_have_their_names():
    """Inputs that are there twice are bounded by `input_bound`, unknown to compiled loops."""
    architecture = pdm.Architecture.from_widths((40, 20, 10))
    theta = pdm.Network.random(architecture, rng=0).theta
    X = np.repeat(np.random.default_rng(0).standard_normal((3, 40)), 2, axis=0)
    found = pdm.local_dimensions(architecture, [theta, theta], X)
    assert found.bound.tolist() == ["inputs"] * 2
    assert found[1].value == found[1].upper == 30


def test_failure_probabilities_are_stated_where_nothing_is_proved():
    architecture = pdm.Architecture.from_widths((3, 4, 4, 1))
    thetas = [pdm.Network.random(architecture, rng=k, bias_std=0.3).theta for k in range(12)]
    X = np.random.default_rng(0).standard_normal((80, 3))
    one, two = (pdm.local_dimensions(architecture, thetas, X, primes=n) for n in (1, 2))
    assert 0 < one.proved.sum() < 12
    assert np.array_equal(one.failure_probability > 0, ~one.proved)
    assert np.array_equal(one.proved, one.value == one.upper)
    assert np.allclose(two.failure_probability, one.failure_probability**2)
    assert one.failure_probability.max() < 0.01
    assert np.array_equal(one.value, two.value)


def some(count=12):
    architecture = pdm.Architecture.from_widths((3, 4, 3, 2), slope=[0.0, 0.25])
    rng = np.random.default_rng(3)
    thetas = rng.standard_normal((count, architecture.parameter_count))
    return architecture, thetas, rng.standard_normal((count, 30, 3))


def arrays(dimensions):
    return {name: value for name, value in vars(dimensions).items() if name != "seed"}


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_what_is_found_about_a_network_does_not_depend_on_the_others(monkeypatch):
    architecture, thetas, X = some()
    whole = pdm.local_dimensions(architecture, thetas, X, rng=5)
    reverse = arrays(pdm.local_dimensions(architecture, thetas[::-1], X[::-1], rng=5))
    assert same(arrays(whole), {name: value[::-1] for name, value in reverse.items()})
    alone = pdm.local_dimensions(architecture, thetas[7:8], X[7], rng=5)
    assert alone[0] == whole[7]
    calls = []
    monkeypatch.setattr(bulk, "BATCH", 5)
    small = pdm.local_dimensions(
        architecture, thetas, X, rng=5, progress=lambda *a: calls.append(a)
    )
    assert same(arrays(whole), arrays(small))
    assert calls == [(5, 12), (10, 12), (12, 12)]


def test_the_seed_decides_everything():
    architecture, thetas, X = some(6)
    first = pdm.local_dimensions(architecture, thetas, X, rng=np.random.default_rng(1))
    again = pdm.local_dimensions(architecture, thetas, X, rng=first.seed)
    assert list(first) == list(again)
    assert (first.modulus != pdm.local_dimensions(architecture, thetas, X, rng=0).modulus).any()


def test_lists_integers_and_any_memory_layout_give_the_same():
    architecture, thetas, X = some(4)
    thetas, X = np.rint(2 * thetas), np.rint(2 * X)
    whole = arrays(pdm.local_dimensions(architecture, thetas, X))
    for other in (np.asfortranarray(thetas), thetas.tolist(), thetas.astype(np.int32)):
        assert same(whole, arrays(pdm.local_dimensions(architecture, other, X)))
    for other in (np.asfortranarray(X), X.astype(int).tolist(), X.astype(np.float32)):
        assert same(whole, arrays(pdm.local_dimensions(architecture, thetas, other)))
    repeated = np.broadcast_to(X[0], X.shape)
    one, many = (pdm.local_dimensions(architecture, thetas, x) for x in (X[0], repeated))
    assert same(arrays(one), arrays(many))


def test_large_networks_are_worked_on_one_by_one():
    architecture = pdm.Architecture.from_widths((30, 32, 2))
    assert not bulk.fits(architecture)
    assert bulk.fits(pdm.Architecture.from_widths((5, 5, 5, 5, 1)))
    nets = [pdm.Network.random(architecture, rng=k, bias_std=0.1) for k in range(3)]
    X = np.random.default_rng(0).standard_normal((3, 8, 30))
    calls = []
    found = pdm.local_dimensions(
        architecture, [n.theta for n in nets], X, rng=2, progress=lambda *a: calls.append(a)
    )
    assert list(found) == [pdm.local_dimension(n, x, rng=2) for n, x in zip(nets, X, strict=True)]
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_indexing_gives_dimensions():
    found = pdm.local_dimensions(*some(3))
    assert len(found) == 3
    assert isinstance(found[-1], pdm.Dimension)
    assert [int(dimension) for dimension in found] == found.value.tolist()
    assert found[-1] == list(found)[2]
    with pytest.raises(IndexError):
        found[3]


BAD = [
    ({"thetas": [1.0, 2.0]}, ShapeError, r"thetas must have shape \(K, 4\), got \(2,\)"),
    ({"thetas": np.zeros((0, 4))}, ShapeError, "thetas must not be empty"),
    (
        {"thetas": [[1, 2, 3, np.nan]]},
        NonFiniteError,
        r"thetas must be finite, got nan at \(0, 3\)",
    ),
    ({"thetas": [["a"] * 4]}, KindError, "thetas must hold real numbers"),
    ({"thetas": [[2**60 + 1] * 4]}, KindError, "thetas must be exact in float64"),
    ({"inputs": [1.0]}, ShapeError, r"inputs must have shape \(N, 1\), got \(1,\)"),
    (
        {"inputs": np.zeros((3, 2, 1))},
        ShapeError,
        r"inputs must have shape \(2, N, 1\), got \(3, 2",
    ),
    ({"inputs": [[np.inf]]}, NonFiniteError, "inputs must be finite, got inf"),
    ({"inputs": np.zeros((0, 1))}, ShapeError, "inputs must not be empty"),
    ({"inputs": [[1], [2, 3]]}, ShapeError, "inputs must be a rectangular array"),
    ({"inputs": "many"}, KindError, "inputs must hold real numbers"),
    ({"architecture": "1-1-1"}, KindError, "widths must be a sequence"),
    ({"architecture": (1,)}, ArgumentError, "layers must be at least input and output"),
    ({"output": "logits"}, ArgumentError, "output must be one of affine, softmax"),
    ({"primes": 0}, ArgumentError, "primes must be at least 1, got 0"),
    ({"rng": None}, KindError, "rng must be an integer, got None"),
    ({"progress": 3}, KindError, "progress must be callable, got 3"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_input_is_refused(change, error, message):
    good = {"architecture": (1, 1, 1), "thetas": [[1.0, 0, 1, 0]] * 2, "inputs": [[1.0], [2.0]]}
    with pytest.raises(error, match=message):
        pdm.local_dimensions(**{**good, **change})


DIGEST = """
import hashlib
import numpy as np
import patterndim as pdm
from patterndim.kernels import bulk_bounds, bulk_patterns, bulk_ranks
digest = hashlib.sha256()
for widths, slope, init in (((3, 4, 3, 1), 0.0, "he"), ((2, 3, 2), 0.25, "torch")):
    networks = [pdm.Network.random(widths, slope=slope, init=init, rng=k) for k in range({count})]
    X = np.random.default_rng(0).standard_normal(({inputs}, widths[0]))
    thetas = [network.theta for network in networks]
    for sample in (X, np.array([X] * len(thetas))):
        found = pdm.local_dimensions(networks[0].architecture, thetas, sample)
        digest.update(repr([list(found), found]).encode())
for module in (bulk_bounds, bulk_patterns, bulk_ranks):
    for kernel in vars(module).values():
        assert len(getattr(kernel, "signatures", ())) <= 1, kernel
print(digest.hexdigest())
"""


def digests(count, inputs, *changes):
    """What processes print that differ in their environment."""
    command = [sys.executable, "-c", DIGEST.format(count=count, inputs=inputs)]
    return {
        subprocess.run(
            command, env={**os.environ, **change}, check=True, capture_output=True
        ).stdout
        for change in changes
    }


@pytest.mark.compiled
def test_results_are_identical_for_any_number_of_threads_and_kernels_have_one_signature():
    assert len(digests(600, 100, *({"NUMBA_NUM_THREADS": n} for n in "124"))) == 1


@pytest.mark.compiled
def test_compiled_and_interpreted_kernels_agree():
    assert len(digests(2, 70, {"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_DISABLE_JIT": "0"})) == 1


@pytest.mark.compiled
def test_calls_are_safe_from_several_threads():
    architecture, thetas, X = some(200)
    expected = arrays(pdm.local_dimensions(architecture, thetas, X[:, :20]))
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(pdm.local_dimensions, architecture, thetas, X[:, :20]) for _ in "abcd"]
    assert all(same(expected, arrays(run.result())) for run in runs)
