"""Casts at the public boundary: whatever users hand over becomes one exact layout, or an error."""

import contextlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from patterndim.errors import ArgumentError, KindError, NonFiniteError, ShapeError
from patterndim.typing import AnyArray, ArrayLike, FloatArray, Seed

NUMBERS = (int, float, np.bool_, np.integer, np.floating)
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20}
UNITS |= {"GIB": 2**30, "TB": 10**12, "TIB": 2**40}


def exact_array(name: str, value: ArrayLike) -> AnyArray:
    """
    Array that holds exactly what was given, of whatever dtype that takes.

    Anything that numpy can read is taken: arrays, nested lists, data frames, tensors of other
    libraries by ``__array__`` or DLPack.  numpy turns integers of a list or data frame that no one
    integer type can hold into rounded floats; here they become an array of Python objects instead.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise KindError(f"{name} must not have masked entries, got a masked array")
    try:
        array = _as_numpy(value)
        if array.dtype.kind == "f" and isinstance(value, Sequence):
            entries = np.asarray(value, dtype=object)
            if any(isinstance(a, int | np.integer) and int(float(a)) != a for a in entries.flat):
                return entries
    except (ValueError, OverflowError) as error:
        raise ShapeError(f"{name} must be a rectangular array, got {brief(value)}") from error
    except (TypeError, RuntimeError, BufferError) as error:
        # On another device, with gradients, being traced, sparse: the library says which.
        reason = str(error).partition("\n")[0]
        kind = type(value).__name__
        raise KindError(f"{name} must be readable by numpy, got {kind}: {reason}") from error
    return array


def _as_numpy(value: Any) -> AnyArray:
    """Array of what has ``__array__``, only DLPack, or neither; bfloat16 and smaller as floats."""
    dtypes = getattr(value, "dtypes", ())  # of the columns of a data frame; of a series, only one
    if isinstance(dtypes, Iterable) and len(set(dtypes)) > 1:
        return _floats(np.asarray(value.astype(object)))
    if str(getattr(value, "dtype", "")).startswith(("torch.bfloat16", "torch.float8")):
        value = value.float()
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    array = np.asarray(value)
    # Numbers that other libraries added to numpy have at most 16 bits: exact in float64.
    foreign = array.dtype.kind == "V" and array.dtype.type is not np.void
    return array.astype(np.float64) if foreign else _floats(array)


def _floats(array: AnyArray) -> AnyArray:
    """Objects that are numbers, as float64 if that is exact; anything else as it is."""
    if array.dtype == object and array.size and all(isinstance(a, NUMBERS) for a in array.flat):
        with contextlib.suppress(OverflowError):
            floats = array.astype(np.float64)
            if ((floats == array) | np.isnan(floats)).all():
                return floats
    return array


def real_array(name: str, value: ArrayLike) -> AnyArray:
    """Array of real numbers in whatever numeric dtype it came; anything else is a `KindError`."""
    array = exact_array(name, value)
    if array.dtype == object and array.size and all(isinstance(a, NUMBERS) for a in array.flat):
        raise KindError(f"{name} must be exact in float64, got integers that are not")
    if array.dtype.kind not in "biuf":
        raise KindError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array


def float_array(name: str, value: ArrayLike, shape: Sequence[int | str]) -> FloatArray:
    """
    C-contiguous finite float64 array of a shape, equal to what was given.

    ``shape`` holds an int where the length is fixed and a letter where it is free.
    """
    array = real_array(name, value)
    wanted = f"({', '.join(str(length) for length in shape)}{',' if len(shape) == 1 else ''})"
    if array.ndim != len(shape) or any(
        isinstance(length, int) and length != given
        for length, given in zip(shape, array.shape, strict=True)
    ):
        raise ShapeError(f"{name} must have shape {wanted}, got {array.shape}")
    if array.size == 0:
        raise ShapeError(f"{name} must not be empty, got shape {array.shape}")
    with np.errstate(over="ignore"):
        # Kernels see one signature: C-contiguous and writable, though they never write here.
        result = np.require(array, np.float64, ["C", "W"])
    if not np.isfinite(array).all():
        raise NonFiniteError(f"{name} must be finite, got {_first_not_finite(array)}")
    # float64 holds 53 bits: larger integers and long doubles may not survive the cast.
    if array.dtype.itemsize >= 8 and array.dtype != np.float64 and not _same(array, result):
        raise KindError(f"{name} must be exact in float64, got {array.dtype} values that are not")
    return result


def _same(array: AnyArray, result: FloatArray) -> bool:
    if array.dtype.kind == "f":
        return bool(np.array_equal(result.astype(array.dtype), array))
    # 2.0**63 and 2.0**64 are not int64 or uint64: casting them back would wrap.
    limit = 2.0**63 if array.dtype.kind == "i" else 2.0**64
    inside = bool((result < limit).all())
    return inside and bool(np.array_equal(result.astype(array.dtype), array))


def _first_not_finite(array: AnyArray) -> str:
    position = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    return f"{array[position]} at {position}"


def brief(value: object) -> str:
    """One short line about a value."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = f"{type(value).__name__} that is too long to show"
    except RecursionError:
        text = f"{type(value).__name__} that is nested too deep to show"
    return text if len(text) <= 60 else text[:57] + "..."


