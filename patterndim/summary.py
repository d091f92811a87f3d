"""Tidy tables of results: rows of plain values, and what repetitions of one experiment give."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from math import nan
from statistics import fmean, stdev
from typing import Any

import numpy as np

from patterndim.errors import ArgumentError, KindError

Row = dict[str, Any]
#: Columns that tell repetitions apart: what is left after these is averaged over.
REPETITIONS = ("seed", "trial")
#: Most dimensions that parameters allow: without a head, and behind a softmax without or with
#: biases; and that outputs allow, without a head and behind a softmax.
OF_PARAMETERS = ("P - H", "P - H - n_{L-1}", "P - H - n_{L-1} - 1")
OF_OUTPUTS = ("N n_L", "N (n_L - 1)")


@dataclass(frozen=True)
class Cell:
    """
    One number from several repetitions of an experiment.

    Attributes
    ----------
    mean, low, high : float
        Mean, smallest and largest.
    deviation : float
        Sample standard deviation; NaN for a single value.
    count : int
        How many values.
    proved : int or None
        How many of them are proved; None where nothing says so.
    """

    mean: float
    low: float
    high: float
    deviation: float
    count: int
    proved: int | None


def rows_of(table: object) -> list[Row]:
    """
    Rows of a table as new dicts, with what follows from a list of widths in columns of its own.

    Parameters
    ----------
    table : sequence of dict, numpy structured array, pandas DataFrame, or an object with ``rows``
        One row for each measurement, such as `load_results` gives.

    Raises
    ------
    KindError
        If it is none of these.
    """
    rows = _rows_of(table)
    return [{**_derived(row), **row} for row in rows]


def _rows_of(table: Any) -> list[Row]:
    names = getattr(getattr(table, "dtype", None), "names", None)
    if names:
        return [dict(zip(names, entry, strict=True)) for entry in table.tolist()]
    if hasattr(table, "to_dict"):
        return [dict(row) for row in table.to_dict("records")]
    rows = getattr(table, "rows", table)
    if isinstance(rows, Iterable) and not isinstance(rows, str | bytes | Mapping):
        rows = list(rows)
        if all(isinstance(row, Mapping) for row in rows):
            return [dict(row) for row in rows]
    kind = type(table).__name__
    raise KindError(f"table must be rows, a structured array or a DataFrame, got {kind}")


def _derived(row: Mapping[str, Any]) -> Row:
    found: Row = {}
    widths = row.get("network.widths")
    # Structured arrays and DataFrames hold lists as JSON.
    widths = _read(widths) if isinstance(widths, str) else widths
    if isinstance(widths, list | tuple) and len(widths) > 2 and all(map(is_number, widths)):
        found = {"width": max(widths[1:-1]), "depth": len(widths) - 2}
    behind = row.get("output") == "softmax"
    if is_number(row.get("P")) and is_number(row.get("H")):
        most = row["P"] - row["H"]
        found |= _behind_softmax(row["P"], most, widths) if behind else {OF_PARAMETERS[0]: most}
    if is_number(row.get("N")) and is_number(row.get("n_L")):
        found[OF_OUTPUTS[behind]] = row["N"] * (row["n_L"] - behind)
    return found


def _behind_softmax(P: int, most: int, widths: object) -> Row:
    """
    Most dimensions that parameters allow behind a softmax, if the widths are known.

    One vector may be added to all rows of the last weights, and one number to the last biases if
    there are any: all parameters beyond the weights are biases.
    """
    if not isinstance(widths, list | tuple) or not all(map(is_number, widths)):
        return {}
    if widths[-1] == 1:  # nothing is left, whatever the parameters allow
        return {}
    weights = sum(a * b for a, b in pairwise(widths))
    if P not in (weights, weights + sum(widths[1:])):
        return {}
    biases = weights < P
    return {OF_PARAMETERS[1 + biases]: most - widths[-2] - biases}


def bound(row: Row, names: Sequence[str]) -> tuple[str, int] | None:
    """Name and value of the first of these columns that a row has."""
    return next(((name, row[name]) for name in names if name in row), None)


def _read(text: str) -> Any:
    """What JSON holds; None of any other text."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def columns(rows: Sequence[Row]) -> list[str]:
    """Names of all columns, in the order in which they come first."""
    return list(dict.fromkeys(name for row in rows for name in row))


def check_columns(rows: Sequence[Row], names: Iterable[str]) -> None:
    """
    Raise unless every column is there.

    Raises
    ------
    ArgumentError
        If there are no rows, or for the first column that no row has.
    KindError
        If a name is no string.
    """
    if not rows:
        raise ArgumentError("table must have rows, got none")
    known = columns(rows)
    for name in names:
        if not isinstance(name, str):
            raise KindError(f"columns must be named by strings, got {name!r}")
        if name not in known:
            near = get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise ArgumentError(f"columns must be those of the table, got {name!r}: {hint}")


def with_numbers(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """
    Rows with a number in each of these columns.

    Raises
    ------
    ArgumentError
        If there are none.
    """
    for name in names:
        if not any(is_number(row.get(name)) for row in rows):
            raise ArgumentError(f"columns must hold numbers to be drawn, got none in {name!r}")
    found = [row for row in rows if all(is_number(row.get(name)) for name in names)]
    if not found:
        several = ", ".join(map(repr, names))
        raise ArgumentError(f"rows must hold numbers in all of {several}, got none that does")
    return found


def averaged(rows: Sequence[Row], keys: Sequence[str], names: Iterable[str]) -> list[str]:
    """Those of the columns that vary among rows in which the keys are the same."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(hashable(row.get(key)) for key in keys), []).append(row)
    within = {name for group in groups.values() for name in varied(group, columns(group))}
    return [name for name in names if name in within]


def varied(rows: Sequence[Row], names: Iterable[str]) -> list[str]:
    """Those of the columns that take more than one value."""
    return [n for n in names if len({repr(hashable(row.get(n))) for row in rows}) > 1]


def summarise(rows: Sequence[Row], keys: Sequence[str], value: str) -> dict[tuple[Any, ...], Cell]:
    """
    Mean and spread of a column for every combination of others that occurs.

    Rows without a number there are left out; combinations come in the order of the rows.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if is_number(row.get(value)):
            groups.setdefault(tuple(hashable(row.get(key)) for key in keys), []).append(row)
    return {group: _cell(members, value) for group, members in groups.items()}


def _cell(rows: Sequence[Row], value: str) -> Cell:
    found = [float(row[value]) for row in rows]
    kinds = [row[f"{value}_kind"] for row in rows if row.get(f"{value}_kind")]
    return Cell(
        mean=fmean(found),
        low=min(found),
        high=max(found),
        deviation=stdev(found) if len(found) > 1 else nan,
        count=len(found),
        proved=kinds.count("proved") if kinds else None,
    )


def is_number(value: object) -> bool:
    """Whether a value can be averaged: a number that is not NaN."""
    return isinstance(value, int | float | np.integer | np.floating) and value == value


def hashable(value: object) -> Any:
    """Lists as tuples, and the NaN of a DataFrame as the None that it stands for."""
    if isinstance(value, Mapping):
        value = list(value.items())
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(hashable(v) for v in value)
    missing = isinstance(value, float | np.floating) and value != value
    return None if missing else value
