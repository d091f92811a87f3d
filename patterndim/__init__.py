"""
patterndim: exact local dimension of ReLU networks from their activation patterns.

numpy arrays in and out.  A sample is an array of shape (N, n_0), one input per row.
"""

from patterndim import data, errors, rank, regions, training
from patterndim.architecture import Architecture, Connection, Layer
from patterndim.dimension import Dimension, generic_dimension, local_dimension
from patterndim.factors import outputs
from patterndim.formats import load, save
from patterndim.functional import FunctionalDimension, functional_dimension
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
    "FunctionalDimension",
    "Layer",
    "Network",
    "activation_pattern",
    "canonical_form",
    "data",
    "errors",
    "functional_dimension",
    "generic_dimension",
    "input_jacobian",
    "jacobian_operator",
    "load",
    "local_dimension",
    "ntk",
    "outputs",
    "parameter_jacobian",
    "permute",
    "rank",
    "regions",
    "rescale",
    "rescaling_tangents",
    "save",
    "training",
]
