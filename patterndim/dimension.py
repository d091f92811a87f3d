"""The local dimension of a network: the rank of its parameter Jacobian at a sample."""

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from patterndim import elimination, spectral
from patterndim.architecture import Architecture
from patterndim.elimination import Progress
from patterndim.errors import KindError, MemoryLimitError
from patterndim.frozen import FrozenJacobian
from patterndim.heads import Head
from patterndim.network import Network
from patterndim.pattern import ActivationPattern, activation_pattern, check_inputs
from patterndim.rank.result import Rank
from patterndim.typing import ArrayLike, Output, Seed
from patterndim.validation import byte_count, callable_or_none, choice, float_array, integer
from patterndim.validation import seed as as_seed

METHODS = ("modular", "sketched", "numerical")


@dataclass(frozen=True)
class Dimension(Rank):
    """
    A dimension with its evidence: a `Rank` and what is known about the pattern.

    Attributes
    ----------
    ties : int
        Preactivations that are exactly zero.  There the network is not differentiable and no
        theorem applies; ``value`` is the rank with those neurons inactive.
    uncertain : int
        Signs that needed exact arithmetic.
    bound : str
        Which bound ``upper`` is: "outputs" (N n_L, or N (n_L - 1) behind a softmax, or a bound of
        the sum of the ranks of the Jacobians of the head),
        "parameters" (live parameters minus rescalings), "regions" or "inputs" (the number, or the
        rank, of the inputs in each perceived activation region) or "symmetries" (live parameters
        minus rescalings and what linear and aligned neurons add).
    """

    ties: int = 0
    uncertain: int = 0


def _check_memory(frozen: FrozenJacobian, method: str, limit: int | None) -> None:
    need = spectral.need(frozen, method)
    if limit is not None and need > limit:
        raise MemoryLimitError(f"memory must be at least {need} bytes here, got {limit}")


def _check_executor(executor: object) -> None:
    if executor is not None and not isinstance(executor, Executor):
        raise KindError(f"executor must be a concurrent.futures.Executor, got {executor!r}")


def as_dimension(rank: Rank, frozen: FrozenJacobian) -> Dimension:
    """Add to a rank what is known about the pattern."""
    pattern = frozen.pattern
    ties, uncertain = len(pattern.ties), len(pattern.uncertain)
    found = {**vars(rank), "bound": rank.bound or frozen.upper.name}
    return Dimension(**found, ties=ties, uncertain=uncertain)


