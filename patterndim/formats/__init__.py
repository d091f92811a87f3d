"""
Reading and writing networks, one file per format.

To add a format: one module here with ``SUFFIXES`` (of its files, or none), ``recognises(source)``,
which looks at the type or the suffix and imports no framework, ``read(source)``, which gives an
`Imported`, and if it can be written ``save(network, path)``; then its name in the table below.
"""

from collections.abc import Sequence
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Protocol, cast

from patterndim.errors import ArgumentError, KindError
from patterndim.formats.imported import Imported, Parameter
from patterndim.formats.interchange import to_flax, to_torch
from patterndim.network import Network

#: Modules of this package, asked in this order: a Keras model may be a torch module as well.
FORMATS = (
    "npz",
    "keras_model",
    "torch_module",
    "sklearn_model",
    "flax_module",
    "jax_function",
    "tree",
)

#: Those whose sources hold parameters only: their ``read`` takes ``slope``.
SLOPELESS = frozenset({"tree"})

#: Format of each suffix that can be written.
WRITERS = {".npz": "npz"}

__all__ = ["Imported", "Parameter", "load", "read", "save", "to_flax", "to_torch"]


class Format(Protocol):
    """What a module of this package offers."""

    SUFFIXES: tuple[str, ...]

    def recognises(self, source: object) -> bool:
        """Whether this is for it, without importing a framework; a path comes as a Path."""

    def read(self, source: Any, **options: Any) -> Imported:
        """Network of a source, or a PatterndimError."""

    def save(self, network: Network, path: Path) -> None:
        """Write a network: only where `WRITERS` names the format."""


def load(source: Any, *, slope: float | Sequence[float] | None = None) -> Network:
    """
    Read a network from a file or from an object of a framework.

    Parameters
    ----------
    source : path or object
        What `read` takes.
    slope : float or sequence of float, optional
        As for `read`.

    Raises
    ------
    KindError, ArgumentError, ShapeError, NonFiniteError, FileError
        As by `read`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Network.random((3, 2, 1)), f"{folder}/network.npz")
    ...     load(f"{folder}/network.npz")
    Network(3-2-1, P=11, H=2)
    """
    return read(source, slope=slope).network


def read(source: Any, *, slope: float | Sequence[float] | None = None) -> Imported:
    """
    Network of a file or of an object of a framework, and where its parameters come from.

    Dense layers, sums of activations of equal width, ReLU and leaky ReLU; a final softmax or
    sigmoid is left out and named in ``head``.  The network is compared with the source's own
    forward pass wherever there is one.  No framework is imported but that of the source.

    Parameters
    ----------
    source : path or object
        - a file, whose suffix tells the format;
        - a ``torch.nn.Module`` that torch.fx can trace, skip connections included;
        - a Keras 3 model, Sequential or functional;
        - a fitted ``MLPClassifier`` or ``MLPRegressor`` of scikit-learn;
        - a Flax module: ``nnx.Module``, or ``linen.Module`` bound to its variables;
        - ``(function, parameters)`` of JAX, called as ``function(parameters, X)``;
        - a tree of parameters of a multilayer perceptron: ``{"params": {"Dense_0": {"kernel",
          "bias"}, ...}}``, ``{"linear": {"w", "b"}, ...}``, pairs ``[(W, b), ...]`` with W of
          shape (in, out), or a ``state_dict``.  The layers are in the order of the numbers in
          their names, and taken to have ReLU between them: a tree does not say.
    slope : float or sequence of float, optional
        Slope of leaky ReLU, for all hidden layers or one for each, for sources that hold
        parameters only; ReLU if not given.

    Returns
    -------
    Imported
        Network, parameters by name, precision, and the source's forward pass.

    Raises
    ------
    KindError
        If no format recognises the source.
    ArgumentError
        If the suffix is not one of a known format, or the source computes anything else; the
        message names the layer.
    ShapeError, NonFiniteError
        If the parameters do not fit together or are not finite.
    FileError
        If the file is missing, unreadable, truncated, or not a network.

    Examples
    --------
    >>> import numpy as np
    >>> W, b = [[1.0, 2.0, 3.0]], [0.5, 0.5, 0.5]
    >>> found = read([(np.array(W), np.array(b)), (np.ones((3, 1)), np.zeros(1))])
    >>> found.network
    Network(1-3-1, P=10, H=3)
    >>> found.parameters[0]
    Parameter(name='0/w', start=0, stop=3, shape=(1, 3), transposed=True)
    """
    given = _path("source", source) if isinstance(source, str | bytes | PathLike) else source
    for name in FORMATS:
        module = _format(name)
        if module.recognises(given):
            if slope is None:
                return module.read(given)
            if name in SLOPELESS:
                return module.read(given, slope=slope)
            raise ArgumentError(f"slope must not be given for a source that tells it, got {slope}")
    if isinstance(given, Path):
        raise _unknown("source", given, [end for name in FORMATS for end in _format(name).SUFFIXES])
    raise KindError(
        "source must be a path or a network of torch, JAX, Flax, Keras or scikit-learn, "
        f"got {type(given).__name__}"
    )


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
    if target.suffix not in WRITERS:
        raise _unknown("path", target, list(WRITERS))
    _format(WRITERS[target.suffix]).save(network, target)


def _format(name: str) -> Format:
    return cast(Format, import_module(f"patterndim.formats.{name}"))


def _path(name: str, value: object) -> Path:
    path: object = fspath(value) if isinstance(value, str | PathLike) else None
    if not isinstance(path, str):
        raise KindError(f"{name} must be a path, got {type(value).__name__}")
    return Path(path)


def _unknown(name: str, path: Path, suffixes: list[str]) -> ArgumentError:
    return ArgumentError(f"{name} must end in {' or '.join(suffixes)}, got {path.name!r}")
