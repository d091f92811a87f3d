"""How pictures look: readable in grey, and with every kind of colour vision."""

from collections.abc import Callable
from importlib.util import find_spec
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from patterndim.errors import FileError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

#: Colours of Okabe and Ito, dark and light in turn; yellow is too light for a line.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY, FAINT = "#666666", "#E6E6E6"


class Style(NamedTuple):
    """Three ways to tell a line from the others."""

    color: str
    marker: str
    line: str


STYLES = (
    Style(BLUE, "o", "-"),
    Style(ORANGE, "s", "--"),
    Style(GREEN, "^", "-."),
    Style(PURPLE, "D", ":"),
    Style("#000000", "v", (0, (7, 2))),  # type: ignore[arg-type]
    Style("#56B4E9", "P", (0, (3, 1, 1, 1))),  # type: ignore[arg-type]
    Style("#E69F00", "X", (0, (1, 1))),  # type: ignore[arg-type]
)


def available() -> bool:
    """Whether matplotlib can be imported."""
    return find_spec("matplotlib") is not None


def style(number: int) -> Style:
    """Style of the line with this number; after seven they begin again."""
    return STYLES[number % len(STYLES)]


def new_figure(width: float = 7.2, height: float = 4.4) -> "Figure":
    """Figure that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: "Axes | None") -> "Axes":
    """Axes that were given, or those of a new figure."""
    return new_figure().subplots() if ax is None else ax


def tidy(ax: "Axes", *, grid: str = "y") -> None:
    """Take away what carries no information."""
    ax.grid(axis=grid, color=FAINT, linewidth=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def thousands() -> "Formatter":
    """Ticks like 25,630."""
    from matplotlib.ticker import FuncFormatter

    text: Callable[[float, int | None], str] = lambda value, _: f"{value:,g}"  # noqa: E731
    return FuncFormatter(text)


def save(figure: "Figure | Any", path: str | PathLike[str]) -> None:
    """
    Write a figure, in the format that the ending of the path names.

    Raises
    ------
    FileError
        If it cannot be written.
    """
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise FileError(f"the picture must be writable, got {str(path)!r}: {error}") from error
