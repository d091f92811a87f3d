"""
What a sweep costs beside its tasks: ``python -m bench.overhead``.

Tasks of about one second, on processes and on a local dask cluster.  The overhead is the share of
the workers' time that is not spent inside of tasks, each of which measures itself, so that other
programs on the machine do not count; workers start before the clock does.
"""

import argparse
import json
import time
from contextlib import ExitStack

import numpy as np

import patterndim as pdm
from patterndim.sweeps.cluster import dask_executor


def work(task):
    """Matrix products for so many seconds of this thread, and what came out."""
    A = np.random.default_rng(task["n"]).standard_normal((100, 100)) / 10
    B = A
    end = time.thread_time() + task["duration"]
    while time.thread_time() < end:
        B = A @ A.T / 10 + A
    return {"trace": float(np.trace(B))}


def measure(where, count, seconds, workers=2):
    tasks = [{"n": n, "duration": seconds} for n in range(count)]
    with ExitStack() as stack:
        options = {"workers": where} if isinstance(where, int) else {}
        if not options:
            options["executor"] = stack.enter_context(dask_executor(where))
        else:
            workers = max(1, where)
        pdm.sweep([{"n": -1, "duration": 0.01}] * 2, run=work, **options)
        start = time.perf_counter()
        results = pdm.sweep(tasks, run=work, **options)
        wall = time.perf_counter() - start
    inside = sum(row["seconds"] for row in results.rows)
    return results, wall, 1 - inside / (workers * wall)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    alone, *_ = measure(0, options.tasks, 0.01)
    expected = [row["trace"] for row in alone.rows]
    report = {}
    for where in (0, 2, "local:2"):
        results, wall, overhead = measure(where, options.tasks, options.seconds)
        assert [row["trace"] for row in results.rows] == expected
        report[str(where)] = {"wall": wall, "overhead": overhead}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
