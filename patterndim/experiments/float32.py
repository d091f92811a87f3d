"""Ranks of a float32 Jacobian, counted as the code of arXiv:2402.08269 does, beside exact ones."""

from typing import TYPE_CHECKING

from patterndim.experiments.samples import NAMES
from patterndim.experiments.table import Table, tabulate
from patterndim.plot.lines import certainty, level, panel, rows_with, time_axis
from patterndim.plot.style import new_figure
from patterndim.summary import OF_PARAMETERS, Row, bound

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIMENSION, RECIPE, EXCESS = "local_dimension", "float32_rank", "excess"


def table(rows: list[Row]) -> Table:
    """Exact dimensions, certain bounds, ranks by the recipe, and the difference."""
    rows = [{**row, EXCESS: row[RECIPE] - row[DIMENSION]} for row in rows]
    means = (f"{DIMENSION}_upper", RECIPE, EXCESS)
    return tabulate(rows, ["sample", "epoch"], DIMENSION, means=means)


def figure(rows: list[Row]) -> "Figure":
    """Both against epochs, a panel for each sample."""
    samples = [name for name in NAMES if rows_with(rows, sample=name)]
    figure = new_figure(1.6 + 4.0 * len(samples), 4.9)
    panels = figure.subplots(1, len(samples), sharey=True, squeeze=False)[0]
    for ax, sample in zip(panels, samples, strict=True):
        chosen = rows_with(rows, sample=sample)
        panel(ax, _long(chosen), "epoch", "rank", by="count")
        if known := bound(chosen[0], OF_PARAMETERS):
            level(ax, known[1], f"{known[0]} = {known[1]:,}" if ax is panels[0] else "")
        ax.set_title(NAMES[sample], fontsize=11)
        ax.set_xlabel("epochs")
        ax.set_ylabel("rank" if ax is panels[0] else "")
        time_axis(ax, [row["epoch"] for row in rows])
    handles = [*panels[0].get_legend_handles_labels()[0], *certainty()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _long(rows: list[Row]) -> list[Row]:
    """One row for each way to count."""
    ways = {"exact": DIMENSION, "float32, counted as published": RECIPE}
    return [
        {
            "epoch": row["epoch"],
            "count": way,
            "rank": row[column],
            "rank_kind": row.get(f"{column}_kind"),
        }
        for way, column in ways.items()
        for row in rows
    ]
