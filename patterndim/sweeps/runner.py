"""The sweep: tasks that are not finished yet go to workers, and what comes back to the file."""

import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, closing
from copy import deepcopy
from dataclasses import dataclass
from multiprocessing import current_process
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

from patterndim.errors import ArgumentError, KindError
from patterndim.sweeps.display import Bar
from patterndim.sweeps.engine import Work, before, elsewhere, here
from patterndim.sweeps.pool import Pool, cores
from patterndim.sweeps.store import Store
from patterndim.sweeps.table import Results
from patterndim.sweeps.tasks import Task, leaves, plain
from patterndim.validation import callable_or_none, integer

Progress = Callable[[int, int, int], None]


def sweep(
    tasks: Any,
    *,
    out: str | PathLike[str] | None = None,
    run: Callable[[Any], Any] | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    retry_failed: bool = False,
    retries: int = 2,
    progress: Progress | bool = False,
) -> Results:
    """
    Results of many experiments, each computed once.

    Finished tasks are recorded in the file ``out`` as they come, under a hash of everything that
    decides their result.  Called again, with the same or with more tasks, a sweep runs those that
    are not there yet: whatever ended it, a finished task is neither lost nor run twice.  An
    exception, or the death of a worker, is the failure of one task.  Rows that a task measured
    before an exception are in the record of its failure (`Results.unfinished`), and nowhere else:
    tried again, it begins again.  Of a worker that died there are none.

    Parameters
    ----------
    tasks : path, dict, or iterable
        A spec, as a TOML file or nested dicts; or several specs as dicts; or `Task` objects.
        With ``run``, an iterable of dicts of plain values.
    out : path, optional
        Results file, JSON Lines; without it the results are only returned.
    run : callable, optional
        Function of a task's dict that returns its rows, or yields them as it finds them: a dict
        or several of plain values, of which NaN and infinity are recorded as None.  Its name and
        that of its module are part of the key, so with ``out`` it must have one of its own.  For
        processes it must be importable, so not a lambda.
    executor : concurrent.futures.Executor, optional
        Where tasks run: threads, processes, a cluster by dask's ``Client.get_executor()``.
    workers : int, optional
        Without an executor: number of processes, by default one for each core; 0 to run
        everything in this one.  Each gets its share of the cores for threads of its own.
    retry_failed : bool
        Whether tasks that are recorded as failed are run again.
    retries : int
        How often a task is run again when its worker died.
    progress : bool or callable
        True for a bar on the terminal (tqdm's if it is installed); or what is called as
        ``progress(finished, failed, total)`` at the start and after every task.

    Returns
    -------
    Results
        Rows and failures of these tasks, in an order that does not depend on how it went.

    Raises
    ------
    KindError, ArgumentError, FileError
        If a spec or an option is not as it must be, before anything runs; if the results file
        cannot be written or is in use.

    Examples
    --------
    >>> tasks = [{"n": n} for n in (3, 1, 2)]
    >>> results = sweep(tasks, run=lambda task: {"square": task["n"] ** 2}, workers=0)
    >>> results.table()[["n", "square"]].tolist()
    [(1, 1), (2, 4), (3, 9)]
    """
    if getattr(current_process(), "_inheriting", False):
        raise ArgumentError(
            "a script that sweeps needs its code under `if __name__ == '__main__':`"
        )
    callable_or_none("run", run)
    if not isinstance(progress, bool):
        callable_or_none("progress", progress)
    integer("retries", retries, low=0)
    if executor is not None and not isinstance(executor, Executor):
        raise KindError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
    if workers is not None:
        integer("workers", workers, low=0)
    if run is not None and out is not None:
        _check_name(run)
    wanted = {task.key: task for task in as_tasks(tasks, run)}
    work = _experiment() if run is None else _Given(run)
    with ExitStack() as stack:
        store = None if out is None else stack.enter_context(Store(out))
        known = {} if store is None else store.records
        records = {key: known[key] for key in wanted if key in known}
        if retry_failed:
            records = {key: one for key, one in records.items() if one["status"] == "done"}
        failed = sum(record["status"] != "done" for record in records.values())
        tell = _told(progress, stack)
        tell(len(records), failed, len(wanted))
        left = [task for key, task in wanted.items() if key not in records]
        results = _results(left, work, executor, workers, retries)
        for task, result in stack.enter_context(closing(results)):
            record = {"key": task.key, "task": task.settings, "grid": list(task.grid), **result}
            if task.path is not None:  # only for those who read it: the key has the content
                record["file"] = Path(task.path).name
            if store is not None:
                store.append(record)
            records[task.key] = record
            failed += record["status"] != "done"
            tell(len(records), failed, len(wanted))
    return Results([records[key] for key in wanted])


