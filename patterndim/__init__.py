"""
patterndim: exact local dimension of ReLU networks from their activation patterns.

numpy arrays in and out.  A sample is an array of shape (N, n_0), one input per row.
"""

from patterndim import data, errors, rank, training
from patterndim.architecture import Architecture, Connection, Layer
from patterndim.batch import Dimensions, local_dimensions
from patterndim.dimension import Dimension, generic_dimension, local_dimension
from patterndim.factors import outputs
from patterndim.formats import load, save
from patterndim.jacobian import input_jacobian, jacobian_operator, parameter_jacobian
from patterndim.network import Network
from patterndim.ntk import ntk
from patterndim.pattern import ActivationPattern, activation_pattern
from patterndim.symmetry import canonical_form, permute, rescale, rescaling_tangents

__version__ = "0.1.0"

__all__ = [
    "ActivationPattern",
    "Architecture",
    "Connection",
    "Dimension",
    "Dimensions",
    "Layer",
    "Network",
    "activation_pattern",
    "canonical_form",
    "data",
    "errors",
    "generic_dimension",
    "input_jacobian",
    "jacobian_operator",
    "load",
    "local_dimension",
    "local_dimensions",
    "ntk",
    "outputs",
    "parameter_jacobian",
    "permute",
    "rank",
    "rescale",
    "rescaling_tangents",
    "save",
    "training",
]
