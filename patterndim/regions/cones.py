"""
Convex cones in exact integers, and how a linear form cuts them.

A polyhedron of the input space is the cone of all ``w * (x, 1)``, w > 0, given by the rays that
generate it: (x, w) with w > 0 is the point x / w, and (x, 0) the point at infinity in direction
x.  Nothing is ever rounded, and unbounded polyhedra need no special case.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import gcd

Ray = tuple[int, ...]
#: Rays of a pointed cone: the two ends of an interval, or the corners of a polygon in order.
Cone = list[Ray]


def orthants(dimension: int) -> list[Cone]:
    """Half-lines or quadrants that together cover the space of dimension 1 or 2."""
    if dimension == 1:
        return [[(1, 0), (0, 1)], [(0, 1), (-1, 0)]]
    around: list[Ray] = [(1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0), (1, 0, 0)]
    return [[(0, 0, 1), first, second] for first, second in pairwise(around)]


def cut(cone: Cone, form: Sequence[int]) -> tuple[Cone | None, Cone | None]:
    """
    Parts of a full-dimensional cone where a linear form is positive, and where it is negative.

    None for a part without interior; two of them if the form is zero on all of the cone.
    """
    values = [sum(a * b for a, b in zip(form, ray, strict=True)) for ray in cone]
    above, below = max(values) > 0, min(values) < 0
    if not (above and below):
        return cone if above else None, cone if below else None
    positive: Cone = []
    negative: Cone = []
    ends = list(zip(cone, values, strict=True))
    # An interval has no edge from its last end back to the first.
    following = [*ends[1:], *(ends[:1] if len(ends) > 2 else [(ends[-1][0], 0)])]
    for (ray, value), (next_ray, next_value) in zip(ends, following, strict=True):
        if value >= 0:
            positive.append(ray)
        if value <= 0:
            negative.append(ray)
        if value * next_value < 0:
            where = _crossing(ray, abs(value), next_ray, abs(next_value))
            positive.append(where)
            negative.append(where)
    return positive, negative


def _crossing(first: Ray, a: int, second: Ray, b: int) -> Ray:
    """Ray between two others on which a form with values of opposite sign there is zero."""
    mixed = [b * x + a * y for x, y in zip(first, second, strict=True)]
    divisor = gcd(*mixed)
    return tuple(x // divisor for x in mixed)
