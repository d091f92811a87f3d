"""
Parameter trees of multilayer perceptrons: JAX, Flax, haiku, and state dicts of torch in memory.

Nested mappings and sequences whose leaves are arrays.  What the names mean is in `named`; in a
sequence, matrices are of shape (in, out), as is usual in JAX, and a vector is the bias of the
matrix before it: ``[(W_1, b_1), (W_2, b_2)]``, ``[W_1, W_2]``, and ``[(W_1, b_1), (), (W_2,
b_2)]`` as stax makes them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from patterndim.errors import ArgumentError
from patterndim.formats.imported import Imported
from patterndim.formats.named import by_name, from_names

SUFFIXES: tuple[str, ...] = ()
SOURCE = "parameter tree"

#: Most mappings and sequences in one another.
DEEPEST = 50


def recognises(source: object) -> bool:
    """Whether this is a mapping or a sequence."""
    return isinstance(source, Mapping | list | tuple)


def read(source: Any, *, slope: float | Sequence[float] = 0.0) -> Imported:
    """Network of a parameter tree."""
    return from_names(by_name(leaves(source, ""), SOURCE), source=SOURCE, slope=slope)


def leaves(tree: Any, prefix: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Names and arrays of a tree; one that holds itself is too deep."""
    if depth > DEEPEST:
        raise ArgumentError(f"{SOURCE} must be at most {DEEPEST} deep, got more")
    if isinstance(tree, Mapping):
        for key, member in tree.items():
            yield from leaves(member, f"{prefix}/{key}" if prefix else str(key), depth + 1)
    elif isinstance(tree, list | tuple):
        if all(_is_array(member) or member is None for member in tree):
            yield from _layers([member for member in tree if member is not None], prefix)
        else:
            for position, member in enumerate(tree):
                path = f"{prefix}/{position}" if prefix else str(position)
                yield from leaves(member, path, depth + 1)
    elif _is_array(tree):
        yield prefix, tree
    elif tree is not None:
        raise ArgumentError(
            f"{SOURCE} must have arrays at its leaves, got {type(tree).__name__} at {prefix!r}"
        )


def _layers(arrays: Sequence[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Names of arrays in a sequence: a matrix begins a layer, a vector is its bias."""
    single = sum(len(array.shape) != 1 for array in arrays) <= 1
    layer = -1
    for array in arrays:
        layer += len(array.shape) != 1
        path = [prefix] if prefix else []
        path += [] if single and prefix else [str(layer)]
        yield "/".join([*path, "b" if len(array.shape) == 1 else "w"]), array


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")
