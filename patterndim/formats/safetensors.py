"""
Networks as .safetensors files, read and written without any other package.

The format [1]_: eight bytes with the length of a header, the header, a JSON object with dtype,
shape and place of every tensor, and the tensors, one after the other without a gap.  Of files made
elsewhere the names tell the layers (see `named`).  Our own hold the architecture in the metadata,
and tensors named like those of ``torch.nn.Sequential(Linear, ReLU, Linear, ...)``, so that torch
can load them.

.. [1] https://github.com/huggingface/safetensors#format
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from patterndim.architecture import Architecture
from patterndim.errors import ArgumentError, FileError
from patterndim.formats.archives import (
    MOST_JSON,
    MOST_NAME,
    bfloat16,
    read_exactly,
    read_json,
    reading,
    writing,
)
from patterndim.formats.imported import Imported, Parameter
from patterndim.formats.named import from_names
from patterndim.formats.npz import FORMAT, architecture, described
from patterndim.network import Network
from patterndim.typing import AnyArray

SUFFIXES = (".safetensors",)
SOURCE = ".safetensors file"

#: How the numbers of each dtype lie in the file; the upper half of a float32 is a bfloat16.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def recognises(source: object) -> bool:
    """Whether this is the path of such a file."""
    return isinstance(source, Path) and source.suffix in SUFFIXES


def read(source: Path, *, slope: float | Sequence[float] | None = None) -> Imported:
    """Network of a file."""
    with reading(source, "be a readable .safetensors network") as file:
        tensors, metadata = read_tensors(file)
        ours = metadata.get("format") == FORMAT
        imported = _ours(tensors, metadata) if ours else from_names(tensors, source=SOURCE)
    if slope is None:
        return imported
    if ours:
        raise ArgumentError(f"slope must not be given for a source that tells it, got {slope}")
    return from_names(tensors, source=SOURCE, slope=slope)  # what fails now is the slope


def save(network: Network, path: Path) -> None:
    """Write a network; nothing is left behind under ``path`` if writing fails half-way."""
    description = described(network.architecture)
    metadata = {key: json.dumps(array.tolist()) for key, array in description.items()}
    header: dict[str, object] = {"__metadata__": {**metadata, "format": FORMAT}}
    for part in _parts(network.architecture):
        place = [8 * part.start, 8 * part.stop]
        header[part.name] = {"dtype": "F64", "shape": part.shape, "data_offsets": place}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight
    with writing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        # theta is layer by layer, each matrix row-major: the tensors in their order.
        file.write(network.theta.astype("<f8").data)


def _parts(architecture: Architecture) -> Iterator[Parameter]:
    """Our tensors, in the order of theta."""
    widths = architecture.widths
    for v in range(1, len(widths)):
        name = str(2 * (v - 1))
        slices = [(e, architecture.weight_slices[e]) for e in architecture.incoming[v]]
        matrices = [(e, where) for e, where in slices if where is not None]
        for number, (e, where) in enumerate(matrices):
            shape = (widths[v], widths[architecture.connections[e].source])
            suffix = f".{number}" if len(matrices) > 1 else ""
            yield Parameter(f"{name}.weight{suffix}", where.start, where.stop, shape, False)
        if (bias := architecture.bias_slices[v]) is not None:
            yield Parameter(f"{name}.bias", bias.start, bias.stop, (widths[v],), False)


def _ours(tensors: dict[str, AnyArray], metadata: dict[str, str]) -> Imported:
    """Network of a file that `save` has written."""
    keys = ("version", "widths", "slopes", "biases", "connections")
    for key in keys:
        if key not in metadata:
            raise FileError(f"metadata without {key!r}")
    built = architecture({key: read_json(metadata[key].encode()) for key in keys})
    parts = tuple(_parts(built))
    expected = {part.name: part.shape for part in parts}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != expected:
        names = sorted(
            name for name in {*found, *expected} if found.get(name) != expected.get(name)
        )
        raise FileError(f"tensors that do not fit the widths {built.widths}: {', '.join(names)}")
    theta = np.concatenate([tensors[part.name].reshape(-1) for part in parts])
    return Imported(Network(built, theta), parts, theta.dtype, SOURCE)


def read_tensors(file: BinaryIO) -> tuple[dict[str, AnyArray], dict[str, str]]:
    """Tensors, in the order of their data, and metadata of a file; bfloat16 comes as float32."""
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(read_exactly(file, 8, "the length of the header"), "little")
    if length > min(size - 8, MOST_JSON):
        raise FileError(f"a header of {length} bytes, of {size} in the file")
    text = bytes(read_exactly(file, length, "the header"))
    if not text.startswith(b"{"):
        raise FileError("a header that is no JSON object")
    header = read_json(text)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(type(v) is str for v in metadata.values()):
        raise FileError("metadata that are not text")
    entries = [(name, *_entry(name, entry)) for name, entry in header.items()]
    entries.sort(key=lambda entry: entry[3:])
    end = 0
    for name, _, _, start, stop in entries:
        if start != end:
            raise FileError(f"{name} begins at {start} where {end} bytes of data are before it")
        end = stop
    if end != size - 8 - length:
        raise FileError(f"tensors of {end} bytes in {size - 8 - length} bytes of data")
    tensors: dict[str, AnyArray] = {}
    for name, dtype, shape, start, stop in entries:
        array: AnyArray = np.ndarray(shape, DTYPES[dtype], read_exactly(file, stop - start, name))
        tensors[name] = bfloat16(array) if dtype == "BF16" else array
    return tensors, metadata


def _entry(name: str, entry: object) -> tuple[str, tuple[int, ...], int, int]:
    """dtype, shape, start and stop of a tensor."""
    if len(name) > MOST_NAME:
        raise FileError(f"a tensor with a name of {len(name)} characters")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FileError(f"{name} must have dtype, shape and data_offsets only")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise FileError(f"{name} has dtype {dtype!r}, which is none of {', '.join(DTYPES)}")
    for what, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or any(type(n) is not int or n < 0 for n in numbers):
            raise FileError(f"{name} has {what} {numbers!r}")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FileError(f"{name} has data_offsets {offsets}")
    start, stop = offsets
    needed = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if stop - start != needed:
        raise FileError(
            f"{name} of shape {shape} and {dtype} needs {needed} bytes, has {stop - start}"
        )
    return dtype, tuple(shape), start, stop
