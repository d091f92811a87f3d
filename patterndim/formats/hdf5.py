"""
Arrays of HDF5 files as Keras writes them: groups by symbol table, arrays in one piece.

A small part of the format [1]_, read strictly.  libhdf5 is made for files that one trusts: of
files with a few flipped bits it has crashed on some and hung on others, which no caller can catch.
Here every place is checked to lie in the file, every number of steps is bounded by its size, and
what is not among the few structures below is an error.

.. [1] "HDF5 File Format Specification Version 3.0", The HDF Group.
"""

import math
from collections.abc import Iterator
from struct import calcsize, unpack

import numpy as np

from patterndim.errors import FileError
from patterndim.formats.archives import bfloat16
from patterndim.typing import AnyArray

SIGNATURE = b"\x89HDF\r\n\x1a\n"

#: Section IV.A.2: the messages of an object header that are of use here.
DATASPACE, DATATYPE, EXTERNAL, LAYOUT, FILTERS, CONTINUATION, SYMBOLS = 1, 3, 7, 8, 11, 16, 17
USED = (DATASPACE, DATATYPE, EXTERNAL, LAYOUT, FILTERS, SYMBOLS)

#: Section IV.A.2.d: little-endian IEEE numbers of 64, 32 and 16 bits.
FLOATS = {
    bytes.fromhex("11203f000800000000004000340b0034ff030000"): "<f8",
    bytes.fromhex("11201f000400000000002000170800177f000000"): "<f4",
    bytes.fromhex("11200f0002000000000010000a05000a0f000000"): "<f2",
}
#: Two bytes without a meaning of their own: Keras writes bfloat16 so.
OPAQUE, PAIR = 5, 2

#: Most members of a group, and most characters of their names.
MOST_MEMBERS, MOST_NAME = 100_000, 1000


class Hdf5:
    """Contents of a file."""

    def __init__(self, data: bytes) -> None:
        """Check the superblock, section II.A."""
        self.data = data
        if data[:8] != SIGNATURE:
            raise FileError("the weights are no HDF5 file")
        version, offsets, lengths = data[8], *self.fields("<BB", 13)
        base = self.fields("<Q", 24)[0]
        if (version, offsets, lengths, base) != (0, 8, 8, 0):
            raise FileError(f"an HDF5 superblock of version {version}, which Keras does not write")
        self.root: int = self.fields("<Q", 64)[0]

    def fields(self, layout: str, start: int) -> tuple[int, ...]:
        """Numbers that lie at a place of the file."""
        return unpack(layout, self.piece(start, calcsize(layout)))

    def piece(self, start: int, size: int) -> bytes:
        """Bytes of the file."""
        if start + size > len(self.data):
            raise FileError(f"an HDF5 structure at {start} of {len(self.data)} bytes")
        return self.data[start : start + size]

    def messages(self, address: int) -> dict[int, bytes]:
        """The first message of each type that is of use, section IV.A.1.a."""
        version, _, count, _, size = self.fields("<BBHII", address)
        if version != 1:
            raise FileError(f"an HDF5 object header of version {version}")
        found: dict[int, bytes] = {}
        blocks = [(address + 16, size)]
        while blocks and count:
            start, left = blocks.pop()
            while left >= 8 and count:
                kind, length, _, _ = self.fields("<HHB3s", start)
                body = self.piece(start + 8, length)
                if kind == CONTINUATION:
                    blocks.append(self.fields("<QQ", start + 8))  # type: ignore[arg-type]
                if kind in USED:
                    found.setdefault(kind, body)
                start, left, count = start + 8 + length, left - 8 - length, count - 1
        return found

    def members(self, address: int) -> dict[str, int]:
        """Names and addresses of what is in a group."""
        table = self.messages(address).get(SYMBOLS, b"")
        if len(table) < 16:
            raise FileError(f"an HDF5 object at {address} that is no group")
        tree, heap = unpack("<QQ", table[:16])
        names = self.fields("<Q", heap + 24)[0]
        if self.piece(heap, 4) != b"HEAP":
            raise FileError(f"an HDF5 structure at {heap} that is no heap")
        found: dict[str, int] = {}
        for where, header, kind in self.symbols(tree):
            text = self.data[names + where : names + where + MOST_NAME].partition(b"\0")[0]
            name = text.decode("utf-8")
            # Kind 2 is a symbolic link, which may lead anywhere.
            if name in found or kind == 2:
                raise FileError(f"an HDF5 member {name!r} that is there twice or a link")
            found[name] = header
        return found

    def symbols(self, tree: int) -> Iterator[tuple[int, int, int]]:
        """Name, address and kind of the entries of a group, sections III.A.1, III.B and III.C."""
        nodes, seen, count = [(tree, -1)], {tree}, 0
        while nodes:
            address, level = nodes.pop()
            signature = self.piece(address, 4)
            kind, depth, used = self.fields("<BBH", address + 4)
            if signature == b"SNOD" and level in (-1, 0):
                count += used
                if count > MOST_MEMBERS:
                    raise FileError(f"an HDF5 group of more than {MOST_MEMBERS} members")
                for entry in range(used):
                    yield self.fields("<QQI", address + 8 + 40 * entry)  # type: ignore[misc]
                continue
            if signature != b"TREE" or kind != 0 or level not in (-1, depth + 1):
                raise FileError(f"an HDF5 structure at {address} that is not of a group")
            for child in range(used):
                below = self.fields("<Q", address + 32 + 16 * child)[0]
                if below in seen:
                    raise FileError(f"an HDF5 structure at {below} that is there twice")
                seen.add(below)
                nodes.append((below, depth))

    def array(self, address: int) -> AnyArray:
        """Array of floats that lies in the file in one piece; bfloat16 comes as float32."""
        messages = self.messages(address)
        shape = _shape(messages.get(DATASPACE, b""))
        kind = messages.get(DATATYPE, b"").ljust(8, b"\0")
        pair = kind[0] % 16 == OPAQUE and int.from_bytes(kind[4:8], "little") == PAIR
        dtype = "<u2" if pair else FLOATS.get(kind[:20])
        if dtype is None:
            raise FileError("an HDF5 array that is not of floats")
        layout = messages.get(LAYOUT, b"")
        if len(layout) < 18 or layout[:2] != b"\3\1" or {FILTERS, EXTERNAL} & set(messages):
            raise FileError("an HDF5 array that is not in one piece")
        start, size = unpack("<QQ", layout[2:18])
        needed = math.prod(shape) * np.dtype(dtype).itemsize
        if size != needed or start + size > len(self.data):
            raise FileError(f"an HDF5 array of shape {shape} that needs {needed} bytes, has {size}")
        array: AnyArray = np.ndarray(shape, dtype, self.data, start)
        return bfloat16(array) if pair else array


def _shape(message: bytes) -> tuple[int, ...]:
    """Shape of an array, section IV.A.2.b."""
    version, rank = message[0], message[1]
    start = {1: 8, 2: 4}.get(version)
    if start is None or len(message) < start + 8 * rank:
        raise FileError("an HDF5 array without a shape")
    return unpack(f"<{rank}Q", message[start : start + 8 * rank])
