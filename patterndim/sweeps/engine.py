"""Tasks on an executor: a bounded number on their way, and those of dead workers once more."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from patterndim.errors import ArgumentError
from patterndim.sweeps.pool import Pool
from patterndim.sweeps.tasks import Task
from patterndim.sweeps.worker import about, attempt, failure

#: Tasks on their way to an executor of which it is not known how many workers it has.
WINDOW = 1024

Work = Callable[[Any], Any]
Result = dict[str, Any]


def here(tasks: list[Task], work: Work) -> Iterator[tuple[Task, Result]]:
    """Tasks and what became of them, in this process, one after the other."""
    for task in tasks:
        yield task, attempt(work, task)


def before(function: Work, executor: Executor) -> None:
    """Run something on one worker before the others have anything to do."""
    tried = False
    while not tried:
        future = _submit(executor, function, None)
        wait([future])
        tried, _ = _result(future, executor)


@dataclass
class _Pending:
    """A task that was handed out, and how many workers died of it."""

    task: Task
    deaths: int = 0
    alone: bool = False


def elsewhere(
    tasks: list[Task], work: Work, executor: Executor, retries: int
) -> Iterator[tuple[Task, Result]]:
    """
    Tasks and what became of them, as they come back from an executor.

    A cluster may blame the death of a worker on tasks that only waited there.  These are handed
    out once more when all others are done, one at a time: who dies then died of its task.
    """
    own = isinstance(executor, Pool)
    window = executor.workers if isinstance(executor, Pool) else WINDOW
    queue = deque(_Pending(task) for task in tasks)
    suspects: deque[_Pending] = deque()
    pending: dict[Future[Result], _Pending] = {}
    try:
        while queue or suspects or pending:
            while queue and len(pending) < window:
                one = queue.popleft()
                pending[_submit(executor, work, one.task)] = one
            if not pending:
                one = suspects.popleft()
                pending[_submit(executor, work, one.task)] = one
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                one = pending.pop(future)
                tried, result = _result(future, executor)
                if result is not None:
                    yield one.task, result
                    continue
                deaths = one.deaths + (tried and (own or one.alone))
                if deaths > retries:
                    yield one.task, _died(deaths)
                else:
                    (queue if own else suspects).append(_Pending(one.task, deaths, alone=True))
    finally:
        for future in pending:
            future.cancel()


def _submit(executor: Executor, work: Work, task: Task | None) -> Future[Result]:
    try:
        # A call of its own each time: dask answers one that it knows with what it knows.
        return executor.submit(attempt, work, task, uuid4().hex)
    except Exception as error:  # closed, broken, or it cannot send this function
        raise _unusable(error) from error


def _result(future: Future[Result], executor: Executor) -> tuple[bool, Result | None]:
    """
    Whether a task was begun, and what became of it, or None if its worker died.

    `attempt` itself raises nothing.
    """
    tried = executor.release(future) if isinstance(executor, Pool) else True
    try:
        return tried, future.result()
    except BrokenExecutor as error:
        if isinstance(executor, Pool):
            return tried, None
        raise _unusable(error) from error
    except Exception as error:
        # By name, because distributed need not be installed.
        if type(error).__name__ == "KilledWorker":
            return tried, None
        raise _unusable(error) from error


def _unusable(error: Exception) -> ArgumentError:
    return ArgumentError(
        f"executor must be able to run tasks, got {type(error).__name__}: {error} "
        "(what was finished is recorded)"
    )


def _died(times: int) -> Result:
    message = f"the worker died, {times} time{'s' if times > 1 else ''}"
    return {**failure("WorkerDied", message), "rows": [], "seconds": 0.0, "about": about()}
