"""``patterndim dimension``: local dimension of a saved network at a sample."""

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import patterndim
from patterndim.commands.output import BOUNDS, evidence, plain
from patterndim.dimension import METHODS, OUTPUTS, Dimension, local_dimension
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
    dimension.add_argument(
        "network", type=Path, metavar="NET.npz", help="written by patterndim.save"
    )
    dimension.add_argument(
        "inputs", type=Path, metavar="X.npy", help="array (N, n_0) by numpy.save"
    )
    dimension.add_argument(
        "--method",
        choices=METHODS,
        default="modular",
        help="how the rank is found (default modular: exact)",
    )
    dimension.add_argument(
        "--output",
        choices=OUTPUTS,
        default="affine",
        help="rank of the outputs or of their softmax (default affine)",
    )
    dimension.add_argument(
        "--seed", type=int, default=0, help="of the prime and sketch (default 0)"
    )
    dimension.add_argument("--memory", metavar="SIZE", help='most working memory, such as "2GB"')
    dimension.add_argument("--json", action="store_true", help="print one JSON object instead")


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
        (
            "P, P - H",
            f"{network.parameter_count}, {network.parameter_count - network.hidden_neurons}",
        ),
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
        "patterndim": patterndim.__version__,
        "widths": list(network.widths),
        "parameter_count": network.parameter_count,
        "hidden_neurons": network.hidden_neurons,
        "inputs": inputs,
        "method": options.method,
        "output": options.output,
        **plain(found),
        "seconds": seconds,
    }
