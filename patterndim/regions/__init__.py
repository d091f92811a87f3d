"""Activation regions of the input space: all of them, or those that a sample perceives."""

from patterndim.regions.enumeration import box, space
from patterndim.regions.perceived import PerceivedRegions, perceived
from patterndim.regions.result import Regions

__all__ = ["PerceivedRegions", "Regions", "box", "perceived", "space"]
