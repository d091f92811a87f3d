"""How often random networks have no hidden symmetries (arXiv:2306.06179)."""

from typing import TYPE_CHECKING

from patterndim.experiments.table import Table, tabulate
from patterndim.plot.lines import curves, rows_with
from patterndim.plot.style import new_figure
from patterndim.summary import OF_PARAMETERS, Row, bound

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIMENSION, FRACTION = "local_dimension", "fraction at P - H"


def table(rows: list[Row]) -> Table:
    """Fraction of networks at P - H, and how many dimensions are missing."""
    keys, means = ["N", "depth", "width"], (DIMENSION, "missing")
    return tabulate(_compared(rows), keys, FRACTION, means=means, spread=False)


def _compared(rows: list[Row]) -> list[Row]:
    """Rows with what is missing; a dimension that is P - H is proved, it cannot be more."""
    found = []
    for row in rows:
        _, most = bound(row, OF_PARAMETERS) or ("", row["P"] - row["H"])
        missing = most - row[DIMENSION]
        found.append({**row, "missing": missing, FRACTION: int(missing == 0)})
    return found


def figure(rows: list[Row]) -> "Figure":
    """Fractions against depth, a line for each width, a panel for each size of the sample."""
    rows = _compared(rows)
    sizes = sorted({row["N"] for row in rows})
    figure = new_figure(1.6 + 3.6 * len(sizes), 4.2)
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for ax, size in zip(panels, sizes, strict=True):
        chosen = rows_with(rows, N=size)
        curves(chosen, "depth", FRACTION, by="width", spread="none", ax=ax)
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
