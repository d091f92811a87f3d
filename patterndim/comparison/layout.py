"""From whatever holds a Jacobian (array, tree, dict by parameter, list) to arrays (M, K, Q)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from patterndim.comparison.case import Fault
from patterndim.comparison.precision import FLOAT64, NAMED, Precision
from patterndim.errors import ShapeError
from patterndim.formats.imported import Imported, Parameter
from patterndim.typing import AnyArray, FloatArray
from patterndim.validation import real_array

#: A Jacobian as (M, K, Q), and the faults that reading it so means.
Shaping = tuple[FloatArray, tuple[Fault, ...]]


@dataclass(frozen=True, eq=False)
class Given:
    """
    A Jacobian as it came.

    ``shapings`` are the ways to read it as (M, K, Q), the likeliest first, each with the faults
    that reading it so means; ``dtype`` is the coarsest one of its arrays, and ``framework`` the
    package whose arrays they were.  ``ordered`` says that the columns are in the order of the
    source for certain.
    """

    shapings: tuple[Shaping, ...]
    dtype: str
    framework: str
    ordered: bool

    @property
    def precision(self) -> Precision:
        """Precision of the dtype."""
        return NAMED.get(self.dtype, FLOAT64)


@dataclass(frozen=True, eq=False)
class Leaf:
    """An array with its path in the tree."""

    path: str
    values: AnyArray
    dtype: str
    framework: str


def arranged(jacobian: Any, subject: Imported, inputs: int, outputs: int) -> Given:
    """
    Read a Jacobian of so many inputs and outputs.

    Raises
    ------
    ShapeError, KindError
        If it cannot be a Jacobian of this network, in whatever order or shape.
    """
    leaves = list(_leaves(jacobian, ""))
    if not leaves:
        raise ShapeError("jacobian must hold arrays, got none")
    rank = {"bfloat16": 0, "float16": 1, "float32": 2}
    coarsest = min(leaves, key=lambda leaf: rank.get(leaf.dtype, 3))
    if isinstance(jacobian, Mapping):
        leaves = _by_name(leaves, subject.parameters)
    whole = not isinstance(jacobian, Mapping) and len(leaves) == 1 and leaves[0].path == ""
    values = leaves[0].values if whole else _joined(leaves, subject, inputs)
    if values.ndim not in (2, 3) or values.size == 0:
        raise ShapeError(
            f"jacobian must have shape {_wanted(subject, inputs, outputs)}, got {values.shape}"
        )
    shapings = _shapings(values, inputs, outputs)
    if not shapings:
        raise ShapeError(
            f"jacobian must have shape {_wanted(subject, inputs, outputs)}, got {values.shape}"
        )
    return Given(shapings, coarsest.dtype, coarsest.framework, not whole)


def _wanted(subject: Imported, inputs: int, outputs: int) -> str:
    P = subject.network.parameter_count
    return f"({inputs * outputs}, {P}) or ({inputs}, {outputs}, {P})"


def _leaves(value: Any, path: str) -> Iterator[Leaf]:
    """Arrays of a tree with their paths, dicts in their own order."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _leaves(entry, f"{path}/{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(_holds_arrays(entry) for entry in value):
        for index, entry in enumerate(value):
            yield from _leaves(entry, f"{path}/{index}" if path else str(index))
    elif value is not None:
        yield leaf(value, path)


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_arrays(entry) for entry in value)
    return (hasattr(value, "ndim") and value.ndim > 0) or isinstance(value, Mapping)


def leaf(value: Any, path: str) -> Leaf:
    """One array of numpy, torch or JAX in numpy; bfloat16 as a type that holds it."""
    framework = type(value).__module__.split(".")[0]
    framework = "jax" if framework == "jaxlib" else framework
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    array = real_array(f"jacobian {path}".strip(), value)
    dtype = str(getattr(value, "dtype", array.dtype)).removeprefix("torch.")
    return Leaf(path, array, dtype if dtype == "bfloat16" else array.dtype.name, framework)


def _by_name(leaves: Sequence[Leaf], parameters: Sequence[Parameter]) -> list[Leaf]:
    """Leaves in the order of the parameters whose names they have."""

    def plain(name: str) -> str:
        return name.replace("/", ".").removeprefix("params.").removeprefix("_orig_mod.")

    known = {plain(parameter.name): i for i, parameter in enumerate(parameters)}
    for found in leaves:
        if plain(found.path) not in known:
            names = ", ".join(parameter.name for parameter in parameters[:4])
            raise ShapeError(
                f"jacobian must have keys of parameters ({names}, ...), got {found.path!r}"
            )
    return sorted(leaves, key=lambda found: known[plain(found.path)])


def _joined(leaves: Sequence[Leaf], subject: Imported, inputs: int) -> AnyArray:
    """Columns of all arrays side by side, shape (M, K, Q) or (rows, Q)."""
    shapes = {p.shape for p in subject.parameters} | {p.shape[::-1] for p in subject.parameters}
    shapes |= {(p.stop - p.start,) for p in subject.parameters}
    for leading in (2, 1):
        fits = all(found.values.shape[leading:] in shapes for found in leaves)
        same = len({found.values.shape[:leading] for found in leaves}) == 1
        if fits and same:
            parts = [f.values.reshape(*f.values.shape[:leading], -1) for f in leaves]
            return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts], axis=-1)
    shown = ", ".join(f"{found.path} {found.values.shape}" for found in leaves[:3])
    raise ShapeError(
        f"jacobian must have blocks of shape ({inputs}, outputs, *shape of the parameter), "
        f"got {shown}{', ...' if len(leaves) > 3 else ''}"
    )


def _shapings(values: AnyArray, inputs: int, outputs: int) -> tuple[Shaping, ...]:
    """Ways to read rows as samples and outputs, the likeliest first."""
    turned = Fault("output-major rows", "the rows go through all samples of one output first")
    array = np.ascontiguousarray(values, dtype=np.float64)
    Q = array.shape[-1]
    if array.ndim == 3:
        if array.shape[:2] != (outputs, inputs):
            return ((array, ()),)
        swapped = np.ascontiguousarray(array.swapaxes(0, 1))
        ways: list[Shaping] = [(array, ())] if inputs == outputs else []
        return (*ways, (swapped, (turned,)))
    rows, ways = len(array), []
    if rows % outputs == 0:
        ways.append((array.reshape(-1, outputs, Q), ()))
    if rows == inputs * outputs and min(inputs, outputs) > 1:
        swapped = array.reshape(outputs, inputs, Q).swapaxes(0, 1)
        ways.append((np.ascontiguousarray(swapped), (turned,)))
    if outputs > 1 and rows in (inputs, 1):
        ways.append((array.reshape(-1, 1, Q), ()))
    return tuple(ways)
