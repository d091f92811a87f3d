"""Optional packages, imported when they are needed and never before."""

from importlib import import_module
from typing import Any

from patterndim.errors import MissingPackageError


def framework(name: str, extra: str) -> Any:
    """Module of an optional package, or an error that says what to install."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingPackageError(
            f'{package} must be installed for this (pip install "patterndim[{extra}]"), got {error}'
        ) from error


def made_by(source: object, module: str, *names: str) -> bool:
    """Whether an object is of a class of these names from a module, without importing it."""
    return any(
        kind.__name__ in names and (kind.__module__ + ".").startswith(module + ".")
        for kind in type(source).__mro__
    )
