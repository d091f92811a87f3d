"""Where the inputs of an experiment come from, and whether its settings fit them."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from patterndim import data
from patterndim.errors import ArgumentError, FileError
from patterndim.typing import AnyArray, FloatArray
from patterndim.validation import brief

#: Second words of the keys of random generators: what they draw.
ORDER, NOISE, LABELS, GAUSSIAN, NETWORK, TRAINING = range(6)
RANDOM = ("gaussian", "uniform")
#: Before the content hash of a file.
HASH = "sha256:"

Settings = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Samples:
    """What an experiment trains on and measures at: inputs by name, targets if there are any."""

    inputs: dict[str, FloatArray]
    targets: AnyArray | None
    test_targets: AnyArray | None


def _file(path: str) -> tuple[AnyArray, AnyArray | None, str]:
    """Inputs, targets and content hash; read again only if a file has changed."""
    found = Path(path)
    try:
        every = sorted(found.iterdir()) if found.is_dir() else [found]
        # What a folder holds besides data may be a link to nothing.
        states = [(file.name, file.stat()) for file in every if file.exists()]
    except OSError as error:
        raise FileError(f"data must be readable, got {path!r}: {error.strerror}") from error
    return _content(path, tuple((name, s.st_size, s.st_mtime_ns) for name, s in states))


@lru_cache(maxsize=2)
def _content(path: str, _: object) -> tuple[AnyArray, AnyArray | None, str]:
    X, y = data.read(path)
    return X, y, HASH + data.fingerprint(X, y)


@lru_cache
def _digits() -> tuple[AnyArray, AnyArray]:
    X, y = data.digits()
    for array in (X, y):
        array.setflags(write=False)
    return X, y


def resolve(settings: Settings, folder: Path) -> tuple[Settings, str | None]:
    """
    Settings in which a file is named by its content, and the path of the file.

    Raises
    ------
    FileError, ArgumentError
        If the file is not there, or the settings do not fit each other or the data.
    """
    given, path = settings["data"], None
    if given["source"] not in ("digits", *RANDOM):
        path = str((folder / given["source"]).absolute())
        if not os.path.exists(path):  # False as well for what can be no name of a file
            missing = brief(given["source"])
            options = "digits, gaussian, uniform, an .npz or a folder of IDX files"
            raise FileError(f"data.source must be {options}, and there is no {missing}")
        given = {**given, "source": _file(path)[2]}
    settings = {**settings, "data": given}
    _check_slope(settings["network"])
    _check_data(settings, path)
    _check_measure(settings)
    return settings, path


def _arrays(settings: Settings, path: str | None) -> tuple[AnyArray, AnyArray | None]:
    source = settings["data"]["source"]
    if path is None:
        return _digits()
    X, y, found = _file(path)
    if found != source:
        raise FileError(f"data must not change while a sweep runs, and {path!r} did")
    return X, y


def _check_slope(network: Settings) -> None:
    slope, hidden = network["slope"], len(network["widths"]) - 2
    if isinstance(slope, list) and len(slope) != hidden:
        raise ArgumentError(
            f"network.slope must be a number or one for each of {hidden} hidden layers, got {slope}"
        )


def _check_data(settings: Settings, path: str | None) -> None:
    given, widths = settings["data"], settings["network"]["widths"]
    training = _duration(settings) > 0
    if given["source"] in RANDOM:
        given["dimension"] = given["dimension"] or widths[0]
        if given["dimension"] != widths[0]:
            raise ArgumentError(
                f"data.dimension must be network.widths[0] = {widths[0]}, got {given['dimension']}"
            )
        if training:
            raise ArgumentError(f"data.source {given['source']!r} has no targets to train on")
        return
    if given["dimension"] is not None:
        raise ArgumentError("data.dimension must be left to the data unless it is random")
    X, y = _arrays(settings, path)
    if given["train"] + given["test"] > len(X):
        wanted = f"{given['train']} + {given['test']}"
        raise ArgumentError(f"data.train + data.test must be at most {len(X)}, got {wanted}")
    if X.shape[1] != widths[0]:
        raise ArgumentError(
            f"network.widths[0] must be {X.shape[1]}, inputs of the data, got {widths[0]}"
        )
    if y is None:
        if training:
            raise ArgumentError("data.source has no y to train on")
    elif not training:
        if given["corrupted"] and y.dtype.kind not in "iu":
            raise ArgumentError("data.corrupted must be 0 where targets are no labels")
    elif settings["training"]["loss"] == "cross-entropy":
        _check_labels(y, widths[-1])
    elif not _are_labels(y, widths[-1]):
        outputs = y.reshape(len(y), -1).shape[1]
        if outputs != widths[-1]:
            raise ArgumentError(
                f"network.widths[-1] must be {outputs}, like y, got {widths[-1]}"
                + (": y is not labels 0, 1, ... below it" if y.dtype.kind in "iu" else "")
            )
        if given["corrupted"]:
            raise ArgumentError("data.corrupted must be 0 where targets are no labels")


def _are_labels(y: AnyArray, outputs: int) -> bool:
    """Whether targets of the square loss are meant as classes, not as values."""
    whole = y.ndim == 1 and y.dtype.kind in "iu" and outputs > 1
    return whole and bool(y.min() >= 0) and bool(y.max() < outputs)


def _check_labels(y: AnyArray, outputs: int) -> None:
    if y.dtype.kind not in "iu" or y.ndim != 1 or y.min() < 0:
        raise ArgumentError("training.loss must be 'square' where y is not labels 0, 1, ...")
    if y.max() >= outputs:
        raise ArgumentError(
            f"network.widths[-1] must be at least {int(y.max()) + 1}, for every label, "
            f"got {outputs}"
        )


def _check_measure(settings: Settings) -> None:
    outputs = settings["measure"]["outputs"]
    if settings["network"]["widths"][-1] == 1 and "softmax" in outputs:
        raise ArgumentError(
            f"measure.outputs must be affine where there is one output, got {outputs}: its "
            "softmax is constant"
        )
    training, measure, given = settings["training"], settings["measure"], settings["data"]
    if training["epochs"] is not None and training["steps"] is not None:
        raise ArgumentError("training must have epochs or steps, got both")
    if training["epochs"] is None:
        training["steps"] = training["steps"] or 0
    last = _duration(settings)
    if measure["at"] is None:
        measure["at"] = sorted({0, last})
    elif measure["at"][-1] > last:
        unit = "epochs" if training["epochs"] is not None else "steps"
        raise ArgumentError(f"measure.at must be at most {last} {unit}, got {measure['at'][-1]}")
    for sample in measure["samples"]:
        if given[sample] == 0:
            raise ArgumentError(f"data.{sample} must be positive: measure.samples names it")


def _duration(settings: Settings) -> int:
    """Epochs or steps of training."""
    training = settings["training"]
    return int(training["epochs"] or training["steps"] or 0)


def draw(settings: Settings, path: str | None, trial: int) -> Samples:
    """Samples of an experiment; each kind of randomness has a stream of its own."""
    given, widths = settings["data"], settings["network"]["widths"]
    rng = [np.random.default_rng([settings["seed"], stream, trial]) for stream in range(6)]
    train, count = given["train"], given["train"] + given["test"]
    y: AnyArray | None = None
    if given["source"] in RANDOM:
        shape = (count, widths[0])
        normal = given["source"] == "gaussian"
        X = rng[ORDER].normal(size=shape) if normal else rng[ORDER].uniform(size=shape)
    else:
        every, targets = _arrays(settings, path)
        order = rng[ORDER].permutation(len(every))[:count]
        X = data.values(every[order])
        y = None if targets is None else targets[order].copy()
    if given["noise"]:
        X[:train] += rng[NOISE].normal(0.0, given["noise"], X[:train].shape)
    if y is not None and given["corrupted"]:
        wrong = rng[LABELS].permutation(train)[: round(given["corrupted"] * train)]
        y = y.astype(np.int64)
        y[wrong] = rng[LABELS].integers(widths[-1], size=len(wrong))
    inputs = {"train": X[:train], "test": X[train:]}
    inputs["gaussian"] = rng[GAUSSIAN].normal(0.5, 1.0, (given["gaussian"], widths[0]))
    if y is not None and settings["training"]["loss"] == "square":
        if _are_labels(y, widths[-1]):
            y = np.eye(widths[-1])[y]
        else:
            y = y.reshape(len(y), -1).astype(np.float64)
    return Samples(inputs, None if y is None else y[:train], None if y is None else y[train:])
