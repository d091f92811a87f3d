"""Learning and dimension on one time axis."""

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Protocol

from patterndim.plot.lines import certainty, curves, level, time_axis
from patterndim.plot.style import BLUE, GREEN, GREY, new_figure, save, style, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from patterndim.dimension import Dimension


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
    figure = new_figure(7.2, 6.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    figure.suptitle(title, fontsize=12)
    _learning(top, rows)
    level(bottom, maximum, f"P - H = {maximum:,}")
    names = {"gaussian": "Gaussian inputs", "train": "training sample"}
    for number, (sample, name) in enumerate(names.items()):
        found: list[Dimension] = [getattr(row, sample) for row in rows]
        bottom.plot(
            [row.step for row in rows],
            [dimension.upper for dimension in found],
            ":",
            color=style(number).color,
            linewidth=1.3,
            label=f"{name}: certain upper bound",
        )
    table = [
        {"step": row.step, "sample": sample, "dimension": d.value, "dimension_kind": d.kind}
        for sample in names
        for row in rows
        for d in [getattr(row, sample)]
    ]
    labels = {sample: f"{name}: dimension" for sample, name in names.items()}
    curves(table, "step", "dimension", by="sample", labels=labels, ax=bottom)
    bottom.get_legend().remove()
    bottom.set_ylabel("local dimension")
    bottom.set_xlabel("gradient steps")
    time_axis(bottom, [row.step for row in rows])
    bottom.margins(y=0.12)
    handles = [*bottom.get_legend_handles_labels()[0], *certainty()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    save(figure, path)


def _learning(ax: "Axes", rows: Sequence[TrainingRow]) -> None:
    """Accuracies, and the loss on an axis of its own."""
    steps = [row.step for row in rows]
    ax.plot(steps, [row.accuracy for row in rows], "o-", color=BLUE, label="train accuracy")
    ax.plot(steps, [row.test_accuracy for row in rows], "s-", color=GREEN, label="test accuracy")
    ax.set_ylabel("accuracy")
    ax.set_ylim(0, 1.03)
    losses = ax.twinx()
    losses.plot(steps, [row.loss for row in rows], "^:", color=GREY, label="train loss (right)")
    losses.set_ylabel("cross-entropy")
    losses.set_ylim(bottom=0)
    losses.spines[["top"]].set_visible(False)
    tidy(ax)
    ax.spines[["right"]].set_visible(True)
    ax.legend(handles=[*ax.get_lines(), *losses.get_lines()], loc="center right", frameon=False)
