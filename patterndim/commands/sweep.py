"""``patterndim sweep``: many experiments from a TOML file, on all cores or a dask cluster."""

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from patterndim.progress import ProgressLine
from patterndim.sweeps import Results, as_tasks, read_records, sweep
from patterndim.sweeps.cluster import dask_executor
from patterndim.sweeps.display import Bar
from patterndim.sweeps.export import check_table
from patterndim.sweeps.schema import describe_keys

#: Most rows and failures that are printed.
ROWS, FAILURES = 20, 10
#: Ends of the names of columns that are not printed, and columns of every record.
FINE_PRINT = ("_lower", "_bound", "_failure_probability", "_modulus", "_ties", "_uncertain")
ABOUT = ("task", "patterndim", "numpy", "numba", "python", "host", "seconds")

EXAMPLE = """
an example of SPEC.toml, six experiments on the bundled digits:

  [data]                      # or source = "mnist.npz" (X, y), a folder of IDX files, "gaussian"
  train = 600
  test = 1000
  [network]
  widths = [64, 16, 16, 10]
  init = "glorot"
  [training]
  epochs = 100
  batch = 64
  [measure]
  at = [0, 20, 100]
  samples = ["train", "test"]
  quantities = ["local_dimension", "perceived_regions"]
  [grid]                      # every combination is an experiment
  seed = [0, 1, 2]
  "data.noise" = [0.0, 0.2]

keys that a grid can vary, and their defaults:

"""


def add(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "sweep",
        help="many experiments from a TOML file, each run once",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLE + describe_keys(),
    )
    parser.set_defaults(run=run)
    parser.add_argument("spec", type=Path, metavar="SPEC.toml", help="the experiments")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="RESULTS.jsonl",
        help="where results are added; what is there already is not run again",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=int, metavar="K", help="processes (default one for each core; 0: none)"
    )
    where.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="tcp://HOST:PORT of a dask scheduler, or local:K for a cluster of K processes here",
    )
    parser.add_argument("--retry-failed", action="store_true", help="run failed tasks once more")
    parser.add_argument(
        "--table", type=Path, metavar="TABLE", help="write the table to a .csv or .parquet, too"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(options: argparse.Namespace, progress: ProgressLine) -> int:
    """Run the command and return its exit status."""
    if options.table is not None:
        check_table("--table", options.table)
    tasks = as_tasks(options.spec)
    bar = Bar(sys.stderr)
    try:
        with ExitStack() as stack:
            stack.callback(bar.close)
            executor = None
            if options.dask is not None:
                executor = stack.enter_context(dask_executor(options.dask))
            results = sweep(
                tasks,
                out=options.out,
                executor=executor,
                workers=options.workers,
                retry_failed=options.retry_failed,
                progress=bar,
            )
    except KeyboardInterrupt:
        keys = {task.key for task in tasks}
        records = read_records(options.out) if options.out.exists() else []
        finished = sum(record["key"] in keys for record in records)
        print(
            f"patterndim: interrupted: {finished} of {len(keys)} tasks are in {options.out}; "
            "the same command does the rest",
            file=sys.stderr,
        )
        return 130
    if options.table is not None:
        results.save(options.table)
    if options.json:
        names = ("rows", "failures", "unfinished")
        print(json.dumps({name: getattr(results, name) for name in names}, indent=2))
    else:
        _report(results, options.out)
    return 1 if results.failures else 0


def _report(results: Results, out: Path) -> None:
    rows = results.rows
    if rows:
        print(_table(rows[:ROWS], _telling(results)))
        if len(rows) > ROWS:
            print(f"... {len(rows) - ROWS:,} more rows")
    for failure in results.failures[:FAILURES]:
        where = ", ".join(f"{name} = {failure[name]}" for name in results.varied)
        count = failure["unfinished"]
        before = f" (after {_counted(count, 'row')})" if count else ""
        print(f"failed: {where}: {failure['type']}: {failure['message']}{before}")
    failed = len(results.failures)
    print(
        f"{_counted(len(rows), 'row')} of {_counted(len(results.records), 'task')} in {out}"
        + (
            f", {_counted(failed, 'task')} failed (--retry-failed runs them again)"
            if failed
            else ""
        )
    )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _telling(results: Results) -> list[str]:
    """Names of columns that are worth a look: what varies, and what was measured."""
    rows = results.rows
    names = dict.fromkeys(name for row in rows for name in row)
    short = [n for n in names if not n.endswith(FINE_PRINT) and n not in ABOUT]
    different = [n for n in short if any(row.get(n) != rows[0].get(n) for row in rows)]
    return different or short


def _table(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Rows as text, columns as wide as they need to be."""
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.rjust, line, widths)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
