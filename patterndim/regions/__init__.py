"""Activation regions of the input space, enumerated in exact arithmetic."""

from patterndim.regions.enumeration import box, space
from patterndim.regions.result import Regions

__all__ = ["Regions", "box", "space"]
