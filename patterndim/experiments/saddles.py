"""From a small initialisation: dimension, aligned neurons and loss on one time axis."""

from typing import TYPE_CHECKING

import numpy as np

from patterndim.experiments.table import Table, tabulate
from patterndim.plot.lines import level, rows_with
from patterndim.plot.style import new_figure, style, thousands, tidy
from patterndim.summary import Row
from patterndim.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIMENSION, GROUPS = "local_dimension", "aligned_neurons_distinct"
#: Number of inputs, their dimension, and the output weights of the teacher's three neurons.
COUNT, WEIGHTS = 100, (3.0, -2.0, 1.0)


def teacher() -> tuple[FloatArray, FloatArray]:
    """
    Gaussian inputs, and the outputs of three orthogonal neurons with different output weights.

    Returns
    -------
    X : array of float64, shape (100, 3)
    y : array of float64, shape (100, 1)
    """
    rng = np.random.default_rng(0)
    n_0 = len(WEIGHTS)
    X = rng.standard_normal((COUNT, n_0))
    directions, _ = np.linalg.qr(rng.standard_normal((n_0, n_0)))
    return X, (np.maximum(X @ directions, 0.0) * WEIGHTS).sum(axis=1, keepdims=True)


def table(rows: list[Row]) -> Table:
    """Every measurement, averaged over the seeds."""
    means = [name for name in (GROUPS, "loss") if name in rows[0]]
    return tabulate(rows, ["step"], DIMENSION, means=means)


def figure(rows: list[Row]) -> "Figure":
    """Three panels, a line for each seed: means would smear steps that come at other times."""
    panels = [("loss", "loss"), (DIMENSION, "local dimension"), (GROUPS, "different neurons")]
    panels = [(column, text) for column, text in panels if column in rows[0]]
    figure = new_figure(7.2, 2.3 * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    seeds = sorted({row["seed"] for row in rows})
    for ax, (column, text) in zip(axes, panels, strict=True):
        for number, seed in enumerate(seeds):
            chosen = sorted(rows_with(rows, seed=seed), key=lambda row: row["step"])
            look = style(number)
            ax.plot(
                [row["step"] for row in chosen],
                [row[column] for row in chosen],
                linestyle=look.line,
                color=look.color,
                marker=look.marker,
                markersize=3.5,
                label=f"seed {seed}",
            )
        ax.set_ylabel(text)
        tidy(ax)
        if column == "loss":
            ax.set_yscale("log")
        else:
            ax.yaxis.set_major_formatter(thousands())
            ax.set_ylim(bottom=0)
    level(axes[1], rows[0]["P - H"], f"P - H = {rows[0]['P - H']}")
    first = min(row["step"] for row in rows if row["step"] > 0)
    axes[-1].set_xscale("symlog", linthresh=first)
    axes[-1].set_xlim(left=0)
    axes[-1].set_xlabel("steps of gradient descent")
    axes[0].legend(frameon=False)
    return figure
