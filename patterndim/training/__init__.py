"""Training without automatic differentiation: gradient descent by explicit backward passes."""

from patterndim.training.backward import gradient
from patterndim.training.descent import Snapshot, sgd
from patterndim.training.losses import LOSSES

__all__ = ["LOSSES", "Snapshot", "gradient", "sgd"]
