"""The cross-check of a Jacobian: read it, compare it, explain it, count its rank."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from patterndim.comparison import recipes
from patterndim.comparison.autodiff import differentiated, precision_of
from patterndim.comparison.case import Case
from patterndim.comparison.diagnosis import diagnose
from patterndim.comparison.layout import Given, arranged
from patterndim.comparison.measure import (
    block_errors,
    forward_fault,
    held,
    not_finite,
    precision_fault,
)
from patterndim.comparison.precision import BFLOAT16, FLOAT64, LEVELS, NAMED, Precision, stored
from patterndim.comparison.recipes import RecipeRank
from patterndim.comparison.result import CrossCheck
from patterndim.comparison.subject import head_of, sample_of, subject_of
from patterndim.dimension import Dimension, local_dimension
from patterndim.errors import MemoryLimitError, MismatchError
from patterndim.formats.imported import Imported
from patterndim.typing import ArrayLike, FloatArray, Seed
from patterndim.validation import byte_count, choice
from patterndim.validation import seed as as_seed

#: Arrays of the size of the Jacobian that are held at once.
COPIES = 16


def crosscheck(
    model: Any,
    inputs: ArrayLike,
    jacobian: Any = None,
    *,
    precision: str | None = None,
    ranks: bool | None = None,
    rng: Seed = 0,
    memory: int | str = "4GB",
) -> CrossCheck:
    """
    Comparison of a Jacobian by automatic differentiation with the analytic one.

    The analytic Jacobian is a product of masked weights, its masks certified; an entry that was
    summed in any order is off by at most about the number of operations times the unit of the
    precision, relative to the same sum of absolute values [1]_.  What differs by more is
    explained: each known fault is tried as a change of the analytic Jacobian, and named only
    where it makes all entries agree.

    Parameters
    ----------
    model : Network, or what `load` takes
        A torch module, a tree of parameters, a file, ...
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    jacobian : optional
        What to check.  An array of shape (N * n_L, P), rows input-major, or (N, n_L, P), columns
        in the order of ``theta`` or of the source; a dict or tree by the names of the parameters,
        or a list in their order, of arrays of shape (N, n_L, ...) or (N * n_L, ...) that end in
        the shape of the parameter; or a function that gives one of these, called with the inputs,
        or with (theta, inputs) if it must have two arguments.  None: torch differentiates its own
        modules (``torch.func.jacrev``), JAX everything else (``jax.jacrev``, in the precision of
        the model).
    precision : {"float64", "float32", "TF32", "float16", "bfloat16"}, optional
        What is required; less is a fault.  By default that of the model.
    ranks : bool, optional
        Whether to find the exact rank and those that usual recipes report.  By default yes, but
        no singular values that take longer than some seconds.
    rng : int or numpy.random.Generator
        Source of everything random.
    memory : int or str
        Most bytes to work in.  If that is too little for all inputs and ``jacobian`` is None or a
        function, a random part of the inputs is checked, and the notes say so.

    Returns
    -------
    CrossCheck
        Whether they agree and to which precision, the faults by name, errors, masks and ranks.

    Raises
    ------
    ShapeError, KindError, NonFiniteError
        If the inputs are not a finite array of shape (N, n_0), or ``jacobian`` has a shape that
        no Jacobian of this model has.
    ArgumentError
        If an option is not one of those above, a torch module has parameters of several
        precisions, or ``jacobian`` is None and takes JAX, which is not installed.
    MemoryLimitError
        If a given Jacobian is too large for ``memory``.

    See Also
    --------
    assert_jacobian_matches : the same as a test.

    References
    ----------
    .. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, SIAM 2002,
       chapter 3.

    Examples
    --------
    >>> from patterndim import Network, parameter_jacobian
    >>> network = Network.random((3, 4, 2), rng=0, bias_std=0.1)
    >>> X = np.random.default_rng(0).normal(size=(6, 3))
    >>> J = parameter_jacobian(network, X)
    >>> crosscheck(network, X, J).verdict
    'agrees to float64'
    >>> found = crosscheck(network, X, J[:8])
    >>> print(found.faults[0])
    missing samples: samples 4, 5 of 6 are missing: the last batch was dropped
    """
    if precision is not None:
        choice("precision", precision, tuple(NAMED))
    limit, seed = byte_count(memory) or 0, as_seed(rng)
    subject = subject_of(model)
    X, own = sample_of(subject, inputs), precision_of(model, subject)
    notes = []
    fixed = jacobian is not None and not callable(jacobian)
    X, note = _affordable(subject, X, limit, seed, fixed)
    notes += [note] if note else []
    if jacobian is None:
        X, note = _seen(subject, X, own)
        notes += [note] if note else []
        jacobian, method = differentiated(model, subject, X)
    else:
        method = "given"
        if callable(jacobian):
            jacobian, method = _called(jacobian, subject, X), _title(jacobian)
    outputs = subject.network.widths[-1]
    given = arranged(jacobian, subject, len(X), outputs)
    wanted = NAMED[precision] if precision else own
    return _checked(subject, X, given, method, wanted, own, ranks, seed, notes)


def assert_jacobian_matches(
    model: Any,
    inputs: ArrayLike,
    jacobian: Any = None,
    *,
    precision: str | None = None,
    rng: Seed = 0,
    memory: int | str = "4GB",
) -> None:
    """
    Raise unless a Jacobian agrees with the analytic one; for use in tests.

    Parameters
    ----------
    model, inputs, jacobian, precision, rng, memory
        As in `crosscheck`.

    Raises
    ------
    MismatchError
        If it does not agree: an AssertionError whose message names the faults and shows the table.
    ShapeError, KindError, NonFiniteError, ArgumentError, MemoryLimitError
        As by `crosscheck`.

    Examples
    --------
    >>> from patterndim import Network, parameter_jacobian
    >>> network = Network.random((3, 4, 2), rng=0, bias_std=0.1)
    >>> X = np.random.default_rng(0).normal(size=(6, 3))
    >>> assert_jacobian_matches(network, X, parameter_jacobian(network, X))
    >>> assert_jacobian_matches(network, X, -parameter_jacobian(network, X))
    Traceback (most recent call last):
    ...
    patterndim.errors.MismatchError: jacobian does not agree: sign flipped
    ...
    """
    found = crosscheck(
        model, inputs, jacobian, precision=precision, ranks=False, rng=rng, memory=memory
    )
    if not found.agrees:
        raise MismatchError(f"jacobian {found.verdict}\n{found}")


def _affordable(
    subject: Imported, X: FloatArray, limit: int, seed: int, fixed: bool
) -> tuple[FloatArray, str]:
    """Inputs, or so many of them that their Jacobian fits in memory."""
    network = subject.network
    each = 8 * COPIES * network.widths[-1] * network.parameter_count
    count = limit // each
    if count >= len(X):
        return X, ""
    if fixed or count == 0:
        raise MemoryLimitError(
            f"memory must be at least {each * (len(X) if fixed else 1)} bytes here, got {limit}"
            + (f": give the Jacobian of {count} inputs, or a function" if fixed and count else "")
        )
    chosen = np.sort(np.random.default_rng(seed).choice(len(X), count, replace=False))
    return X[chosen], f"{count} of {len(X)} inputs were drawn at random, which fit in memory"


def _seen(subject: Imported, X: FloatArray, own: Precision) -> tuple[FloatArray, str]:
    """Inputs as a source of lower precision sees them."""
    rounded = own.encode(X.astype(subject.dtype).astype(np.float64))
    if np.array_equal(rounded, X):
        return X, ""
    seen = own.name if own is BFLOAT16 else subject.dtype
    return rounded, f"the inputs were rounded to {seen}, as the model sees them"


def _called(jacobian: Callable[..., Any], subject: Imported, X: FloatArray) -> Any:
    """Result of a user's function, of the inputs or of (theta, inputs)."""
    try:
        parameters = inspect.signature(jacobian).parameters.values()
    except ValueError:  # a function without a signature
        return jacobian(X.copy())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    if len(required) == 2:
        return jacobian(subject.network.theta.copy(), X.copy())
    return jacobian(X.copy())


