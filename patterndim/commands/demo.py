"""``patterndim demo``: train a small network on real digits and watch its local dimension."""

import argparse
import json
from pathlib import Path
from typing import Any

from patterndim import plot
from patterndim.commands.output import plain
from patterndim.demo import TRAIN, Demo, DemoRow
from patterndim.errors import ArgumentError
from patterndim.progress import ProgressLine
from patterndim.validation import integer

COLUMNS = (
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


def add(commands: Any) -> None:
    """Add the command to a parser."""
    demo = commands.add_parser(
        "demo", help="train a small network on real digits and watch its local dimension"
    )
    demo.set_defaults(run=run)
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


def run(options: argparse.Namespace, progress: ProgressLine) -> int:
    """Run the command and return its exit status."""
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
        print(json.dumps([_described(row) for row in rows], indent=2))
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
    print("".join(f"{name:>{width}}" for name, width in COLUMNS), flush=True)


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
    line = "".join(f"{c:>{w}}" for c, (_, w) in zip(cells, COLUMNS, strict=True))
    print(line, flush=True)


def _described(row: DemoRow) -> dict[str, Any]:
    return {
        "step": row.step,
        "loss": row.loss,
        "accuracy": row.accuracy,
        "test_accuracy": row.test_accuracy,
        "train": plain(row.train),
        "gaussian": plain(row.gaussian),
        "seconds": row.seconds,
    }
