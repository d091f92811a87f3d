"""``patterndim crosscheck``: a Jacobian by automatic differentiation against the analytic one."""

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

from patterndim.commands.output import heading
from patterndim.comparison import crosscheck
from patterndim.comparison.precision import NAMED
from patterndim.comparison.subject import subject_of
from patterndim.formats import npz
from patterndim.progress import ProgressLine


def add(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "crosscheck", help="a Jacobian by automatic differentiation against the analytic one"
    )
    parser.set_defaults(run=run)
    parser.add_argument("network", type=Path, metavar="NET", help="file of a network")
    parser.add_argument("inputs", type=Path, metavar="X.npy", help="array (N, n_0) by numpy.save")
    parser.add_argument(
        "--jacobian",
        type=Path,
        metavar="J.npy",
        help="array (N n_L, P) or (N, n_L, P) to check (default: JAX differentiates the network)",
    )
    parser.add_argument(
        "--precision", choices=list(NAMED), help="less is a fault (default: that of the network)"
    )
    parser.add_argument(
        "--ranks",
        action=argparse.BooleanOptionalAction,
        help="the exact rank and those of usual recipes (default: if they take seconds)",
    )
    parser.add_argument(
        "--memory", metavar="SIZE", default="4GB", help="most working memory (default 4GB)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(options: argparse.Namespace, progress: ProgressLine) -> int:
    """Run the command and return its exit status: 1 if the Jacobian does not agree."""
    subject = subject_of(options.network)
    X = npz.read_array(options.inputs)
    J = None if options.jacobian is None else npz.read_array(options.jacobian)
    progress.show("checking")
    start = perf_counter()
    found = crosscheck(
        subject,
        X,
        J,
        precision=options.precision,
        ranks=options.ranks,
        rng=options.seed,
        memory=options.memory,
    )
    seconds = perf_counter() - start
    progress.clear()
    if options.json:
        described = {**heading(subject.network), **found.described(), "seconds": seconds}
        print(json.dumps(described, indent=2))
    else:
        print(f"{found}\n{seconds:.1f} seconds")
    return 0 if found.agrees else 1
