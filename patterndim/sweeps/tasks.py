"""A task: everything that decides the result of one experiment, and its content hash."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from patterndim.errors import KindError, NonFiniteError
from patterndim.validation import brief

#: Part of every key: a change of what a setting means must change it.
FORMAT = 1
#: Name of what computes the tasks of a spec; no function has it.
EXPERIMENT = "patterndim.experiment"

#: Most bits of an integer, about 3,900 digits: Python neither writes nor reads more than 4,300.
BITS = 13_000
#: Most lists and dicts within one another: whatever reads them again calls itself for each.
DEPTH = 100


@dataclass(frozen=True, eq=False)
class Task:
    """
    One experiment of a sweep.

    Attributes
    ----------
    settings : dict
        Everything that decides the result, as plain JSON values with all defaults filled in.
        Data from a file is there as the hash of its content.
    grid : tuple of str
        Dotted names of the settings that the sweep varies.
    path : str or None
        Where the data is, if it comes from a file; not part of the key.
    function : str
        What computes the rows; part of the key.
    """

    settings: dict[str, Any]
    grid: tuple[str, ...] = ()
    path: str | None = None
    function: str = EXPERIMENT

    @cached_property
    def key(self) -> str:
        """
        SHA-256 of the canonical JSON of the settings: equal experiments have equal keys.

        None is left out of a spec's, so that a new setting, None by default, changes no key.
        """
        settings = _given(self.settings) if self.function == EXPERIMENT else self.settings
        whole = {"format": FORMAT, "function": self.function, "settings": settings}
        return sha256(canonical(whole).encode()).hexdigest()

    @property
    def varied(self) -> dict[str, Any]:
        """Values of the settings that the sweep varies, by dotted name."""
        found = flatten(self.settings)
        return {name: found[name] for name in self.grid}


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that are None."""
    return {
        name: _given(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if value is not None
    }


def canonical(value: object) -> str:
    """JSON in its one shortest form: sorted keys, floats that read back exactly."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name."""
    return dict(leaves(settings))


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values; names with dots of their own may come twice."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def plain(
    name: str, value: object, *, finite: bool = False, inside: Mapping[int, str] | None = None
) -> Any:
    """
    Value as JSON knows it: numpy numbers and arrays become those of Python.

    JSON has neither NaN nor infinity: both become None unless they must be ``finite``.  What the
    value is ``inside`` of is known by its identity and has a name.

    Raises
    ------
    KindError
        If it is neither a string, a number, None, nor a list or dict of such, or an integer of
        thousands of digits, or contains itself or more than 100 levels.
    NonFiniteError
        If it is NaN or infinite although it must be ``finite``.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _exact(value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        if int(value).bit_length() > BITS:
            raise KindError(f"{name} must have at most {BITS:,} bits, got an integer of more")
        return int(value)
    if isinstance(value, float | np.floating):
        if finite and not np.isfinite(value):
            raise NonFiniteError(f"{name} must be finite, got {value}")
        return float(value) if np.isfinite(value) else None
    if not isinstance(value, np.ndarray | list | tuple | Mapping):
        kind = type(value).__name__
        raise KindError(f"{name} must be plain numbers, strings and lists, got {kind}")
    outer = _with(name, value, inside or {})
    if isinstance(value, np.ndarray):
        return plain(name, value.tolist(), finite=finite, inside=outer)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise KindError(f"{name} must have strings as keys, got {brief(key)}")
        entries = {_exact(key): (f"{name}.{key}", entry) for key, entry in value.items()}
        return {key: plain(*e, finite=finite, inside=outer) for key, e in entries.items()}
    return [
        plain(f"{name}[{i}]", entry, finite=finite, inside=outer) for i, entry in enumerate(value)
    ]


def _exact(text: str) -> str:
    """String of exactly that type: others cannot be sent anywhere."""
    return text if type(text) is str else "".join((text, ""))


def _with(name: str, value: object, inside: Mapping[int, str]) -> dict[int, str]:
    """Names of what a list or dict is inside of, and its own."""
    if id(value) in inside:
        raise KindError(f"{name} must not contain itself, got {inside[id(value)]} again")
    if len(inside) >= DEPTH:
        raise KindError(f"{name[:60]}... must be nested at most {DEPTH} deep, got more")
    return {**inside, id(value): name}
