"""What is checked: a network, the names of its parameters, and what its source computes."""

from dataclasses import replace
from typing import Any

import numpy as np

from patterndim.errors import ShapeError
from patterndim.formats import read
from patterndim.formats.imported import Imported, Parameter
from patterndim.network import Network
from patterndim.typing import ArrayLike, FloatArray
from patterndim.validation import float_array

#: What a source applies to the outputs, in the words of this package.
HEAD_NAMES = {"identity": "affine", "log_softmax": "log-softmax"}


def subject_of(model: Any) -> Imported:
    """Network itself, or whatever `patterndim.formats.read` takes."""
    if isinstance(model, Imported):
        return model
    if isinstance(model, Network):
        return Imported(model, named(model), np.dtype(np.float64), "patterndim.Network")
    found = read(model)
    blocks = named(found.network)
    if {(p.start, p.stop) for p in found.parameters} == {(p.start, p.stop) for p in blocks}:
        return found
    return replace(found, parameters=blocks)  # files of this package hold theta in one piece


def named(network: Network) -> tuple[Parameter, ...]:
    """Blocks of theta by name: W1 and b1 lead to layer 1, W3.1 from layer 1 to layer 3."""
    architecture = network.architecture
    found = []
    for v in range(1, len(architecture.layers)):
        trainable = [e for e in architecture.incoming[v] if architecture.connections[e].trainable]
        for e in trainable:
            u = architecture.connections[e].source
            name = f"W{v}" if len(trainable) == 1 else f"W{v}.{u}"
            shape = (network.widths[v], network.widths[u])
            where = architecture.weight_slices[e]
            if where is not None:
                found.append(Parameter(name, where.start, where.stop, shape, False))
        if (where := architecture.bias_slices[v]) is not None:
            shape_ = (network.widths[v],)
            found.append(Parameter(f"b{v}", where.start, where.stop, shape_, False))
    return tuple(found)


def head_of(subject: Imported) -> str:
    """What follows the outputs of the network, in the words of `patterndim.comparison`."""
    return HEAD_NAMES.get(subject.head, subject.head)


def sample_of(subject: Imported, inputs: ArrayLike) -> FloatArray:
    """Sample as float64, shape (N, n_0)."""
    return float_array("inputs", inputs, ("N", subject.network.widths[0]))


def arrays_of(subject: Imported) -> dict[str, FloatArray]:
    """Parameters by name in the shapes of the source, in its order."""
    found = {}
    for parameter in subject.parameters:
        values = subject.network.theta[parameter.start : parameter.stop]
        if parameter.transposed:
            found[parameter.name] = values.reshape(parameter.shape[::-1]).T
        else:
            found[parameter.name] = values.reshape(parameter.shape)
    if len(found) != len(subject.parameters):
        raise ShapeError("model must have one name per parameter, got a name twice")
    return found
