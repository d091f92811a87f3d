"""What quantities give, as columns of a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from patterndim.bounds import Bound
from patterndim.errors import KindError
from patterndim.rank.result import Rank

Plain = int | float | str | bool | None
#: A number, text, Rank, Bound, or a mapping of endings to numbers and text.
Value = Any

#: What is told of a rank beside its value, as far as it is known.
EVIDENCE = ("kind", "lower", "upper", "bound", "failure_probability", "modulus")
#: And of a dimension, and of a functional dimension.
FURTHER = ("ties", "uncertain", "inputs", "complete")


def columns(name: str, value: Value) -> dict[str, Plain]:
    """
    Columns of one quantity, all plain numbers and text.

    Examples
    --------
    >>> columns("norm", np.float64(2.0))
    {'norm': 2.0}
    >>> columns("count", {"": 3, "largest": np.int64(2)})
    {'count': 3, 'count_largest': 2}
    >>> columns("bound", Bound(5, "outputs"))
    {'bound': 5, 'bound_name': 'outputs'}
    """
    if isinstance(value, Rank):
        known = {key: getattr(value, key) for key in EVIDENCE + FURTHER if hasattr(value, key)}
        value = {"": value.value, **known}
    elif isinstance(value, Bound):
        value = {"": value.value, "name": value.name}
    elif not isinstance(value, Mapping):
        value = {"": value}
    return {f"{name}_{key}" if key else name: _plain(name, part) for key, part in value.items()}


def _plain(name: str, value: object) -> Plain:
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise KindError(
        f"{name} must be a number, text, a Rank or a mapping of them, got {type(value).__name__}"
    )
