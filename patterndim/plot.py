"""Pictures, drawn with matplotlib (the optional extra ``plot``)."""

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Protocol

from patterndim.errors import FileError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from patterndim.dimension import Dimension

# Okabe and Ito's palette: distinct for every kind of colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"


class TrainingRow(Protocol):
    """What `training_curve` reads of each snapshot."""

    @property
    def step(self) -> int:
        """Number of gradient steps."""

    @property
    def loss(self) -> float:
        """Mean loss on the training sample."""

    @property
    def accuracy(self) -> float:
        """Accuracy on the training sample, from 0 to 1."""

    @property
    def test_accuracy(self) -> float:
        """Accuracy on the test sample, from 0 to 1."""

    @property
    def train(self) -> "Dimension":
        """Local dimension on the training sample."""

    @property
    def gaussian(self) -> "Dimension":
        """Local dimension on Gaussian inputs."""


def available() -> bool:
    """Whether matplotlib can be imported."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def training_curve(
    rows: Sequence[TrainingRow], path: str | PathLike[str], *, title: str, maximum: int
) -> None:
    """
    Draw loss, accuracy and local dimensions against training steps to a PNG.

    Parameters
    ----------
    rows : sequence of objects with step, loss, accuracy, test_accuracy, train, gaussian
        One per snapshot, in order.
    path : path
        File to write.
    title : str
        What was trained.
    maximum : int
        Largest dimension that parameters allow, P - H.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    FileError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(7.2, 6.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    steps = [row.step for row in rows]
    figure.suptitle(title, fontsize=12)

    top.plot(steps, [row.accuracy for row in rows], "o-", color=BLUE, label="train accuracy")
    top.plot(steps, [row.test_accuracy for row in rows], "s-", color=GREEN, label="test accuracy")
    top.set_ylabel("accuracy")
    top.set_ylim(0, 1.03)
    losses = top.twinx()
    losses.plot(steps, [row.loss for row in rows], "^:", color=GREY, label="train loss (right)")
    losses.set_ylabel("cross-entropy")
    losses.set_ylim(bottom=0)
    losses.spines[["top"]].set_visible(False)
    handles = [*top.get_lines(), *losses.get_lines()]
    top.legend(handles=handles, loc="center right", frameon=False)

    bottom.axhline(maximum, color=GREY, linewidth=0.8)
    note = f"P - H = {maximum}"
    bottom.annotate(
        note,
        (1, maximum),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        color=GREY,
        fontsize=9,
    )
    for name, color, dimensions in (
        ("Gaussian inputs", ORANGE, [row.gaussian for row in rows]),
        ("training sample", BLUE, [row.train for row in rows]),
    ):
        _dimensions(bottom, steps, dimensions, name, color)
    bottom.set_ylabel("local dimension")
    bottom.set_xlabel("gradient steps")
    bottom.set_xscale("symlog", linthresh=max(1, min([s for s in steps if s] or [1])))
    bottom.set_xlim(0, max(steps[-1], 1))
    bottom.set_xticks(steps, [f"{step:,}" for step in steps])
    bottom.minorticks_off()
    bottom.margins(y=0.12)
    figure.legend(
        handles=[
            *bottom.get_legend_handles_labels()[0],
            Line2D([], [], color=GREY, marker="o", linestyle="none", label="proved"),
            Line2D(
                [],
                [],
                color=GREY,
                marker="o",
                markerfacecolor="white",
                linestyle="none",
                label="probable (certainly not lower)",
            ),
        ],
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=9,
    )
    for axes in (top, bottom):
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top"]].set_visible(False)
    bottom.spines[["right"]].set_visible(False)
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise FileError(f"the picture must be writable, got {str(path)!r}: {error}") from error


def _dimensions(
    axes: "Axes", steps: Sequence[int], dimensions: Sequence["Dimension"], name: str, color: str
) -> None:
    """One curve of dimensions: filled markers where proved, its certain bound dashed."""
    values = [dimension.value for dimension in dimensions]
    axes.plot(
        steps,
        [dimension.upper for dimension in dimensions],
        "--",
        color=color,
        linewidth=1,
        alpha=0.7,
        label=f"{name}: certain upper bound",
    )
    axes.plot(steps, values, "-", color=color, label=f"{name}: dimension")
    for proved in (True, False):
        chosen = [i for i, d in enumerate(dimensions) if (d.kind == "proved") == proved]
        axes.plot(
            [steps[i] for i in chosen],
            [values[i] for i in chosen],
            "o",
            color=color,
            markerfacecolor=color if proved else "white",
            clip_on=False,
            zorder=3,
        )
