"""Rows of activation patterns: how many, which differ, and some of them without ties."""

from collections.abc import Sequence

import numpy as np

from patterndim.pattern import ActivationPattern
from patterndim.typing import BoolArray, IntArray


def count(pattern: ActivationPattern) -> int:
    """Number of rows; without hidden layers there is only one pattern."""
    return len(pattern.masks[0]) if pattern.masks else 1


def untied(masks: Sequence[BoolArray]) -> ActivationPattern:
    """Pattern without ties, of unknown margin."""
    none = np.empty((0, 3), dtype=np.int64)
    return ActivationPattern(tuple(masks), float("nan"), none, none)


def keys(pattern: ActivationPattern, rows: int) -> list[bytes]:
    """Name of the activation region of each of the rows: equal where all masks agree."""
    return [row.tobytes() for row in pattern.packed()] if pattern.masks else [b""] * rows


def distinct(pattern: ActivationPattern) -> IntArray:
    """Rows that are the first with their masks."""
    first: dict[bytes, int] = {}
    for row, key in enumerate(keys(pattern, 1)):
        first.setdefault(key, row)
    return np.array(list(first.values()), dtype=np.int64)
