"""How often random networks have no hidden symmetries (arXiv:2306.06179)."""

from typing import TYPE_CHECKING

from patterndim.experiments.table import Table, tabulate
from patterndim.plot.lines import curves, rows_with
from patterndim.plot.style import new_figure
from patterndim.summary import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIMENSION = "local_dimension"


def table(rows: list[Row]) -> Table:
    """Fraction of networks at P - H, and how many dimensions are missing."""
    keys = ["N", "depth", "width"]
    return tabulate(_compared(rows), keys, "fraction at P - H", means=(DIMENSION, "missing"))


def _compared(rows: list[Row]) -> list[Row]:
    return [
        {
            **row,
            "fraction at P - H": int(row[DIMENSION] == row["P - H"]),
            "missing": row["P - H"] - row[DIMENSION],
            # A dimension that is P - H is proved to be, whatever is known of the others.
            "fraction at P - H_kind": row.get(f"{DIMENSION}_kind"),
        }
        for row in rows
    ]


def figure(rows: list[Row]) -> "Figure":
    """Fractions against depth, a line for each width, a panel for each size of the sample."""
    rows = _compared(rows)
    sizes = sorted({row["N"] for row in rows})
    figure = new_figure(1.6 + 3.6 * len(sizes), 4.2)
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for ax, size in zip(panels, sizes, strict=True):
        chosen = [{**row, "fraction at P - H_kind": None} for row in rows_with(rows, N=size)]
        curves(chosen, "depth", "fraction at P - H", by="width", spread="none", ax=ax)
        ax.set_title(f"{size:,} Gaussian inputs", fontsize=11)
        ax.set_xlabel("hidden layers")
        ax.set_xticks(sorted({row["depth"] for row in rows}))
        ax.set_ylim(-0.03, 1.03)
        if ax is not panels[-1]:
            ax.get_legend().remove()
        if ax is not panels[0]:
            ax.set_ylabel("")
    panels[0].set_ylabel("networks with local dimension P - H")
    return figure
