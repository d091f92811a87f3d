"""
Pictures, drawn with matplotlib (the optional extra ``plot``).

Every function takes and returns an Axes, and tells lines apart by colour (Okabe and Ito's
palette), marker and dash at once.
"""

from patterndim.plot.lines import curves
from patterndim.plot.shades import heat_map
from patterndim.plot.style import available, save
from patterndim.plot.training import training_curve

__all__ = ["available", "curves", "heat_map", "save", "training_curve"]
