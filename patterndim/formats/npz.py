"""
Networks as .npz archives of plain arrays, without pickle.

Keys: ``format`` (the string "patterndim network"), ``version`` (1), ``widths`` (L + 1,),
``slopes`` (L + 1,), ``biases`` (L + 1,) of bool, ``connections`` (E, 3) of source, target and
whether trainable, ``theta`` (P,).
"""

import contextlib
import os
from pathlib import Path
from threading import get_ident

import numpy as np

from patterndim.architecture import Architecture, Connection, Layer
from patterndim.errors import FileError, PatterndimError
from patterndim.formats.imported import Imported, Parameter
from patterndim.network import Network
from patterndim.typing import AnyArray

SUFFIXES = (".npz",)

FORMAT = "patterndim network"
VERSION = 1
KEYS = ("format", "version", "widths", "slopes", "biases", "connections", "theta")

#: Kind of dtype and number of axes of each array.
LAYOUT = {
    "version": ("iu", 0),
    "widths": ("iu", 1),
    "slopes": ("f", 1),
    "biases": ("b", 1),
    "connections": ("iu", 2),
    "theta": ("f", 1),
}


def recognises(source: object) -> bool:
    """Whether this is the path of an archive."""
    return isinstance(source, Path) and source.suffix in SUFFIXES


def read(source: Path) -> Imported:
    """Network of an archive."""
    network = load(source)
    P = network.parameter_count
    theta = Parameter("theta", 0, P, (P,), transposed=False)
    return Imported(network, (theta,), network.theta.dtype, ".npz archive")


def save(network: Network, path: Path) -> None:
    """Write a network; nothing is left behind under ``path`` if writing fails half-way."""
    architecture = network.architecture
    arrays: dict[str, AnyArray] = {
        "format": np.array(FORMAT),
        "version": np.array(VERSION),
        "widths": np.array(architecture.widths),
        "slopes": np.array([layer.slope for layer in architecture.layers]),
        "biases": np.array([layer.bias for layer in architecture.layers]),
        "connections": np.array(
            [(c.source, c.target, c.trainable) for c in architecture.connections]
        ),
        "theta": network.theta,
    }
    partial = path.with_name(f".{os.getpid()}-{get_ident()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        partial.replace(path)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            partial.unlink()
        raise FileError(f"path must be writable, got {str(path)!r}: {error}") from error


def load(path: Path) -> Network:
    """Read a network, checking everything."""
    arrays = read_arrays(path)
    missing = [key for key in KEYS if key not in arrays]
    if missing or str(arrays["format"]) != FORMAT:
        raise FileError(f"source must be a patterndim network, got {str(path)!r} without {missing}")
    for key, (kind, dimensions) in LAYOUT.items():
        array = arrays[key]
        if array.dtype.kind not in kind:
            raise FileError(f"source must hold a valid network, got {key} of another dtype")
        if array.ndim != dimensions:
            raise FileError(f"source must hold a valid network, got {key} of {array.ndim} axes")
    if arrays["version"] != VERSION:
        raise FileError(f"source must have format version {VERSION}, got {arrays['version']}")
    try:
        triples = zip(arrays["widths"], arrays["slopes"], arrays["biases"], strict=True)
        layers = tuple(Layer(*triple) for triple in triples)
        edges = tuple(Connection(u, v, bool(t)) for u, v, t in arrays["connections"])
        return Network(Architecture(layers, edges), arrays["theta"])
    except (PatterndimError, ValueError, MemoryError, OverflowError) as error:
        raise FileError(f"source must hold a valid network, got {str(path)!r}: {error}") from error


def read_arrays(path: Path) -> dict[str, AnyArray]:
    """All arrays of an archive; pickled objects are refused."""
    found = _read(path, ".npz archive")
    if isinstance(found, dict):
        return found
    raise FileError(f"source must be an .npz archive, got a single array in {str(path)!r}")


def read_array(path: Path) -> AnyArray:
    """The single array of an .npy file; pickled objects are refused."""
    found = _read(path, ".npy array")
    if isinstance(found, dict):
        raise FileError(f"inputs must be one array, got an archive in {str(path)!r}")
    return found


def _read(path: Path, what: str) -> AnyArray | dict[str, AnyArray]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                return {key: loaded[key] for key in loaded.files}
            array: AnyArray = loaded
            return array
    except Exception as error:  # damaged bytes make numpy and zipfile raise almost anything
        raise FileError(f"source must be a readable {what}, got {str(path)!r}: {error}") from error
