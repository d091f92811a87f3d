"""Results as a tidy table."""

import json
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from patterndim.errors import KindError
from patterndim.sweeps.export import write_table
from patterndim.sweeps.store import Record, read_records
from patterndim.sweeps.tasks import canonical, flatten
from patterndim.typing import AnyArray
from patterndim.validation import choice

FORMS = ("numpy", "pandas")
Row = dict[str, Any]


class Results:
    """
    What a sweep found: rows of its finished tasks, and the tasks that failed.

    ``Results(read_records(path))`` reads them from a results file.

    Parameters
    ----------
    records : iterable of dict
        Records of a results file.

    Attributes
    ----------
    records : list of dict
        Sorted by the settings that vary, so that the order does not depend on how it went.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = list(records)
        self._names = _varied(self.records)
        self.records.sort(key=lambda record: [_order(v) for v in self._settings(record).values()])

    def __repr__(self) -> str:
        """Counts."""
        counts = f"{len(self.rows)} rows of {len(self.records)} tasks"
        return f"Results({counts}, {len(self.failures)} failed)"

    @property
    def failures(self) -> list[Row]:
        """
        For each failed task the settings that vary, the error, and the end of its traceback.

        ``unfinished`` is how many rows it had measured before.  A setting of the name of one of
        these has "task." before it.
        """
        return [self._failure(record) for record in self.records if record["status"] != "done"]

    @property
    def rows(self) -> list[Row]:
        """
        Rows as dicts: settings that vary and the seed, what was measured, versions.

        What was measured wins: a column "seconds" of a row is that of the row, not that of the
        task, which is in the record.
        """
        return self._joined("rows")

    @property
    def unfinished(self) -> list[Row]:
        """
        Rows that failed tasks measured before they failed, as dicts like those of `rows`.

        They are neither there nor in the table, and gone when the task is run again.
        """
        return self._joined("unfinished")

    @property
    def varied(self) -> list[str]:
        """Dotted names of the settings that vary, and of the seed."""
        return list(self._names)

    def save(self, path: str | PathLike[str]) -> None:
        """
        Write the table to a ``.csv`` or (with pyarrow) a ``.parquet``.

        Raises
        ------
        ArgumentError
            If the suffix is neither of these.
        KindError
            If pyarrow is needed and not installed.
        FileError
            If the file cannot be written.
        """
        write_table(_columns(self.rows), Path(path))

    def table(self, as_: str = "numpy") -> Any:
        """
        Rows as a structured array, or as a pandas DataFrame; see `load_results`.

        Raises
        ------
        ArgumentError
            If ``as_`` is neither "numpy" nor "pandas".
        """
        choice("as_", as_, FORMS)
        columns = _columns(self.rows)
        if as_ == "pandas":
            return _pandas().DataFrame(columns)
        dtype = [(name, column.dtype) for name, column in columns.items()]
        table = np.empty(len(self.rows), dtype=dtype)
        for name, column in columns.items():
            table[name] = column
        return table

    def _failure(self, record: Record) -> Row:
        unfinished = len(record.get("unfinished", []))
        own = {**record["error"], "unfinished": unfinished, "key": record["key"]}
        settings = self._settings(record).items()
        return {f"task.{name}" if name in own else name: value for name, value in settings} | own

    def _joined(self, part: str) -> list[Row]:
        return [
            _joined(self._settings(record), row, _about(record))
            for record in self.records
            for row in record.get(part, [])
        ]

    def _settings(self, record: Record) -> Row:
        settings = flatten(record["task"])
        return {name: settings.get(name) for name in self._names}


def load_results(path: str | PathLike[str], *, as_: str = "numpy") -> Any:
    """
    Table of a results file, one row for each row measured.

    Columns are the settings that vary and the seed, what was measured, the beginning of the key
    of the task, the versions, the host and the seconds that the task took; where a function gave
    a column one of these names, it is the function's.  Rows are sorted by the settings that vary,
    and otherwise as the task returned them: whether the sweep was interrupted, and in which order
    its tasks ended, does not show.

    Parameters
    ----------
    path : path
        File written by `sweep`; one that is being written may be read.
    as_ : {"numpy", "pandas"}
        A structured array, or a DataFrame (which needs pandas).

    Returns
    -------
    structured array, shape (rows,), or DataFrame
        Whole numbers are int64, other numbers float64 with NaN where there is none; everything
        else is text, lists as JSON, and so is a column with integers beyond float64.

    Raises
    ------
    FileError
        If the file is missing or is no results file.
    ArgumentError
        If ``as_`` is neither "numpy" nor "pandas".
    KindError
        If pandas is asked for and not installed.

    See Also
    --------
    patterndim.sweeps.Results : the same with the tasks that failed and what they had measured.
    """
    choice("as_", as_, FORMS)
    return Results(read_records(path)).table(as_)


def _varied(records: list[Record]) -> list[str]:
    """Settings that a grid names or that differ, in their order, and the seed."""
    settings = [flatten(record["task"]) for record in records]
    named = {name for record in records for name in record["grid"]} | {"seed"}
    every = dict.fromkeys(name for one in settings for name in one)
    seen = {name: {canonical(one.get(name)) for one in settings} for name in every}
    return [name for name in every if name in named or len(seen[name]) > 1]


def _order(value: Any) -> tuple[int, Any]:
    """Sorts None, numbers, text, and lists of these."""
    if value is None:
        return 0, 0
    if isinstance(value, bool | int | float):
        return 1, value
    if isinstance(value, str):
        return 2, value
    return 3, [_order(entry) for entry in value]


def _about(record: Record) -> Row:
    return {"task": record["key"][:12], **record["about"], "seconds": record["seconds"]}


def _joined(settings: Row, row: Row, about: Row) -> Row:
    """One row of the table: settings and what was measured win over what is known of the task."""
    measured = settings | row
    return measured | {name: value for name, value in about.items() if name not in measured}


def _columns(rows: list[Row]) -> dict[str, AnyArray]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _column(values: list[Any]) -> AnyArray:
    present = [value for value in values if value is not None]
    whole = len(present) == len(values)
    if whole and all(isinstance(value, bool) for value in values):
        return np.array(values, dtype=np.bool_)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        exact = whole and all(isinstance(v, int) and abs(v) < 2**63 for v in values)
        if exact:
            return np.array(values, dtype=np.int64)
        with suppress(OverflowError):  # integers that no float is near
            return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
    return np.array([_text(value) for value in values])


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _pandas() -> Any:
    try:
        return import_module("pandas")
    except ImportError as error:
        raise KindError('as_="pandas" needs pandas: pip install pandas') from error
