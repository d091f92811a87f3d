"""
All activation regions of a network with one or two inputs, in exact arithmetic.

On a cell where the earlier layers have constant masks every preactivation is one linear form in
homogeneous coordinates (x, w), with integer coefficients up to a power of two that is common to
its layer: weights are dyadic rationals.  So the cells are cut layer by layer, neuron by neuron
(B. Hanin, D. Rolnick, arXiv:1906.00904, for the counting on lines and planes).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from patterndim.dyadic import IntegerArray, dyadic
from patterndim.errors import ArgumentError, KindError
from patterndim.network import Network
from patterndim.pattern import ActivationPattern
from patterndim.regions.cones import Cone, Ray, cut, orthants
from patterndim.regions.integers import IntegerLayer
from patterndim.regions.result import Regions
from patterndim.typing import ArrayLike
from patterndim.validation import float_array

#: Most inputs n_0 of a network whose regions can be enumerated.
MOST_INPUTS = 2


def space(network: Network) -> Regions:
    """
    Activation regions of the whole input space, unbounded ones included.

    Every step is in integers, so the answer is exact and complete for the network as it is
    stored in float64.

    Parameters
    ----------
    network : Network
        ReLU or leaky ReLU network with n_0 = 1 or 2 inputs.

    Returns
    -------
    Regions
        All regions with interior, sorted by their masks.

    Raises
    ------
    ArgumentError
        If the network has more than two inputs.
    KindError
        If ``network`` is not a Network.

    See Also
    --------
    box : the same within bounds.

    References
    ----------
    .. [1] B. Hanin, D. Rolnick, "Deep ReLU networks have surprisingly few activation patterns",
       arXiv:1906.00904.

    Examples
    --------
    Five lines in general position cut the plane into 1 + 5 + 10 regions.

    >>> len(space(Network.random((2, 5, 1), rng=0, bias_std=0.1)))
    16
    """
    return _enumerate(network, orthants(_inputs(network)))


def box(network: Network, low: ArrayLike, high: ArrayLike) -> Regions:
    """
    Activation regions that meet the interior of a box, cut off at its sides.

    Parameters
    ----------
    network : Network
        ReLU or leaky ReLU network with n_0 = 1 or 2 inputs.
    low, high : array of float64, shape (n_0,)
        Two opposite corners, ``low < high`` in every coordinate.

    Returns
    -------
    Regions
        All regions with interior in the box, sorted by their masks; all are bounded.

    Raises
    ------
    ShapeError, NonFiniteError, KindError
        If a corner is not a finite real vector of n_0 entries.
    ArgumentError
        If ``low`` is not below ``high``, or the network has more than two inputs.

    See Also
    --------
    space : the regions of the whole input space.

    Examples
    --------
    The regions of relu(x) and relu(x - 1) on the line are 3, those that meet [0, 1] only 1.

    >>> network = Network.from_layers([[[1.0], [1.0]], [[1.0, 1.0]]], [[0.0, -1.0], [0.0]])
    >>> len(space(network)), len(box(network, [0.0], [1.0]))
    (3, 1)
    """
    inputs = _inputs(network)
    lower, upper = float_array("low", low, (inputs,)), float_array("high", high, (inputs,))
    if not (lower < upper).all():
        raise ArgumentError(f"low must be below high, got {lower.tolist()} and {upper.tolist()}")
    corners, exponent = dyadic(np.stack([lower, upper]))
    scale = 1 << max(-exponent, 0)
    (x0, *y0), (x1, *y1) = (corners * (1 << max(exponent, 0))).tolist()
    if inputs == 1:
        return _enumerate(network, [[(x0, scale), (x1, scale)]])
    around = [(x0, *y0, scale), (x1, *y0, scale), (x1, *y1, scale), (x0, *y1, scale)]
    return _enumerate(network, [around])


def _inputs(network: Network) -> int:
    if not isinstance(network, Network):
        raise KindError(f"network must be a patterndim.Network, got {type(network).__name__}")
    inputs = network.widths[0]
    if inputs > MOST_INPUTS:
        raise ArgumentError(f"network must have at most {MOST_INPUTS} inputs, got n_0 = {inputs}")
    return inputs


@dataclass(frozen=True)
class _Cell:
    """
    Part of the input space with constant masks in the layers so far.

    ``forms[v]`` holds the activations of layer v, one linear form per row: array of Python
    integers, shape (n_v, n_0 + 1), up to the power of two of the layer.
    """

    cone: Cone
    masks: tuple[bool, ...]
    ties: tuple[tuple[int, int], ...]
    forms: tuple[IntegerArray, ...]


def _split(layer: IntegerLayer, cell: _Cell) -> Iterator[_Cell]:
    """Cells with constant masks in this layer too."""
    z = layer.preactivations(cell.forms)
    if layer.linear:
        masks = (True,) * layer.width
        yield _Cell(cell.cone, cell.masks + masks, cell.ties, (*cell.forms, z))
        return
    parts: list[tuple[Cone, tuple[bool, ...], tuple[tuple[int, int], ...]]]
    parts = [(cell.cone, (), ())]
    for neuron, form in enumerate(z.tolist()):
        finer = []
        for cone, masks, ties in parts:
            active, inactive = cut(cone, form)
            if active is not None:
                finer.append((active, (*masks, True), ties))
            if inactive is not None:
                finer.append((inactive, (*masks, False), ties))
            if active is None and inactive is None:
                finer.append((cone, (*masks, False), (*ties, (layer.v, neuron))))
        parts = finer
    for cone, masks, ties in parts:
        h = layer.activations(z, masks)
        yield _Cell(cone, cell.masks + masks, cell.ties + ties, (*cell.forms, h))


def _enumerate(network: Network, cones: Sequence[Cone]) -> Regions:
    inputs, architecture = network.widths[0], network.architecture
    identity = np.eye(inputs, inputs + 1, dtype=int).astype(object)
    cells = [_Cell(cone, (), (), (identity,)) for cone in cones]
    exponents = [0]
    for v in architecture.hidden_layers:
        layer = IntegerLayer(network, v, exponents)
        exponents.append(layer.exponent)
        cells = [part for cell in cells for part in _split(layer, cell)]
    return _merged(cells, network.widths[1:-1])


def _merged(cells: Sequence[_Cell], widths: Sequence[int]) -> Regions:
    """Join cells of one pattern: a region is convex, so together they are one region."""
    rays: dict[tuple[bool, ...], set[Ray]] = {}
    ties: dict[tuple[bool, ...], tuple[tuple[int, int], ...]] = {}
    for cell in cells:
        rays.setdefault(cell.masks, set()).update(cell.cone)
        ties[cell.masks] = cell.ties
    order = sorted(rays)
    places = [(region, *tie) for region, masks in enumerate(order) for tie in ties[masks]]
    none = np.empty((0, 3), dtype=np.int64)
    found = np.array(places, dtype=np.int64) if places else none
    masks = np.array(order, dtype=np.bool_).reshape(len(order), sum(widths))
    split = np.split(masks, np.cumsum(widths)[:-1], axis=1) if widths else []
    pattern = ActivationPattern(
        tuple(np.ascontiguousarray(mask) for mask in split), float("nan"), found, none
    )
    return Regions(pattern, tuple(tuple(sorted(rays[masks])) for masks in order))