def _told(progress: Progress | bool | None, stack: ExitStack) -> Progress:
    """What is called with the counts."""
    if progress is True:
        bar = Bar(sys.stderr)
        stack.callback(bar.close)
        return bar
    return progress or (lambda finished, failed, total: None)


def as_tasks(tasks: Any, run: Callable[[Any], Any] | None = None) -> list[Task]:
    """
    Tasks from whatever describes them; see `sweep`.

    Raises
    ------
    KindError, ArgumentError, FileError
        If they are not as they must be.
    """
    if run is None:
        from patterndim.sweeps.spec import read_spec  # not needed, and slow, for others' functions

        if isinstance(tasks, str | PathLike | Mapping):
            return read_spec(tasks)
    if isinstance(tasks, str | PathLike | Mapping) or not isinstance(tasks, Iterable):
        raise KindError(f"tasks must be a sequence of dicts, got {type(tasks).__name__}")
    found: list[Task] = []
    for i, one in enumerate(tasks):
        if isinstance(one, Task):
            found.append(one)
        elif not isinstance(one, Mapping):
            raise KindError(f"tasks[{i}] must be a dict, got {type(one).__name__}")
        elif run is None:
            found += read_spec(one)
        else:
            settings = plain(f"tasks[{i}]", one, finite=True)
            found.append(Task(settings, _columns(f"tasks[{i}]", settings), function=_name(run)))
    return found


def _columns(name: str, settings: dict[str, Any]) -> tuple[str, ...]:
    """Dotted names of settings, which are columns of the table."""
    names = [dotted for dotted, _ in leaves(settings)]
    if len(set(names)) < len(names):
        twice = next(dotted for dotted in names if names.count(dotted) > 1)
        raise ArgumentError(f"{name} must have different dotted names, got {twice!r} twice")
    return tuple(names)


def _name(run: Callable[[Any], Any]) -> str:
    """Name of a function and its module; that of a script is not part of it."""
    name = str(getattr(run, "__qualname__", type(run).__qualname__))
    module = getattr(run, "__module__", None) or ""
    if module in ("__main__", "__mp_main__"):
        # Run by ``python -m``, a module has the name by which others import it.
        module = getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", "")
    return f"{module}.{name}" if module else name


def _check_name(run: Callable[[Any], Any]) -> None:
    """Raise if another function could have the same name."""
    name = getattr(run, "__qualname__", None)
    owner = getattr(run, "__self__", None)
    if (
        not isinstance(name, str)
        or "<" in name  # <lambda>, <locals>
        or not (owner is None or isinstance(owner, ModuleType))
    ):
        raise ArgumentError(
            "run must be a named function of a module where out records what it found, "
            f"got {name or type(run).__qualname__!r}"
        )


@dataclass(frozen=True)
class _Given:
    """A function of a task's settings as one of the task."""

    function: Callable[[Any], Any]

    def __call__(self, task: Task) -> Any:
        return self.function(deepcopy(task.settings))


def _experiment() -> Work:
    from patterndim.sweeps.experiment import measured

    return measured


def _results(
    left: list[Task], work: Work, executor: Executor | None, workers: int | None, retries: int
) -> Generator[tuple[Task, dict[str, Any]]]:
    if not left or (executor is None and workers == 0):
        yield from here(left, work)
        return
    pool = None
    if executor is None:
        executor = pool = Pool(min(workers or cores(), len(left)), work)
    complete = False
    try:
        if not isinstance(work, _Given):
            from patterndim.sweeps.experiment import warm_up

            before(warm_up, executor)
        yield from elsewhere(left, work, executor, retries)
        complete = True
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=not complete)
