"""The functional dimension of a network: the largest local dimension at any sample."""

from collections.abc import Sequence

from patterndim import regions
from patterndim.elimination import Progress
from patterndim.errors import ArgumentError, KindError
from patterndim.functional.formal import formal
from patterndim.functional.patterns import count
from patterndim.functional.result import FunctionalDimension, Search
from patterndim.functional.sampling import Draws, Sampler, gaussian, sample
from patterndim.heads import Head
from patterndim.network import Network
from patterndim.pattern import ActivationPattern
from patterndim.typing import ArrayLike, Output, Seed
from patterndim.validation import byte_count, callable_or_none, choice, integer, number
from patterndim.validation import seed as as_seed

METHODS = ("sample", "patterns", "exact")


def functional_dimension(
    network: Network,
    *,
    method: str = "sample",
    sampler: Sampler | None = None,
    scale: float = 1.0,
    patience: int = 1000,
    limit: int = 100_000,
    patterns: ActivationPattern | Sequence[ArrayLike] | None = None,
    output: Output = "affine",
    rng: Seed = 0,
    primes: int = 2,
    memory: int | str | None = None,
    progress: Progress | None = None,
) -> FunctionalDimension:
    """
    Largest local dimension of a network at any sample, its parameters staying fixed.

    The supremum of the rank of the parameter Jacobian over all finite samples [1]_; also called
    the computable full functional dimension [2]_.  It is unchanged by positive rescaling and
    permutation of hidden neurons, and at most the number P of parameters minus that of
    independent rescalings (H, for a multilayer perceptron) and that of what linear layers hide.

    Only activation regions with interior count: inputs drawn on a boundary are moved off it.
    Within a region the rows of J are affine in the input, so n_0 + 1 inputs per region are
    enough, and they need not lie in it: with its masks, 0 and the unit vectors do.

    Parameters
    ----------
    network : Network
        ReLU network with P parameters.
    method : {"sample", "patterns", "exact"}
        Random inputs until they add nothing; the regions of given patterns; all regions, for
        n_0 = 1 or 2, by `regions.space`.
    sampler : callable, optional
        For "sample": ``sampler(rng, count)`` returns inputs of shape (count, n_0).  By default
        they are Gaussian, independent, of mean 0 and standard deviation ``scale``.
    scale : float
        Positive standard deviation of the default sampler.  Small scales see the regions near
        0, large ones the unbounded regions; a sample finds what its sampler reaches.
    patience, limit : int
        For "sample": the sample grows until ``patience`` draws in a row have not raised the
        dimension, the bound is met, or there are ``limit`` draws.
    patterns : ActivationPattern or sequence of arrays of bool, shapes (N, n_l)
        For "patterns": one pattern per row, one array per hidden layer.
    output : {"affine", "softmax"} or array of float64, shape (k, n_L)
        As in `local_dimension`, one matrix for all inputs.
    rng, primes, memory, progress
        As in `local_dimension`.

    Returns
    -------
    FunctionalDimension
        "proved" where it meets an upper bound that holds for certain; otherwise ``complete``,
        ``reason`` and the failure probabilities say what is known.

    Raises
    ------
    ArgumentError
        If an option is not one of those above, the method is "exact" with more than two inputs.
    ShapeError, NonFiniteError, KindError
        If the sampler or the patterns do not fit the network.
    MemoryLimitError
        If the computation would need more than ``memory``.

    See Also
    --------
    local_dimension : at one given sample.

    References
    ----------
    .. [1] J. E. Grigsby, K. Lindsey, R. Meyerhoff, C. Wu, "Functional dimension of feedforward
       ReLU neural networks", arXiv:2209.04036.
    .. [2] J. Bona-Pellissier, F. Malgouyres, F. Bachoc, "Geometry-induced implicit
       regularization in deep ReLU neural networks", arXiv:2402.08269.

    Examples
    --------
    The tent map composed with itself: no sample reaches P - H = 9.  On one of its six regions,
    x < 0, a preactivation of the second layer is zero throughout.

    >>> weights = [[[1.0], [1.0]], [[2.0, -4.0], [2.0, -4.0]], [[2.0, -4.0]]]
    >>> network = Network.from_layers(weights, [[0.0, -0.5], [0.0, -0.5], [0.0]])
    >>> found = functional_dimension(network, method="exact")
    >>> found.value, found.upper, found.regions, found.ties, found.complete
    (8, 9, 6, 1, True)
    >>> functional_dimension(Network.random((10, 10, 10, 1), rng=0, bias_std=0.1)).kind
    'proved'
    """
    choice("method", method, METHODS)
    callable_or_none("progress", progress)
    callable_or_none("sampler", sampler)
    integer("patience", patience, low=1)
    integer("limit", limit, low=1)
    integer("primes", primes, low=1)
    if number("scale", scale, low=0.0) == 0.0:
        raise ArgumentError("scale must be positive, got 0")
    if not isinstance(network, Network):
        raise KindError(f"network must be a patterndim.Network, got {type(network).__name__}")
    if (patterns is not None) != (method == "patterns"):
        raise ArgumentError(
            f'patterns must be given with method "patterns" and no other, got method "{method}"'
        )
    head = Head.of(output, network.widths[-1])
    search = Search(network, head, as_seed(rng), primes, byte_count(memory), progress)
    if method == "sample":
        draws = Draws(network, sampler or gaussian(network.widths[0], scale), search.seed)
        return sample(search, draws, patience, limit)
    if method == "exact":
        return formal(search, regions.space(network).pattern, every=True)
    pattern = patterns
    if not isinstance(pattern, ActivationPattern):
        pattern = ActivationPattern.from_masks(pattern)  # type: ignore[arg-type]
    pattern.check(network.architecture, count(pattern))
    return formal(search, pattern, every=False)
