"""
Reading files that may be damaged or made to do harm, and writing files whole.

Whatever is wrong with a file is one `FileError` that names it.  Sizes are checked before anything
is allocated, and nothing in a file is ever run: arrays are read from plain bytes.
"""

import contextlib
import io
import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from threading import get_ident
from typing import IO, Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

from patterndim.errors import FileError, PatterndimError
from patterndim.typing import AnyArray

#: An archive may hold this many times the bytes of its file, and some more: what is highly
#: regular compresses well, but not a small file into gigabytes.
EXPANSION, ALLOWANCE = 100, 2**24

#: Most bytes of JSON that describe a network, and of the header of an .npy array.
MOST_JSON, MOST_HEADER = 2**22, 2**14

#: Most characters of the name of a parameter.
MOST_NAME = 1000

#: Bytes read at once.
PIECE = 2**20

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@contextlib.contextmanager
def reading(path: Path, what: str) -> Iterator[BinaryIO]:
    """Open a regular file to read; whatever goes wrong with it is one `FileError`."""
    with naming(path, what):
        # Opening a named pipe would wait for someone to write to it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise FileError("it is not a regular file")
        with path.open("rb") as file:
            yield file


@contextlib.contextmanager
def naming(path: Path, what: str) -> Iterator[None]:
    """Make of every error one `FileError` that names the file."""
    try:
        yield
    except Exception as error:  # damaged bytes make numpy, zipfile and h5py raise almost anything
        message = f"source must {what}, got {str(path)!r}: {_reason(error)}"
        raise FileError(message) from error


def _reason(error: Exception) -> str:
    """What went wrong, in one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    kind = type(error).__name__
    if not words:
        words = kind
    elif isinstance(error, RecursionError):
        words = "it is nested too deeply"
    elif isinstance(error, LookupError | TypeError | AttributeError) and not isinstance(
        error, PatterndimError
    ):
        words = f"it is not laid out as it should be ({kind}: {words})"
    return words if len(words) <= 300 else words[:297] + "..."


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """File to write to that takes its place when it is complete; nothing is left of a failure."""
    partial = path.with_name(f".{os.getpid()}-{get_ident()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except (OSError, ValueError) as error:
        raise FileError(f"path must be writable, got {str(path)!r}: {error}") from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            partial.unlink()


@contextlib.contextmanager
def unzipping(file: BinaryIO) -> Iterator[ZipFile]:
    """
    Archive of ordinary members, whose sizes together are bounded.

    zipfile never reads more of a member than the directory of the archive says, so the directory
    bounds what reading takes: deflated members are inflated piece by piece, and the other methods,
    which are not, are refused.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    with ZipFile(file) as archive:
        seen: set[str] = set()
        for member in archive.infolist():
            name = member.filename
            if member.flag_bits & 1:
                raise FileError(f"{name!r} is encrypted")
            if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                raise FileError(f"{name!r} is compressed by method {member.compress_type}")
            if name in seen:
                raise FileError(f"{name!r} is there twice")
            if name.startswith("/") or {"..", ""} & set(name.rstrip("/").split("/")):
                raise FileError(f"{name!r} is a path that leads out of the archive")
            if "\\" in name or ":" in name or not name.isprintable():
                raise FileError(f"{name!r} is not the name of a member")
            seen.add(name)
        total = sum(member.file_size for member in archive.infolist())
        if total > EXPANSION * size + ALLOWANCE:
            raise FileError(f"{size} bytes would expand to {total}")
        yield archive


def read_member(archive: ZipFile, name: str, most: int | None = None) -> bytes:
    """All bytes of a member that must be there."""
    if name not in archive.namelist():
        raise FileError(f"{name} is missing")
    member = archive.getinfo(name)
    if most is not None and member.file_size > most:
        raise FileError(f"{name} has {member.file_size} bytes, more than {most}")
    with archive.open(member) as stream:
        return bytes(read_exactly(stream, member.file_size, name))


def read_npy(stream: IO[bytes], size: int, name: str) -> AnyArray:
    """Array of an .npy stream of ``size`` bytes, whose header is checked before its data is read.

    The dtype holds no Python objects, so nothing is unpickled.
    """
    start = io.BytesIO(stream.read(min(size, MOST_HEADER)))
    version = np.lib.format.read_magic(start)
    if version not in HEADERS:
        raise FileError(f"{name} has .npy version {version}")
    try:
        shape, fortran_order, dtype = HEADERS[version](start)
    except (ValueError, MemoryError, RecursionError) as error:  # numpy parses it as Python
        raise FileError(f"the header of {name} cannot be read") from error
    if dtype.kind not in "biufcSU" or dtype.itemsize == 0:
        raise FileError(f"{name} has dtype {str(dtype)[:40]}, which is not plain")
    if min(shape, default=0) < 0:
        raise FileError(f"{name} has negative shape {shape}")
    needed, present = math.prod(shape) * dtype.itemsize, size - start.tell()
    if needed != present:
        raise FileError(f"{name} of shape {shape} needs {needed} bytes of data, has {present}")
    data = read_exactly(stream, needed, name, start.read())
    return np.ndarray(shape, dtype, buffer=data, order="F" if fortran_order else "C")


def read_exactly(stream: IO[bytes], size: int, name: str, first: bytes = b"") -> bytearray:
    """``first`` and what follows it in the stream, ``size`` bytes in all."""
    data = bytearray(size)
    data[: len(first)] = first
    position = len(first)
    while position < size:
        piece = stream.read(min(size - position, PIECE))
        if not piece:
            raise FileError(f"{name} ends after {position} of {size} bytes")
        data[position : position + len(piece)] = piece
        position += len(piece)
    return data


def read_json(data: bytes) -> Any:
    """Value of a JSON text, in which no key is there twice and every number is finite."""
    return json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise FileError(f"key {key!r} is there twice")
        found[key] = value
    return found


def _refuse(constant: str) -> None:
    raise FileError(f"{constant} is not a JSON number")


def bfloat16(bits: AnyArray) -> AnyArray:
    """float32 of the values that the bits, uint16, mean as bfloat16: their upper half, exactly."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