def integer(name: str, value: object, *, low: int) -> int:
    """Integer argument of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise KindError(f"{name} must be an integer, got {brief(value)}")
    if value < low:
        raise ArgumentError(f"{name} must be at least {low}, got {brief(int(value))}")
    return int(value)


def number(
    name: str, value: object, *, low: float, high: float = float("inf"), closed: bool = False
) -> float:
    """Finite float argument with ``low <= value < high``, or ``<= high`` if ``closed``."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise KindError(f"{name} must be a number, got {brief(value)}")
    try:
        result = float(value)
    except OverflowError:
        result = float("inf")
    if not (low <= result < high or (closed and result == high)):
        most = f" and {'at most' if closed else 'below'} {high:g}"
        upper = " and finite" if high == float("inf") else most
        raise ArgumentError(f"{name} must be at least {low:g}{upper}, got {brief(value)}")
    return result


def choice(name: str, value: object, options: Sequence[str]) -> str:
    """One of a few names."""
    if not isinstance(value, str) or value not in options:
        raise ArgumentError(f"{name} must be one of {', '.join(options)}, got {brief(value)}")
    return value


def sequence(name: str, value: object) -> list[Any]:
    """Members of a list, tuple, array or other iterable, but not of a string."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise KindError(f"{name} must be a sequence, got {brief(value)}")
    try:
        return list(value)
    except TypeError as error:  # an array of no dimensions
        raise KindError(f"{name} must be a sequence, got {brief(value)}") from error


def callable_or_none(name: str, value: object) -> None:
    """Raise unless None or something to call."""
    if value is not None and not callable(value):
        raise KindError(f"{name} must be callable, got {brief(value)}")


def seed(rng: Seed) -> int:
    """Seed that an int is, or that a generator draws."""
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**63 - 1))
    return integer("rng", rng, low=0)


def byte_count(memory: int | str | None) -> int | None:
    """Return the number of bytes in 2000000000, "2GB" or "1.5 GiB"; None stays None."""
    if memory is None:
        return None
    count = 0.0
    if isinstance(memory, int | np.integer) and not isinstance(memory, bool):
        count = min(int(memory), 2**63)
    elif isinstance(memory, str):
        match = re.fullmatch(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([A-Za-z]*)\s*", memory)
        if match and match[2].upper() in UNITS:
            count = min(float(match[1]) * UNITS[match[2].upper()], 2.0**63)
    if count < 1:
        raise ArgumentError(
            f'memory must be a positive number of bytes or like "2GB", got {brief(memory)}'
        )
    return int(count)
