import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.bounds import independent_rescalings, input_bound, region_bound
from patterndim.errors import ArgumentError, KindError, MemoryLimitError
from patterndim.factors import gates
from patterndim.heads import Head
from patterndim.live import live_parameters
from patterndim.rank import numerical_rank
from tests import oracles
from tests.strategies import networks, sample


def rational_dimension(network, X, output="affine"):
    rows = oracles.jacobian(network, X, Fraction)
    if output == "softmax":
        rows = oracles.softmax_rows(rows, network.widths[-1])
    return oracles.rational_rank(rows)


def certain(rank):
    """Whether a numerical rank has a clear gap on both sides of the cut."""
    return rank.gap is None or rank.gap > 1e4


@given(networks(max_hidden=3, max_width=3), st.sampled_from(["affine", "softmax"]))
def test_every_method_gives_the_rank_over_the_rationals(network, output):
    X = sample(network, 0, 5)
    truth = rational_dimension(network, X, output)
    modular = pdm.local_dimension(network, X, output=output)
    assert modular.value == modular.lower == truth
    assert modular.upper >= truth
    assert (modular.kind == "proved") == (truth == modular.upper)
    for method in ("sketched", "numerical"):
        floating = pdm.local_dimension(network, X, method=method, output=output)
        assert floating.upper >= modular.upper
        if certain(floating):
            assert floating.value == truth
    generic = pdm.generic_dimension(network, X, output=output)
    assert truth <= generic.value <= modular.upper


@pytest.mark.compiled
def test_two_thousand_small_networks_agree_with_flint_over_the_rationals():
    """MLPs and skip connections, ReLU and leaky, small integers and Gaussian floats."""
    proved = clear = 0
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        integers = seed % 2 == 0
        network = random_network(rng, integers)
        X = sample(network, rng, int(rng.integers(1, 7)), integers)
        truth = rational_dimension(network, X)
        modular = pdm.local_dimension(network, X, primes=1)
        assert modular.value == truth, seed
        assert truth <= modular.upper, seed
        proved += modular.kind == "proved"
        numerical = pdm.local_dimension(network, X, method="numerical")
        if certain(numerical):
            clear += 1
            assert numerical.value == truth, seed
    assert proved > 1000
    assert clear > 1900


def random_network(rng, integers):
    widths = [int(w) for w in rng.integers(1, 4, rng.integers(3, 6))]
    values = (lambda *s: rng.integers(-2, 3, s).astype(float)) if integers else rng.standard_normal
    values = values if integers else (lambda *s: rng.standard_normal(s))
    last = len(widths) - 1
    connections = [(v, v + 1, values(widths[v + 1], widths[v])) for v in range(last)]
    for u in range(last):
        for v in range(u + 1, last + 1):
            if v > u + 1 and rng.random() < 0.2:
                connections.append((u, v, values(widths[v], widths[u])))
            if widths[u] == widths[v] and rng.random() < 0.2:
                connections.append((u, v, "identity"))
    biases = [values(widths[v + 1]) if rng.random() < 0.8 else None for v in range(last)]
    slopes = rng.choice([0.0, 0.0, 0.125, 1.0], last - 1).tolist()
    return pdm.Network.from_graph(widths, connections, biases, slope=slopes)


@given(networks(integers=False), st.integers(0, 100))
def test_rescaling_by_powers_of_two_leaves_everything_bit_equal(network, seed):
    """Property 4 and T2: outputs and masks bit-equal, the dimension equal."""
    X = sample(network, seed, 6, integers=False)
    rng = np.random.default_rng(seed)
    edges = network.architecture.connections
    fixed = {v for c in edges if not c.trainable for v in (c.source, c.target)}
    free = [0 < v < len(network.widths) - 1 and v not in fixed for v in range(len(network.widths))]
    scale = [
        np.exp2(rng.integers(-3, 4, n)) if f else np.ones(n)
        for n, f in zip(network.widths, free, strict=True)
    ]
    theta = network.theta.copy()
    weights = network.architecture.weights_of(theta)
    for W, c in zip(weights, network.architecture.connections, strict=True):
        if W is not None:
            W *= scale[c.target][:, np.newaxis] / scale[c.source]
    for b, factor in zip(network.architecture.biases_of(theta), scale, strict=True):
        if b is not None:
            b *= factor
    other = network.replace(theta=theta)
    assert np.array_equal(pdm.outputs(other, X), pdm.outputs(network, X))
    one, two = pdm.activation_pattern(network, X), pdm.activation_pattern(other, X)
    assert all(np.array_equal(a, b) for a, b in zip(one.masks, two.masks, strict=True))
    assert pdm.local_dimension(other, X).value == pdm.local_dimension(network, X).value


