"""
Keras 3 models, Sequential and functional, nested or not, of any backend.

All parameters count, frozen or not.  Inputs of more axes, such as images, are taken flattened
where the model flattens them first.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from patterndim.errors import ArgumentError
from patterndim.formats.framework import framework, made_by
from patterndim.formats.imported import Dense, Imported, plain, with_head
from patterndim.formats.sums import Program, Value
from patterndim.formats.verification import verified
from patterndim.typing import AnyArray, FloatArray

SUFFIXES: tuple[str, ...] = ()
SOURCE = "keras.Model"


def recognises(source: object) -> bool:
    """Whether this is a model of Keras."""
    return made_by(source, "keras", "Model")


def read(source: Any) -> Imported:
    """Network of a model."""
    keras = framework("keras", "keras")
    graph = Graph(source)
    imported = graph.program.finish(graph.output)
    order = {name: position for position, name in enumerate(graph.names.values())}
    if unused := order.keys() - {parameter.name for parameter in imported.parameters}:
        raise ArgumentError(f"{SOURCE} must use all its weights, got {min(unused)!r} unused")
    listed = sorted(imported.parameters, key=lambda parameter: order[parameter.name])
    shape = source.inputs[0].shape[1:]

    def forward(X: FloatArray) -> AnyArray:
        inputs = X.astype(imported.dtype).reshape(len(X), *(n or -1 for n in shape))
        # A model made of lists or dicts of one takes and gives these.
        single = isinstance(source, keras.Sequential)
        given = inputs if single else keras.tree.pack_sequence_as(source.input, [inputs])
        [found] = keras.tree.flatten(source(given, training=False))
        return np.asarray(keras.ops.convert_to_numpy(found))

    def outputs(X: FloatArray) -> AnyArray:
        return plain("outputs", forward(X))

    imported = with_head(replace(imported, parameters=tuple(listed)), graph.output.head, outputs)
    return verified(imported, forward)


class Graph:
    """The graph of a model, followed back from its output to its input."""

    def __init__(self, model: Any) -> None:
        self.program = Program(SOURCE)
        self.names = _names(model.weights)
        self.output = self.model(model, self.program.input)

    def model(self, model: Any, value: Value) -> Value:
        """Value of a model, which may be a layer of another, at a value of its input."""
        if not model.built or not getattr(model, "outputs", None):
            raise ArgumentError(
                f"{SOURCE} must be Sequential or functional, and built, got {model.name!r} "
                f"of type {type(model).__name__}"
            )
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ArgumentError(
                f"{SOURCE} must have one input and one output, got {len(model.inputs)} and "
                f"{len(model.outputs)} of {model.name!r}"
            )
        return self.value(model.outputs[0], {id(model.inputs[0]): value})

    def value(self, tensor: Any, known: dict[int, Value]) -> Value:
        """Value of a tensor of the graph."""
        if id(tensor) not in known:
            operation, index, _ = tensor._keras_history
            tensors = operation._inbound_nodes[index].input_tensors
            values = [self.value(each, known) for each in tensors]
            known[id(tensor)] = self.apply(operation, values, [len(t.shape) for t in tensors])
        return known[id(tensor)]

    def apply(self, operation: Any, values: list[Value], axes: list[int]) -> Value:
        """Value that a layer or operation gives."""
        kind = type(operation).__name__
        where = f"layer {operation.name!r} of type {kind}"
        known = type(operation).__module__.startswith("keras.")
        if known and kind == "Add" and len(values) > 1:
            total = values[0]
            for value in values[1:]:
                total = self.program.add(total, value, where)
            return total
        if len(values) != 1:
            raise self.program.refuse(where, "which must act on one array")
        if known and kind == "Dense" and axes == [2]:
            return self.dense(operation, values[0], where)
        if made_by(operation, "keras", "Model"):
            return self.model(operation, values[0])
        return self.activate(operation, kind if known else "", values[0], where)

    def dense(self, layer: Any, value: Value, where: str) -> Value:
        """Value that a Dense layer gives, its activation included."""
        names, arrays = [], []
        for variable in (layer.kernel, layer.bias):
            if variable is not None and id(variable) not in self.names:
                raise self.program.refuse(where, "whose kernel and bias must be plain weights")
            names.append("" if variable is None else self.names[id(variable)])
            arrays.append(None if variable is None else plain(names[-1], variable))
        kernel, bias = arrays
        dense = Dense(names[0], kernel, True, names[1], bias)  # type: ignore[arg-type]
        value = self.program.dense(value, dense, where)
        return self.activation(layer.activation, value, where)

    def activation(self, function: Any, value: Value, where: str) -> Value:
        """Value that an activation gives: a function of Keras, or a layer."""
        kind = getattr(function, "__name__", type(function).__name__)
        known = (getattr(function, "__module__", None) or "").startswith("keras.")
        return self.activate(function, kind if known else "", value, f"{where} with {kind!r}")

    def activate(self, operation: Any, kind: str, value: Value, where: str) -> Value:
        """Value that an activation gives by its name, or a layer that does nothing."""
        match kind.lower().replace("_", ""):
            case "activation":
                return self.activation(operation.activation, value, where)
            case "linear" | "identity" | "dropout" | "flatten":
                return value
            case "relu":
                if getattr(operation, "max_value", None) is None and not getattr(
                    operation, "threshold", 0.0
                ):
                    slope = float(getattr(operation, "negative_slope", 0.0))
                    return self.program.relu(value, slope, where)
            case "leakyrelu":
                return self.program.relu(
                    value, float(getattr(operation, "negative_slope", 0.2)), where
                )
            case "softmax" | "logsoftmax" if _last(getattr(operation, "axis", -1)):
                head = "softmax" if kind.lower() == "softmax" else "log_softmax"
                return self.program.head(value, head, where)
            case "sigmoid":
                return self.program.head(value, "sigmoid", where)
        raise self.program.refuse(where, "which is none of these")


def _names(variables: Iterable[Any]) -> dict[int, str]:
    """Name of each variable: its path, or if another model inside has the same, with a number."""
    names: dict[int, str] = {}
    for variable in variables:
        paths = (f"{variable.path}_{k}" if k else str(variable.path) for k in count())
        names[id(variable)] = next(path for path in paths if path not in names.values())
    return names


def _last(axis: object) -> bool:
    """Whether an axis, or a list of one, is the last of two."""
    return axis in (-1, 1) or (isinstance(axis, list | tuple) and list(axis) in ([-1], [1]))
