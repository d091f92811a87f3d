"""Ranks of a float32 Jacobian, counted as the code of arXiv:2402.08269 does, beside exact ones."""

from typing import TYPE_CHECKING

from patterndim.experiments.samples import NAMES, OUTPUTS
from patterndim.experiments.table import Table, kinds, tabulate, with_kinds
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
    return tabulate(rows, with_kinds(rows, ["sample", "epoch"]), DIMENSION, means=means)


def figure(rows: list[Row]) -> "Figure":
    """Both against epochs, a panel for each sample, a row of them for each kind of outputs."""
    samples, outputs = [name for name in NAMES if rows_with(rows, sample=name)], kinds(rows)
    figure = new_figure(1.6 + 4.0 * len(samples), 0.9 + 4.0 * len(outputs))
    panels = figure.subplots(len(outputs), len(samples), sharex=True, sharey=True, squeeze=False)
    for line, kind in zip(panels, outputs, strict=True):
        for ax, sample in zip(line, samples, strict=True):
            chosen = [r for r in rows_with(rows, sample=sample) if r.get("output", kind) == kind]
            panel(ax, _long(chosen), "epoch", "rank", by="count")
            if known := bound(chosen[0], OF_PARAMETERS):
                level(ax, known[1], f"{known[0]} = {known[1]:,}" if ax is line[0] else "")
            about = f", {OUTPUTS[kind]}" if len(outputs) > 1 else ""
            ax.set_title(f"{NAMES[sample]}{about}", fontsize=11 - len(outputs) + 1)
            ax.set_xlabel("epochs" if line is panels[-1] else "")
            ax.set_ylabel("rank" if ax is line[0] else "")
            time_axis(ax, [row["epoch"] for row in rows])
    handles = [*panels[0, 0].get_legend_handles_labels()[0], *certainty()]
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
