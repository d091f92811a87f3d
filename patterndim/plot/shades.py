"""A number against two others, as shades with the number in them."""

from typing import TYPE_CHECKING

import numpy as np

from patterndim import summary
from patterndim.plot.style import axes_or_new
from patterndim.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heat_map(
    table: object,
    x: str,
    y: str,
    value: str,
    *,
    low: float | None = None,
    high: float | None = None,
    digits: int = 2,
    label: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """
    Mean of a column for every pair of values of two others.

    The palette (cividis) goes from dark to light in even steps for every kind of colour vision
    and in grey, and every cell carries its number; a pair without rows stays white.

    Parameters
    ----------
    table : rows, structured array or DataFrame
        Results of a sweep, one row for each measurement.
    x, y, value : str
        Names of columns of numbers.
    low, high : float, optional
        Ends of the scale; by default those of the means.
    digits : int
        Digits after the point in the cells, unless all means are whole and one is beyond 1.
    label : str, optional
        Name of the scale; by default the column.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure, ``result.figure``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    KindError, ArgumentError
        If the table is none, or a column is not there or holds no numbers.

    Examples
    --------
    >>> rows = [{"n": n, "width": w, "full": n <= w} for n in (1, 2) for w in (1, 2, 3)]
    >>> heat_map(rows, "width", "n", "full").get_images()[0].get_array().shape
    (2, 3)
    """
    rows = summary.rows_of(table)
    summary.check_columns(rows, [x, y, value])
    rows = summary.with_numbers(rows, [x, y, value])
    cells = summary.summarise(rows, [x, y], value)
    across, up = (sorted({key[i] for key in cells}) for i in (0, 1))
    means = np.full((len(up), len(across)), np.nan)
    for (a, b), cell in cells.items():
        means[up.index(b), across.index(a)] = cell.mean
    ax = axes_or_new(ax)
    picture = ax.imshow(means, origin="lower", aspect="auto", cmap="cividis", vmin=low, vmax=high)
    ax.set_xticks(range(len(across)), [f"{a:,g}" for a in across])
    ax.set_yticks(range(len(up)), [f"{b:,g}" for b in up])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    digits = 0 if _counts(means) else digits
    bottom, top = picture.get_clim()
    middle = ((bottom or 0.0) + (top or 0.0)) / 2
    for (i, j), mean in np.ndenumerate(means):
        if not np.isnan(mean):
            ink = "black" if mean > middle else "white"
            ax.text(j, i, f"{mean:,.{digits}f}", ha="center", va="center", color=ink, fontsize=8)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.figure.colorbar(picture, ax=ax, label=label or value, pad=0.02)
    return ax


def _counts(means: FloatArray) -> bool:
    """Whether all means are whole and not only probabilities."""
    known = means[~np.isnan(means)]
    return bool((known == np.rint(known)).all() and np.abs(known).max() > 1)