def test_rescaling_by_any_factors_leaves_masks_and_dimension():
    network = pdm.Network.random((4, 6, 5, 2), rng=1, bias_std=0.1)
    X = sample(network, 0, 40, integers=False)
    factor = np.random.default_rng(0).uniform(0.1, 10, 6)
    W, b = list(network.weights), list(network.biases)
    W[0], b[0], W[1] = W[0] * factor[:, np.newaxis], b[0] * factor, W[1] / factor
    other = pdm.Network.from_layers(W, b)
    one, two = pdm.activation_pattern(network, X), pdm.activation_pattern(other, X)
    assert one.margin > 100
    assert all(np.array_equal(a, c) for a, c in zip(one.masks, two.masks, strict=True))
    assert pdm.local_dimension(other, X).value == pdm.local_dimension(network, X).value


@given(networks(), st.integers(0, 100))
def test_more_inputs_never_lower_and_duplicates_never_change_the_dimension(network, seed):
    X = sample(network, seed, 7)
    values = [pdm.local_dimension(network, X[:n]).value for n in range(1, 8)]
    assert values == sorted(values)
    doubled = np.concatenate([X, X[::-1]])
    assert pdm.local_dimension(network, doubled).value == values[-1]


@given(networks(), st.integers(0, 100))
def test_the_certain_bounds_hold_for_every_parameter_of_the_cell(network, seed):
    """U1, U2 and U3 in their general form: the generic dimension stays below each of them."""
    X = sample(network, seed, 8)
    pattern = pdm.activation_pattern(network, X)
    architecture = network.architecture
    generic = pdm.generic_dimension(architecture, X, pattern)
    assert generic.value <= generic.upper <= 8 * network.widths[-1]
    live = live_parameters(
        architecture,
        X,
        gates(architecture, pattern.masks),
        Head.of("affine", architecture.widths[-1]).reach,
    )
    count = sum(int(a.sum()) for a in interleaved(architecture, live))
    assert generic.value <= count - independent_rescalings(architecture, live)
    J = pdm.parameter_jacobian(network, X)
    where = [a.ravel() for a in interleaved(architecture, live)]
    assert not J[:, ~np.concatenate(where)].any()


def interleaved(architecture, live):
    for v in range(1, len(architecture.layers)):
        for e in architecture.incoming[v]:
            if architecture.connections[e].trainable:
                yield live.weights[e]
        if live.biases[v] is not None:
            yield live.biases[v]


@pytest.mark.parametrize(
    ("ends", "rescalings"),
    [
        ([], 12),
        ([(1, 2)], 12),  # W + I is as free as W
        ([(1, 3)], 8),  # layers 1 and 3 can only be rescaled together
        ([(0, 2)], 8),  # layer 2 cannot be rescaled, as inputs cannot
        ([(0, 2), (1, 3)], 4),
        ([(0, 3), (1, 3)], 4),
        ([(0, 2), (0, 3), (1, 3)], 0),
    ],
)
@pytest.mark.compiled
def test_identities_bind_rescalings_together(ends, rescalings):
    """The certain bound is attained, so it is neither too high nor, being proved, too low."""
    shapes = [(4, 4)] * 3 + [(2, 4)]
    identities = [(u, v, "identity") for u, v in ends]
    best = 0
    for seed in range(40):
        values = np.random.default_rng(seed).standard_normal
        matrices = [(v, v + 1, values(shape)) for v, shape in enumerate(shapes)]
        vectors = [values(shape[0]) for shape in shapes]
        network = pdm.Network.from_graph((4, 4, 4, 4, 2), [*matrices, *identities], vectors)
        dimension = pdm.local_dimension(network, values((400, 4)), primes=1)
        assert dimension.value <= dimension.upper <= network.parameter_count - rescalings
        best = max(best, dimension.value)
        if dimension.value == network.parameter_count - rescalings:
            break
    assert best == network.parameter_count - rescalings


