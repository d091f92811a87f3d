"""Worker processes, each with one task at a time: when one dies, it is known which task did it."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from threading import Lock
from typing import Any

from patterndim.errors import ArgumentError
from patterndim.sweeps import worker

#: Where the libraries that numpy and numba come with look up their number of threads.
THREADS = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
#: So many workers in a row may die while they start: the machine may be busy or short of memory.
STARTS = 3
_environment = Lock()


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """
    Environment for processes that are started: so many threads each, unless it says otherwise.

    The libraries read it when they are loaded, so it has to be there before the process is.
    """
    with _environment:
        added = [name for name in THREADS if name not in os.environ]
        os.environ.update(dict.fromkeys(added, str(threads)))
        try:
            yield
        finally:
            for name in added:
                del os.environ[name]


class Pool(Executor):
    """
    As many single processes; `submit` needs one of them to be idle.

    Processes are spawned, not forked: nothing of this process's threads or locks comes along.
    """

    def __init__(self, workers: int, work: Callable[..., Any]) -> None:
        self.workers = workers
        self.work = work
        self.threads = max(1, cores() // workers)
        self.idle: list[_Process] = []
        self.busy: dict[Future[Any], _Process] = {}
        self.stillborn = 0

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a call in an idle worker, or in a new one."""
        process = self.idle.pop() if self.idle else _Process(self.threads, self.work)
        future: Future[Any] = process.executor.submit(function, *args, **kwargs)
        self.busy[future] = process
        return future

    def release(self, future: Future[Any]) -> bool:
        """Let the worker of a finished call take another; False if it died before it began it."""
        process = self.busy.pop(future)
        error = process.hello.exception()
        if error is None:
            self.stillborn = 0
            if not isinstance(future.exception(), BrokenExecutor):
                self.idle.append(process)
                return True
        process.executor.shutdown(wait=False)
        if isinstance(error, BrokenExecutor) and self.stillborn + 1 < STARTS:
            self.stillborn += 1
            return False
        process.check()
        return True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all workers, at once if their calls do not matter any more."""
        processes = [*self.idle, *self.busy.values()]
        for process in processes:
            if cancel_futures:
                process.kill()
            process.executor.shutdown(wait=wait and not cancel_futures)


class _Process:
    """A worker process; its first call tells whether it starts at all."""

    def __init__(self, threads: int, work: Callable[..., Any]) -> None:
        context = get_context("spawn")
        self.executor = ProcessPoolExecutor(1, mp_context=context, initializer=worker.start)
        with limited_threads(threads):
            self.hello = self.executor.submit(worker.hello, work)

    def check(self) -> None:
        """Raise if the process died before it could do anything."""
        error = self.hello.exception()
        if error is not None:
            raise ArgumentError(
                "worker processes must be able to start and to import what they run: a script "
                "needs its code under `if __name__ == '__main__':`, and a function a module "
                f"({type(error).__name__}: {error})"
            )

    def kill(self) -> None:
        """End it whatever it does."""
        with suppress(Exception):
            os.kill(self.hello.result(), signal.SIGKILL)
