"""Networks on their way: snapshots, checkpoints made elsewhere, parameter vectors, folders."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from patterndim.architecture import Architecture
from patterndim.errors import FileError, KindError
from patterndim.formats import load
from patterndim.network import Network
from patterndim.training import Snapshot
from patterndim.validation import integer

#: Snapshots, networks, files, objects of a framework, or (with an architecture) thetas.
Source = Iterable[Any] | Mapping[int, Any] | str | PathLike[str]


@dataclass(frozen=True)
class Checkpoint:
    """A network that is read when it is needed, its step, and what else is known about it."""

    step: int | None
    about: dict[str, Any]
    read: Callable[[], Network]


def checkpoints(source: Source, architecture: Architecture | None) -> Iterator[Checkpoint]:
    """Checkpoints of whatever was given, in its order; those of a folder in natural order."""
    if isinstance(source, str | PathLike):
        return _files(Path(fspath(source)))
    if isinstance(source, Mapping):
        pairs = [(integer("steps of snapshots", step, low=0), source[step]) for step in source]
        return (_checkpoint(item, architecture, step) for step, item in pairs)
    if isinstance(source, Network | Snapshot) or not isinstance(source, Iterable):
        raise KindError(
            "snapshots must be a folder or an iterable of networks, snapshots or thetas, "
            f"got {type(source).__name__}"
        )
    return (_checkpoint(item, architecture, step) for step, item in enumerate(source))


def _checkpoint(item: Any, architecture: Architecture | None, step: int) -> Checkpoint:
    if isinstance(item, Snapshot):
        about = {"epoch": item.epoch, "loss": item.loss, "accuracy": item.accuracy}
        return Checkpoint(item.step, about, lambda: item.network)
    if isinstance(item, Network):
        return Checkpoint(step, {}, lambda: item)
    if architecture is not None:
        return Checkpoint(step, {}, partial(Network, architecture, item))
    if isinstance(item, np.ndarray):
        raise KindError("architecture must be given for parameter vectors, got None")
    return Checkpoint(step, {}, partial(load, item))


def _files(path: Path) -> Iterator[Checkpoint]:
    """The files of a folder, those that start with a dot left out."""
    if not path.is_dir():
        raise FileError(f"snapshots must be an existing folder, got {str(path)!r}")
    found = [file for file in path.iterdir() if file.is_file() and file.name[0] != "."]
    if not found:
        raise FileError(f"snapshots must be a folder with files, got {str(path)!r} without any")
    return (_file(file) for file in sorted(found, key=natural))


def natural(file: Path) -> list[tuple[int, int, str]]:
    """Order of names in which numbers count as numbers: step 9 comes before step 10."""
    parts = re.split(r"(\d+)", file.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _file(file: Path) -> Checkpoint:
    step, epoch = numbers(file.stem)
    return Checkpoint(step, {"epoch": epoch, "file": file.name}, partial(load, file))


def numbers(stem: str) -> tuple[int | None, int | None]:
    """
    Step and epoch in the name of a file: after these words, or the last number as the step.

    Examples
    --------
    >>> numbers("epoch=3-step=1200"), numbers("run2_000100"), numbers("epoch12"), numbers("last")
    ((1200, 3), (100, None), (None, 12), (None, None))
    """
    step, epoch = (
        re.search(rf"{word}s?[^0-9A-Za-z]*(\d+)", stem, re.IGNORECASE) for word in ("step", "epoch")
    )
    last = None if epoch else re.search(r"(\d+)\D*$", stem)
    found = step or last
    return int(found[1]) if found else None, int(epoch[1]) if epoch else None
