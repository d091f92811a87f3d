"""One experiment from its spec to a folder with results, table and figure."""

import tomllib
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from patterndim import plot
from patterndim.errors import ArgumentError, FileError
from patterndim.experiments.registry import Experiment, experiment, spec_path
from patterndim.experiments.table import Table
from patterndim.summary import Row, rows_of
from patterndim.sweeps import Results, sweep
from patterndim.sweeps.runner import Progress

#: What the specs of the paper's size call the data that users bring.
MNIST = "mnist"
TEACHER = "teacher.npz"


@dataclass(frozen=True)
class Reproduction:
    """
    What a reproduction found, and where it wrote it.

    Attributes
    ----------
    results : Results
        Rows and failures of the sweep.
    table : Table or None
        Means and spreads; None if every task failed.
    folder : Path
        Holds ``results.jsonl``, ``table.txt``, ``table.csv`` and ``figure.png``.
    figure : Path or None
        The picture; None without matplotlib or without rows.
    """

    results: Results
    table: Table | None
    folder: Path
    figure: Path | None


def reproduce(
    name: str,
    *,
    size: str = "small",
    out: str | PathLike[str] | None = None,
    data: str | PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | bool = False,
) -> Reproduction:
    """
    Results, table and figure of an experiment that ships with the package.

    Called again with the same folder it runs what is not there yet.

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    size : {"small", "paper"}
        About two minutes on two cores with the bundled digits, or as published.
    out : path, optional
        Folder to write to, by default ``NAME-SIZE`` in the current one.
    data : path, optional
        An .npz with X and y or a folder of IDX files, in the place of the data of the spec.
    overrides : mapping, optional
        Keys of the spec to change: ``{"data.train": 100, "grid.seed": [0]}``.
    workers, executor, progress
        As in `sweep`.

    Returns
    -------
    Reproduction

    Raises
    ------
    ArgumentError
        If there is no such experiment or size, or the data has to be given.
    FileError
        If the folder cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> few = {"measure.trials": 2, "grid.data.train": [3], "grid.network.widths": [[1, 9, 1]]}
    >>> with TemporaryDirectory() as folder:
    ...     found = reproduce("full_rank", out=folder, overrides=few, workers=0)
    >>> found.table.columns[:5]
    ('N', 'width', 'P', 'P - H', 'N n_L')
    """
    chosen, path = experiment(name), spec_path(name, size)
    folder = Path(f"{name}-{size}" if out is None else out)
    spec = _changed(tomllib.loads(path.read_text(encoding="utf-8")), overrides or {})
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _find_data(spec, chosen, folder, data)
        results = sweep(
            spec,
            out=folder / "results.jsonl",
            workers=workers,
            executor=executor,
            progress=progress,
        )
        return _written(results, chosen, folder, str(spec.get("title", chosen.title)))
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            f"out must be a folder to write to, got {str(folder)!r}: {error}"
        ) from error
    finally:
        if new:
            with suppress(OSError):  # something is in it: only an empty folder says nothing
                folder.rmdir()


def _changed(spec: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in overrides.items():
        section, _, key = str(name).partition(".")
        old, new = spec.get(section), {key: value} if key else value
        if old is not None and isinstance(old, Mapping) != isinstance(new, Mapping):
            kind = "a table" if isinstance(old, Mapping) else "no table"
            raise ArgumentError(
                f"overrides must leave {section} {kind}, got {{{name!r}: {value!r}}}"
            )
        if key:
            spec.setdefault(section, {})[key] = value
        else:
            spec[section] = dict(value) if isinstance(value, Mapping) else value
    return spec


def _find_data(
    spec: dict[str, Any], chosen: Experiment, folder: Path, data: str | PathLike[str] | None
) -> None:
    given = spec["data"]
    if data is not None:
        given["source"] = str(Path(data).resolve())
    elif given.get("source") == MNIST:
        raise ArgumentError(
            "data must be given for this size: MNIST as an .npz with X and y or a folder of IDX "
            "files"
        )
    elif chosen.data is not None:
        X, y = chosen.data()
        np.savez(folder / TEACHER, X=X, y=y)
        given["source"] = str((folder / TEACHER).resolve())


def _written(results: Results, chosen: Experiment, folder: Path, title: str) -> Reproduction:
    rows = _rows(results)
    if not rows:
        return Reproduction(results, None, folder, None)
    table = chosen.table(rows)
    (folder / "table.txt").write_text(table.text(), encoding="utf-8")
    (folder / "table.csv").write_text(table.csv(), encoding="utf-8")
    if not plot.available():
        return Reproduction(results, table, folder, None)
    picture = folder / "figure.png"
    figure = chosen.figure(rows)
    figure.suptitle(title, fontsize=12)
    plot.save(figure, picture)
    return Reproduction(results, table, folder, picture)


def _rows(results: Results) -> list[Row]:
    """Rows with their widths, whether these vary or not: bounds behind a softmax depend on them."""
    records = [record for record in results.records for _ in record["rows"]]
    widths = [record["task"]["network"]["widths"] for record in records]
    pairs = zip(widths, results.rows, strict=True)
    return rows_of([{"network.widths": known, **row} for known, row in pairs])
