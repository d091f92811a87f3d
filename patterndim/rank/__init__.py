"""
Ranks of matrices: by singular values, by random sketches, and modulo a prime.

To add a method: one file here, one line below, one entry in ``tests/test_rank.py``.
"""

from patterndim.rank.modular import modular_rank
from patterndim.rank.numerical import numerical_rank
from patterndim.rank.result import Rank
from patterndim.rank.sketched import sketched_rank

__all__ = ["Rank", "modular_rank", "numerical_rank", "sketched_rank"]
