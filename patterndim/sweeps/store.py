"""
The results file: JSON Lines, one record for each task that came to an end.

A record is written by one process, the one that sweeps, with one write and one fsync, and never
changed: whatever happens, at most the last line can be incomplete, and that is cut back.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from os import PathLike
from pathlib import Path
from stat import S_ISREG
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from patterndim.errors import FileError, KindError

try:
    _fcntl: Any = import_module("fcntl")
except ImportError:  # not a Unix
    _fcntl = None

Record = dict[str, Any]

VERSION = 1
#: How every line begins.
START = f'{{"patterndim sweep": {VERSION}, "key": "'.encode()
#: What every record must have, beside the above.
FIELDS = {"task": dict, "grid": list, "status": str, "rows": list, "seconds": float, "about": dict}


def read_records(path: str | PathLike[str]) -> list[Record]:
    """
    Records of a results file, the last for each key; an incomplete last line is left out.

    Raises
    ------
    KindError
        If ``path`` is none.
    FileError
        If the file is missing, or a line of it is no record of a sweep.
    """
    name = _path("results", path)
    try:
        content = Path(name).read_bytes()
    except (OSError, ValueError) as error:
        raise FileError(f"results must be readable, got {name!r}: {_reason(error)}") from error
    return list(_latest(_parse(content, name)[0]))


def _path(name: str, value: Any) -> str:
    try:
        return os.fsdecode(value)
    except TypeError as error:
        raise KindError(f"{name} must be the path of a file, got {value!r}") from error


def _reason(error: Exception) -> str:
    """What the system says; a name with a zero byte does not even get there."""
    return getattr(error, "strerror", None) or str(error)


def _latest(records: list[Record]) -> Iterator[Record]:
    """Last record of each key: one that was tried again replaces its failure."""
    yield from {record["key"]: record for record in records}.values()


def _parse(content: bytes, path: str) -> tuple[list[Record], int]:
    """Records, and how many bytes of the content they are."""
    lines = content.split(b"\n")
    tail = lines.pop()
    records = []
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is None:
            raise _unreadable(line, number, path)
        records.append(record)
    if _record(tail) is None and tail.strip(b"\0"):
        # Only what can be the beginning of a record may be cut off.
        if not (tail.startswith(START) or START.startswith(tail)):
            raise _unreadable(tail, len(lines) + 1, path)
    elif record := _record(tail):  # all there but the end of the line
        return [*records, record], len(content)
    return records, len(content) - len(tail)


def _unreadable(line: bytes, number: int, path: str) -> FileError:
    where = f"line {number} of {path!r}"
    other = re.match(rb'\{"patterndim sweep": ([0-9]{1,9}), ', line)
    if other and int(other[1]) != VERSION:
        return FileError(
            f"results must be of format {VERSION}, got format {int(other[1])} in {where}: "
            "another version of patterndim wrote it"
        )
    return FileError(f"results must be records of a sweep, got {where}")


def _record(line: bytes) -> Record | None:
    """Record that a line is, or None."""
    if not line.startswith(START):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("key"), str):
        return None
    if not all(isinstance(found.get(name), kind) for name, kind in FIELDS.items()):
        return None
    failed = found["status"] != "done"
    unfinished = found.get("unfinished", [])  # rows of a failed task; not every file has them
    whole = (
        isinstance(unfinished, list)
        and all(isinstance(row, dict) for row in [*found["rows"], *unfinished])
        and all(isinstance(name, str) for name in found["grid"])
        and (not failed or isinstance(found.get("error"), dict))
        and not (found["rows"] if failed else unfinished)
    )
    return found if whole else None


class Store:
    """
    A results file that one sweep at a time appends to.

    Raises
    ------
    KindError
        If ``path`` is none.
    FileError
        If the file cannot be written, is in use by another sweep, or holds something else.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = _path("out", path)
        self.whole_path = os.path.abspath(self.path)  # tasks may change the working directory
        try:
            self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except (OSError, ValueError) as error:
            raise self._unwritable(error) from error
        try:
            if not S_ISREG(os.fstat(self.file).st_mode):
                raise FileError(f"out must be a regular file, got {self.path!r}")
            self._lock()
            _open.add(self)
            self.records = {record["key"]: record for record in self._repair()}
        except BaseException:
            self.close()
            raise

    def append(self, record: Record) -> None:
        """Write a record and wait until it is on the disk."""
        self._check_place()
        whole = {"patterndim sweep": VERSION, **record}
        line = json.dumps(whole, allow_nan=False).encode() + b"\n"
        start = os.lseek(self.file, 0, os.SEEK_END)
        try:
            if os.write(self.file, line) != len(line):
                raise OSError(0, "no space for a whole record")
            os.fsync(self.file)
        except OSError as error:
            os.ftruncate(self.file, start)
            raise self._unwritable(error) from error
        self.records[record["key"]] = record

    def close(self) -> None:
        """Let others use the file."""
        if self.file < 0:  # in a child of the process that sweeps
            return
        with suppress(OSError):
            if _fcntl:  # a process that other code has forked may have the file, too
                _fcntl.flock(self.file, _fcntl.LOCK_UN)
        os.close(self.file)
        self.file = -1

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def _unwritable(self, error: Exception) -> FileError:
        return FileError(f"out must be writable, got {self.path!r}: {_reason(error)}")

    def _check_place(self) -> None:
        """Raise if the file is not where it was: what is written now would be lost with it."""
        try:
            found = os.path.samestat(os.stat(self.whole_path), os.fstat(self.file))
        except OSError:
            found = False
        if not found:
            raise FileError(
                f"out must stay where it is while a sweep runs, got {self.path!r}: "
                "it was removed or replaced"
            )

    def _lock(self) -> None:
        """One sweep at a time; the lock goes when its process does, however it ends."""
        if not _fcntl:
            return
        try:
            _fcntl.flock(self.file, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileError(
                f"out must not be in use, got {self.path!r}: another sweep writes to it"
            ) from error
        except OSError:  # not every file system has locks
            return

    def _repair(self) -> list[Record]:
        """Records so far; the file ends after the last of them."""
        with open(self.file, "rb", closefd=False) as file:
            content = file.read()
        records, length = _parse(content, self.path)
        try:
            if length < len(content):
                os.ftruncate(self.file, length)
            elif content and not content.endswith(b"\n"):
                os.write(self.file, b"\n")
        except OSError as error:
            raise self._unwritable(error) from error
        return records


#: Stores whose files are open here; a child that is forked has nothing to do with them.
_open: WeakSet[Store] = WeakSet()


def _forget() -> None:
    """Close the files in a forked child: it must not hold the lock when its parent is gone."""
    for store in _open:
        if store.file >= 0:
            os.close(store.file)
            store.file = -1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
