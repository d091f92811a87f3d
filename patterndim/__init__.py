"""
patterndim: exact local dimension of ReLU networks from their activation patterns.

numpy arrays in and out.  A sample is an array of shape (N, n_0), one input per row.  Names are
imported when they are first used, so the import itself takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patterndim import (
        data,
        errors,
        experiments,
        formats,
        learning_space,
        plot,
        rank,
        regions,
        training,
    )
    from patterndim.architecture import Architecture, Connection, Layer
    from patterndim.batch import Dimensions, local_dimensions
    from patterndim.bounds import Bound
    from patterndim.comparison import CrossCheck, assert_jacobian_matches, crosscheck
    from patterndim.curvature import Flatness, flatness
    from patterndim.dimension import Dimension, generic_dimension, local_dimension
    from patterndim.explanation import Explanation, explain
    from patterndim.factors import outputs
    from patterndim.formats import load, save
    from patterndim.functional import FunctionalDimension, functional_dimension
    from patterndim.jacobian import input_jacobian, parameter_jacobian
    from patterndim.network import Network
    from patterndim.nullspace import NullSpace, null_space
    from patterndim.pattern import ActivationPattern, activation_pattern
    from patterndim.products import jacobian_operator
    from patterndim.spectrum import Spectrum, singular_values
    from patterndim.sweeps import Results, Task, load_results, sweep
    from patterndim.symmetry import canonical_form, permute, rescale, rescaling_tangents
    from patterndim.tangent_kernel import ntk
    from patterndim.tracing import trace
    from patterndim.upper import dimension_bound

__version__ = "0.1.0"

# The module of every public name.  None is named like a module that is not meant: importing
# that module would put it in the place of the name.
_HOMES = {
    "ActivationPattern": "pattern",
    "Architecture": "architecture",
    "Bound": "bounds",
    "Connection": "architecture",
    "CrossCheck": "comparison",
    "Dimension": "dimension",
    "Dimensions": "batch",
    "Explanation": "explanation",
    "Flatness": "curvature",
    "FunctionalDimension": "functional",
    "Layer": "architecture",
    "Network": "network",
    "NullSpace": "nullspace",
    "Results": "sweeps",
    "Spectrum": "spectrum",
    "Task": "sweeps",
    "activation_pattern": "pattern",
    "assert_jacobian_matches": "comparison",
    "canonical_form": "symmetry",
    "crosscheck": "comparison",
    "data": "data",
    "dimension_bound": "upper",
    "errors": "errors",
    "experiments": "experiments",
    "explain": "explanation",
    "flatness": "curvature",
    "formats": "formats",
    "functional_dimension": "functional",
    "generic_dimension": "dimension",
    "input_jacobian": "jacobian",
    "jacobian_operator": "products",
    "learning_space": "learning_space",
    "load": "formats",
    "load_results": "sweeps",
    "local_dimension": "dimension",
    "local_dimensions": "batch",
    "ntk": "tangent_kernel",
    "null_space": "nullspace",
    "outputs": "factors",
    "parameter_jacobian": "jacobian",
    "permute": "symmetry",
    "plot": "plot",
    "rank": "rank",
    "regions": "regions",
    "rescale": "symmetry",
    "rescaling_tangents": "symmetry",
    "save": "formats",
    "singular_values": "spectrum",
    "sweep": "sweeps",
    "trace": "tracing",
    "training": "training",
}

__all__ = [
    "ActivationPattern",
    "Architecture",
    "Bound",
    "Connection",
    "CrossCheck",
    "Dimension",
    "Dimensions",
    "Explanation",
    "Flatness",
    "FunctionalDimension",
    "Layer",
    "Network",
    "NullSpace",
    "Results",
    "Spectrum",
    "Task",
    "activation_pattern",
    "assert_jacobian_matches",
    "canonical_form",
    "crosscheck",
    "data",
    "dimension_bound",
    "errors",
    "experiments",
    "explain",
    "flatness",
    "formats",
    "functional_dimension",
    "generic_dimension",
    "input_jacobian",
    "jacobian_operator",
    "learning_space",
    "load",
    "load_results",
    "local_dimension",
    "local_dimensions",
    "ntk",
    "null_space",
    "outputs",
    "parameter_jacobian",
    "permute",
    "plot",
    "rank",
    "regions",
    "rescale",
    "rescaling_tangents",
    "save",
    "singular_values",
    "sweep",
    "trace",
    "training",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'patterndim' has no attribute {name!r}")
    module = import_module(f"patterndim.{_HOMES[name]}")
    value = module if name == _HOMES[name] else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, imported or not."""
    return sorted({*globals(), *_HOMES})
