"""The command line: ``patterndim demo`` and ``patterndim dimension``."""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from time import perf_counter
from typing import Any

import patterndim
from patterndim import plot
from patterndim.demo import TRAIN, Demo, DemoRow
from patterndim.dimension import METHODS, OUTPUTS, Dimension, local_dimension
from patterndim.errors import ArgumentError, PatterndimError
from patterndim.formats import load, npz
from patterndim.network import Network
from patterndim.progress import ProgressLine
from patterndim.validation import byte_count, integer

BOUNDS = {
    "outputs": "the number of outputs that count",
    "parameters": "live parameters minus rescaling symmetries",
    "regions": "the activation regions that hold samples",
}
DEMO_COLUMNS = (
    ("step", 6),
    ("loss", 8),
    ("accuracy", 9),
    ("on test", 8),
    ("dimension", 11),
    ("at most", 8),
    ("kind", 9),
    ("Gaussian", 10),
    ("at most", 8),
    ("kind", 9),
    ("seconds", 8),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help()
        return 0
    progress = ProgressLine(sys.stderr)
    try:
        status: int = options.run(options, progress)
        sys.stdout.flush()
        return status
    except PatterndimError as error:
        progress.clear()
        print(f"patterndim: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        progress.clear()
        return 130
    except BrokenPipeError:
        # The reader has gone: what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="patterndim",
        description="Exact local dimension of ReLU networks from their activation patterns.",
    )
    parser.set_defaults(run=None)
    parser.add_argument(
        "--version", action="version", version=f"patterndim {patterndim.__version__}"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="train a small network on real digits and watch its local dimension"
    )
    demo.set_defaults(run=_demo)
    demo.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    demo.add_argument("--steps", type=int, default=3000, help="gradient steps (default 3000)")
    demo.add_argument(
        "--samples", type=int, default=TRAIN, help=f"training digits, 1 to {TRAIN} (default)"
    )
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("patterndim-demo.png"),
        metavar="PNG",
        help="the picture (default patterndim-demo.png)",
    )
    demo.add_argument("--json", action="store_true", help="print one JSON document instead")

    dimension = commands.add_parser(
        "dimension", help="local dimension of a saved network at a sample"
    )
    dimension.set_defaults(run=_dimension)
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
    return parser


def _dimension(options: argparse.Namespace, progress: ProgressLine) -> int:
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
        ("kind", _evidence(found)),
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


def _evidence(found: Dimension) -> str:
    """What the kind of a result rests on, in words."""
    if found.kind == "proved":
        return "proved: lower and upper bound meet"
    if found.kind == "probable":
        return (
            f"probable: at least {found.lower} for certain, "
            f"higher with probability below {found.failure_probability:.1e}"
        )
    gap = "none" if found.gap is None else f"{found.gap:.1e}"
    return f"numerical: singular values above {found.rtol:.1e} of the largest, gap {gap}"


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
        **_plain(found),
        "seconds": seconds,
    }


def _plain(found: Dimension) -> dict[str, Any]:
    """Fields of a result as valid JSON: no arrays, no NaN, no infinity."""
    named = {field.name: getattr(found, field.name) for field in fields(found) if field.compare}
    return {name: _number(value) for name, value in named.items()}


def _number(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_number(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _demo(options: argparse.Namespace, progress: ProgressLine) -> int:
    integer("--steps", options.steps, low=1)
    integer("--seed", options.seed, low=0)
    if not 1 <= options.samples <= TRAIN:
        raise ArgumentError(f"--samples must be from 1 to {TRAIN}, got {options.samples}")
    demo = Demo.build(options.seed, options.samples)
    network = demo.network
    maximum = network.parameter_count - network.hidden_neurons
    rows: list[DemoRow] = []
    if not options.json:
        _introduce(demo, maximum)
    for row in demo.rows(options.steps, progress):
        progress.clear()
        rows.append(row)
        if not options.json:
            _print_row(row)
        progress.show("training")
    progress.clear()
    drawn = plot.available()
    if drawn:
        title = f"{network} on {len(demo.X):,} handwritten digits"
        plot.training_curve(rows, options.out, title=title, maximum=maximum)
    if options.json:
        print(json.dumps([_demo_json(row) for row in rows], indent=2))
        return 0
    chances = [d.failure_probability or 0.0 for row in rows for d in (row.train, row.gaussian)]
    print(
        "\nproved: a certain lower bound meets a certain upper bound.\n"
        "probable: certainly not lower; higher with a probability below "
        f"{max(chances):.1e} over the random prime and sketch."
    )
    advice = 'For a picture: pip install "patterndim[plot]"'
    print(f"The picture is in {options.out}." if drawn else advice)
    return 0


def _introduce(demo: Demo, maximum: int) -> None:
    network = demo.network
    print(
        f"{network}, ReLU, trained on {len(demo.X):,} real handwritten digits (8 x 8 pixels).\n"
        "Local dimension: the rank of the Jacobian of all outputs with respect to the parameters,\n"
        "exact, on the training digits and on as many Gaussian inputs, N(0.5, 1).\n"
        f"No sample can give more than parameters minus hidden neurons, P - H = {maximum}.\n"
    )
    groups = "training digits", "Gaussian inputs"
    print(" " * 33 + f"{groups[0]:^28}  {groups[1]:^26}")
    print("".join(f"{name:>{width}}" for name, width in DEMO_COLUMNS), flush=True)


def _print_row(row: DemoRow) -> None:
    train, gaussian = row.train, row.gaussian
    cells = (
        f"{row.step:,}",
        f"{row.loss:.4f}",
        f"{row.accuracy:.3f}",
        f"{row.test_accuracy:.3f}",
        str(train.value),
        str(train.upper),
        train.kind,
        str(gaussian.value),
        str(gaussian.upper),
        gaussian.kind,
        f"{row.seconds:.1f}",
    )
    line = "".join(f"{c:>{w}}" for c, (_, w) in zip(cells, DEMO_COLUMNS, strict=True))
    print(line, flush=True)


def _demo_json(row: DemoRow) -> dict[str, Any]:
    return {
        "step": row.step,
        "loss": row.loss,
        "accuracy": row.accuracy,
        "test_accuracy": row.test_accuracy,
        "train": _plain(row.train),
        "gaussian": _plain(row.gaussian),
        "seconds": row.seconds,
    }
