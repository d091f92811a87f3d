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

#: Words before the number of an epoch, and before that of a step: the first that is there counts.
EPOCH = r"epochs?$|^ep$"
STEPS = (r"steps?$", r"iter(ation)?s?$", r"(ckpt|checkpoint)$")


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
    parts = re.split(r"([0-9]+)", file.name)
    return [(0, int(part), "") if k % 2 else (1, 0, part) for k, part in enumerate(parts)]


def _file(file: Path) -> Checkpoint:
    step, epoch = numbers(file.stem)
    return Checkpoint(step, {"epoch": epoch, "file": file.name}, partial(load, file))


def numbers(stem: str) -> tuple[int | None, int | None]:
    """
    Step and epoch in the name of a file.

    A number belongs to the word before it.  The step is the number of "step", or else of "iter",
    or else of "checkpoint"; or else the last number that has no word; or else, if there is no
    epoch, the last number.  Decimal fractions are neither steps nor epochs.

    Examples
    --------
    >>> numbers("epoch=3-step=1200"), numbers("run2_000100"), numbers("epoch12"), numbers("last")
    ((1200, 3), (100, None), (None, 12), (None, None))
    >>> numbers("ckpt-100-loss0.35"), numbers("epoch_3_1200")
    ((100, None), (1200, 3))
    """
    pairs = re.findall(r"([A-Za-z]*)[^0-9A-Za-z]*([0-9]+(?:\.[0-9]+)?)", stem)
    whole = [(word.lower(), int(number)) for word, number in pairs if "." not in number]
    epoch = next((number for word, number in whole if re.search(EPOCH, word)), None)
    for words in STEPS:
        for word, number in whole:
            if re.search(words, word):
                return number, epoch
    bare = [number for word, number in whole if not word]
    others = bare if bare or epoch is not None else [number for _, number in whole]
    return (others[-1] if others else None), epoch