def test_U3_counts_distinct_inputs_and_varying_coordinates_of_each_region():
    network = pdm.Network.random((4, 3, 2), rng=0)
    X = np.array([[1.0, 2, 0, 5], [1, 2, 0, 5], [1, 3, 0, 5], [1, 9, 0, 5]])
    pair = Head.of("affine", 2)
    one = pdm.ActivationPattern.from_masks([np.ones((4, 3), dtype=bool)])
    assert region_bound(network.architecture, X, one, pair).value == 2 * 4
    assert input_bound(X, one, pair).value == 2 * 2
    # The same input with two patterns counts in both.
    two = pdm.ActivationPattern.from_masks([np.arange(4)[:, np.newaxis] % 2 == [0, 0, 1]])
    assert input_bound(X, two, pair).value == 2 * (2 + 2)
    X = np.repeat(X[:1], 4, axis=0)
    assert input_bound(X, two, pair).value == 2 * (1 + 1)
    assert input_bound(X, one, pair).value == 2


@given(networks(), st.integers(0, 1000))
def test_certain_bounds_hold_for_patterns_that_no_network_has(network, seed):
    """Also where one input has several patterns."""
    rng = np.random.default_rng(seed)
    X = np.repeat(sample(network, seed, 2), 5, axis=0)
    hidden = network.widths[1:-1]
    pattern = pdm.ActivationPattern.from_masks([rng.random((10, n)) < 0.6 for n in hidden])
    found = pdm.generic_dimension(network, X, pattern)
    assert found.lower <= found.value <= found.upper


def test_dead_neurons_and_dead_inputs_count_in_the_bound():
    network = pdm.Network.from_layers(
        [[[1.0, 2.0, 1.0], [1.0, 1.0, 1.0]], [[1.0, 1.0]]], [[0.0, -100.0], [0.0]]
    )
    X = np.array([[1.0, 0.0, 2.0], [1.0, 0.0, -3.0], [2.0, 0.0, 1.0], [3.0, 0.0, 5.0], [1, 0, 9]])
    dimension = pdm.local_dimension(network, X)
    # live: two weights and the bias of neuron 1, its output weight, the output bias; one rescaling
    assert (dimension.value, dimension.upper, dimension.bound) == (4, 4, "parameters")
    assert dimension.kind == "proved"


def test_softmax_loses_one_output_and_one_row_of_parameters():
    network = pdm.Network.random((3, 4, 3), rng=0, bias_std=0.1)
    few, many = sample(network, 0, 2, integers=False), sample(network, 0, 200, integers=False)
    assert pdm.local_dimension(network, few, output="softmax").upper == 4
    assert pdm.local_dimension(network, few, output="softmax").value == 4
    affine, softmax = (pdm.local_dimension(network, many, output=o) for o in ("affine", "softmax"))
    assert (affine.value, affine.kind) == (31 - 4, "proved")
    assert (softmax.value, softmax.kind) == (31 - 4 - 5, "proved")
    J = pdm.parameter_jacobian(network, few).reshape(2, 3, -1)
    q = np.exp(pdm.outputs(network, few))
    q /= q.sum(axis=1, keepdims=True)
    S = np.einsum("xc,cd->xcd", q, np.eye(3)) - np.einsum("xc,xd->xcd", q, q)
    assert numerical_rank(np.einsum("xcd,xdp->xcp", S, J).reshape(6, -1), rtol=1e-12).value == 4


def test_softmax_of_one_output_is_constant():
    network = pdm.Network.random((3, 4, 1))
    for method in ("modular", "sketched", "numerical"):
        dimension = pdm.local_dimension(network, np.ones((5, 3)), method=method, output="softmax")
        assert (dimension.value, dimension.kind, dimension.upper) == (0, "proved", 0)


def test_a_network_whose_sample_kills_everything_has_dimension_zero():
    network = pdm.Network.from_layers([[[1.0]], [[1.0]]])
    for method in ("modular", "sketched", "numerical"):
        dimension = pdm.local_dimension(network, [[-1.0], [-2.0]], method=method)
        assert (dimension.value, dimension.kind) == (0, "proved")


