"""Probability that the Jacobian of a shallow network has full rank (arXiv:2305.19510)."""

from math import log
from typing import TYPE_CHECKING

from patterndim.experiments.table import Table, tabulate
from patterndim.plot.lines import curves
from patterndim.plot.shades import heat_map
from patterndim.plot.style import new_figure
from patterndim.summary import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIMENSION, FULL = "local_dimension", "full rank"


def table(rows: list[Row]) -> Table:
    """Fraction of draws in which the rank is the number of inputs."""
    return tabulate(_compared(rows), ["N", "width"], FULL, means=(DIMENSION,), spread=False)


def _compared(rows: list[Row]) -> list[Row]:
    return [{**row, FULL: int(row[DIMENSION] == row["N n_L"])} for row in rows]


def figure(rows: list[Row]) -> "Figure":
    """Heat map, and the same probabilities against width in units of n log n."""
    rows = _compared(rows)
    figure = new_figure(12.0, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(5, 4))
    heat_map(rows, "width", "N", FULL, low=0.0, high=1.0, label="probability of rank n", ax=left)
    left.set_xlabel("width $d_1$")
    left.set_ylabel("inputs $n$")
    scale = "d_1 / (n log n)"
    scaled = [{**row, scale: row["width"] / (row["N"] * log(row["N"]))} for row in rows]
    sizes = sorted({row["N"] for row in rows})
    chosen = set(sizes[:: max(1, len(sizes) // 5)])
    scaled = [row for row in scaled if row["N"] in chosen]
    names = {n: f"n = {n:,}" for n in sizes}
    curves(scaled, scale, FULL, by="N", spread="none", labels=names, ax=right)
    right.set_xscale("log")
    right.set_xlabel("$d_1 \\, / \\, (n \\log n)$")
    right.set_ylabel("probability of rank n")
    right.set_ylim(-0.03, 1.03)
    return figure
