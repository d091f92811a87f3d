"""How often random networks have no hidden symmetries (arXiv:2306.06179)."""

from typing import TYPE_CHECKING

from patterndim.experiments.table import Table, tabulate, with_kinds
from patterndim.plot.lines import curves, rows_with
from patterndim.plot.style import new_figure
from patterndim.summary import OF_PARAMETERS, Row, bound

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIMENSION, MISSING, FRACTION = "local_dimension", "missing", "fraction"


def table(rows: list[Row]) -> Table:
    """Fraction of networks at the most that parameters allow, and how many dimensions miss."""
    name = f"{FRACTION} at {_most(rows)}"
    compared = [{**row, name: row[FRACTION]} for row in _compared(rows)]
    keys = with_kinds(rows, ["N", "depth", "width"])
    return tabulate(compared, keys, name, means=(DIMENSION, MISSING), spread=False)


def _most(rows: list[Row]) -> str:
    """Name of the most that parameters allow, P - H or what a softmax leaves of it."""
    known = [bound(row, OF_PARAMETERS) for row in rows]
    return " or ".join(dict.fromkeys(most[0] for most in known if most))


def _compared(rows: list[Row]) -> list[Row]:
    """Rows with what is missing; a dimension that is the bound is proved, it cannot be more."""
    found = []
    for row in rows:
        most = bound(row, OF_PARAMETERS)
        missing = None if most is None else most[1] - row[DIMENSION]
        fraction = None if missing is None else int(missing == 0)
        found.append({**row, MISSING: missing, FRACTION: fraction})
    return found


def figure(rows: list[Row]) -> "Figure":
    """Fractions against depth, a line for each width, a panel for each size of the sample."""
    most, by = _most(rows), with_kinds(rows, ["width"])[::-1]
    rows = _compared(rows)
    sizes = sorted({row["N"] for row in rows})
    figure = new_figure(1.6 + 3.6 * len(sizes), 4.2)
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for ax, size in zip(panels, sizes, strict=True):
        chosen = rows_with(rows, N=size)
        curves(chosen, "depth", FRACTION, by=by, spread="none", ax=ax)
        ax.set_title(f"{size:,} Gaussian inputs", fontsize=11)
        ax.set_xlabel("hidden layers")
        ax.set_xticks(sorted({row["depth"] for row in rows}))
        ax.set_ylim(-0.03, 1.03)
        if ax is not panels[-1]:
            ax.get_legend().remove()
        if ax is not panels[0]:
            ax.set_ylabel("")
    space = " " if len(most) < 10 else "\n"
    panels[0].set_ylabel(f"networks with local dimension{space}{most}")
    return figure
