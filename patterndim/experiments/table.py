"""Tables of means and spreads, to print and as CSV."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from patterndim import summary
from patterndim.summary import Row

#: Columns that say what a dimension can be compared with, where they are the same in a group.
BESIDE = ("P", *summary.OF_PARAMETERS, *summary.OF_OUTPUTS)


def kinds(rows: Sequence[Row]) -> list[str]:
    """Kinds of outputs that were measured: dimensions of one are not to be averaged with others."""
    return list(dict.fromkeys(row.get("output", "affine") for row in rows))


def with_kinds(rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    """Keys of a table of these rows, with the kind of outputs if there are several."""
    return [*(["output"] if len(kinds(rows)) > 1 else []), *keys]


@dataclass(frozen=True)
class Table:
    """
    Columns with names, one row for each group of measurements.

    Attributes
    ----------
    columns : tuple of str
        Their names.
    rows : list of tuple
        Plain values; None where there is none.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def csv(self) -> str:
        """Comma-separated values, numbers in full."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return out.getvalue()

    def text(self) -> str:
        """Aligned columns for people."""
        cells = [self.columns, *(tuple(map(_shown, row)) for row in self.rows)]
        sizes = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ("  ".join(c.rjust(s) for c, s in zip(row, sizes, strict=True)) for row in cells)
        return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "-".join(str(v) for v in value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) >= 10:
            return f"{value:,.0f}"
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def tabulate(
    rows: Sequence[Row],
    keys: Sequence[str],
    value: str,
    *,
    means: Sequence[str] = (),
    spread: bool = True,
) -> Table:
    """
    Mean and spread of one column, and means of others, for each combination of keys.

    Parameters
    ----------
    rows : sequence of dict
        Measurements.
    keys : sequence of str
        Columns that tell the groups apart, in the order in which the table is sorted.
    value : str
        Column of which the smallest and largest value are shown too, and how many are proved.
    means : sequence of str
        Further columns, averaged.
    spread : bool
        Whether the smallest and largest value are shown; a fraction has no use for them.

    Examples
    --------
    >>> rows = [{"width": w, "seed": s, "rank": w + s} for w in (2, 4) for s in (0, 1)]
    >>> print(tabulate(rows, ["width"], "rank").csv(), end="")
    width,rank,lowest,highest,values
    2,2.5,2.0,3.0,2
    4,4.5,4.0,5.0,2
    """
    summary.check_columns(rows, [*keys, value])
    cells = summary.summarise(rows, keys, value)
    averages = {name: summary.summarise(rows, keys, name) for name in means}
    beside = [name for name in BESIDE if any(name in row for row in rows)]
    same = {name: _same(rows, keys, name) for name in beside}
    proved = any(cell.proved is not None for cell in cells.values())
    found = []
    for group, cell in sorted(cells.items(), key=_order(rows, keys)):
        one = [*group, *(same[name].get(group) for name in beside)]
        one += [cell.mean, *([cell.low, cell.high] * spread)]
        one += [cell.count, *([cell.proved] * proved)]
        one += [averages[name][group].mean if group in averages[name] else None for name in means]
        found.append(tuple(one))
    names = [value, *(["lowest", "highest"] * spread), "values", *(["proved"] * proved)]
    return Table((*keys, *beside, *names, *means), found)


def _order(
    rows: Sequence[Row], keys: Sequence[str]
) -> Callable[[tuple[tuple[Any, ...], Any]], list[Any]]:
    """Numbers by size, everything else in the order in which it comes first."""
    seen = [list(dict.fromkeys(summary.hashable(row.get(key)) for row in rows)) for key in keys]
    ranks = [sorted(v) if all(map(summary.is_number, v)) else v for v in seen]
    return lambda item: [rank.index(value) for rank, value in zip(ranks, item[0], strict=True)]


def _same(rows: Sequence[Row], keys: Sequence[str], name: str) -> dict[tuple[Any, ...], Any]:
    """Value of a column in each group in which it does not vary."""
    found: dict[tuple[Any, ...], set[Any]] = {}
    for row in rows:
        group = tuple(summary.hashable(row.get(key)) for key in keys)
        found.setdefault(group, set()).add(row.get(name))
    return {group: values.pop() for group, values in found.items() if len(values) == 1}
