"""``patterndim functional``: the largest local dimension of a saved network at any sample."""

import argparse
import json
from time import perf_counter
from typing import Any

from patterndim.commands.output import add_network, heading, plain
from patterndim.formats import load
from patterndim.functional import functional_dimension
from patterndim.functional.report import lines
from patterndim.progress import ProgressLine

#: "patterns" needs arrays, which have no place on a command line.
METHODS = ("sample", "exact")


def add(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "functional", help="largest local dimension of a saved network at any sample"
    )
    parser.set_defaults(run=run)
    add_network(parser, inputs=False)
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="sample",
        help="random inputs until they add nothing (default), or all regions of 1 or 2 inputs",
    )
    parser.add_argument("--memory", metavar="SIZE", help='most working memory, such as "2GB"')


def run(options: argparse.Namespace, progress: ProgressLine) -> int:
    """Run the command and return its exit status."""
    network = load(options.network)
    start = perf_counter()
    found = functional_dimension(
        network,
        method=options.method,
        output=options.output,
        rng=options.seed,
        memory=options.memory,
        progress=progress,
    )
    seconds = perf_counter() - start
    progress.clear()
    if options.json:
        described = {
            **heading(network),
            **plain(found),
            "seconds": seconds,
        }
        print(json.dumps(described, indent=2))
        return 0
    for name, text in (*lines(network, found), ("seconds", f"{seconds:.2f}")):
        print(f"{name:20} {text}")
    return 0
