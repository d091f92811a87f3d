"""Ranks of a float32 Jacobian, counted as the code of arXiv:2402.08269 does, beside exact ones."""

from typing import TYPE_CHECKING

from patterndim.experiments.samples import NAMES
from patterndim.experiments.table import Table, tabulate
from patterndim.plot.lines import curves, level, rows_with, time_axis
from patterndim.plot.style import new_figure
from patterndim.summary import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIMENSION, RECIPE, EXCESS = "local_dimension", "float32_rank", "excess"


def table(rows: list[Row]) -> Table:
    """Exact dimensions, ranks by the recipe, and the difference."""
    rows = [{**row, EXCESS: row[RECIPE] - row[DIMENSION]} for row in rows]
    return tabulate(rows, ["sample", "epoch"], DIMENSION, means=(RECIPE, EXCESS))


def figure(rows: list[Row]) -> "Figure":
    """Both against epochs, a panel for each sample."""
    samples = [name for name in NAMES if rows_with(rows, sample=name)]
    figure = new_figure(1.6 + 4.0 * len(samples), 4.6)
    panels = figure.subplots(1, len(samples), sharey=True, squeeze=False)[0]
    for ax, sample in zip(panels, samples, strict=True):
        chosen = rows_with(rows, sample=sample)
        exact = [{**row, "rank": row[DIMENSION], "rank_kind": row[f"{DIMENSION}_kind"]}
                 for row in chosen]
        recipe = [{**row, "rank": row[RECIPE]} for row in chosen]
        curves(exact, "epoch", "rank", ax=ax)
        curves(recipe, "epoch", "rank", first=1, ax=ax)
        level(ax, chosen[0]["P - H"], f"P - H = {chosen[0]['P - H']:,}")
        ax.set_title(NAMES[sample], fontsize=11)
        ax.set_xlabel("epochs")
        ax.set_ylabel("rank" if ax is panels[0] else "")
        time_axis(ax, [row["epoch"] for row in rows])
    return figure
