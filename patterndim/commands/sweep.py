"""``patterndim sweep``: many experiments from a TOML file, on all cores or a dask cluster."""

import argparse
import json
from pathlib import Path
from typing import Any

from patterndim.progress import ProgressLine
from patterndim.sweeps import Results, sweep


def add(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("sweep", help="many experiments from a TOML file, each run once")
    parser.set_defaults(run=run)
    parser.add_argument("spec", type=Path, metavar="SPEC.toml", help="the experiments")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="RESULTS.jsonl", help="where results are added"
    )
    parser.add_argument(
        "--workers", type=int, metavar="K", help="processes (default: one for each core; 0: none)"
    )
    parser.add_argument("--retry-failed", action="store_true", help="run failed tasks once more")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(options: argparse.Namespace, progress: ProgressLine) -> int:
    """Run the command and return its exit status."""
    results = sweep(
        options.spec,
        out=options.out,
        workers=options.workers,
        retry_failed=options.retry_failed,
        progress=lambda done, failed, total: progress.show(f"{done} of {total}, {failed} failed"),
    )
    progress.clear()
    if options.json:
        print(json.dumps({"rows": results.rows, "failures": results.failures}, indent=2))
    else:
        _report(results)
    return 1 if results.failures else 0


def _report(results: Results) -> None:
    print(results)
