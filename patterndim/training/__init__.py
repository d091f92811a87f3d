"""Training without automatic differentiation: gradient descent by explicit backward passes."""

from patterndim.training.backward import gradient
from patterndim.training.descent import Snapshot, sgd

__all__ = ["Snapshot", "gradient", "sgd"]
