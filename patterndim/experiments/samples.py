"""Local dimension on training, test and Gaussian sample (arXiv:2402.08269)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from patterndim import summary
from patterndim.experiments.table import Table, tabulate
from patterndim.plot.lines import certainty, level, panel, rows_with, time_axis
from patterndim.plot.style import GREY, new_figure
from patterndim.summary import OF_OUTPUTS, OF_PARAMETERS, Row, bound

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIMENSION = "local_dimension"
LEARNING = ("accuracy", "test_accuracy", "loss")
NAMES = {"train": "training sample", "test": "test sample", "gaussian": "Gaussian sample"}
OUTPUTS = {"affine": "outputs of the last layer", "softmax": "behind the softmax"}


def _table(x: str, rows: list[Row]) -> Table:
    return tabulate(rows, ["sample", "output", x], DIMENSION, means=LEARNING)


def _figure(x: str, label: str, rows: list[Row], *, time: bool = False) -> "Figure":
    """Dimensions above, one panel for each kind of output; what was learned below."""
    outputs = [kind for kind in OUTPUTS if rows_with(rows, output=kind)]
    figure = new_figure(4.0 + 3.6 * len(outputs), 6.0)
    panels = figure.subplots(
        2, len(outputs), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1.1)
    )
    labels = {name: f"{text}, {_sizes(rows, name)}" for name, text in NAMES.items()}
    for column, kind in enumerate(outputs):
        chosen = rows_with(rows, output=kind)
        top, bottom = panels[:, column]
        _dimensions(top, chosen, x, labels)
        _accuracies(bottom, chosen, x)
        if len(outputs) > 1:
            top.set_title(OUTPUTS[kind], fontsize=11)
        if column:
            top.set_ylabel("")
            bottom.set_ylabel("")
        bottom.set_xlabel(label)
        if time:
            time_axis(bottom, [row[x] for row in rows])
    _legend(figure, panels[0, 0])
    return figure


def _dimensions(ax: "Axes", rows: Sequence[Row], x: str, labels: Mapping[str, str]) -> None:
    order = sorted(rows, key=lambda row: list(NAMES).index(row["sample"]))
    panel(ax, order, x, DIMENSION, by="sample", labels=labels)
    ax.set_xlabel("")
    ax.set_ylabel("local dimension")
    ax.margins(y=0.08)
    known = bound(rows[0], OF_PARAMETERS)
    if known is None:
        return
    name, value = known
    if len(summary.varied(rows, ["P"])):
        most = summary.summarise(rows, [x], name)
        places = sorted(key[0] for key in most)
        ax.plot(places, [most[(p,)].mean for p in places], color=GREY, linewidth=0.8, zorder=1)
        last = most[(places[-1],)].mean
        ax.annotate(
            name,
            (places[-1], last),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            color=GREY,
            fontsize=9,
        )
    else:
        level(ax, value, f"{name} = {value:,}")


def _sizes(rows: Sequence[Row], sample: str) -> str:
    """Most dimensions that the number of outputs allows, for each kind of output."""
    chosen = rows_with(rows, sample=sample)
    most = {name: max((row.get(name, 0) for row in chosen), default=0) for name in OF_OUTPUTS}
    return ", ".join(f"{name} = {value:,}" for name, value in most.items() if value)


def _accuracies(ax: "Axes", rows: Sequence[Row], x: str) -> None:
    """Accuracy on training and test sample."""
    sample = rows[0]["sample"]
    table = [
        {x: row[x], "seed": row["seed"], "accuracy": row[column], "of": name}
        for column, name in (("accuracy", "training sample"), ("test_accuracy", "test sample"))
        for row in rows
        if row["sample"] == sample
    ]
    panel(ax, table, x, "accuracy", by="of")
    ax.set_ylim(0, 1.04)


def _legend(figure: "Figure", ax: "Axes") -> None:
    handles = [*ax.get_legend_handles_labels()[0], *certainty()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)


epochs_table = partial(_table, "epoch")
epochs_figure = partial(_figure, "epoch", "epochs", time=True)
width_table = partial(_table, "width")
width_figure = partial(_figure, "width", "neurons in each hidden layer")
noise_table = partial(_table, "data.noise")
noise_figure = partial(
    _figure, "data.noise", "standard deviation of the noise on the training inputs"
)
corruption_table = partial(_table, "data.corrupted")
corruption_figure = partial(
    _figure, "data.corrupted", "fraction of training labels replaced by random ones"
)