def _title(jacobian: Any) -> str:
    return f"by {getattr(jacobian, '__name__', type(jacobian).__name__)}"


# Entries may be near the largest number.
@np.errstate(over="ignore", invalid="ignore")
def _checked(
    subject: Imported,
    X: FloatArray,
    given: Given,
    method: str,
    wanted: Precision,
    own: Precision,
    ranks: bool | None,
    seed: int,
    notes: list[str],
) -> CrossCheck:
    network = subject.network
    array = given.shapings[0][0]
    holds = held(given, stored(array))
    start = next(level for level in LEVELS if level.unit >= max(holds.unit, wanted.unit))
    head, ordered = head_of(subject), given.ordered
    case = Case(network, X, array, head, subject.parameters, holds.smallest, ordered)
    finite = bool(np.isfinite(array).all())
    found = diagnose(case, given, start) if finite else not_finite(case)
    coarse, more = precision_fault(case, found, given, holds, wanted)
    faults = (*found.faults, *coarse, *forward_fault(subject, X, case, own))
    level = found.level or start
    blocks, worst = block_errors(case, found, level)
    dimension: Dimension | None = None
    counted: tuple[RecipeRank, ...] = ()
    if ranks is not False:
        output = "softmax" if "softmax" in case.head else "affine"
        dimension = local_dimension(network, X, output=output, rng=seed)
        shape = case.reference.J.shape
        if ranks or recipes.affordable(*shape):
            J = found.given if found.given.shape == shape and finite else case.reference.J
            double = holds is FLOAT64 and not faults
            counted = tuple(recipes.recipes(J, case.reference.J, double))
        else:
            notes.append("singular values would take long: ranks=True finds them")
    return CrossCheck(
        agrees=not faults,
        faults=faults,
        notes=(*notes, *found.notes, *more),
        source=f"{subject.source} {'-'.join(str(width) for width in network.widths)}",
        method=method,
        inputs=len(X),
        outputs=network.widths[-1],
        parameter_count=network.parameter_count,
        hidden_neurons=network.hidden_neurons,
        dtype=given.dtype,
        precision=None if found.level is None else _name(found.level, holds, given.precision),
        bits=found.bits,
        eps=level.eps,
        allowed=case.limit(level) / level.eps,
        worst=worst,
        blocks=blocks,
        masks=found.masks,
        ties=len(case.pattern.ties),
        ranks=counted,
        dimension=dimension,
    )


def _name(level: Precision, holds: Precision, given: Precision) -> str:
    """Name of the precision reached: that of the entries where they hold no more."""
    limits = (level, given) if level is FLOAT64 else (holds, level, given)
    return max(limits, key=lambda limit: limit.unit).name
