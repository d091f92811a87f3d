"""Probability that the Jacobian of a shallow network has full rank (arXiv:2305.19510)."""

from math import log
from typing import TYPE_CHECKING

from patterndim.experiments.samples import OUTPUTS
from patterndim.experiments.table import Table, kinds, tabulate, with_kinds
from patterndim.plot.lines import curves
from patterndim.plot.shades import heat_map
from patterndim.plot.style import new_figure
from patterndim.summary import OF_OUTPUTS, Row, bound

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIMENSION, FULL = "local_dimension", "full rank"


def table(rows: list[Row]) -> Table:
    """Fraction of draws in which the rank is all that the outputs allow."""
    return tabulate(
        _compared(rows), with_kinds(rows, ["N", "width"]), FULL, means=(DIMENSION,), spread=False
    )


def _compared(rows: list[Row]) -> list[Row]:
    found = []
    for row in rows:
        _, most = bound(row, OF_OUTPUTS) or ("", None)
        found.append({**row, FULL: int(row[DIMENSION] == most)})
    return found


def figure(rows: list[Row]) -> "Figure":
    """Heat map, and the same probabilities against width; a row for each kind of outputs."""
    outputs = kinds(rows)
    figure = new_figure(12.0, 0.3 + 4.3 * len(outputs))
    panels = figure.subplots(len(outputs), 2, squeeze=False, width_ratios=(5, 4))
    for (left, right), kind in zip(panels, outputs, strict=True):
        _panels(left, right, _compared([r for r in rows if r.get("output", kind) == kind]))
        if len(outputs) > 1:
            left.set_title(OUTPUTS[kind], fontsize=11)
    return figure


def _panels(left: "Axes", right: "Axes", rows: list[Row]) -> None:
    """Heat map, and the same probabilities against width in units of n log n."""
    probability = f"probability of rank {_full(rows)}"
    heat_map(rows, "width", "N", FULL, low=0.0, high=1.0, label=probability, ax=left)
    left.set_xlabel("width $d_1$")
    left.set_ylabel("inputs $n$")
    scale = "d_1 / (n log n)"
    # log 1 = 0: a single input has no place on this axis.
    several = [row for row in rows if row["N"] > 1]
    scaled = [{**row, scale: row["width"] / (row["N"] * log(row["N"]))} for row in several]
    sizes = sorted({row["N"] for row in several})
    chosen = set(sizes[:: max(1, len(sizes) // 5)])
    scaled = [row for row in scaled if row["N"] in chosen]
    names = {n: f"n = {n:,}" for n in sizes}
    if scaled:
        curves(scaled, scale, FULL, by="N", spread="none", labels=names, ax=right)
    right.set_xscale("log")
    right.set_xlabel("$d_1 \\, / \\, (n \\log n)$")
    right.set_ylabel(probability)
    right.set_ylim(-0.03, 1.03)


def _full(rows: list[Row]) -> str:
    """What full rank is: n for one output, else what the outputs allow."""
    known = [bound(row, OF_OUTPUTS) or ("n", row["N"]) for row in rows]
    if all(most == row["N"] for (_, most), row in zip(known, rows, strict=True)):
        return "n"
    return known[0][0].replace("N", "n", 1)
