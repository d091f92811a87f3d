"""
Reading and writing networks, one file per format.

To add a format: one file with ``load`` and ``save`` here, one line in the tables below.
"""

from os import PathLike, fspath
from pathlib import Path

from patterndim.errors import ArgumentError, KindError
from patterndim.formats import npz
from patterndim.network import Network

READERS = {".npz": npz.load}
WRITERS = {".npz": npz.save}


def load(source: str | PathLike[str]) -> Network:
    """
    Read a network from a file.

    Parameters
    ----------
    source : path
        File written by `save`; its suffix tells the format.

    Raises
    ------
    ArgumentError
        If the suffix is not one of a known format.
    FileError
        If the file is missing, unreadable, truncated, or not a network.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Network.random((3, 2, 1)), f"{folder}/network.npz")
    ...     load(f"{folder}/network.npz")
    Network(3-2-1, P=11, H=2)
    """
    path = _path("source", source)
    return READERS[_suffix("source", path, READERS)](path)


def save(network: Network, path: str | PathLike[str]) -> None:
    """
    Write a network to a file, whose suffix tells the format: ``.npz``.

    Raises
    ------
    KindError, ArgumentError
        If ``network`` is not a Network, or the suffix not one of a known format.
    FileError
        If the file cannot be written.
    """
    if not isinstance(network, Network):
        raise KindError(f"network must be a patterndim.Network, got {type(network).__name__}")
    target = _path("path", path)
    WRITERS[_suffix("path", target, WRITERS)](network, target)


def _path(name: str, value: object) -> Path:
    path: object = fspath(value) if isinstance(value, str | PathLike) else None
    if not isinstance(path, str):
        raise KindError(f"{name} must be a path, got {type(value).__name__}")
    return Path(path)


def _suffix(name: str, path: Path, known: object) -> str:
    suffixes = list(known)  # type: ignore[call-overload]
    if path.suffix not in suffixes:
        raise ArgumentError(f"{name} must end in {' or '.join(suffixes)}, got {path.name!r}")
    return path.suffix
