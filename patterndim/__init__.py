"""
patterndim: exact local dimension of ReLU networks from their activation patterns.

numpy arrays in and out.  A sample is an array of shape (N, n_0), one input per row.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from patterndim import data, errors, rank
from patterndim.architecture import Architecture, Connection, Layer
from patterndim.bounds import Bound
from patterndim.dimension import Dimension, generic_dimension, local_dimension
from patterndim.factors import outputs
from patterndim.formats import load, save
from patterndim.jacobian import input_jacobian, jacobian_operator, parameter_jacobian
from patterndim.network import Network
from patterndim.ntk import ntk
from patterndim.pattern import ActivationPattern, activation_pattern
from patterndim.symmetry import canonical_form, permute, rescale, rescaling_tangents

if TYPE_CHECKING:
    from patterndim import regions, training
    from patterndim.batch import Dimensions, local_dimensions
    from patterndim.curvature import Flatness, flatness
    from patterndim.explanation import Explanation, explain
    from patterndim.functional import FunctionalDimension, functional_dimension
    from patterndim.nullspace import NullSpace, null_space
    from patterndim.spectrum import Spectrum, singular_values
    from patterndim.upper import dimension_bound

__version__ = "0.1.0"

# Where names are that are imported when they are first used, so that the import is quick.
_LATER = {
    "Dimensions": "batch",
    "Explanation": "explanation",
    "Flatness": "curvature",
    "FunctionalDimension": "functional",
    "NullSpace": "nullspace",
    "Spectrum": "spectrum",
    "dimension_bound": "upper",
    "explain": "explanation",
    "flatness": "curvature",
    "functional_dimension": "functional",
    "local_dimensions": "batch",
    "null_space": "nullspace",
    "regions": "regions",
    "singular_values": "spectrum",
    "training": "training",
}

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


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name not in _LATER:
        raise AttributeError(f"module 'patterndim' has no attribute {name!r}")
    module = import_module(f"patterndim.{_LATER[name]}")
    value = module if name == _LATER[name] else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, imported or not."""
    return sorted([*globals(), *_LATER])
