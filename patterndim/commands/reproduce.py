"""``patterndim reproduce``: an experiment of a paper, from its spec to a table and a figure."""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from patterndim import plot
from patterndim.errors import ArgumentError
from patterndim.experiments import EXPERIMENTS, SIZES, Reproduction, experiment, reproduce, sizes
from patterndim.progress import ProgressLine
from patterndim.sweeps.display import Bar


def add(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "reproduce", help="an experiment of a paper: results, a table and a figure"
    )
    parser.set_defaults(run=run)
    parser.add_argument("name", nargs="?", metavar="NAME", help="which one; see --list")
    parser.add_argument("--list", action="store_true", help="print what there is, all or NAME")
    parser.add_argument(
        "--size",
        choices=SIZES,
        default="small",
        help="a minute or two on bundled data, or that of the paper, as far as it is known",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to write (default NAME-SIZE)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="PATH", help=".npz with X and y, or a folder of IDX files"
    )
    parser.add_argument(
        "--workers", type=int, metavar="K", help="processes (default one for each core; 0: none)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(options: argparse.Namespace, progress: ProgressLine) -> int:
    """Run the command and return its exit status."""
    if options.list:
        _list(EXPERIMENTS if options.name is None else [options.name], options.json)
        return 0
    if options.name is None:
        raise ArgumentError("NAME must be given; --list shows them")
    bar = Bar(sys.stderr)
    try:
        found = reproduce(
            options.name,
            size=options.size,
            out=options.out,
            data=options.data,
            workers=options.workers,
            progress=bar,
        )
    except KeyboardInterrupt:
        bar.close()
        print("patterndim: interrupted: the same command does the rest", file=sys.stderr)
        return 130
    finally:
        bar.close()
    if options.json:
        print(json.dumps(_described(options, found), indent=2))
    else:
        _report(options, found)
    return 1 if found.results.failures else 0


def _list(names: Iterable[str], as_json: bool) -> None:
    every = {name: {**_about(name), "sizes": sizes(name)} for name in names}
    if as_json:
        print(json.dumps(every, indent=2))
        return
    longest = max(map(len, every))
    for name, one in every.items():
        print(f"{name:{longest}}  {one['title']} ({one['source']}; {', '.join(one['sizes'])})")


def _about(name: str) -> dict[str, Any]:
    one = experiment(name)
    return {"title": one.title, "source": one.source}


def _described(options: argparse.Namespace, found: Reproduction) -> dict[str, Any]:
    table = found.table
    return {
        "name": options.name,
        "size": options.size,
        **_about(options.name),
        "folder": str(found.folder),
        "figure": None if found.figure is None else str(found.figure),
        "columns": [] if table is None else list(table.columns),
        "rows": [] if table is None else [list(row) for row in table.rows],
        "failures": found.results.failures,
    }


def _report(options: argparse.Namespace, found: Reproduction) -> None:
    one = EXPERIMENTS[options.name]
    print(f"{one.title[0].upper()}{one.title[1:]} ({one.source}).\n")
    if found.table is not None:
        print(found.table.text())
    for failure in found.results.failures:
        print(f"failed: {failure['type']}: {failure['message']}")
    print(f"Results and table are in {found.folder}.")
    if found.figure is not None:
        print(f"The picture is in {found.figure}.")
    elif not plot.available():
        print('For a picture: pip install "patterndim[plot]"')
