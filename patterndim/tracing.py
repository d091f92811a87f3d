"""How dimensions and other quantities move while a network is trained."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from patterndim.architecture import Architecture
from patterndim.checkpoints import Source, checkpoints
from patterndim.errors import ArgumentError, KindError
from patterndim.heads import OUTPUTS
from patterndim.network import Network
from patterndim.quantities import NAMES, OF_NETWORK, OF_OUTPUTS, Plain, View, columns
from patterndim.typing import ArrayLike, FloatArray, Seed
from patterndim.validation import (
    byte_count,
    callable_or_none,
    choice,
    float_array,
    integer,
    sequence,
)
from patterndim.validation import seed as as_seed

Row = dict[str, Plain]
#: Columns that every table may have.
RESERVED = ("step", "epoch", "loss", "accuracy", "file", "sample", "output", "P", "H", "N", "n_L")
Function = Callable[[Network, FloatArray], Any]


def trace(
    snapshots: Source,
    inputs: ArrayLike | Mapping[str, ArrayLike],
    *,
    quantities: Sequence[str] = ("local_dimension",),
    functions: Mapping[str, Function] | None = None,
    outputs: Sequence[str] = ("affine",),
    at: Collection[int] | None = None,
    architecture: Architecture | Sequence[int] | None = None,
    rng: Seed = 0,
    memory: int | str | None = None,
    progress: Callable[[Row], None] | None = None,
) -> list[Row]:
    """
    Table of quantities of a network on its way, at one sample or several.

    Parameters
    ----------
    snapshots : iterable, mapping of int to network, or path of a folder
        Snapshots, networks, files or objects that `load` reads, or parameter vectors; of a
        mapping the keys are the steps, of a folder the files are read in natural order of their
        names, the step being the number after "step", "iter" or "checkpoint" in the name, or else
        the last one that is no epoch.
    inputs : array of float64, shape (N, n_0), or mapping of str to such arrays
        The sample, one input per row, or several by name.
    quantities : sequence of str
        - "local_dimension", "generic_dimension", "functional_dimension": dimensions with their
          kind, bounds and failure probability,
        - "dimension_bound", "bounds": the best certain bound and its name; bounds by outputs,
          by perceived regions and for every sample,
        - "flatness": P minus the local dimension,
        - "perceived_regions": how many, inputs of the largest, regions of a single input,
        - "aligned_neurons": neurons that share their gate with others of their layer, different
          gates, dead neurons and linear ones, also layer by layer,
        - "pattern_changes": masks that differ from those of the previous network,
        - "balances": the largest one, its drift since the first network, how many are negative,
        - "weight_alignment": cosines between incoming weights of neurons of a layer,
        - "spectrum": largest and smallest resolved singular value of J and the gap
          below,
        - "float32_rank": what the float32 recipe of [1]_ reports, for small sizes.
    functions : mapping of str to callable, optional
        Further columns: each ``function(network, X)`` gives a number, text, a `Dimension`, or a
        mapping of them.  Their columns must be new ones.
    outputs : sequence of {"affine", "softmax"}
        Rows are made for each.
    at : collection of int, optional
        Steps to look at; by default every snapshot.  Networks and parameter vectors count
        from 0.
    architecture : Architecture or sequence of int, optional
        Says that parameter vectors are given, and of what they are.
    rng : int or numpy.random.Generator
        Source of the randomness of each quantity, the same for every row.
    memory : int or str, optional
        As in `local_dimension`.
    progress : callable, optional
        Called as ``progress(row)`` with each row when it is found.

    Returns
    -------
    list of dict
        One row per snapshot, sample and kind of outputs, in this order, of plain numbers and
        text: "step", then "epoch", "loss", "accuracy" and "file" where they are known, "sample"
        ("X" if it has no name), "output", the quantities, and "P", "H", "N", "n_L".  A
        DataFrame of pandas takes it as it is.

    Raises
    ------
    ShapeError, NonFiniteError, KindError, ArgumentError
        If an argument is not as above, a function gives anything else, or there is none of the
        steps ``at``.
    FileError
        If the folder is missing or empty, or a file is not a network.
    MemoryLimitError
        If a quantity needs more than ``memory``.

    See Also
    --------
    patterndim.training.sgd : snapshots of a network that is trained here.

    References
    ----------
    .. [1] J. Bona-Pellissier, F. Malgouyres, F. Bachoc, "Geometry-induced implicit
       regularization in deep ReLU neural networks", arXiv:2402.08269.

    Examples
    --------
    >>> import numpy as np
    >>> from patterndim.training import sgd
    >>> X = np.linspace(-1.0, 1.0, 10)[:, np.newaxis]
    >>> y = (np.abs(X[:, 0]) > 0.5).astype(int)
    >>> network = Network.random((1, 5, 2), rng=0, bias_std=0.5)
    >>> snapshots = sgd(network, X, y, steps=60, rate=0.5, every=20)
    >>> rows = trace(snapshots, X, quantities=["local_dimension", "perceived_regions"])
    >>> for row in rows:
    ...     print(row["step"], row["accuracy"], row["local_dimension"], row["perceived_regions"])
    0 0.6 9 3
    20 1.0 8 2
    40 1.0 10 3
    60 1.0 8 2
    """
    return list(
        traced(
            snapshots,
            inputs,
            quantities=quantities,
            functions=functions,
            outputs=outputs,
            at=at,
            architecture=architecture,
            rng=rng,
            memory=memory,
            progress=progress,
        )
    )


def traced(
    snapshots: Source,
    inputs: ArrayLike | Mapping[str, ArrayLike],
    *,
    quantities: Sequence[str] = ("local_dimension",),
    functions: Mapping[str, Function] | None = None,
    outputs: Sequence[str] = ("affine",),
    at: Collection[int] | None = None,
    architecture: Architecture | Sequence[int] | None = None,
    rng: Seed = 0,
    memory: int | str | None = None,
    progress: Callable[[Row], None] | None = None,
) -> Iterator[Row]:
    """Rows of `trace` as they are found: those before an exception are not lost with it."""
    wanted = _names("quantities", quantities, NAMES)
    kinds = _names("outputs", outputs, OUTPUTS)
    extra = _functions(functions)
    samples = _samples(inputs)
    steps = None if at is None else {integer("at", step, low=0) for step in sequence("at", at)}
    seed = as_seed(rng)
    byte_count(memory)
    callable_or_none("progress", progress)
    if architecture is not None and not isinstance(architecture, Architecture):
        architecture = Architecture.from_widths(architecture)
    views: dict[str, View] = {}
    seen: list[int | None] = []
    for checkpoint in checkpoints(snapshots, architecture):
        seen.append(checkpoint.step)
        if steps is not None and checkpoint.step not in steps:
            continue
        network = checkpoint.read()
        for sample, X in samples.items():
            X = float_array(f"inputs {sample}", X, ("N", network.widths[0]))
            view = views[sample] = View(network, X, seed, memory, views.get(sample))
            of_network = _of_network(view, wanted, extra)
            for output in kinds:
                row: Row = {"step": checkpoint.step, **checkpoint.about}
                row |= {"sample": sample, "output": output}
                row |= _in_order(view, output, wanted, of_network)
                row |= {"P": network.parameter_count, "H": network.hidden_neurons}
                row |= {"N": len(X), "n_L": network.widths[-1]}
                if progress is not None:
                    progress(row)
                yield row
    if steps and steps.isdisjoint(seen):
        raise ArgumentError(f"at must hold steps that there are, {_few(seen)}, got {_few(steps)}")


def _few(steps: Collection[int | None]) -> str:
    """Steps, the first ten of them."""
    known = sorted({step for step in steps if step is not None})
    texts = [*map(str, known[:10]), *(["..."] if len(known) > 10 else [])]
    return ", ".join(texts) or "none"


def _of_network(
    view: View, wanted: Sequence[str], functions: Mapping[str, Function]
) -> dict[str, Row]:
    """Columns of the quantities that do not depend on the kind of outputs, by quantity."""
    found = {name: columns(name, OF_NETWORK[name](view)) for name in wanted if name in OF_NETWORK}
    for name, function in functions.items():
        found[name] = columns(name, function(view.network, view.X))
    return found


def _in_order(view: View, output: str, wanted: Sequence[str], of_network: Mapping[str, Row]) -> Row:
    """Columns of all quantities, those that were asked for first."""
    row: Row = {}
    for name in dict.fromkeys([*wanted, *of_network]):
        known = name in of_network
        found = of_network[name] if known else columns(name, OF_OUTPUTS[name](view, output))
        if twice := [column for column in found if column in row or column in RESERVED]:
            raise ArgumentError(f"functions must give new columns, got {twice[0]!r} twice")
        row |= found
    return row


def _names(what: str, value: object, known: Sequence[str]) -> list[str]:
    """Names without repetition, in their order."""
    return list(dict.fromkeys(choice(what, name, known) for name in sequence(what, value)))


def _functions(functions: Mapping[str, Function] | None) -> dict[str, Function]:
    if functions is None:
        return {}
    if not isinstance(functions, Mapping):
        raise KindError(f"functions must be a mapping, got {type(functions).__name__}")
    pairs: list[tuple[Any, object]] = list(functions.items())
    for name, function in pairs:
        if not isinstance(name, str) or not callable(function):
            raise KindError(f"functions must be callables by name, got {name!r}: {function!r}")
        if name in NAMES or name in RESERVED:
            raise ArgumentError(
                f"functions must not be named as quantities or other columns are, got {name!r}"
            )
    return dict(functions)


def _samples(inputs: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    if not isinstance(inputs, Mapping):
        return {"X": float_array("inputs", inputs, ("N", "n_0"))}
    if not inputs:
        raise ArgumentError("inputs must hold a sample, got an empty mapping")
    names: list[object] = list(inputs)
    for name in names:
        if not isinstance(name, str):
            raise KindError(f"inputs must have names that are strings, got {name!r}")
    return {name: float_array(f"inputs {name}", X, ("N", "n_0")) for name, X in inputs.items()}
