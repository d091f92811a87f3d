"""
Networks as .npz archives of plain arrays, without pickle.

Keys: ``format`` (the string "patterndim network"), ``version`` (1), ``widths`` (L + 1,),
``slopes`` (L + 1,), ``biases`` (L + 1,) of bool, ``connections`` (E, 3) of source, target and
whether trainable, ``theta`` (P,).
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from patterndim.architecture import Architecture, Connection, Layer
from patterndim.errors import FileError
from patterndim.formats.archives import naming, read_npy, reading, unzipping, writing
from patterndim.formats.imported import Imported, Parameter
from patterndim.network import Network
from patterndim.typing import AnyArray

SUFFIXES = (".npz",)

FORMAT = "patterndim network"
VERSION = 1

#: Kind of dtype and number of axes of each array.
LAYOUT = {
    "format": ("U", 0),
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
    with writing(path) as file:
        np.savez(file, allow_pickle=False, **described(network.architecture), theta=network.theta)


def described(architecture: Architecture) -> dict[str, AnyArray]:
    """Arrays that say what the parameters of a network mean."""
    layers, connections = architecture.layers, architecture.connections
    return {
        "format": np.array(FORMAT),
        "version": np.array(VERSION),
        "widths": np.array([layer.width for layer in layers]),
        "slopes": np.array([layer.slope for layer in layers]),
        "biases": np.array([layer.bias for layer in layers]),
        "connections": np.array([(c.source, c.target, c.trainable) for c in connections]),
    }


def architecture(description: Mapping[str, Any]) -> Architecture:
    """Architecture of what `described` gives, as arrays or lists; everything is checked."""
    if description["version"] != VERSION:
        raise FileError(f"format version {description['version']} instead of {VERSION}")
    parts = (description[key] for key in ("widths", "slopes", "biases"))
    layers = tuple(Layer(*triple) for triple in zip(*parts, strict=True))
    edges = []
    for source, target, trainable in description["connections"]:
        if trainable not in (0, 1):
            raise FileError(f"connection {source} -> {target} is trainable: {trainable}")
        edges.append(Connection(source, target, bool(trainable)))
    return Architecture(layers, tuple(edges))


def load(path: Path) -> Network:
    """Read a network, checking everything."""
    arrays = read_arrays(path)
    with naming(path, "hold a valid network"):
        for key, (kind, dimensions) in LAYOUT.items():
            if key not in arrays:
                raise FileError(f"no array named {key}")
            if arrays[key].dtype.kind not in kind:
                raise FileError(f"{key} of dtype {arrays[key].dtype}")
            if arrays[key].ndim != dimensions:
                raise FileError(f"{key} of {arrays[key].ndim} axes")
        if str(arrays["format"]) != FORMAT:
            raise FileError(f"format {str(arrays['format'])[:40]!r}")
        return Network(architecture(arrays), arrays["theta"])


def read_arrays(path: Path) -> dict[str, AnyArray]:
    """All arrays of an archive; none of them holds Python objects."""
    with reading(path, "be a readable .npz archive") as file, unzipping(file) as archive:
        arrays: dict[str, AnyArray] = {}
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                raise FileError(f"{member.filename!r} is not an .npy array")
            with archive.open(member) as stream:
                name = member.filename.removesuffix(".npy")
                arrays[name] = read_npy(stream, member.file_size, name)
        return arrays


def read_array(path: Path) -> AnyArray:
    """The single array of an .npy file, which holds no Python objects."""
    with reading(path, "be a readable .npy array") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if file.read(2) == b"PK":
            raise FileError("it is an archive, not one array")
        file.seek(0)
        return read_npy(file, size, "the array")
