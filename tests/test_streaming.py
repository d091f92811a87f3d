"""Samples beyond memory: chunks, budgets, executors and threads change nothing but the time."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim import elimination, plan
from patterndim.errors import KindError, MemoryLimitError
from patterndim.plan import Stage
from tests import oracles
from tests.strategies import sample


@pytest.fixture
def small_steps(monkeypatch):
    """Stages, batches and chunks so small that little problems go through many of them."""
    monkeypatch.setattr(elimination, "FIRST", 4)
    monkeypatch.setattr(elimination, "LARGEST", 16)
    monkeypatch.setattr(elimination, "TARGET", 8)
    monkeypatch.setattr(plan, "SHAPES", ((7, 5),))


def truth(network, X, modulus):
    masks = pdm.activation_pattern(network, X).masks
    return oracles.flint_rank(oracles.modular_jacobian(network, X, masks, modulus), modulus)


@pytest.mark.compiled
@pytest.mark.usefixtures("small_steps")
def test_many_small_steps_give_the_rank_of_the_jacobian():
    for seed in range(25):
        rng = np.random.default_rng(seed)
        widths = rng.integers(1, 7, rng.integers(3, 6)).tolist()
        network = pdm.Network.random(widths, rng=seed, bias_std=0.3)
        X = sample(network, seed, 30, integers=False)
        X[:, rng.random(widths[0]) < 0.3] = 0.0
        dimension = pdm.local_dimension(network, X, primes=1)
        assert dimension.value == truth(network, X, dimension.modulus)


@pytest.mark.usefixtures("small_steps")
def test_a_sample_of_zeros_still_moves_the_biases():
    network = pdm.Network.from_layers([np.ones((2, 3)), np.ones((1, 2))], [[1.0, 2.0], [0.0]])
    assert pdm.local_dimension(network, np.zeros((50, 3))).value == 1


def test_chunks_and_budgets_do_not_change_the_result(monkeypatch, small_steps):
    network = pdm.Network.random((6, 5, 5, 2), rng=0, bias_std=0.1)
    X = sample(network, 0, 150, integers=False)
    X[:, 3] = 0.0
    X[:60] = X[60:120]
    for output in ("affine", "softmax"):
        found = set()
        for shape in ((1000, 1000), (64, 64), (13, 3), (150, 1), (1, 64)):
            monkeypatch.setattr(plan, "SHAPES", (shape,))
            found.add(pdm.local_dimension(network, X, output=output))
        monkeypatch.undo()
        monkeypatch.setattr(elimination, "TARGET", 8)
        # Without the small steps everything is done at once.
        assert {d.value for d in found} == {pdm.local_dimension(network, X, output=output).value}
        assert len(found) == 1
    generic = [pdm.generic_dimension(network, X, memory=m) for m in (None, "3MB", "2MB")]
    assert generic[0] == generic[1] == generic[2]


def test_a_rank_far_below_the_bound_costs_few_columns(monkeypatch):
    """Dead neurons and copies: the bound knows of the dead ones only."""
    network = pdm.Network.random((20, 12, 8, 4), rng=0, init="torch")
    W, b = [w.copy() for w in network.weights], [v.copy() for v in network.biases]
    W[0][:6], b[0][:6], W[1][:, :6] = W[0][0], b[0][0], W[1][:, :1]
    b[0][6:] = -100.0
    network = pdm.Network.from_layers(W, b)
    X = sample(network, 0, 120, integers=False)
    monkeypatch.setattr(elimination, "FIRST", 16)
    monkeypatch.setattr(elimination, "TARGET", 64)
    asked = []
    monkeypatch.setattr(elimination, "gather", lambda *a: asked.append(a[1:4]) or gather(*a))
    dimension = pdm.local_dimension(network, X)
    assert dimension.value == truth(network, X, dimension.modulus)
    assert dimension.value < dimension.upper / 2
    # Two primes, compressed columns, and for the second prime no more of them than needed.
    assert all(0 < width < 110 for _, _, width in asked)
    assert asked[-1][1] == dimension.value + plan.SPARE
    assert max(stop for _, stop, _ in asked) <= 1.5 * dimension.value + 16


gather = elimination.gather


@given(st.integers(1, 30000), st.integers(1, 30000), st.integers(-1, 30000))
def test_stages_grow_to_the_bound_and_end_without_compression(rows, upper, guess):
    upper, guess = min(rows, upper), min(guess, upper, rows)
    found = list(elimination.stages(rows, upper, guess))
    assert found[-1] == Stage(upper, 0)
    targets = [stage.target for stage in found]
    assert targets == sorted(targets)
    assert all(t <= upper for t in targets)
    assert all(s.target + 2 * plan.SPARE <= s.width < rows for s in found[:-1])
    assert len(found) < 40


@pytest.mark.compiled
def test_a_compression_that_loses_rank_is_noticed_and_widened(monkeypatch):
    network = pdm.Network.random((6, 5, 2), rng=0, bias_std=0.1)
    X = sample(network, 0, 300, integers=False)
    expected = pdm.local_dimension(network, X)
    used = []

    def narrow(rows, upper, guess):
        for width in (5, 20, 60, 0):
            used.append(width)
            yield Stage(upper, width)

    monkeypatch.setattr(elimination, "stages", narrow)
    dimension = pdm.local_dimension(network, X)
    assert dimension.value == expected.value == 42
    assert used == [5, 20, 60]


@pytest.mark.compiled
def test_an_impossible_budget_is_refused_with_both_figures(monkeypatch):
    network = pdm.Network.random((30, 8, 8, 2), rng=0)
    X = sample(network, 0, 600, integers=False)
    with pytest.raises(MemoryLimitError, match=r"memory must be at least \d+ bytes here, got 1000"):
        pdm.local_dimension(network, X, memory=1000)
    with pytest.raises(MemoryLimitError) as caught:
        pdm.local_dimension(network, X, memory=1000, primes=1)
    least = int(str(caught.value).split()[5])
    with pytest.raises(MemoryLimitError, match=f"at least {least} bytes here, got {least - 1}"):
        pdm.local_dimension(network, X, memory=least - 1)
    assert pdm.local_dimension(network, X, memory=least) == pdm.local_dimension(network, X)
    # A small stage fits, but the rank turns out to be too high for it.
    monkeypatch.setattr(elimination, "TARGET", 8)
    with pytest.raises(MemoryLimitError, match=rf"at least {least} bytes"):
        pdm.local_dimension(network, X, memory=least - 1)


def dimensions(executor=None):
    """Two problems: one that is compressed, one that is not."""
    network = pdm.Network.random((6, 5, 5, 2), rng=0, bias_std=0.1)
    X = sample(network, 0, 400, integers=False)
    return (
        pdm.local_dimension(network, X[:20], executor=executor),
        pdm.local_dimension(network, X, executor=executor),
        pdm.local_dimension(network, X, executor=executor, output="softmax", memory="3MB"),
        pdm.generic_dimension(network, X, executor=executor, rng=2**40),
    )


@pytest.mark.compiled
def test_threads_give_the_same_result(monkeypatch, small_steps):
    expected = dimensions()
    with ThreadPoolExecutor(3) as executor:
        assert dimensions(executor) == expected
        monkeypatch.setattr(plan, "TASK", 3)
        monkeypatch.setattr(plan, "WINDOW", 2)
        assert dimensions(executor) == expected


@pytest.mark.compiled
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_give_the_same_result(method, small_steps):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("no such start method on this system")
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        assert dimensions(executor) == dimensions()


class Broken(Executor):
    """Never computes anything; the first result asked for is an error."""

    def __init__(self):
        self.futures = []

    def submit(self, *_):
        self.futures.append(Future())
        if len(self.futures) == 1:
            self.futures[0].set_exception(OSError("no worker left"))
        return self.futures[-1]


def test_errors_of_an_executor_are_passed_on_and_the_rest_cancelled(small_steps):
    network = pdm.Network.random((6, 5, 5, 2), rng=0, bias_std=0.1)
    executor = Broken()
    with pytest.raises(OSError, match="no worker left"):
        pdm.local_dimension(network, sample(network, 0, 400, integers=False), executor=executor)
    assert len(executor.futures) > 1
    assert all(future.cancelled() for future in executor.futures[1:])


def test_only_executors_are_taken():
    network = pdm.Network.random((2, 2, 2))
    for run in (pdm.local_dimension, pdm.generic_dimension):
        with pytest.raises(KindError, match=r"must be a concurrent.futures.Executor, got 4"):
            run(network, np.ones((1, 2)), executor=4)


PEAK = """
import re, sys
import numpy as np
import patterndim as pdm

def status(name):
    return int(re.search(rf"{name}:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

network = pdm.Network.random((50, 16, 16, 4), rng=0, init="torch")
X = np.random.default_rng(0).standard_normal((int(sys.argv[1]), 50))
pdm.local_dimension(network, X[:400])
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
dimension = pdm.local_dimension(network, X, memory=sys.argv[2] or None)
print(status("VmHWM") - before, repr(dimension))
"""


@pytest.mark.compiled
@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory from /proc")
def test_peak_memory_stays_within_the_budget_and_does_not_depend_on_the_sample():
    grown, found = {}, {}
    for inputs, memory in ((3000, ""), (3000, "30MB"), (9000, "30MB")):
        command = [sys.executable, "-c", PEAK, str(inputs), memory]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        peak, found[inputs, memory] = run.stdout.split(maxsplit=1)
        grown[inputs, memory] = int(peak)
    assert found[3000, ""] == found[3000, "30MB"]
    assert grown[3000, ""] > 1.5 * grown[3000, "30MB"]
    assert grown[3000, "30MB"] < 30e6
    # The pattern, an int64 index of the regions and the like: a few bytes for an input.
    assert grown[9000, "30MB"] < min(30e6, grown[3000, "30MB"] + 6000 * 500)
