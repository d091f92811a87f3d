"""Tables in files that other programs read."""

import csv
import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from patterndim.errors import ArgumentError, FileError, KindError
from patterndim.typing import AnyArray

Columns = dict[str, AnyArray]


def check_suffix(name: str, path: Path) -> None:
    """Raise unless the suffix is one that can be written."""
    if path.suffix not in WRITERS:
        raise ArgumentError(f"{name} must end in {' or '.join(WRITERS)}, got {path.name!r}")


def check_table(name: str, path: Path) -> None:
    """Raise what can be known before there is a table to write."""
    check_suffix(name, path)
    if path.suffix == ".parquet":
        _arrow()
    if not path.parent.is_dir():
        raise FileError(f"{name} must be in a folder that exists, got {str(path)!r}")


def write_table(columns: Columns, path: Path) -> None:
    """Write columns; nothing is left behind under ``path`` if writing fails half-way."""
    check_suffix("path", path)
    partial = path.with_name(f".{path.name}-{os.getpid()}.partial")
    try:
        WRITERS[path.suffix](columns, partial)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise FileError(f"path must be writable, got {str(path)!r}: {error.strerror}") from error


def _csv(columns: Columns, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def _arrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise KindError('parquet needs pyarrow: pip install "patterndim[parquet]"') from error


def _parquet(columns: Columns, path: Path) -> None:
    arrow, parquet = _arrow()
    cells = {_utf8(name): arrow.array(_cells(column)) for name, column in columns.items()}
    parquet.write_table(arrow.table(cells), path)


def _cells(column: AnyArray) -> list[Any]:
    return [_utf8(cell) if isinstance(cell, str) else cell for cell in column.tolist()]


def _utf8(text: str) -> str:
    """Text without surrogates: they stand for what is no text, in a file name for example."""
    return text.encode(errors="backslashreplace").decode()


WRITERS: dict[str, Callable[[Columns, Path], None]] = {".csv": _csv, ".parquet": _parquet}
