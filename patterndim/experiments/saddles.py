"""From a small initialisation: dimension, aligned neurons and loss on one time axis."""

from typing import TYPE_CHECKING

import numpy as np

from patterndim.experiments.table import Table, tabulate, with_kinds
from patterndim.plot.lines import FEW, certainty, level, panel, time_axis
from patterndim.plot.style import new_figure
from patterndim.summary import OF_PARAMETERS, Row, bound
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
    return tabulate(rows, with_kinds(rows, ["step"]), DIMENSION, means=(GROUPS, "loss"))


def figure(rows: list[Row]) -> "Figure":
    """Three panels, a line for each seed: means would smear steps that come at other times."""
    panels = [("loss", "loss"), (DIMENSION, "local dimension"), (GROUPS, "different masks")]
    figure = new_figure(7.2, 7.0)
    axes = figure.subplots(len(panels), 1, sharex=True)
    for ax, (column, text) in zip(axes, panels, strict=True):
        panel(ax, rows, "step", column, by=with_kinds(rows, ["seed"])[::-1])
        ax.set_xlabel("")
        ax.set_ylabel(text)
        if column == "loss":
            ax.set_yscale("log")
        else:
            ax.set_ylim(bottom=0)
    for name, most in dict.fromkeys(filter(None, (bound(r, OF_PARAMETERS) for r in rows))):
        level(axes[1], most, f"{name} = {most:,}")
    times = sorted({row["step"] for row in rows})
    time_axis(axes[-1], times)
    if len(times) > FEW:
        ticks = [0, *(10**k for k in range(1, 9) if times[1] <= 10**k <= times[-1])]
        axes[-1].set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes[-1].set_xlabel("steps of gradient descent")
    handles = [*axes[1].get_legend_handles_labels()[0], *certainty()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure
