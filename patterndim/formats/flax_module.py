"""
Live modules of Flax: ``nnx.Module``, and ``linen.Module`` bound to its variables.

They are functions of JAX with parameters, and read as such.
"""

from typing import Any

from patterndim.errors import KindError
from patterndim.formats.framework import framework, made_by
from patterndim.formats.imported import Imported
from patterndim.formats.jax_function import follow

SUFFIXES: tuple[str, ...] = ()
NNX, LINEN = "flax.nnx.Module", "flax.linen.Module"


def recognises(source: object) -> bool:
    """Whether this is a module of Flax."""
    return made_by(source, "flax", "Module")


def read(source: Any) -> Imported:
    """Network of a module."""
    if made_by(source, "flax.nnx", "Module"):
        nnx = framework("flax.nnx", "jax")
        definition, parameters, others = nnx.split(source, nnx.Not(nnx.RngState), ...)
        return follow(lambda p, X: nnx.merge(definition, p, others)(X), parameters, NNX)
    if source.scope is None:
        raise KindError(
            f"{LINEN} must be bound to its parameters, model.bind(variables), got one that is not"
        )
    module, variables = source.unbind()
    return follow(module.apply, variables, LINEN)
