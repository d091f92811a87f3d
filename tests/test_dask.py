"""A real dask cluster of two worker processes on this machine."""

import os
import random
import signal
import time

import numpy as np
import pytest

import patterndim as pdm
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
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as found, distributed.Client(found) as client:
        yield found, client


def test_two_workers_find_what_one_process_finds(local, tmp_path):
    out = tmp_path / "results.jsonl"
    results = pdm.sweep(SPEC, out=out, executor=local[1].get_executor())
    assert results.failures == []
    assert measured(results) == measured(pdm.sweep(SPEC, workers=0))
    assert len(pdm.load_results(out)) == 6 * 2 * 3 * 2


def test_workers_killed_at_random_moments(local, tmp_path):
    found, client = local
    out, log = tmp_path / "results.jsonl", tmp_path / "log"
    rng = random.Random(0)
    kills = []

    def kill(finished, failed, total):
        if finished in (10, 40, 41, 90, 150):
            time.sleep(rng.uniform(0.0, 0.01))
            # Both at once the second time, so that no worker is left.
            for nanny in list(found.workers.values())[: 2 if finished == 40 else 1]:
                if nanny.pid is not None:
                    os.kill(nanny.pid, signal.SIGKILL)
                    kills.append(nanny.pid)

    tasks = sweeping.tasks(str(log))
    executor = client.get_executor()
    results = pdm.sweep(tasks, run=sweeping.slow, out=out, executor=executor, progress=kill)
    assert len(kills) >= 4
    assert len(lines(out)) == 200
    assert measured(results) == measured(pdm.sweep(tasks, run=sweeping.slow, workers=0))


def test_a_task_that_kills_its_workers_is_one_failure(local, tmp_path):
    tasks = [{"n": n, "how": {"3": "die"}, "folder": str(tmp_path)} for n in range(12)]
    executor = local[1].get_executor(retries=0)
    results = pdm.sweep(tasks, run=sweeping.faulty, executor=executor, retries=0)
    assert [(f["n"], f["type"]) for f in results.failures] == [(3, "WorkerDied")]
    assert len(results.rows) == 11


@pytest.mark.parametrize("output", ["affine", "softmax"])
def test_one_problem_on_many_workers(local, output):
    rng = np.random.default_rng(0)
    network = pdm.Network.random((20, 12, 12, 5), rng=0)
    X = rng.standard_normal((300, 20))
    alone = pdm.local_dimension(network, X, output=output)
    assert pdm.local_dimension(network, X, output=output, executor=local[1].get_executor()) == alone


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
