"""What happens in a worker process; imports little, so that its environment can be set first."""

import os
import platform
import signal
import traceback
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.metadata import version
from multiprocessing import parent_process
from threading import Thread, current_thread, main_thread
from time import perf_counter
from typing import Any

#: Lines of a traceback that a record keeps.
LINES = 12


def attempt(function: Callable[[Any], Any], argument: Any, call: str = "") -> dict[str, Any]:
    """
    Part of a record: rows, or why there are none; ``call`` only tells calls apart.

    Rows found before a failure are kept apart from those of tasks that are done.
    """
    start = perf_counter()
    rows: list[Any] = []
    result: dict[str, Any] = {"status": "done", "error": None, "rows": rows}
    try:
        for row in _listed(function(argument)):
            rows.append(_plain(f"rows[{len(rows)}]", row))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and _interruptible():
            raise
        result |= failure(type(error).__name__, _message(error), traceback.format_exc())
        result |= {"rows": [], "unfinished": rows}
    return {**result, "seconds": perf_counter() - start, "about": about()}


def _interruptible() -> bool:
    """Whether somebody may have pressed Ctrl-C: elsewhere the task itself has raised it."""
    return parent_process() is None and current_thread() is main_thread()


def _message(error: BaseException) -> str:
    """Text of an exception, which may fail to give one."""
    try:
        return "".join((str(error), ""))  # a plain string, whatever __str__ gives
    except Exception:
        return "an exception without a message"


@lru_cache
def about() -> dict[str, str]:
    """Where a result was found, and by which versions."""
    found = {name: version(name) for name in ("patterndim", "numpy", "numba")}
    return {**found, "python": platform.python_version(), "host": platform.node()}


def failure(kind: str, message: str, trace: str = "") -> dict[str, Any]:
    """Part of a record of a task that failed."""
    tail = trace.splitlines()[-LINES:]
    return {"status": "failed", "error": {"type": kind, "message": message, "traceback": tail}}


def _listed(rows: Any) -> Iterable[Any]:
    """One row may come alone, several from a generator."""
    return [rows] if isinstance(rows, dict) else rows


def _plain(name: str, row: Any) -> dict[str, Any]:
    from patterndim.sweeps.tasks import plain

    found = plain(name, row)
    if not isinstance(found, dict):
        raise TypeError(f"rows must be dicts, got {type(found).__name__}")
    return found


def start() -> None:
    """First thing in a worker: the one who sweeps decides when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def hello(_: object) -> int:
    """Process id: whoever gets it knows that the worker has started and has its function."""
    return os.getpid()
