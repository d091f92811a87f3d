"""What an enumeration of activation regions found."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from patterndim.pattern import ActivationPattern
from patterndim.regions.cones import Ray
from patterndim.typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Regions:
    """
    Activation regions with their patterns and exact corners; ``len(regions)`` counts them.

    An activation region is the set of inputs with one activation pattern, of which only those
    with interior count.  It is convex.  Two regions may share one affine map.

    Attributes
    ----------
    pattern : ActivationPattern
        Masks of shapes (R, n_l), one row per region.  ``ties`` lists (region, layer, neuron)
        where a preactivation is zero on the whole region: there the network is not
        differentiable in its parameters, and the mask is false.
    rays : tuple of tuple of tuple of int
        For each region the rays that generate it, in homogeneous coordinates (x, w), w >= 0:
        the point x / w, or for w = 0 the point at infinity in direction x.

    Examples
    --------
    >>> from patterndim import Network, regions
    >>> network = Network.from_layers([[[2.0], [1.0]], [[1.0, 1.0]]], [[-1.0, 3.0], [0.0]])
    >>> found = regions.space(network)
    >>> len(found), found.pattern.masks[0].astype(int).tolist()
    (3, [[0, 0], [0, 1], [1, 1]])
    >>> found.rays[1], found.interior(1)
    (((-3, 1), (0, 1), (1, 2)), (Fraction(-5, 6),))
    >>> found.bounded
    array([False,  True, False])
    """

    pattern: ActivationPattern
    rays: tuple[tuple[Ray, ...], ...]

    def __len__(self) -> int:
        """Return the number R of regions."""
        return len(self.rays)

    def __repr__(self) -> str:
        """Count."""
        return f"Regions({len(self)}, {int(self.bounded.sum())} bounded)"

    @property
    def bounded(self) -> BoolArray:
        """Whether each region is bounded, shape (R,)."""
        return np.array([all(ray[-1] for ray in rays) for rays in self.rays])

    @property
    def tied(self) -> IntArray:
        """Regions on which some preactivation is zero throughout, in increasing order."""
        return np.unique(self.pattern.ties[:, 0])

    @property
    def points(self) -> FloatArray:
        """
        One point inside each region, rounded to float64, shape (R, n_0); see `interior`.

        Rounding may put it on the boundary of a tiny region, or at infinity.
        """
        inside = [self.interior(region) for region in range(len(self))]
        return np.array([[_rounded(x) for x in point] for point in inside])

    def interior(self, region: int) -> tuple[Fraction, ...]:
        """
        Point inside a region, exact: the mean of its corners, and a step in each direction.

        A positive combination of all rays that generate a cone lies in its interior.
        """
        rays = self.rays[region]
        corners = [[Fraction(x, ray[-1]) for x in ray[:-1]] for ray in rays if ray[-1]]
        step = 1 + max(abs(x) for corner in corners for x in corner)
        point = [sum(column) / len(corners) for column in zip(*corners, strict=True)]
        for direction in (ray[:-1] for ray in rays if not ray[-1]):
            length = step / max(abs(x) for x in direction)
            point = [x + length * d for x, d in zip(point, direction, strict=True)]
        return tuple(point)


def _rounded(x: Fraction) -> float:
    try:
        return float(x)
    except OverflowError:
        return float("inf") if x > 0 else float("-inf")
