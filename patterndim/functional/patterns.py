"""Rows of activation patterns: which are there, which differ, and some of them."""

from collections.abc import Sequence

import numpy as np

from patterndim.pattern import ActivationPattern
from patterndim.typing import BoolArray, IntArray


def count(pattern: ActivationPattern) -> int:
    """Number of rows; without hidden layers there is only one pattern."""
    return len(pattern.masks[0]) if pattern.masks else 1


def selected(pattern: ActivationPattern, rows: IntArray) -> ActivationPattern:
    """Some rows of a pattern that have no ties."""
    return untied([mask[rows] for mask in pattern.masks])


def untied(masks: Sequence[BoolArray]) -> ActivationPattern:
    """Pattern without ties, of unknown margin."""
    none = np.empty((0, 3), dtype=np.int64)
    return ActivationPattern(tuple(masks), float("nan"), none, none)


def keys(pattern: ActivationPattern, rows: IntArray) -> list[bytes]:
    """Name of the activation region of some rows: equal where all masks agree."""
    if not pattern.masks:
        return [b""] * len(rows)
    return [row.tobytes() for row in pattern.packed()[rows]]


def distinct(pattern: ActivationPattern, rows: IntArray) -> IntArray:
    """Those of some rows that are the first with their masks."""
    first: dict[bytes, int] = {}
    for key, row in zip(keys(pattern, rows), rows.tolist(), strict=True):
        first.setdefault(key, row)
    return np.array(list(first.values()), dtype=np.int64)
