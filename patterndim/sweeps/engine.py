"""Tasks on an executor: a bounded number on their way, and those of dead workers once more."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from typing import Any

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
    future = _submit(executor, function, None)
    wait([future])
    _result(future, executor)


@dataclass
class _Pending:
    """A task that was handed out, and how many workers died with it."""

    task: Task
    deaths: int = 0


def elsewhere(
    tasks: list[Task], work: Work, executor: Executor, retries: int
) -> Iterator[tuple[Task, Result]]:
    """Tasks and what became of them, as they come back from an executor."""
    window = executor.workers if isinstance(executor, Pool) else WINDOW
    queue = deque(_Pending(task) for task in tasks)
    pending: dict[Future[Result], _Pending] = {}
    try:
        while queue or pending:
            while queue and len(pending) < window:
                one = queue.popleft()
                pending[_submit(executor, work, one.task)] = one
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                one = pending.pop(future)
                result = _result(future, executor)
                if result is None and one.deaths < retries:
                    queue.append(_Pending(one.task, one.deaths + 1))
                else:
                    yield one.task, result or _died(one.deaths + 1)
    finally:
        for future in pending:
            future.cancel()


def _submit(executor: Executor, work: Work, task: Task | None) -> Future[Result]:
    try:
        return executor.submit(attempt, work, task)
    except (BrokenExecutor, RuntimeError) as error:
        raise _unusable(error) from error


def _result(future: Future[Result], executor: Executor) -> Result | None:
    """What became of a task, or None if its worker died; `attempt` itself raises nothing."""
    if isinstance(executor, Pool):
        executor.release(future)
    try:
        return future.result()
    except BrokenExecutor as error:
        if isinstance(executor, Pool):
            return None
        raise _unusable(error) from error
    except Exception as error:
        # By name, because distributed need not be installed.
        if type(error).__name__ == "KilledWorker":
            return None
        raise _unusable(error) from error


def _unusable(error: Exception) -> ArgumentError:
    return ArgumentError(
        f"executor must be able to run tasks, got {type(error).__name__}: {error} "
        "(what was finished is recorded)"
    )


def _died(times: int) -> Result:
    message = f"the worker died, {times} time{'s' if times > 1 else ''}"
    return {**failure("WorkerDied", message), "rows": [], "seconds": 0.0, "about": about()}
