"""Curves over repetitions: mean, spread, and which values are proved."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from patterndim import summary
from patterndim.plot.style import GREY, Style, axes_or_new, style, thousands, tidy
from patterndim.summary import Cell, Row
from patterndim.validation import choice, sequence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPREADS = ("range", "deviation", "none")
#: So many numbers have room beside one another on a logarithmic axis.
FEW = 8


def curves(
    table: object,
    x: str,
    y: str,
    *,
    by: str | Sequence[str] = (),
    spread: str = "range",
    labels: Mapping[Any, str] | None = None,
    first: int = 0,
    ax: "Axes | None" = None,
) -> "Axes":
    """
    One column against another: a line for every value of others, averaged over what is left.

    A filled marker means that every value behind it is proved, an open one that some are not.

    Parameters
    ----------
    table : rows, structured array or DataFrame
        Results of a sweep, one row for each measurement.
    x, y : str
        Names of columns of numbers.
    by : str or sequence of str
        Columns that tell the lines apart.
    spread : {"range", "deviation", "none"}
        Band around a line of means: from the smallest to the largest value, one standard
        deviation to each side, or none.
    labels : mapping, optional
        Names of lines in the legend, by the value of ``by`` (a tuple, if those are several).
    first : int
        Number of the style of the first line, so that another call can go on from there.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure, ``result.figure``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    KindError, ArgumentError
        If the table is none, a column is not there or holds nothing to draw, or an option is not
        one of those above.

    Examples
    --------
    >>> rows = [{"seed": s, "width": w, "rank": 10 * w + s} for s in (0, 1) for w in (2, 4)]
    >>> ax = curves(rows, "width", "rank")
    >>> ax.get_lines()[0].get_ydata()
    array([20.5, 40.5])
    """
    choice("spread", spread, SPREADS)
    rows = summary.rows_of(table)
    names = [by] if isinstance(by, str) else sequence("by", by)
    summary.check_columns(rows, [x, y, *names])
    rows = summary.with_numbers(rows, [x, y])
    found: dict[tuple[Any, ...], dict[float, Cell]] = {}
    for key, cell in summary.summarise(rows, [x, *names], y).items():
        found.setdefault(key[1:], {})[key[0]] = cell
    own, ax = ax is None, axes_or_new(ax)
    for number, (line, cells) in enumerate(found.items(), start=first):
        named = (labels or {}).get(line[0] if len(line) == 1 else line)
        label = named or legend(names, line) or None
        curve(ax, cells, style(number), spread=spread, label=label)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.yaxis.set_major_formatter(thousands())
    if own and all(float(row[x]).is_integer() for row in rows):
        ax.locator_params(axis="x", integer=True)
    tidy(ax)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)
    return ax


def panel(ax: "Axes", table: Sequence[Row], x: str, y: str, **options: Any) -> None:
    """Curves without a legend of their own; an empty panel where nothing was measured."""
    if any(summary.is_number(row.get(y)) for row in table):
        curves(table, x, y, ax=ax, **options)
    if own := ax.get_legend():
        own.remove()


def curve(
    ax: "Axes", cells: Mapping[float, Cell], look: Style, *, spread: str, label: str | None
) -> None:
    """One line of means with its band and its markers."""
    places = sorted(cells)
    ordered = [cells[place] for place in places]
    means = [cell.mean for cell in ordered]
    (line,) = ax.plot(places, means, linestyle=look.line, color=look.color, linewidth=1.6)
    if spread != "none" and any(cell.count > 1 for cell in ordered):
        _spread(ax, places, [_band(cell, spread) for cell in ordered], look)
    open_ones = [i for i, c in enumerate(ordered) if c.proved is not None and c.proved < c.count]
    filled = sorted({*range(len(ordered))} - {*open_ones})
    # An empty line that is not clipped would count in the layout, at (0, 0).
    for chosen, face in ((filled, look.color), (open_ones, "white")):
        if not chosen:
            continue
        ax.plot(
            [places[i] for i in chosen],
            [means[i] for i in chosen],
            linestyle="none",
            marker=look.marker,
            markersize=6 if len(places) <= 12 else 3.5,
            color=look.color,
            markerfacecolor=face,
            clip_on=False,
            zorder=3,
            label="_markers",
        )
    # The legend shows line and marker together, on a line without points of its own.
    if label is not None:
        line.set_label("_line")
        ax.plot(
            [],
            [],
            linestyle=look.line,
            color=look.color,
            marker=look.marker,
            label=label,
        )


def _spread(
    ax: "Axes", places: Sequence[float], bands: Sequence[tuple[float, float]], look: Style
) -> None:
    """Band around a line, or a bar where a single place has no width to fill."""
    if len(places) == 1:
        ax.plot(2 * list(places), bands[0], color=look.color, linewidth=1.2, marker="_")
        return
    low, high = zip(*bands, strict=True)
    ax.fill_between(places, low, high, color=look.color, alpha=0.13, linewidth=0)
    for edge in (low, high):
        ax.plot(places, edge, linestyle=look.line, color=look.color, alpha=0.5, linewidth=0.7)


def _band(cell: Cell, spread: str) -> tuple[float, float]:
    if spread == "range":
        return cell.low, cell.high
    half = cell.deviation if cell.count > 1 else 0.0
    return cell.mean - half, cell.mean + half


def legend(names: Sequence[str], line: Sequence[Any]) -> str:
    """Name of a line: strings speak for themselves, numbers need their column's name."""
    texts = []
    for name, value in zip(names, line, strict=True):
        short = name.rpartition(".")[-1].replace("_", " ")
        texts.append(value if isinstance(value, str) else f"{short} {_short(value)}")
    return ", ".join(texts)


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return "-".join(_short(v) for v in value)
    return f"{value:,g}" if isinstance(value, int | float) else str(value)


