"""Local dimensions of one architecture at many parameter vectors."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from patterndim.architecture import Architecture
from patterndim.bulk import BOUNDS, Bulk, Found, fits
from patterndim.dimension import Dimension, local_dimension
from patterndim.heads import OUTPUTS, Head
from patterndim.network import Network
from patterndim.typing import AnyArray, ArrayLike, BoolArray, FloatArray, IntArray, Output, Seed
from patterndim.validation import callable_or_none, float_array, integer, real_array
from patterndim.validation import seed as as_seed


@dataclass(frozen=True, eq=False)
class Dimensions:
    """
    Dimensions of K networks with their evidence; item k is the `Dimension` of network k.

    Attributes
    ----------
    value : array of int64, shape (K,)
        The dimensions found.
    lower, upper : array of int64, shape (K,)
        Bounds that hold for certain; ``lower`` is ``value``.
    proved : array of bool, shape (K,)
        Where ``lower == upper``: no probability is involved there.
    failure_probability : array of float64, shape (K,)
        Bound on the chance, over the random primes and tests, that the dimension of this one
        network is above ``value``; 0 where proved.
    ties, uncertain : array of int64, shape (K,)
        Preactivations that are exactly zero, and signs that needed exact arithmetic.
    bound : array of str, shape (K,)
        Which bound ``upper`` is, as in `Dimension`.
    modulus : array of int64, shape (K,)
        The primes modulo which the values were found.
    seed : int
        Reproduces the result.
    """

    value: IntArray
    lower: IntArray
    upper: IntArray
    proved: BoolArray
    failure_probability: FloatArray
    ties: IntArray
    uncertain: IntArray
    bound: AnyArray
    modulus: IntArray
    seed: int

    def __len__(self) -> int:
        """Return the number K of networks."""
        return len(self.value)

    def __getitem__(self, k: int) -> Dimension:
        """Return the dimension of network k."""
        k = range(len(self))[k]
        return Dimension(
            int(self.value[k]),
            "proved" if self.proved[k] else "probable",
            lower=int(self.lower[k]),
            upper=int(self.upper[k]),
            failure_probability=float(self.failure_probability[k]),
            modulus=int(self.modulus[k]),
            seed=self.seed,
            ties=int(self.ties[k]),
            uncertain=int(self.uncertain[k]),
            bound=str(self.bound[k]),
        )

    def __iter__(self) -> Iterator[Dimension]:
        """Iterate over the dimensions of the networks."""
        return (self[k] for k in range(len(self)))


def local_dimensions(
    architecture: Architecture | Sequence[int],
    thetas: ArrayLike,
    inputs: ArrayLike,
    *,
    output: Output = "affine",
    rng: Seed = 0,
    primes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Dimensions:
    """
    Ranks of the parameter Jacobians of one architecture at many parameter vectors.

    What `local_dimension` finds for each of K networks, in one call.  Values are the same; the
    random primes and failure probabilities differ, and bounds of unproved ranks, for which
    `local_dimension` alone counts the symmetries on the sample.  Networks of at
    most `bulk.LARGEST` parameters are worked on by compiled loops, a thread for each range of
    networks; larger ones one by one, each on all threads.

    A small network takes the rows of J one after the other, modulo a prime, until the rank meets
    its upper bound.  Each row is first tested against two random null vectors of those before:
    a dependent row passes for certain, an independent one with probability p**-2 [1]_.

    Parameters
    ----------
    architecture : Architecture or sequence of int
        Layers and connections, or the widths n_0, ..., n_L of a multilayer perceptron.
    thetas : array of float64, shape (K, P)
        Parameter vectors, one network per row.
    inputs : array of float64, shape (N, n_0) or (K, N, n_0)
        One sample for all networks, or a sample for each; one input per row.
    output : {"affine", "softmax"} or array of float64, shape (k, n_L)
        The outputs themselves, their softmax, which loses one dimension per input, or linear
        combinations of them (by one `local_dimension` for each network).
    rng : int or numpy.random.Generator
        Source of the random primes and tests.  The same seed gives the same result for any
        number of threads, and what it gives for one network does not depend on the others.
    primes : int
        Most independent primes to try while a rank is not proved; failure probabilities multiply.
    progress : callable, optional
        Called as ``progress(networks done, K)`` now and then.

    Returns
    -------
    Dimensions
        Arrays of shape (K,): values, bounds, which values are proved, failure probabilities.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If ``thetas`` or ``inputs`` is not a finite real array of such a shape.
    ArgumentError
        If an option is not one of those above, or the widths make no architecture.

    See Also
    --------
    local_dimension : one network, with more methods.

    References
    ----------
    .. [1] R. Freivalds, "Probabilistic machines can use less running time", IFIP Congress 1977.

    Examples
    --------
    The network x -> w_2 max(w_1 x, 0) at inputs of both signs, for four parameter vectors.

    >>> from patterndim import Architecture
    >>> architecture = Architecture.from_widths((1, 1, 1), bias=False)
    >>> thetas = [[1.0, 2.0], [-1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
    >>> dimensions = local_dimensions(architecture, thetas, [[1.0], [2.0], [-3.0]])
    >>> dimensions.value, dimensions.proved, dimensions.ties
    (array([1, 1, 0, 1]), array([ True,  True,  True,  True]), array([0, 0, 3, 0]))
    >>> int(dimensions[1])
    1
    """
    seed = as_seed(rng)
    callable_or_none("progress", progress)
    integer("primes", primes, low=1)
    if not isinstance(architecture, Architecture):
        architecture = Architecture.from_widths(architecture)
    thetas = float_array("thetas", thetas, ("K", architecture.parameter_count))
    inputs = real_array("inputs", inputs)
    shape = ("N", architecture.widths[0])
    X = float_array("inputs", inputs, (len(thetas), *shape) if inputs.ndim == 3 else shape)
    X = X if X.ndim == 3 else X[np.newaxis]
    head = Head.of(output, architecture.widths[-1])
    if fits(architecture) and head.name in OUTPUTS:
        return _dimensions(Bulk(architecture, head, seed, primes).run(thetas, X, progress), seed)
    found = Found.nothing(len(thetas))
    for k, theta in enumerate(thetas):
        network, sample = Network(architecture, theta), X[k if len(X) > 1 else 0]
        one = local_dimension(network, sample, output=output, rng=seed, primes=primes)
        found.value[k], found.upper[k], found.bound[k] = (
            one.value,
            one.upper,
            BOUNDS.index(one.bound),
        )
        found.ties[k], found.uncertain[k] = one.ties, one.uncertain
        found.modulus[k], found.failure[k] = one.modulus or 0, one.failure_probability or 0.0
        if progress is not None:
            progress(k + 1, len(thetas))
    return _dimensions(found, seed)


def _dimensions(found: Found, seed: int) -> Dimensions:
    return Dimensions(
        value=found.value,
        lower=found.value.copy(),
        upper=found.upper,
        proved=found.value == found.upper,
        failure_probability=found.failure,
        ties=found.ties,
        uncertain=found.uncertain,
        bound=np.array(BOUNDS)[found.bound],
        modulus=found.modulus,
        seed=seed,
    )
