"""dask.distributed clusters by address."""

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module
from threading import Event, Thread
from typing import Any

from patterndim.errors import ArgumentError, KindError
from patterndim.sweeps.pool import cores, limited_threads

#: Seconds in which a scheduler must answer.
TIMEOUT = 10
#: One task at a time on a worker, given up when it dies: so it is known which task did it.
BLAME = {
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 0,
}
#: Seconds between looks at whether all workers of a local cluster are there.
REVIVE = 5.0


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """
    Executor of a dask cluster, closed at the end.

    Parameters
    ----------
    address : str
        Address of a scheduler, such as ``tcp://host:8786``; or ``local`` or ``local:K`` for a
        cluster of K processes on this machine, by default one for each core.

    Raises
    ------
    KindError
        If dask.distributed is not installed.
    ArgumentError
        If there is no scheduler, or ``address`` is none.
    """
    try:
        distributed = import_module("distributed")
    except ImportError as error:
        raise KindError('--dask needs dask: pip install "patterndim[dask]"') from error
    kind, _, number = address.partition(":")
    if kind != "local":
        try:
            client = distributed.Client(address, timeout=TIMEOUT)
        except (OSError, ValueError, TypeError) as error:
            raise ArgumentError(f"--dask must be a scheduler or local, got {address!r}") from error
        with client:
            yield client.get_executor()
        return
    if number and not (number.isdecimal() and int(number) > 0):
        raise ArgumentError(f"--dask must be local:K with K at least 1, got {address!r}")
    workers = int(number or cores())
    with (
        limited_threads(max(1, cores() // workers)),
        import_module("dask.config").set(BLAME),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        done = Event()
        Thread(target=_revive, args=(cluster, workers, done), daemon=True).start()
        try:
            yield client.get_executor()
        finally:
            done.set()


def _revive(cluster: Any, workers: int, done: Event) -> None:
    """
    Ask for workers that are missing, now and then.

    A worker that dies is replaced by its nanny, but one that dies while it starts, because it got
    the task that kills it at once, takes its nanny along.
    """
    while not done.wait(REVIVE):
        cluster.scale(workers)