def local_dimension(
    network: Network,
    inputs: ArrayLike,
    *,
    method: str = "modular",
    output: Output = "affine",
    rng: Seed = 0,
    primes: int | None = None,
    memory: int | str | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Dimension:
    """
    Rank of the parameter Jacobian at a sample.

    The dimension of the set of outputs ``f_theta(X)`` reached by moving the parameters near
    ``theta``, the inputs staying fixed.  For almost every ``theta`` it is determined by the
    activation pattern of the sample [1]_; it is unchanged by positive rescaling and permutation
    of hidden neurons, and (without identity connections) at most the number of parameters minus
    that of hidden neurons.

    The default method is exact arithmetic modulo a random prime: its value is a lower bound for
    certain, and "proved" where it meets an upper bound that holds for certain.

    Parameters
    ----------
    network : Network
        ReLU network with P parameters.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    method : {"modular", "sketched", "numerical"}
        Elimination of a structured sketch modulo a prime; singular values of a float64 sketch;
        singular values of J itself (which takes N * n_L * P * 8 bytes).
    output : {"affine", "softmax"} or array of float64, shape (k, n_L) or (N, k, n_L)
        What stands behind the outputs: nothing; a softmax, which loses one dimension per input;
        or a differentiable head, by its Jacobian with respect to the outputs, one matrix for all
        inputs or one for each.  Floats are exact numbers here: the Jacobian of a softmax rounded
        to float64 has full rank.
    rng : int or numpy.random.Generator
        Source of the random prime and sketch.  The same seed gives the same result for any
        number of threads.
    primes : int, optional
        Most independent primes (and sketches) to try while a modular rank is not proved; the
        failure probabilities multiply.  By default 2, or 1 where the rank is so large that one
        leaves a bound on the failure probability above 1/2, which a second would hardly lower.
    memory : int or str, optional
        Most bytes of working memory, such as ``"2GB"``, beside the sample and its pattern.  The
        modular method goes through inputs and columns in smaller steps to keep to it, with the
        same result; with an executor it holds for this process.
    progress : callable, optional
        Called as ``progress(rank so far, upper bound)`` now and then.
    executor : concurrent.futures.Executor, optional
        Where the sketch is computed, in tasks of some columns at some inputs: threads, processes,
        or a cluster through dask's ``Client.get_executor()``.  The result is the same.

    Returns
    -------
    Dimension
        ``value`` from 0 to ``upper``; ``kind`` says whether it is proved, probable (with its
        failure probability) or numerical (with its gap).

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``inputs`` is not a finite real array of shape (N, n_0), ``output`` not as above, or
        for the float methods if the network overflows float64 there.
    ArgumentError
        If an option is not one of those above.
    MemoryLimitError
        If the computation would need more than ``memory``.

    See Also
    --------
    generic_dimension : the same for almost all parameters with the same pattern.

    References
    ----------
    .. [1] J. Bona-Pellissier, F. Malgouyres, F. Bachoc, "Geometry-induced implicit
       regularization in deep ReLU neural networks", arXiv:2402.08269.

    Examples
    --------
    With every input active the rows of J are (2x, 2, x, 1): x and 1 span 2 dimensions.

    >>> from patterndim import Network
    >>> network = Network.from_layers([[[1.0]], [[2.0]]], [[0.0], [0.0]])
    >>> dimension = local_dimension(network, [[1.0], [2.0], [3.0]])
    >>> dimension.value, dimension.kind, dimension.bound
    (2, 'proved', 'regions')
    """
    choice("method", method, METHODS)
    seed, limit = as_seed(rng), byte_count(memory)
    callable_or_none("progress", progress)
    _check_executor(executor)
    if primes is not None:
        integer("primes", primes, low=1)
    X = check_inputs(network, inputs)
    head = Head.of(output, network.widths[-1], len(X))
    pattern = activation_pattern(network, X)
    frozen = FrozenJacobian.build(network.architecture, X, pattern, head)
    if method == "modular":
        exact = partial(elimination.modular, limit=limit, executor=executor)
        return as_dimension(exact(frozen, network.theta, seed, primes, progress), frozen)
    _check_memory(frozen, method, limit)
    if method == "sketched":
        return as_dimension(spectral.sketched(frozen, network, seed), frozen)
    return as_dimension(spectral.numerical(frozen, network), frozen)


def generic_dimension(
    network: Network | Architecture,
    inputs: ArrayLike,
    pattern: ActivationPattern | None = None,
    *,
    output: Output = "affine",
    rng: Seed = 0,
    primes: int | None = None,
    memory: int | str | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Dimension:
    """
    Rank of the parameter Jacobian at almost all parameters with a frozen pattern.

    The masks and the sample stay, the parameters are random residues modulo a random prime: the
    rank is the dimension of the cell of parameter space with this pattern, and of the variety of
    its outputs.  `local_dimension` equals it for almost every ``theta`` in the cell and never
    exceeds it.

    Parameters
    ----------
    network : Network or Architecture
        ReLU network; its parameters only serve to find the pattern.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    pattern : ActivationPattern, optional
        Masks of shapes (N, n_l), whether or not some network has them at this sample.  By
        default the pattern of the network.
    output, rng, primes, memory, progress, executor
        As in `local_dimension`.

    Returns
    -------
    Dimension
        "proved" where a certain lower and upper bound meet, otherwise "probable": the failure
        probability adds the Schwartz-Zippel bound for the random parameters.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``inputs`` is not a finite real array of shape (N, n_0), the pattern does not fit, or
        an architecture comes without a pattern.
    ArgumentError, MemoryLimitError
        As in `local_dimension`.

    References
    ----------
    .. [1] J. Bona-Pellissier, F. Malgouyres, F. Bachoc, "Geometry-induced implicit
       regularization in deep ReLU neural networks", arXiv:2402.08269.

    Examples
    --------
    With the second output weight 0 the network loses a dimension that its cell has.

    >>> from patterndim import Network
    >>> network = Network.from_layers([[[1.0], [1.0]], [[1.0, 0.0]]], [[-1.5, -3.5], [0.0]])
    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]
    >>> int(local_dimension(network, X)), int(generic_dimension(network, X))
    (4, 5)
    """
    seed, limit = as_seed(rng), byte_count(memory)
    callable_or_none("progress", progress)
    _check_executor(executor)
    if primes is not None:
        integer("primes", primes, low=1)
    if isinstance(network, Network):
        X, architecture = check_inputs(network, inputs), network.architecture
        pattern = activation_pattern(network, X) if pattern is None else pattern
    elif isinstance(network, Architecture):
        architecture = network
        X = float_array("inputs", inputs, ("N", architecture.widths[0]))
    else:
        raise KindError(f"network must be a Network or Architecture, got {type(network).__name__}")
    if not isinstance(pattern, ActivationPattern):
        raise KindError(f"pattern must be an ActivationPattern, got {type(pattern).__name__}")
    pattern.check(architecture, len(X))
    head = Head.of(output, architecture.widths[-1], len(X))
    frozen = FrozenJacobian.build(architecture, X, pattern, head)
    exact = partial(elimination.modular, limit=limit, executor=executor)
    return as_dimension(exact(frozen, None, seed, primes, progress), frozen)