def certainty() -> list[Any]:
    """Entries of a legend that say what filled and open markers mean."""
    from matplotlib.lines import Line2D

    looks = (("proved", GREY), ("probable: certainly not lower", "white"))
    return [
        Line2D([], [], color=GREY, marker="o", markerfacecolor=face, linestyle="none", label=text)
        for text, face in looks
    ]


def level(ax: "Axes", value: float, text: str) -> None:
    """Thin horizontal line with its name at its right end."""
    ax.axhline(value, color=GREY, linewidth=0.8, zorder=1)
    ax.annotate(
        text,
        (1, value),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 5),
        textcoords="offset points",
        ha="right",
        color=GREY,
        fontsize=9,
        bbox={"color": "white", "alpha": 0.7, "pad": 0.2},
    )


def log_axis(ax: "Axes", at: Sequence[float]) -> None:
    """
    Logarithmic axis, linear around zero if some places are not positive.

    A few places have their ticks, because powers of ten may be far from all of them.
    """
    if min(at) > 0:
        ax.set_xscale("log")
    else:
        ax.set_xscale("symlog", linthresh=min((abs(place) for place in at if place), default=1))
    places = sorted(set(at))
    if len(places) <= FEW:
        ax.set_xticks(places, [f"{place:,g}" for place in places])
        ax.minorticks_off()


def time_axis(ax: "Axes", at: Sequence[float]) -> None:
    """Time from 0 on a logarithmic axis, with a tick at every measurement."""
    times = sorted(set(at))
    first = min((time for time in times if time > 0), default=1)
    ax.set_xscale("symlog", linthresh=first)
    ax.set_xlim(0, max(times[-1], 1))
    ax.set_xticks(times, [f"{time:,g}" for time in times])
    ax.minorticks_off()


def rows_with(rows: Sequence[Row], **values: Any) -> list[Row]:
    """Rows in which columns have these values."""
    return [row for row in rows if all(row.get(name) == v for name, v in values.items())]