@pytest.mark.compiled
def test_reference_case_equals_svd_and_flint_and_float32_over_counts():
    """50-20-20-10 on 300 Gaussian inputs: the rank that float32 gets wrong."""
    network = pdm.Network.random((50, 20, 20, 10), rng=0, init="glorot", bias_std=0.05)
    X = np.random.default_rng(0).standard_normal((300, 50))
    modular = pdm.local_dimension(network, X)
    numerical = pdm.local_dimension(network, X, method="numerical")
    assert numerical.gap > 1e6
    sketched = pdm.local_dimension(network, X, method="sketched")
    assert sketched.gap > 1e6
    masks = pdm.activation_pattern(network, X).masks
    J = oracles.modular_jacobian(network, X, masks, modular.modulus)
    truth = oracles.flint_rank(J, modular.modulus)
    assert modular.value == numerical.value == sketched.value == truth
    assert modular.upper == 1610 == network.parameter_count - network.hidden_neurons
    # The usual recipe: J in float32, stored in float64, tolerance max(shape) * eps of float64.
    single = float32_jacobian(network, X).astype(np.float64)
    assert np.linalg.matrix_rank(single) > 1610
    assert numerical_rank(single).value <= truth


def float32_jacobian(network, X):
    """J of a multilayer perceptron computed in float32, as most frameworks would."""
    W = [w.astype(np.float32) for w in network.weights]
    b = [v.astype(np.float32) for v in network.biases]
    h, masks = [X.astype(np.float32)], []
    for layer, (w, v) in enumerate(zip(W, b, strict=True)):
        z = h[-1] @ w.T + v
        masks.append(z > 0)
        h.append(z if layer == len(W) - 1 else np.maximum(z, 0))
    B = np.broadcast_to(np.eye(len(b[-1]), dtype=np.float32), (len(X), len(b[-1]), len(b[-1])))
    blocks = []
    for layer in range(len(W) - 1, -1, -1):
        blocks += [B, np.einsum("xci,xj->xcij", B, h[layer]).reshape(*B.shape[:2], -1)]
        B = (B @ W[layer]) * masks[layer - 1][:, np.newaxis, :] if layer else B
    J = np.concatenate(blocks[::-1], axis=2)
    assert J.dtype == np.float32
    return J.reshape(-1, network.parameter_count)


@pytest.mark.compiled
def test_trained_size_network_on_real_digits_is_proved():
    X, _ = pdm.data.digits()
    network = pdm.Network.random((64, 40, 40, 10), rng=0)
    dimension = pdm.local_dimension(network, X[:60])
    assert dimension.kind == "proved"
    assert dimension.value == dimension.lower == dimension.upper == 600
    assert dimension.bound == "outputs"


def test_ties_are_reported_and_taken_as_inactive():
    network = pdm.Network.from_layers([[[1.0]], [[1.0]]], [[-1.0], [0.0]])
    dimension = pdm.local_dimension(network, [[1.0], [2.0]])
    assert (dimension.ties, dimension.uncertain) == (1, 1)
    assert dimension.value == 2


@pytest.mark.compiled
def test_failure_probabilities_are_stated_and_shrink_with_primes():
    """Real digits on which no certain bound is reached."""
    network = pdm.Network.random((64, 20, 20, 10), rng=0, init="torch")
    X = pdm.data.digits()[0][:60]
    one, three = (pdm.local_dimension(network, X, primes=n) for n in (1, 3))
    assert one.kind == three.kind == "probable"
    assert one.value == three.value < one.upper
    assert 0 < one.failure_probability < 0.1
    assert three.failure_probability == pytest.approx(one.failure_probability**3)
    generic = pdm.generic_dimension(network, X)
    assert generic.value == one.value
    assert 0 < generic.failure_probability < 0.01


def test_the_seed_decides_everything():
    network = pdm.Network.random((6, 5, 2), rng=0, bias_std=0.1)
    X = sample(network, 0, 30, integers=False)
    assert pdm.local_dimension(network, X, rng=4) == pdm.local_dimension(network, X, rng=4)
    first = pdm.local_dimension(network, X, rng=np.random.default_rng(1))
    assert first == pdm.local_dimension(network, X, rng=first.seed)
    assert first.modulus != pdm.local_dimension(network, X, rng=4).modulus


