"""
How times grow: ``python -m bench.scaling``.

Times against the number of inputs, the width, the depth and the rank, with exponents fitted to
the larger half of each curve beside those of the operation counts.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import patterndim
from bench.cases import MODULUS, Sample, gaussian, residues
from bench.report import environment

Task = Callable[[Sample], object]


@dataclass(frozen=True)
class Curve:
    """
    Time of a task against one variable.

    Attributes
    ----------
    variable, name : str
        What grows, and what is timed.
    theory : float
        Exponent of the operation count when the variable is large.
    sizes : tuple of int
        Values of the variable, ascending.
    prepare : callable
        Makes what is timed for one of them.
    """

    variable: str
    name: str
    theory: float
    sizes: tuple[int, ...]
    prepare: Callable[[int], Callable[[], object]]


def _jacobian(sample: Sample) -> object:
    return patterndim.parameter_jacobian(sample.network, sample.X)


def _ntk(sample: Sample) -> object:
    return patterndim.ntk(sample.network, sample.X)


def _dimension(sample: Sample, method: str = "modular") -> object:
    return patterndim.local_dimension(sample.network, sample.X, method=method, primes=1)


def _layered(depth: int, width: int, inputs: int = 64) -> tuple[int, ...]:
    return (inputs, *[width] * depth, 10)


def _inputs(task: Task, widths: tuple[int, ...], count: int) -> Callable[[], object]:
    return partial(task, gaussian(widths, count))


def _width(task: Task, count: int, width: int) -> Callable[[], object]:
    return partial(task, gaussian(_layered(2, width), count))


def _depth(task: Task, count: int, depth: int) -> Callable[[], object]:
    return partial(task, gaussian(_layered(depth, 48), count))


def _rank(task: Task, rank: int) -> Callable[[], object]:
    # 10 outputs for each input, all independent: a wide network has parameters enough.
    return partial(task, gaussian(_layered(2, 160), rank // 10))


def _matrix(rank: int) -> Callable[[], object]:
    return partial(patterndim.rank.modular_rank, residues(rank, rank).matrix, MODULUS)


def _doubling(first: int, last: int) -> tuple[int, ...]:
    return tuple(first << i for i in range((last // first).bit_length()))


def curves(smoke: bool) -> list[Curve]:
    """
    All curves; with ``smoke`` only their two smallest sizes.

    From a depth of about 20 on bounds of the rounding error, which grow by a factor with every
    layer, no longer decide most signs: exact arithmetic takes over, and the curves turn upwards.
    """
    small, wide = _layered(2, 12, 16), _layered(2, 32)
    sketched = partial(_dimension, method="sketched")
    found = [
        Curve("inputs", "J", 1, _doubling(125, 4000), partial(_inputs, _jacobian, wide)),
        Curve("inputs", "Gram matrix", 2, _doubling(60, 960), partial(_inputs, _ntk, wide)),
        Curve(
            "inputs",
            "dimension, fixed rank",
            1,
            _doubling(1000, 32000),
            partial(_inputs, _dimension, small),
        ),
        Curve("width", "J", 2, _doubling(16, 512), partial(_width, _jacobian, 100)),
        Curve("width", "Gram matrix", 1, _doubling(16, 512), partial(_width, _ntk, 100)),
        Curve(
            "width",
            "dimension, fixed rank",
            1,
            _doubling(64, 2048),
            partial(_width, _dimension, 30),
        ),
        Curve("depth", "J", 1, _doubling(1, 32), partial(_depth, _jacobian, 200)),
        Curve("depth", "Gram matrix", 1, _doubling(1, 32), partial(_depth, _ntk, 200)),
        Curve(
            "depth", "dimension, fixed rank", 1, _doubling(1, 32), partial(_depth, _dimension, 20)
        ),
        Curve("rank", "exact dimension", 3, _doubling(250, 4000), partial(_rank, _dimension)),
        Curve("rank", "sketched dimension", 3, _doubling(250, 4000), partial(_rank, sketched)),
        Curve("rank", "modular rank of a matrix", 3, _doubling(250, 4000), _matrix),
    ]
    if smoke:
        found = [Curve(c.variable, c.name, c.theory, c.sizes[:2], c.prepare) for c in found]
    return found


def measure(curve: Curve, rounds: int) -> dict[str, Any]:
    """Median seconds for every size, and the fitted exponent."""
    seconds = []
    for size in curve.sizes:
        run = curve.prepare(size)
        run()  # compiles
        times = []
        for _ in range(rounds):
            start = perf_counter()
            run()
            times.append(perf_counter() - start)
        seconds.append(median(times))
    return {
        "variable": curve.variable,
        "name": curve.name,
        "theory": curve.theory,
        "sizes": list(curve.sizes),
        "seconds": seconds,
        "exponent": exponent(curve.sizes, seconds),
    }


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope through the larger half of the points on logarithmic axes.

    >>> round(exponent([1, 2, 4, 8], [5.0, 5.0, 20.0, 80.0]), 6)
    2.0
    """
    half = min(len(sizes) // 2, len(sizes) - 2)
    return float(np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0])


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw one panel for each variable."""
    from matplotlib.figure import Figure

    variables = list(dict.fromkeys(result["variable"] for result in results))
    figure = Figure(figsize=(11, 8), layout="constrained")
    for number, variable in enumerate(variables, start=1):
        axes = figure.add_subplot(2, 2, number, yscale="log", xlabel=variable, ylabel="seconds")
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
        for color, result in enumerate(r for r in results if r["variable"] == variable):
            label = f"{result['name']}: {result['exponent']:.2f} (theory {result['theory']:g})"
            sizes, seconds = np.array(result["sizes"]), np.array(result["seconds"])
            axes.plot(sizes, seconds, "o-", color=f"C{color}", label=label)
            line = seconds[-1] * (sizes / sizes[-1]) ** result["theory"]
            axes.plot(sizes, line, ":", color=f"C{color}", linewidth=1)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize="small")
    figure.suptitle("Exponents are fitted to the larger half of each curve; dotted: theory")
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="two smallest sizes of every curve")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw it (PNG, PDF or SVG)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON to a file")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    results = []
    for curve in curves(options.smoke):
        results.append(measure(curve, options.rounds))
        text = f"{curve.variable}: {curve.name}: exponent {results[-1]['exponent']:.2f}"
        print(f"{text}, theory {curve.theory:g}", file=sys.stderr, flush=True)
    command = " ".join(["python -m bench.scaling", *arguments])
    text = json.dumps({"environment": environment(command), "curves": results}, indent=2)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    if options.figure is not None:
        draw(results, options.figure)
    elif options.out is None:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
