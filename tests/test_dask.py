"""A real dask cluster of two worker processes on this machine."""

import os
import random
import signal
import time
from concurrent.futures import Executor, Future

import numpy as np
import pytest

import patterndim as pdm
from bench import overhead
from patterndim.errors import ArgumentError
from patterndim.sweeps import cluster
from tests import sweeping
from tests.test_sweep_survival import lines, measured

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.compiled

SPEC = {
    "data": {"train": 40, "test": 20, "gaussian": 30, "corrupted": 0.1},
    "network": {"widths": [64, 6, 10], "init": "glorot"},
    "training": {"epochs": 2, "batch": 16, "momentum": 0.5},
    "measure": {"samples": ["train", "test", "gaussian"], "outputs": ["affine", "softmax"]},
    "grid": {"seed": [0, 1, 2], "data.noise": [0.0, 0.2]},
}


@pytest.fixture(scope="module")
def local():
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**options) as found, distributed.Client(found) as client:
        yield found, client


def test_two_workers_find_what_one_process_finds(local, tmp_path):
    out = tmp_path / "results.jsonl"
    results = pdm.sweep(SPEC, out=out, executor=local[1].get_executor())
    assert results.failures == []
    assert measured(results) == measured(pdm.sweep(SPEC, workers=0))
    assert len(pdm.load_results(out)) == 6 * 2 * 3 * 2


def running(found, client, dead):
    """Process ids of workers that a nanny has started and the scheduler knows."""
    known = [worker["name"] for worker in client.scheduler_info()["workers"].values()]
    nannies = [n for name, n in found.workers.items() if name in known]
    return [n.pid for n in nannies if n.status.name == "running" and n.pid not in {*dead, None}]


def test_workers_killed_at_random_moments(local, tmp_path):
    """A nanny gives up when its worker dies before it has started, so that is waited for."""
    found, client = local
    out, log = tmp_path / "results.jsonl", tmp_path / "log"
    rng = random.Random(0)
    dead = []

    def kill(finished, failed, total):
        if finished not in (10, 60, 120):
            return
        count = 2 if finished == 60 else 1  # both at once, so that no worker is left
        deadline = time.monotonic() + 60
        while len(pids := running(found, client, dead)) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.01))
        for pid in pids[:count]:
            os.kill(pid, signal.SIGKILL)
            dead.append(pid)

    tasks = sweeping.tasks(str(log))
    executor = client.get_executor()
    results = pdm.sweep(tasks, run=sweeping.slow, out=out, executor=executor, progress=kill)
    assert len(dead) == 4
    assert len(lines(out)) == 200
    assert measured(results) == measured(pdm.sweep(tasks, run=sweeping.slow, workers=0))


class KilledWorker(Exception):  # noqa: N818  (the name it has there)
    """What dask says when a task has been on several workers that died."""


class Killing(Executor):
    """Like a cluster on which the tasks of some n kill their workers, so many times."""

    def __init__(self, deaths):
        self.deaths = deaths

    def submit(self, attempt, work, task, call, /):
        future, n = Future(), task.settings["n"]
        if self.deaths.get(n, 0) > 0:
            self.deaths[n] -= 1
            future.set_exception(KilledWorker(n))
        else:
            future.set_result(attempt(work, task))
        return future


class Confused(Killing):
    """Blames the first death on all six tasks that were there."""

    calls = 0

    def submit(self, attempt, work, task, call, /):
        self.calls += 1
        if self.calls > 6:
            return super().submit(attempt, work, task, call)
        future = Future()
        future.set_exception(KilledWorker(task.settings["n"]))
        return future


@pytest.mark.parametrize("retries", [0, 2])
def test_tasks_that_only_waited_where_a_worker_died_are_no_failures(retries):
    tasks = [{"n": n} for n in range(6)]
    results = pdm.sweep(tasks, run=sweeping.square, executor=Confused({2: 9}), retries=retries)
    assert [failure["n"] for failure in results.failures] == [2]
    times = "3 times" if retries else "1 time"
    assert results.failures[0]["message"] == f"the worker died, {times}"


class Full(Executor):
    """Like a client that cannot send a function, or is closed."""

    def submit(self, *_):
        raise TypeError("cannot pickle this")


def test_what_cannot_be_sent_is_one_error():
    message = "executor must be able to run tasks, got TypeError: cannot pickle this"
    with pytest.raises(ArgumentError, match=message):
        pdm.sweep([{"n": 1}], run=sweeping.square, executor=Full())


def test_a_task_that_kills_its_workers_is_one_failure():
    tasks = [{"n": n} for n in range(6)]
    executor = Killing({2: 4, 4: 3})
    results = pdm.sweep(tasks, run=sweeping.square, executor=executor, retries=2)
    assert [(f["n"], f["message"]) for f in results.failures] == [(2, "the worker died, 3 times")]
    assert [row["square"] for row in results.rows] == [0, 1, 9, 16, 25]


def test_a_task_whose_worker_died_is_run_again(tmp_path):
    tasks = [{"n": n, "how": {"1": "die once"}, "folder": str(tmp_path)} for n in range(6)]
    with cluster.dask_executor("local:2") as executor:
        results = pdm.sweep(tasks, run=sweeping.faulty, executor=executor, retries=0)
    assert [row["square"] for row in results.rows] == [0, 1, 4, 9, 16, 25]
    assert (tmp_path / "died-1").exists()


@pytest.mark.parametrize("output", ["affine", "softmax"])
def test_one_problem_on_many_workers(local, output):
    rng = np.random.default_rng(0)
    network = pdm.Network.random((20, 12, 12, 5), rng=0)
    X = rng.standard_normal((300, 20))
    alone = pdm.local_dimension(network, X, output=output)
    assert pdm.local_dimension(network, X, output=output, executor=local[1].get_executor()) == alone


class Comparing(Executor):
    """Runs at once, and compares what is sent back with what was computed."""

    parts = 0

    def submit(self, packed, /, *arguments):
        sent, whole = packed(*arguments), packed.__self__.columns(*arguments)
        assert sent.dtype == np.float32
        assert (sent == whole).all()
        assert abs(whole).max() > 2**21
        self.parts += 1
        future = Future()
        future.set_result(sent)
        return future


def test_parts_come_back_in_half_the_bytes_without_loss():
    network = pdm.Network.random((20, 12, 12, 5), rng=0)
    X = np.random.default_rng(0).standard_normal((300, 20))
    comparing = Comparing()
    assert pdm.local_dimension(network, X, executor=comparing) == pdm.local_dimension(network, X)
    assert comparing.parts > 1


def test_the_overhead_of_a_sweep_is_measured_at_all():
    assert all(0 <= overhead.measure(where, 2, 0.02)[2] < 1 for where in (0, 1))


def test_addresses(local, monkeypatch):
    monkeypatch.setattr(cluster, "TIMEOUT", 1)
    found, _ = local
    with cluster.dask_executor(found.scheduler_address) as executor:
        assert executor.submit(sweeping.square, {"n": 3}).result() == {"square": 9}
    for address in ("local:0", "local:many", "local:-1"):
        with (
            pytest.raises(ArgumentError, match="--dask must be local:K with K at least 1"),
            cluster.dask_executor(address),
        ):
            pass
    for address in ("nonsense", "tcp://127.0.0.1:9"):
        with (
            pytest.raises(ArgumentError, match="--dask must be a scheduler or local"),
            cluster.dask_executor(address),
        ):
            pass
