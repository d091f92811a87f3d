"""
Keras models of dense layers as .keras files, read without Keras.

Such a file is an archive of ``config.json``, which describes the layers, and of
``model.weights.h5``, which holds their arrays.  The description is compared with the layers known
here and nothing is built from it, so a Lambda layer is an error and its code is never touched.
"""

from collections.abc import Mapping
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
from patterndim.formats.imported import Dense, Imported, chain, with_head

SUFFIXES = (".keras",)
SOURCE = ".keras file"

#: Layers that do nothing to flat inputs in a trained network.
NOTHING = ("InputLayer", "Flatten", "Dropout")

#: Layers that are an activation.
ACTIVATIONS = ("Activation", "ReLU", "LeakyReLU", "Softmax")

#: What the last layer may apply: it is not part of the network.
HEADS = ("softmax", "log_softmax", "sigmoid")

#: Slope of the function that Keras names "leaky_relu".
LEAKY = 0.2

#: What a layer applies: ReLU of a slope, one of `HEADS`, or nothing.
Activation = float | str | None


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
        arrays = Hdf5(read_member(archive, "model.weights.h5"))
        members = arrays.members(arrays.members(arrays.root)["layers"])
        dense = [layer["config"] for layer in layers if layer["class_name"] == "Dense"]
        # The arrays are numbered by class, in the order of the configuration.
        denses = {
            config["name"]: _dense(arrays, members, f"dense{f'_{k}' if k else ''}", config)
            for k, config in enumerate(dense)
        }
        return _network(_in_order(model, layers), denses)


def _checked(layers: list[Any]) -> list[Any]:
    """Layers of a configuration, each of a kind known here and of a name of its own."""
    seen: set[str] = set()
    for layer in layers:
        name, kind, config = layer["config"]["name"], layer["class_name"], layer["config"]
        if type(name) is not str or len(name) > MOST_NAME or name in seen:
            raise FileError("a layer without a name of its own")
        seen.add(name)
        own = layer["module"] != "keras.layers" or layer.get("registered_name") is not None
        if own or kind not in (*NOTHING, *ACTIVATIONS, "Dense"):
            raise FileError(f"layer {name!r} is of kind {str(kind)[:40]}, which is not supported")
        if kind == "Flatten" and config.get("data_format") not in (None, "channels_last"):
            raise FileError(f"layer {name!r} flattens in the order of {config['data_format']!r}")
        if kind == "Dense" and not layer.get("build_config"):
            raise FileError(f"layer {name!r} was never built")
        if kind == "Dense" and len(layer["build_config"]["input_shape"]) != 2:
            raise FileError(f"layer {name!r} acts on inputs that are not flat")
    return layers


def _in_order(model: Mapping[str, Any], layers: list[Any]) -> list[Any]:
    """Layers from first to last; those of a functional model must be a chain."""
    kind = model["class_name"]
    if kind == "Sequential":
        return layers
    if kind != "Functional":
        raise FileError(f"a {str(kind)[:40]} model, neither Sequential nor Functional")
    following: dict[str | None, Any] = {}
    for layer in layers:
        source, name = _source(layer), layer["config"]["name"]
        if source in following:
            raise FileError(f"layer {name!r} is not part of a chain of layers")
        following[source] = layer
    order, name = [], None
    while name in following:
        order.append(following[name])
        name = order[-1]["config"]["name"]
    outputs = model["config"]["output_layers"]
    if len(order) != len(layers) or name not in (outputs[0], outputs[0][0]):
        raise FileError(f"layer {name!r} is not the last of one chain of layers")
    return order


def _source(layer: Mapping[str, Any]) -> str | None:
    """Name of the layer that a layer acts on; None for the input."""
    nodes, name = layer["inbound_nodes"], layer["config"]["name"]
    if layer["class_name"] == "InputLayer" and nodes == []:
        return None
    if len(nodes) != 1 or len(nodes[0]["args"]) != 1:
        raise FileError(f"layer {name!r} is used several times or has several inputs")
    [tensor] = nodes[0]["args"]
    source = tensor["config"]["keras_history"][0]
    if type(source) is not str:
        raise FileError(f"layer {name!r} has an unknown input")
    return source


def _network(layers: list[Any], denses: Mapping[str, Dense]) -> Imported:
    """Network of layers in their order."""
    used: list[Dense] = []
    applied: list[Activation] = []
    for layer in layers:
        name, kind, config = layer["config"]["name"], layer["class_name"], layer["config"]
        if kind == "Dense":
            if applied and not isinstance(applied[-1], float):
                raise FileError(f"layer {name!r} comes after a layer without ReLU")
            if denses[name].width != config["units"]:
                raise FileError(f"layer {name!r} has {denses[name].width} units")
            used.append(denses[name])
            applied.append(None)
        activation = _activation(name, layer)
        if activation is None:
            continue
        if not applied or applied[-1] is not None:
            raise FileError(f"layer {name!r} applies an activation where no Dense layer ends")
        applied[-1] = activation
    head = applied.pop() if applied else None
    if isinstance(head, float):
        raise FileError(f"layer {name!r} is the last and applies ReLU")
    imported = chain(used, source=SOURCE, slope=[a for a in applied if isinstance(a, float)])
    return with_head(imported, head or "identity", None)


def _activation(name: str, layer: Mapping[str, Any]) -> Activation:
    """What a layer applies to its outputs."""
    kind, config = layer["class_name"], layer["config"]
    if kind in NOTHING:
        return None
    if kind == "ReLU" and config["max_value"] is None and not config["threshold"]:
        return _slope(name, config["negative_slope"] or 0.0)
    if kind == "LeakyReLU":
        return _slope(name, config["negative_slope"])
    if kind == "Softmax" and config["axis"] in (-1, 1, [-1], [1]):
        return "softmax"
    given = config.get("activation")
    if kind in ("Dense", "Activation"):
        if given in (None, "linear"):
            return None
        if (
            isinstance(given, dict)
            and given["module"] == "keras.layers"
            and given["class_name"] != "Dense"
        ):
            return _activation(name, given)
        if given == "relu" or given == "leaky_relu":
            return LEAKY if given == "leaky_relu" else 0.0
        if given in HEADS:
            return str(given)
    raise FileError(f"layer {name!r} applies {str(given or kind)[:40]}, which is not supported")


def _slope(name: str, slope: object) -> float:
    """Slope of a leaky ReLU."""
    if isinstance(slope, bool) or not isinstance(slope, int | float) or not 0 <= slope < 1:
        raise FileError(f"layer {name!r} has a slope of {str(slope)[:40]}, which is not in [0, 1)")
    return float(slope)


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
