"""
patterndim: exact local dimension of ReLU networks from their activation patterns.

numpy arrays in and out.  A sample is an array of shape (N, n_0), one input per row.
"""

from patterndim import data, errors, rank, regions, training
from patterndim.architecture import Architecture, Connection, Layer
from patterndim.batch import Dimensions, local_dimensions
from patterndim.bounds import Bound
from patterndim.dimension import Dimension, generic_dimension, local_dimension
from patterndim.dimension_bound import dimension_bound
from patterndim.explain import Explanation, explain
from patterndim.factors import outputs
from patterndim.flatness import Flatness, flatness
from patterndim.formats import load, save
from patterndim.functional import FunctionalDimension, functional_dimension
from patterndim.jacobian import input_jacobian, jacobian_operator, parameter_jacobian
from patterndim.network import Network
from patterndim.ntk import ntk
from patterndim.null_space import NullSpace, null_space
from patterndim.pattern import ActivationPattern, activation_pattern
from patterndim.spectrum import Spectrum, singular_values
from patterndim.symmetry import canonical_form, permute, rescale, rescaling_tangents

__version__ = "0.1.0"

__all__ = [
    "ActivationPattern",
    "Architecture",
    "Bound",
    "Connection",
    "Dimension",
    "Dimensions",
    "Explanation",
    "Flatness",
    "FunctionalDimension",
    "Layer",
    "Network",
    "NullSpace",
    "Spectrum",
    "activation_pattern",
    "canonical_form",
    "data",
    "dimension_bound",
    "errors",
    "explain",
    "flatness",
    "functional_dimension",
    "generic_dimension",
    "input_jacobian",
    "jacobian_operator",
    "load",
    "local_dimension",
    "local_dimensions",
    "ntk",
    "null_space",
    "outputs",
    "parameter_jacobian",
    "permute",
    "rank",
    "regions",
    "rescale",
    "rescaling_tangents",
    "save",
    "singular_values",
    "training",
]
