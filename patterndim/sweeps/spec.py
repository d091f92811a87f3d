"""From a spec, a TOML file or the same as nested dicts, to checked tasks."""

import copy
import tomllib
from collections.abc import Iterator, Mapping
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any

from patterndim.errors import ArgumentError, FileError, KindError, PatterndimError
from patterndim.sweeps import sources
from patterndim.sweeps.schema import NAMES, SECTIONS, read_settings, unknown
from patterndim.sweeps.tasks import Task, plain
from patterndim.validation import brief

Spec = Mapping[str, Any]


def read_spec(source: str | PathLike[str] | Spec) -> list[Task]:
    """
    Tasks of a spec, all of them checked, none of them twice.

    Parameters
    ----------
    source : path or dict
        A TOML file, whose relative paths are meant from its folder, or the same as nested dicts.
        ``grid`` maps dotted keys to lists, and the tasks are their product; ``cases`` is a list
        of tables of dotted keys, and every one of them goes through the grid.

    Raises
    ------
    FileError
        If the file, or one that it names, is missing or unreadable.
    KindError, ArgumentError
        If a key is unknown, missing, or not as it must be; the message names it.
    """
    if isinstance(source, Mapping):
        return _tasks(source, Path())
    path = Path(source)
    try:
        spec = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise FileError(f"spec must be a TOML file, got {str(source)!r}: {reason}") from error
    try:
        return _tasks(spec, path.parent)
    except PatterndimError as error:
        raise type(error)(f"{path}: {error}") from error


def _tasks(spec: Spec, folder: Path) -> list[Task]:
    base = {name: value for name, value in spec.items() if name not in ("grid", "cases")}
    read_settings(base, whole=False)
    found: dict[str, Task] = {}
    for changes in _changes(spec):
        one: dict[str, Any] = copy.deepcopy(base)
        for name, value in changes.items():
            section, _, key = name.rpartition(".")
            table = one.setdefault(section, {}) if section else one
            if not isinstance(table, dict):
                raise KindError(f"{section} must be a table of keys, got {brief(table)}")
            table[key] = value
        try:
            settings, path = sources.resolve(read_settings(one), folder)
        except PatterndimError as error:
            where = ", ".join(f"{name} = {brief(value)}" for name, value in changes.items())
            raise type(error)(f"{error}{f' (with {where})' if where else ''}") from error
        task = Task(plain("settings", settings), tuple(changes), path)
        found.setdefault(task.key, task)
    return list(found.values())


def _changes(spec: Spec) -> Iterator[dict[str, Any]]:
    """Every combination of a case and values of the grid."""
    grid, cases = spec.get("grid", {}), spec.get("cases", [{}])
    if not isinstance(grid, Mapping):
        raise KindError(f"grid must be a table of keys and lists, got {brief(grid)}")
    if not isinstance(cases, list | tuple) or not all(isinstance(c, Mapping) for c in cases):
        raise KindError(f"cases must be a list of tables of dotted keys, got {brief(cases)}")
    for table in (grid, *cases):
        for name, value in table.items():
            if name in SECTIONS and isinstance(value, Mapping) and value:
                meant = f"{name}.{next(iter(value))}"
                raise ArgumentError(f'write "{meant}" in quotes, got {meant} without')
            if name not in NAMES:
                raise unknown(str(name), NAMES)
    for name, values in grid.items():
        if not isinstance(values, list | tuple | range) or not values:
            raise KindError(f"grid.{name} must be a list of values, got {brief(values)}")
        if any(name in case for case in cases):
            raise ArgumentError(f"{name!r} must be either in grid or in cases, got both")
    for case in cases:
        for values in product(*grid.values()):
            yield {**case, **dict(zip(grid, values, strict=True))}
