"""
Sweeps: many experiments on many workers, each computed once, whatever happens in between.

`spec` turns a TOML file or nested dicts into checked tasks, `experiment` computes one, `engine`
and `pool` hand them out, `store` keeps what comes back, `table` reads it.

Names are imported when they are used: a worker of somebody's own function needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patterndim.sweeps.experiment import run
    from patterndim.sweeps.runner import as_tasks, sweep
    from patterndim.sweeps.store import read_records
    from patterndim.sweeps.table import Results, load_results
    from patterndim.sweeps.tasks import Task

_HOMES = {
    "Results": "table",
    "Task": "tasks",
    "as_tasks": "runner",
    "load_results": "table",
    "read_records": "store",
    "run": "experiment",
    "sweep": "runner",
}

__all__ = ["Results", "Task", "as_tasks", "load_results", "read_records", "run", "sweep"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'patterndim.sweeps' has no attribute {name!r}")
    return getattr(import_module(f"patterndim.sweeps.{_HOMES[name]}"), name)
