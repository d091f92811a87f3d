"""``patterndim dimension``: local dimension of a saved network at a sample."""

import argparse
import json
from time import perf_counter
from typing import Any

from patterndim.commands.output import BOUNDS, add_network, evidence, heading, parameters, plain
from patterndim.dimension import METHODS, Dimension, local_dimension
from patterndim.formats import load, npz
from patterndim.network import Network
from patterndim.progress import ProgressLine
from patterndim.validation import byte_count


def add(commands: Any) -> None:
    """Add the command to a parser."""
    dimension = commands.add_parser(
        "dimension", help="local dimension of a saved network at a sample"
    )
    dimension.set_defaults(run=run)
    add_network(dimension, inputs=True)
    dimension.add_argument(
        "--method",
        choices=METHODS,
        default="modular",
        help="how the rank is found (default modular: exact)",
    )
    dimension.add_argument("--memory", metavar="SIZE", help='most working memory, such as "2GB"')


def run(options: argparse.Namespace, progress: ProgressLine) -> int:
    """Run the command and return its exit status."""
    network = load(options.network)
    X = npz.read_array(options.inputs)
    start = perf_counter()
    found = local_dimension(
        network,
        X,
        method=options.method,
        output=options.output,
        rng=options.seed,
        memory=byte_count(options.memory),
        progress=progress,
    )
    seconds = perf_counter() - start
    progress.clear()
    if options.json:
        print(json.dumps(_described(network, len(X), found, options, seconds), indent=2))
        return 0
    lines = [
        ("network", repr(network)),
        ("sample", f"{len(X)} inputs, {network.widths[-1]} outputs each ({options.output})"),
        ("local dimension", str(found.value)),
        ("kind", evidence(found)),
        ("at most", f"{found.upper} ({BOUNDS[found.bound]})"),
        parameters(network),
        ("signs", f"{found.uncertain} needed exact arithmetic, {found.ties} exact zeros (ties)"),
        ("seconds", f"{seconds:.2f}"),
    ]
    for name, text in lines:
        print(f"{name:16} {text}")
    if found.ties:
        print(
            "At a tie the network is not differentiable: the rank is that with the neuron inactive."
        )
    return 0


def _described(
    network: Network, inputs: int, found: Dimension, options: argparse.Namespace, seconds: float
) -> dict[str, Any]:
    return {
        **heading(network),
        "inputs": inputs,
        "method": options.method,
        "output": options.output,
        **plain(found),
        "seconds": seconds,
    }
