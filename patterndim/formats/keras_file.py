"""
Keras models of dense layers and their sums as .keras files, read without Keras.

Such a file is an archive of ``config.json``, which describes the layers, and of
``model.weights.h5``, which holds their arrays.  The description is compared with the layers known
here and nothing is built from it, so a Lambda layer is an error and its code is never touched.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from patterndim.errors import FileError
from patterndim.formats.archives import (
    MOST_JSON,
    MOST_NAME,
    read_json,
    read_member,
    reading,
    unzipping,
)
from patterndim.formats.hdf5 import Hdf5
from patterndim.formats.imported import Dense, Imported, with_head
from patterndim.formats.sums import Program, Value

SUFFIXES = (".keras",)
SOURCE = ".keras file"

#: Layers that do nothing to flat inputs in a trained network.
NOTHING = ("InputLayer", "Flatten", "Dropout", "Identity")

#: Layers that are an activation.
ACTIVATIONS = ("Activation", "ReLU", "LeakyReLU", "Softmax")

#: What Keras writes for ``x + y`` and for functions of tensors.
OPERATIONS = ("Add", "Relu", "ReLU", "LeakyRelu", "Softmax", "LogSoftmax", "Sigmoid")

#: What the last layer may apply: it is not part of the network.
HEADS = ("softmax", "log_softmax", "sigmoid")

#: Slope of the function that Keras names "leaky_relu".
LEAKY = 0.2

#: Most inputs of all the layers of a file together, each of which takes some 100 bytes of JSON.
MOST_INPUTS = 10_000

#: What a layer applies: ReLU of a slope, one of `HEADS`, or nothing.
Activation = float | str | None

#: Name of a layer, and which of its calls: layers without arrays may be called several times.
Call = tuple[str, int]

#: The calls whose results each call acts on; none for the input.
Calls = dict[Call, list[Call]]


def recognises(source: object) -> bool:
    """Whether this is the path of such a file."""
    return isinstance(source, Path) and source.suffix in SUFFIXES


def read(source: Path) -> Imported:
    """Network of a file."""
    with reading(source, "be a readable Keras model") as file, unzipping(file) as archive:
        metadata = read_json(read_member(archive, "metadata.json", MOST_JSON))
        version = str(metadata["keras_version"])[:20]
        if not version.startswith("3."):
            raise FileError(f"saved by Keras {version}: save it again with Keras 3")
        model = read_json(read_member(archive, "config.json", MOST_JSON))
        layers = _checked(model["config"]["layers"])
        calls, output = _calls(model, layers)
        denses = _denses(Hdf5(read_member(archive, "model.weights.h5")), layers)
        return _network(layers, calls, output, denses)


def _checked(layers: list[Any]) -> dict[str, Any]:
    """Layers of a configuration by name, each of a kind known here, and one input."""
    found: dict[str, Any] = {}
    inputs = None
    for layer in layers:
        name, kind, config = layer["config"]["name"], layer["class_name"], layer["config"]
        if type(name) is not str or len(name) > MOST_NAME or name in found:
            raise FileError("a layer without a name of its own")
        found[name] = layer
        if not _is_known(layer["module"], kind, layer.get("registered_name")):
            raise FileError(f"layer {name!r} is of kind {str(kind)[:40]}, which is not supported")
        if kind == "InputLayer" and inputs is not None:
            raise FileError(f"it has several inputs, {inputs!r} and {name!r}")
        inputs = name if kind == "InputLayer" else inputs
        if kind == "Flatten" and config.get("data_format") not in (None, "channels_last"):
            raise FileError(f"layer {name!r} flattens in the order of {config['data_format']!r}")
        if kind == "Dense" and not layer.get("build_config"):
            raise FileError(f"layer {name!r} was never built")
        if kind == "Dense" and len(layer["build_config"]["input_shape"]) != 2:
            raise FileError(f"layer {name!r} acts on inputs that are not flat")
    if not found:
        raise FileError("it has no layers")
    return found


def _is_known(module: object, kind: object, registered: object) -> bool:
    """Whether this names a layer or an operation that Keras itself has, and that is used here."""
    if module == "keras.layers":
        return registered is None and kind in (*NOTHING, *ACTIVATIONS, "Dense", "Add")
    return str(module).startswith("keras.src.") and registered == kind and kind in OPERATIONS


def _calls(model: Mapping[str, Any], layers: Mapping[str, Any]) -> tuple[Calls, Call]:
    """What acts on what, and the call whose result is the output."""
    kind = model["class_name"]
    if kind == "Sequential":
        if lone := [name for name, layer in layers.items() if layer["class_name"] == "Add"]:
            raise FileError(f"layer {lone[0]!r} has 1 inputs")
        chain = [(name, 0) for name in layers]
        calls = {call: chain[max(k - 1, 0) : k] for k, call in enumerate(chain)}
        return calls, chain[-1]
    if kind != "Functional":
        raise FileError(f"a {str(kind)[:40]} model, neither Sequential nor Functional")
    calls = _graph(layers)
    outputs = model["config"]["output_layers"]
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    output = _call(outputs[0] if len(outputs) == 1 else outputs, "the output of the model")
    for (name, _), sources in [*calls.items(), (("output", 0), [output])]:
        if missing := [source for source, index in sources if (source, index) not in calls]:
            raise FileError(f"layer {name!r} acts on {missing[0]!r}, which gives nothing")
    return calls, output


def _graph(layers: Mapping[str, Any]) -> Calls:
    """Calls of the layers of a functional model."""
    calls: Calls = {}
    count = 0
    for name, layer in layers.items():
        nodes = layer["inbound_nodes"]
        if layer["class_name"] == "InputLayer" and nodes == []:
            calls[name, 0] = []
            continue
        if not nodes or (len(nodes) > 1 and layer["class_name"] == "Dense"):
            raise FileError(f"layer {name!r} is used {len(nodes)} times, not once")
        for index, node in enumerate(nodes):
            calls[name, index] = _inputs(name, layer, node)
            count += len(calls[name, index])
            if count > MOST_INPUTS:
                raise FileError(f"more than {MOST_INPUTS} inputs of layers, at layer {name!r}")
    return calls


def _inputs(name: str, layer: Mapping[str, Any], node: Mapping[str, Any]) -> list[Call]:
    """Calls whose results a layer acts on in one of its calls."""
    if any(value is not None and value is not False for value in node["kwargs"].values()):
        raise FileError(f"layer {name!r} is called with {', '.join(node['kwargs'])[:40]}")
    tensors, adds = node["args"], layer["class_name"] == "Add"
    if adds and layer["module"] == "keras.layers":
        tensors = tensors[0] if len(tensors) == 1 else tensors
    if len(tensors) != 1 if not adds else len(tensors) < 2:
        raise FileError(f"layer {name!r} has {len(tensors)} inputs")
    if not all(isinstance(each, dict) and "keras_history" in each["config"] for each in tensors):
        raise FileError(f"layer {name!r} acts on what no layer gives")
    # Keras would broadcast the smaller ones.
    if adds and any(t["config"]["shape"] != tensors[0]["config"]["shape"] for t in tensors):
        raise FileError(f"layer {name!r} adds arrays of different shapes")
    return [
        _call(each["config"]["keras_history"], f"an input of layer {name!r}") for each in tensors
    ]


def _call(history: list[Any], what: str) -> Call:
    """Call that a tensor of the configuration comes from."""
    if [type(part) for part in history] != [str, int, int] or history[2] != 0:
        raise FileError(f"{what} is not what one layer gives, got {str(history)[:80]}")
    return history[0], history[1]


def _ordered(calls: Calls, output: Call) -> Iterator[Call]:
    """Calls that lead to the output, those before each first, as if followed back from there."""
    done: set[Call] = set()
    entered: set[Call] = set()
    stack = [output]
    while stack:
        call = stack.pop()
        if call in done:
            continue
        if call not in entered:
            entered.add(call)
            stack += [call, *reversed(calls[call])]
        elif done.issuperset(calls[call]):
            done.add(call)
            yield call
        else:
            raise FileError(f"layer {call[0]!r} acts on what it gives itself")
    if unused := calls.keys() - done:
        raise FileError(f"layer {min(unused)[0]!r} does not lead to the output")


def _network(
    layers: Mapping[str, Any], calls: Calls, output: Call, denses: Mapping[str, Dense]
) -> Imported:
    """Network of layers that act on one another."""
    program = Program(SOURCE)
    values: dict[Call, Value] = {}
    for call in _ordered(calls, output):
        name, layer = call[0], layers[call[0]]
        where = f"layer {name!r} of type {layer['class_name']}"
        value, *others = [values[each] for each in calls[call]] or [program.input]
        for other in others:
            value = program.add(value, other, where)
        if name in denses:
            value = program.dense(value, denses[name], where)
        activation = None if layer["class_name"] == "Add" else _activation(name, layer)
        if isinstance(activation, float):
            value = program.relu(value, activation, where)
        elif activation is not None:
            value = program.head(value, activation, where)
        values[call] = value
    imported = program.finish(values[output])
    names = [name for dense in denses.values() for name in (dense.name, dense.bias_name)]
    order = {name: position for position, name in enumerate(names)}
    listed = sorted(imported.parameters, key=lambda parameter: order[parameter.name])
    return with_head(replace(imported, parameters=tuple(listed)), values[output].head, None)


def _activation(name: str, layer: Mapping[str, Any]) -> Activation:
    """What a layer applies to its outputs."""
    kind, config = layer["class_name"], layer["config"]
    if kind in NOTHING:
        return None
    if kind == "Relu":
        return 0.0
    if kind == "ReLU" and config["max_value"] is None and not config["threshold"]:
        return _slope(name, config["negative_slope"] or 0.0)
    if kind in ("LeakyReLU", "LeakyRelu"):
        return _slope(name, config["negative_slope"])
    if kind in ("Softmax", "LogSoftmax") and config["axis"] in (-1, 1, [-1], [1]):
        return "softmax" if kind == "Softmax" else "log_softmax"
    if kind == "Sigmoid":
        return "sigmoid"
    given = config.get("activation")
    if kind in ("Dense", "Activation"):
        if given in (None, "linear"):
            return None
        if (
            isinstance(given, dict)
            and given["module"] == "keras.layers"
            and given["class_name"] in (*NOTHING, *ACTIVATIONS)
        ):
            return _activation(name, given)
        if given == "relu" or given == "leaky_relu":
            return LEAKY if given == "leaky_relu" else 0.0
        if given in HEADS:
            return str(given)
    raise FileError(f"layer {name!r} applies {str(given or kind)[:40]}, which is not supported")


def _slope(name: str, slope: object) -> float:
    """Slope of a leaky ReLU."""
    if isinstance(slope, bool) or not isinstance(slope, int | float) or not 0 <= slope <= 1:
        raise FileError(
            f"layer {name!r} has a slope of {str(slope)[:40]}, which is not from 0 to 1"
        )
    return float(slope)


def _denses(arrays: Hdf5, layers: Mapping[str, Any]) -> dict[str, Dense]:
    """Dense layers by name, in the order of the configuration."""
    members = arrays.members(arrays.members(arrays.root)["layers"])
    found: dict[str, Dense] = {}
    size = 0
    for name, layer in layers.items():
        if layer["class_name"] == "Dense":
            # The arrays are numbered by class, in the order of the configuration.
            group = f"dense_{len(found)}" if found else "dense"
            dense = found[name] = _dense(arrays, members, group, layer["config"])
            if dense.width != layer["config"]["units"]:
                raise FileError(f"layer {name!r} has {dense.width} units")
            # Two bytes or more for each number: what takes more than there is lies there twice.
            size += 2 * dense.weight.size
            if size > len(arrays.data):
                raise FileError(f"the arrays of layer {name!r} are those of others as well")
    return found


def _dense(arrays: Hdf5, members: dict[str, int], group: str, config: Mapping[str, Any]) -> Dense:
    """Matrix and bias of a Dense layer."""
    name, expected = config["name"], ["0", "1"] if config["use_bias"] else ["0"]
    try:
        parts = arrays.members(arrays.members(members[group])["vars"])
        if sorted(parts) != expected:
            raise FileError(f"arrays {', '.join(sorted(parts)) or 'missing'}")
        kernel, *bias = [arrays.array(parts[part]) for part in expected]
    except (FileError, KeyError) as error:
        raise FileError(f"the arrays of layer {name!r} cannot be read: {error}") from error
    vector = bias[0] if bias else None
    return Dense(f"{name}/kernel", kernel, True, f"{name}/bias", vector)