def test_progress_is_reported():
    network = pdm.Network.random((6, 5, 2), rng=0, bias_std=0.1)
    calls = []
    dimension = pdm.local_dimension(
        network, sample(network, 0, 30, integers=False), progress=lambda *a: calls.append(a)
    )
    assert calls[-1] == (dimension.value, dimension.upper)


def test_memory_is_checked_before_anything_is_allocated():
    network = pdm.Network.random((784, 30, 30, 30, 10))
    X = np.zeros((600, 784))
    X[:, 0] = 1.0
    for method in ("modular", "sketched", "numerical"):
        with pytest.raises(MemoryLimitError, match=r"memory must be at least \d+ bytes here, got"):
            pdm.local_dimension(network, X, method=method, memory=1000)
    assert pdm.local_dimension(network, X[:3], memory="10MB").kind in ("proved", "probable")
    with pytest.raises(MemoryLimitError):
        pdm.generic_dimension(network, X, memory=1000)


def test_bad_options_are_refused():
    network, X = pdm.Network.random((2, 2, 2)), np.ones((1, 2))
    with pytest.raises(ArgumentError, match="method must be one of modular, sketched, numerical"):
        pdm.local_dimension(network, X, method="svd")
    with pytest.raises(ArgumentError, match="output must be one of affine, softmax, got 'logits'"):
        pdm.local_dimension(network, X, output="logits")
    with pytest.raises(ArgumentError, match="primes must be at least 1, got 0"):
        pdm.local_dimension(network, X, primes=0)
    with pytest.raises(ArgumentError, match="output must be one of"):
        pdm.generic_dimension(network, X, output="logits")
    with pytest.raises(KindError, match="rng must be an integer, got None"):
        pdm.local_dimension(network, X, rng=None)
    with pytest.raises(KindError, match="progress must be callable, got 3"):
        pdm.local_dimension(network, X, progress=3)
    with pytest.raises(ArgumentError, match='memory must be a positive number of bytes or like "2'):
        pdm.local_dimension(network, X, memory="0.1B")
    assert pdm.local_dimension(network, X, memory=np.int64(10**9)).value > 0


THREADS = """
import hashlib, sys
import numpy as np
import patterndim as pdm
digest = hashlib.sha256()
for widths, count in (((40, 30, 30, 10), 120), ((64, 16, 16, 3), 400), ((9, 8, 8, 2), 3000)):
    network = pdm.Network.random(widths, rng=2, bias_std=0.1)
    X = np.random.default_rng(0).standard_normal((count, widths[0]))
    pattern = pdm.activation_pattern(network, X)
    digest.update(pattern.packed().tobytes() + np.float64(pattern.margin).tobytes())
    digest.update(pdm.parameter_jacobian(network, X).tobytes())
    digest.update(repr(pdm.local_dimension(network, X)).encode())
    digest.update(repr(pdm.generic_dimension(network, X, output="softmax")).encode())
rng = np.random.default_rng(0)
A = rng.integers(-9, 9, (900, 300)) @ rng.integers(-9, 9, (300, 700))
rank = pdm.rank.modular_rank(A)
digest.update(rank.pivot_rows.tobytes() + rank.pivot_columns.tobytes() + repr(rank).encode())
print(digest.hexdigest())
"""


@pytest.mark.compiled
def test_results_are_bit_identical_for_any_number_of_threads():
    import os

    digests = set()
    for threads in ("1", "2", "4", "2"):
        environment = {**os.environ, "NUMBA_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        run = [sys.executable, "-c", THREADS]
        digests.add(subprocess.run(run, env=environment, check=True, capture_output=True).stdout)
    assert len(digests) == 1


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning")  # of JAX, if it was imported
def test_calls_are_safe_from_several_threads_and_after_a_fork():
    import multiprocessing
    from concurrent.futures import ThreadPoolExecutor

    network = pdm.Network.random((40, 30, 30, 10), rng=2, bias_std=0.1)
    X = np.random.default_rng(0).standard_normal((120, 40))
    expected = pdm.local_dimension(network, X)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: pdm.local_dimension(network, X), range(8)))
    assert found == [expected] * 8
    if sys.platform == "linux":
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe()
        child = context.Process(target=lambda: sender.send(pdm.local_dimension(network, X)))
        child.start()
        assert receiver.poll(60)
        assert receiver.recv() == expected
        child.join()
