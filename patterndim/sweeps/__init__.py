"""
Sweeps: many experiments on many workers, each computed once, whatever happens in between.

`spec` turns a TOML file or nested dicts into checked tasks, `run` computes one, `engine` and
`pool` hand them out, `store` keeps what comes back, `table` reads it.
"""

from patterndim.sweeps.run import run
from patterndim.sweeps.runner import as_tasks, sweep
from patterndim.sweeps.store import read_records
from patterndim.sweeps.table import Results, load_results
from patterndim.sweeps.tasks import Task

__all__ = ["Results", "Task", "as_tasks", "load_results", "read_records", "run", "sweep"]
