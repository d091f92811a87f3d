"""Where the difference between the number of parameters and the local dimension goes."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from patterndim import elimination
from patterndim.arithmetic import Modular, Real, random_prime
from patterndim.dimension import Dimension, as_dimension
from patterndim.elimination import Progress
from patterndim.errors import MemoryLimitError
from patterndim.frozen import FrozenJacobian
from patterndim.heads import Head
from patterndim.invisible import complement, orthonormal
from patterndim.live import live_parameters
from patterndim.network import Network
from patterndim.neurons import Mechanism, NeuronState, mechanisms, neuron_states
from patterndim.pattern import activation_pattern, check_inputs
from patterndim.plan import SPARE
from patterndim.rank.echelon import Echelon
from patterndim.redundancy import SYMMETRIES, Share, blocks, dead_by_layer, shares, symmetry_size
from patterndim.rows import combine_rows
from patterndim.typing import ArrayLike, FloatArray, Output, Seed
from patterndim.validation import callable_or_none, float_array, integer
from patterndim.validation import seed as as_seed

#: Most bytes of the directions of all symmetries.
LARGEST = 2**31
#: Causes in the order in which directions are attributed to them.
CAUSES = ("dead", "rescaling", "softmax", "head", "linear", "aligned", "hidden", "few inputs")


@dataclass(frozen=True, eq=False)
class Explanation:
    """
    Where P minus the local dimension goes: shares that add up exactly.

    Attributes
    ----------
    network : Network
        The network.
    inputs, probes : int
        Size of the sample, and number of further inputs that were tried.
    dimension : Dimension
        Local dimension at the sample.
    reachable : Dimension
        Local dimension at the sample and the further inputs together.
    shares : tuple of Share
        Their counts add up to P - dimension.value: those of scope "always" to
        P - reachable.value, those of scope "sample" to the rest.
    neurons : tuple of NeuronState
        What every hidden neuron does on the sample, and on all inputs that were tried.
    mechanisms : tuple of Mechanism
        What in the network makes directions invisible to all inputs that were tried.
    modulus : int
        The prime modulo which the symmetries were counted.
    """

    network: Network
    inputs: int
    probes: int
    dimension: Dimension
    reachable: Dimension
    shares: tuple[Share, ...]
    neurons: tuple[NeuronState, ...]
    mechanisms: tuple[Mechanism, ...]
    modulus: int
    _wide: FrozenJacobian = field(repr=False)

    @cached_property
    def hidden_basis(self) -> FloatArray:
        """
        Orthonormal directions of the hidden symmetries, shape (k, P), k = count("hidden").

        No input that was tried shows them, and they are orthogonal to all that is explained: dead
        parameters, rescalings, mixing of linear and aligned neurons.  They are found when they
        are asked for, by the singular vectors of J, which is formed.

        Examples
        --------
        Two neurons with opposite gates and the output bias: a constant can go either way.

        >>> network = Network.from_layers([[[1.0], [-1.0]], [[1.0, 1.0]]], [[0.5, -0.5], [0.0]])
        >>> X = [[0.0], [1.0], [-1.0], [-2.0]]
        >>> explanation = explain(network, X, probes=0)
        >>> explanation.count("hidden"), explanation.hidden_basis.shape
        (1, (1, 7))
        """
        count = self.count("hidden")
        if not count:
            return np.zeros((0, self.network.parameter_count))
        wide, theta = self._wide, self.network.theta
        basis, _, _ = orthonormal(wide, self.network, self.reachable.value)
        live = live_parameters(wide.architecture, wide.X, wide.passing, wide.head.reach, theta)
        known = (block.vectors for block in blocks(wide, theta, Real(), SYMMETRIES))
        return complement(basis, ~live.parameters(wide.architecture), known, count)

    @property
    def deficit(self) -> int:
        """P minus the local dimension: the flatness."""
        return self.network.parameter_count - self.dimension.value

    def count(
        self, cause: str | None = None, *, scope: str | None = None, layer: int | None = None
    ) -> int:
        """
        Sum of the shares of a cause, scope and layer (None for all).

        Examples
        --------
        >>> explanation = explain(Network.random((2, 3, 1), rng=0), np.eye(2))
        >>> explanation.count() == explanation.deficit
        True
        """
        return sum(
            share.count
            for share in self.shares
            if cause in (None, share.cause)
            and scope in (None, share.scope)
            and layer in (None, share.layer)
        )


def explain(
    network: Network,
    inputs: ArrayLike,
    *,
    probes: ArrayLike | int | None = None,
    output: Output = "affine",
    rng: Seed = 0,
    primes: int | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """
    Why the local dimension is below the number of parameters: a balance that adds up.

    Directions that leave the outputs unchanged to first order are attributed in this order.
    First those that no input shows, neither the sample nor further ones (``probes``): parameters
    of dead neurons, rescalings, what a head hides, mixing and shifting of linear neurons,
    mixing of aligned neurons, and what is left, hidden symmetries.  Then those that the further
    inputs show and the sample does not: because neurons are dead, linear or aligned on it, and
    what is left, too few inputs.  Each share is a difference of dimensions of nested subspaces,
    counted exactly modulo a prime.

    Parameters
    ----------
    network : Network
        ReLU network with P parameters.
    inputs : array of float64, shape (N, n_0)
        The sample, one input per row.
    probes : int or array of float64, shape (M, n_0), optional
        Further inputs, or how many of them to draw: Gaussian around the mean of the sample, at
        standard deviations from a tenth to a hundred times that of the sample.  By default so
        many that twice the number of parameters is met by outputs.  0 for none.
    output : {"affine", "softmax"} or array of float64, shape (k, n_L) or (N, k, n_L)
        As in `local_dimension`; one matrix for each input only with ``probes=0``.
    rng, primes, progress
        As in `local_dimension`.

    Returns
    -------
    Explanation
        Shares by cause and layer, and the state of every hidden neuron.

    Raises
    ------
    ShapeError, NonFiniteError, KindError, ArgumentError
        If an argument is not as above.
    MemoryLimitError
        If so many neurons are linear or aligned that their symmetries take more than 2 GiB.

    References
    ----------
    .. [1] J. E. Grigsby, K. Lindsey, D. Rolnick, "Hidden Symmetries of ReLU Networks",
       arXiv:2306.06179.

    Examples
    --------
    Two right-facing neurons between the same inputs are aligned: each can take up the other.

    >>> network = Network.from_layers([[[1.0], [1.0]], [[1.0, 1.0]]], [[-1.5, -1.2], [0.0]])
    >>> explanation = explain(network, [[0.0], [1.0], [2.0], [3.0]], probes=0)
    >>> explanation.deficit, explanation.count("rescaling"), explanation.count("aligned")
    (4, 2, 2)
    """
    seed = as_seed(rng)
    if primes is not None:
        integer("primes", primes, low=1)
    callable_or_none("progress", progress)
    X = check_inputs(network, inputs)
    generator = np.random.default_rng(seed)
    extra = _probes(network, X, probes, generator)
    head = Head.of(output, network.widths[-1], None if len(extra) else len(X))
    frozen = _freeze(network, X, head)
    wide = _freeze(network, np.concatenate([X, extra]), head) if len(extra) else frozen
    if (need := 8 * max(symmetry_size(frozen), symmetry_size(wide))) > LARGEST:
        raise MemoryLimitError(
            f"network must have fewer linear or aligned neurons in a layer, got symmetries of "
            f"{need} bytes, more than {LARGEST}: local_dimension does without them"
        )
    rank = elimination.modular(frozen, network.theta, seed, primes, progress)
    most = rank
    if len(extra):
        most = elimination.modular(wide, network.theta, seed, primes, progress)
        # The larger sample has at least the dimension of the smaller one.
        most = replace(most, value=max(most.value, rank.value), lower=max(most.lower, rank.lower))
    arithmetic = Modular(random_prime(generator))
    theta = arithmetic.encode(network.theta)
    found = _always(wide, network, theta, arithmetic, most.value)
    found += _sample(frozen, wide, network, theta, arithmetic, most.value - rank.value, generator)
    states = neuron_states(frozen, wide, network.theta)
    return Explanation(
        network,
        len(X),
        len(extra),
        as_dimension(rank, frozen),
        as_dimension(most, wide),
        tuple(share for share in found if share.count),
        states,
        mechanisms(network.architecture, states),
        arithmetic.modulus,
        wide,
    )


def _freeze(network: Network, X: FloatArray, head: Head) -> FrozenJacobian:
    return FrozenJacobian.build(network.architecture, X, activation_pattern(network, X), head)


def _probes(
    network: Network, X: FloatArray, probes: ArrayLike | int | None, rng: np.random.Generator
) -> FloatArray:
    """Further inputs: given, or drawn so that near and far regions are met."""
    if probes is None:
        probes = -(-2 * network.parameter_count // network.widths[-1])
    if hasattr(probes, "__dlpack__") or np.ndim(probes) > 0:
        return float_array("probes", probes, ("M", network.widths[0]))
    count = integer("probes", probes, low=0)
    spread = X.std() or 1.0
    scale = spread * 10.0 ** rng.uniform(-1.0, 2.0, (count, 1))
    drawn: FloatArray = X.mean() + scale * rng.standard_normal((count, network.widths[0]))
    return drawn


def _always(
    wide: FrozenJacobian, network: Network, theta: FloatArray, arithmetic: Modular, rank: int
) -> list[Share]:
    """Shares of what no input shows; what the symmetries leave is hidden."""
    live = live_parameters(wide.architecture, wide.X, wide.passing, wide.head.reach, network.theta)
    found = shares(wide, theta, arithmetic, live.parameters(wide.architecture))
    known = sum(share.count for share in found)
    hidden = network.parameter_count - rank - known
    return [*found, Share("always", "hidden", None, (), hidden)]


def _sample(
    frozen: FrozenJacobian,
    wide: FrozenJacobian,
    network: Network,
    theta: FloatArray,
    arithmetic: Modular,
    missing: int,
    rng: np.random.Generator,
) -> list[Share]:
    """
    Shares of what only this sample does not show: ``missing`` dimensions in all.

    A direction v of the kernel at the sample is new if the larger Jacobian does not map it to 0,
    so the shares are ranks of images.  They are at most ``missing``, so as many random
    combinations of the rows of the larger Jacobian, and a few spare ones, tell them apart.
    """
    if not missing:
        return []
    rows = combine_rows(wide, theta, arithmetic, rng, missing + SPARE)
    echelon = Echelon(arithmetic, len(rows))
    live = live_parameters(
        frozen.architecture, frozen.X, frozen.passing, frozen.head.reach, network.theta
    )
    dead = ~live.parameters(frozen.architecture)
    found = []
    for layer, where in dead_by_layer(frozen, dead):
        grown = echelon.extend(np.ascontiguousarray(rows[:, where].T)) if where.any() else 0
        found.append(Share("sample", "dead", layer, (), grown))
    for block in blocks(frozen, theta, arithmetic, ("linear", "aligned")):
        image = arithmetic.product(block.vectors, np.ascontiguousarray(rows.T))
        grown = echelon.extend(image)
        found.append(Share("sample", block.cause, block.layer, block.neurons, grown))
    left = missing - echelon.rank
    return [*found, Share("sample", "few inputs", None, (), left)]
