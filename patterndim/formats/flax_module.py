"""
Live modules of Flax: ``nnx.Module``, and ``linen.Module`` bound to its variables.

Their dense layers are read as a parameter tree, and the forward pass decides: a module that is
anything but a multilayer perceptron of them is refused.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from patterndim.errors import ArgumentError, KindError
from patterndim.formats import tree
from patterndim.formats.framework import framework, made_by
from patterndim.formats.imported import HEADS, Imported, plain, verified, with_head
from patterndim.formats.named import from_names
from patterndim.typing import AnyArray, FloatArray

SUFFIXES: tuple[str, ...] = ()
NNX, LINEN = "flax.nnx.Module", "flax.linen.Module"


def recognises(source: object) -> bool:
    """Whether this is a module of Flax."""
    return made_by(source, "flax", "Module")


def read(source: Any, *, slope: float | Sequence[float] = 0.0) -> Imported:
    """Network of a module, if it is a multilayer perceptron."""
    jax = framework("jax", "jax")
    if made_by(source, "flax.nnx", "Module"):
        nnx = framework("flax.nnx", "jax")
        kind, variables = NNX, nnx.state(source, nnx.Not(nnx.RngState))
    elif source.scope is not None:
        kind, variables = LINEN, source.variables
    else:
        raise KindError(f"{LINEN} must be bound, model.bind(variables), got one without parameters")
    imported = from_names(dict(tree.leaves(variables, "")), source=kind, slope=slope)

    def forward(X: FloatArray) -> AnyArray:
        with jax.default_matmul_precision("highest"):
            return np.asarray(source(jax.numpy.asarray(X, dtype=imported.dtype)))

    def outputs(X: FloatArray) -> AnyArray:
        return plain("outputs", forward(X))

    refusals = []
    for head in HEADS:
        try:
            return verified(with_head(imported, head, outputs), forward)
        except ArgumentError as error:
            refusals.append(error)
    raise ArgumentError(
        f"{kind} must be a multilayer perceptron with ReLU, or the slope given: {refusals[0]}"
    ) from refusals[0]
