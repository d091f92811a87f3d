"""Files that are damaged or made to do harm: format, what is done to a good file, the message."""

import io
import json
import pickle
import struct
import zipfile

import numpy as np

import patterndim as pdm

CASES = []


class Payload:
    """An object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def case(suffix, message):
    """Collect a function of the bytes of a good file and of the path that a payload would make."""

    def collect(make):
        CASES.append((suffix, message, make))
        return make

    return collect


# --- good files, made by hand so that they take no framework ---


def zipped(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def changed(data, method=zipfile.ZIP_STORED, **changes):
    """An archive with members replaced, or without them (None)."""
    inside = members(data)
    for name, value in changes.items():
        full = next((n for n in inside if n.replace(".", "_").endswith(name)), name)
        inside[full] = value
    return zipped({n: d for n, d in inside.items() if d is not None}, method)


def npz_file(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(header, data=b"", version=b"\x01\x00"):
    text = header.encode().ljust(117) + b"\n"
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + size + text + data


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape=(2, 3), start=0, stop=48, dtype="F64"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def storage(name, key, number, shape, stride, kind=b"FloatStorage"):
    """Pickled entry of a state_dict: a tensor and where its numbers are."""
    pickled = b"X" + struct.pack("<I", len(name)) + name + b"ctorch._utils\n_rebuild_tensor_v2\n(("
    pickled += b"X\x07\0\0\0storagectorch\n" + kind + b"\nX\x01\0\0\0" + key + b"X\x03\0\0\0cpu"
    pickled += b"J" + struct.pack("<i", number) + b"tQK\0("
    pickled += b"".join(b"J" + struct.pack("<i", n) for n in shape) + b"t("
    pickled += b"".join(b"J" + struct.pack("<i", n) for n in stride) + b"t"
    return pickled + b"\x89ccollections\nOrderedDict\n)RtR"


W, B = np.arange(6, dtype="<f4").tobytes(), np.arange(2, dtype="<f4").tobytes()
WEIGHT = storage(b"0.weight", b"0", 6, (2, 3), (3, 1))
BIAS = storage(b"0.bias", b"1", 2, (2,), (1,))


def torch_file(entries, data=(W, B), start=b"\x80\x02}(", end=b"u."):
    stored = {f"model/data/{key}": raw for key, raw in enumerate(data)}
    inside = {"model/data.pkl": start + entries + end, "model/byteorder": b"little", **stored}
    return zipped({**inside, "model/version": b"3\n"})


def keras_layer(kind, name, module="keras.layers", **config):
    built = {"build_config": {"input_shape": [None, 3]}} if kind == "Dense" else {}
    config = {"name": name, **config}
    entry = {"module": module, "class_name": kind, "config": config, "registered_name": None}
    return {**entry, **built}


def dense(name, units=2, activation="relu", **config):
    given = {"units": units, "activation": activation, "use_bias": True, **config}
    return keras_layer("Dense", name, **given)


LAYERS = [keras_layer("InputLayer", "in"), dense("one"), dense("two", activation="linear")]


def keras_config(layers=LAYERS, kind="Sequential", **config):
    return json.dumps({"class_name": kind, "config": {"layers": layers, **config}})


def tensor(source, call=0, shape=(None, 2)):
    history = {"shape": list(shape), "keras_history": [source, call, 0]}
    return {"class_name": "__keras_tensor__", "config": history}


def keras_graph(*links, output="two", **config):
    """Configuration of a functional model: layers, each with the tensors that it acts on."""
    layers = []
    for layer, *sources in links:
        tensors = [tensor(source) if isinstance(source, str) else source for source in sources]
        summed = layer["class_name"] == "Add" and layer["module"] == "keras.layers"
        nodes = [{"args": [tensors] if summed else tensors, "kwargs": {}}] if sources else []
        layers.append({"inbound_nodes": nodes, **layer})
    return keras_config(layers, "Functional", **{"output_layers": [output, 0, 0], **config})


def keras_arrays(first=(3, 2), second=(2, 2), dtype="<f4", **options):
    """HDF5 bytes of two Dense layers."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as arrays:
        for name, shape in (("dense", first), ("dense_1", second)):
            kernel = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
            arrays.create_dataset(f"layers/{name}/vars/0", data=kernel, **options)
            arrays.create_dataset(f"layers/{name}/vars/1", data=np.zeros(shape[1], dtype))
    return file.getvalue()


def keras_file(config=None, arrays=None, metadata='{"keras_version": "3.9.0"}'):
    config = keras_config() if config is None else config
    arrays = keras_arrays() if arrays is None else arrays
    inside = {"metadata.json": metadata, "config.json": config, "model.weights.h5": arrays}
    return zipped(inside)


def good_files(folder):
    """A good file of every format."""
    network = pdm.Network.random((3, 2, 2), rng=0)
    found = {}
    for suffix in (".npz", ".safetensors"):
        pdm.save(network, folder / f"good{suffix}")
        found[suffix] = (folder / f"good{suffix}").read_bytes()
    tensors = {"0.weight": entry(), "2.weight": entry((2, 2), 48, 80)}
    foreign = safetensors(tensors, np.arange(10.0).tobytes())
    return {**found, "foreign": foreign, ".pt": torch_file(WEIGHT + BIAS), ".keras": keras_file()}


# --- any archive ---

for _suffix in (".npz", ".pt", ".keras"):

    @case(_suffix, "is a path that leads out of the archive")
    def climbing(good, marker):
        return zipped({**members(good), "../../outside": b"x"})

    @case(_suffix, "is a path that leads out of the archive")
    def absolute(good, marker):
        return zipped({**members(good), "/tmp/outside": b"x"})

    @case(_suffix, "is not the name of a member")
    def backslashes(good, marker):
        return zipped({**members(good), "C:\\outside": b"x"})

    @case(_suffix, "is there twice")
    def twice(good, marker):
        inside = members(good)
        name = next(iter(inside))
        data = zipped({**inside, "_" + name[1:]: b"x"})
        return data.replace(("_" + name[1:]).encode(), name.encode())

    @case(_suffix, "would expand to")
    def deflate_bomb(good, marker):
        inside = {**members(good), "zeros.npy": bytes(2**26)}
        return zipped(inside, zipfile.ZIP_DEFLATED)

    @case(_suffix, "is compressed by method 12")
    def bzip2(good, marker):
        return zipped(members(good), zipfile.ZIP_BZIP2)

    @case(_suffix, "is encrypted")
    def encrypted(good, marker):
        data = bytearray(good)
        at = data.index(b"PK\1\2")
        data[at + 8] |= 1
        return bytes(data)

    @case(_suffix, "")
    def checksum(good, marker):
        data = bytearray(good)
        data[data.index(b"PK\1\2") - 3] ^= 1
        return bytes(data)

    @case(_suffix, "")
    def size_of_terabytes(good, marker):
        data = bytearray(good)
        at = data.rindex(b"PK\1\2")
        data[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
        return bytes(data)

    @case(_suffix, "")
    def no_members(good, marker):
        return zipped({})


for _suffix in (".npz", ".safetensors", ".pt", ".keras"):

    @case(_suffix, "")
    def empty(good, marker):
        return b""

    @case(_suffix, "")
    def noise(good, marker):
        return np.random.default_rng(0).bytes(5000)

    @case(_suffix, "")
    def wrong_magic(good, marker):
        return b"XX" + good[2:-22] + bytes(22)

    @case(_suffix, "")
    def pickle_payload(good, marker):
        return pickle.dumps(Payload(marker))


# --- .npz ---


def npz_with(**changes):
    def make(good, marker):
        with np.load(io.BytesIO(good)) as archive:
            arrays = {**archive, **changes}
        return npz_file(**{key: value for key, value in arrays.items() if value is not None})

    return make


def npz_theta(header, data=b"", **options):
    return lambda good, marker: changed(good, theta_npy=npy(header, data, **options))


case(".npz", "theta has dtype object, which is not plain")(
    lambda good, marker: npz_with(theta=np.array([Payload(marker)], dtype=object))(good, marker)
)
case(".npz", "which is not plain")(npz_with(theta=np.zeros(14, "f8,f8")))
case(".npz", "theta of dtype complex128")(npz_with(theta=np.zeros(14, complex)))
case(".npz", "theta of 2 axes")(npz_with(theta=np.zeros((1, 14))))
case(".npz", "widths of dtype float64")(npz_with(widths=np.array([3.0, 2.0, 2.0])))
case(".npz", "theta must have shape .14,., got .9,.")(npz_with(theta=np.zeros(9)))
case(".npz", "theta must be finite, got nan")(npz_with(theta=np.full(14, np.nan)))
case(".npz", "must be at least 1, got -2")(npz_with(widths=np.array([3, -2, 2])))
case(".npz", "theta must have shape")(npz_with(widths=np.array([3, 2**40, 2**40])))
case(".npz", "theta must have shape")(npz_with(widths=np.array([2**62, 2**62, 2**62])))
case(".npz", "slope of layer 1 must be at least 0")(npz_with(slopes=np.array([0, np.nan, 0])))
case(".npz", "zip")(npz_with(slopes=np.zeros(2)))
case(".npz", "must be at least 1, got 0")(npz_with(connections=np.array([[1, 0, 1]])))
case(".npz", "trainable: 7")(npz_with(connections=np.array([[0, 1, 7], [1, 2, 1]])))
case(".npz", "unpack")(npz_with(connections=np.zeros((2, 2), int)))
case(".npz", "no array named theta")(npz_with(theta=None))
case(".npz", "format version 9 instead of 1")(npz_with(version=np.array(9)))
case(".npz", "format 'other'")(npz_with(format=np.array("other")))
case(".npz", "is not an .npy array")(lambda good, marker: zipped({**members(good), "x.txt": b""}))
case(".npz", "needs 80000000000000 bytes of data, has 8")(
    npz_theta("{'descr': '<f8', 'fortran_order': False, 'shape': (10000, 1000000000), }", bytes(8))
)
case(".npz", "negative shape")(
    npz_theta("{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -7), }", bytes(112))
)
case(".npz", "bytes of data, has")(
    npz_theta(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**64 + 14},), }}", bytes(112))
)
case(".npz", "")(npz_theta("{'descr': '<f8', 'fortran_order': False, 'shape': (14,), "))
case(".npz", "")(npz_theta("(" * 116))
case(".npz", "the header of theta cannot be read")(npz_theta("-" * 9000 + "1"))
case(".npz", "")(npz_theta("{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}"))
case(".npz", "theta has .npy version .3, 0.")(npz_theta("{}", version=b"\x03\x00"))
case(".npz", "magic string is not correct")(
    lambda good, marker: changed(good, theta_npy=pickle.dumps(Payload(marker)))
)

# --- .safetensors, ours and others ---


def ours(**changes):
    """Our file with other metadata."""

    def make(good, marker):
        length = int.from_bytes(good[:8], "little")
        header = json.loads(good[8 : 8 + length])
        metadata = {**header["__metadata__"], **changes}
        header["__metadata__"] = {k: v for k, v in metadata.items() if v is not None}
        return safetensors(header, good[8 + length :])

    return make


def tensors(header, data=bytes(48), length=None):
    return lambda good, marker: safetensors(header, data, length)


case(".safetensors", "metadata without 'widths'")(ours(widths=None))
case(".safetensors", "tensors that do not fit the widths")(ours(widths="[3, 4, 2]"))
case(".safetensors", "")(ours(widths="[3, 2"))
case(".safetensors", "")(ours(widths="7"))
case(".safetensors", "width of layer 1 must be an integer")(ours(widths="[3, 2.5, 2]"))
case(".safetensors", "format version 2 instead of 1")(ours(version="2"))
case(".safetensors", "NaN is not a JSON number")(ours(slopes="[0, NaN, 0]"))
case(".safetensors", ": bias of layer 0 must be a bool, got 0")(ours(biases="[0, 1, 1]"))
case(".safetensors", "metadata that are not text")(ours(other={"a": 1}))
case(".safetensors", "a header of 18446744073709551615 bytes")(tensors({}, length=2**64 - 1))
case(".safetensors", "a header of 4611686018427387904 bytes")(tensors({}, length=2**62))
case(".safetensors", "a header of 100 bytes, of 58 in the file")(tensors({}, length=100))
case(".safetensors", "a header that is no JSON object")(tensors(b"[]"))
case(".safetensors", "a header that is no JSON object")(tensors(b" {}"))
case(".safetensors", "")(tensors(b"{]"))
case(".safetensors", "")(tensors(b'{"\xff": 1}'))
case(".safetensors", "it is nested too deeply")(
    tensors(b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}")
)
case(".safetensors", "key '0.weight' is there twice")(
    tensors(b'{"0.weight":%s,"0.weight":%s}' % ((json.dumps(entry()).encode(),) * 2))
)
case(".safetensors", "dtype 'F8_E4M3', which is none of F64, F32")(
    tensors({"0.weight": entry(dtype="F8_E4M3")})
)
case(".safetensors", "has dtype 64")(tensors({"0.weight": entry(dtype=64)}))
case(".safetensors", "has shape .-2, 3.")(tensors({"0.weight": entry((-2, 3))}))
case(".safetensors", "has shape .true, 6.|has shape .True, 6.")(
    tensors({"0.weight": entry((True, 6))})
)
case(".safetensors", "has shape .2.0, 3.")(tensors({"0.weight": entry((2.0, 3))}))
case(".safetensors", "needs 295147905179352825856000000 bytes")(
    tensors({"0.weight": entry((2**62, 8 * 10**6))})
)
case(".safetensors", "has data_offsets .48, 0.")(tensors({"0.weight": entry(start=48, stop=0)}))
case(".safetensors", "needs 48 bytes, has 40")(tensors({"0.weight": entry(stop=40)}))
case(".safetensors", "begins at 8 where 0 bytes")(tensors({"a.weight": entry(start=8, stop=56)}))
case(".safetensors", "begins at 0 where 48 bytes")(
    tensors({"0.weight": entry(), "1.weight": entry()})
)
case(".safetensors", "tensors of 48 bytes in 50 bytes of data")(
    tensors({"0.weight": entry()}, bytes(50))
)
case(".safetensors", "tensors of 48 bytes in 40 bytes of data")(
    tensors({"0.weight": entry()}, bytes(40))
)
case(".safetensors", "must have dtype, shape and data_offsets only")(
    tensors({"0.weight": {**entry(), "more": 1}})
)
case(".safetensors", "must have dtype, shape and data_offsets only")(tensors({"0.weight": 3}))
case(".safetensors", "a name of 2000 characters")(tensors({"a" * 2000: entry()}))
case(".safetensors", "at least one linear layer")(tensors({}, b""))
case(".safetensors", "0.weight must be finite, got nan")(
    tensors({"0.weight": entry()}, np.full(6, np.nan).tobytes())
)
case(".safetensors", "0.weight must be finite, got inf")(
    tensors({"0.weight": entry((2, 12), dtype="BF16")}, np.full(24, 0x7F80, "<u2").tobytes())
)
case(".safetensors", "0.weight must be a matrix, got shape .6,.")(
    tensors({"0.weight": entry((6,))})
)
case(".safetensors", "must be a matrix, got shape .1, 2, 3, 1.")(
    tensors({"conv.weight": entry((1, 2, 3, 1))})
)
case(".safetensors", "running_mean")(tensors({"0.running_mean": entry((6,))}))
case(".safetensors", "matrix beside '0.bias'")(tensors({"0.bias": entry((6,))}))
case(".safetensors", "layers must chain")(
    tensors({"0.weight": entry(), "1.weight": entry(start=48, stop=96)}, bytes(96))
)
case(".safetensors", "width of layer 1 must be at least 1, got 0")(
    tensors({"1.weight": entry((0, 3), 0, 0)}, b"")
)

# --- .pt ---


def torch_with(*arguments, **options):
    return lambda good, marker: torch_file(*arguments, **options)


@case(".pt", "it refers to .*open, not only to parameters: save model.state_dict")
def torch_payload(good, marker):
    return changed(good, data_pkl=pickle.dumps({"0.weight": Payload(marker)}, 2))


@case(".pt", "protocol 4 instead of 2")
def torch_payload_of_another_protocol(good, marker):
    return changed(good, data_pkl=pickle.dumps({"0.weight": Payload(marker)}, 4))


@case(".pt", "")
def torch_payload_without_protocol(good, marker):
    return changed(good, data_pkl=pickle.dumps({"0.weight": Payload(marker)}, 4)[2:])


@case(".pt", "it refers to posix.system, not only to parameters")
def torch_payload_by_inst(good, marker):
    return changed(good, data_pkl=b"\x80\x02(S'touch %s'\niposix\nsystem\n." % str(marker).encode())


@case(".pt", "it holds a TorchScript program")
def torch_script(good, marker):
    return zipped({**members(good), "model/constants.pkl": b"x"})


@case(".pt", "no archive, as torch has written since 1.6")
def torch_legacy(good, marker):
    return pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps({"0.weight": Payload(marker)}, 2)


case(".pt", "data.pkl is missing")(lambda good, marker: changed(good, data_pkl=None))
case(".pt", "")(lambda good, marker: changed(good, data_pkl=b""))
case(".pt", "")(lambda good, marker: changed(good, data_pkl=b"\x80\x02}(u"))
case(".pt", "")(lambda good, marker: changed(good, data_pkl=b"\x80\x02X\xff\xff\xff\xffx."))
case(".pt", "it holds a list, no state_dict")(torch_with(b"", start=b"\x80\x02](", end=b"e."))
case(".pt", "more than 20000 tuples")(
    torch_with(b")" + b"\x85" * 200_000 + b"N", start=b"\x80\x02}(", end=b"u.")
)
case(".pt", "")(torch_with(storage(b"0.weight", b"0", 2**31 - 1, (2, 3), (3, 1))))
case(".pt", "")(torch_with(storage(b"0.weight", b"0", 6, (2**31 - 1, 3), (3, 1))))
case(".pt", "")(torch_with(storage(b"0.weight", b"0", 6, (-2, 3), (3, 1))))
case(".pt", "")(torch_with(storage(b"0.weight", b"9", 6, (2, 3), (3, 1))))
case(".pt", "shares its numbers with another entry, or with itself")(
    torch_with(storage(b"0.weight", b"0", 6, (2**31 - 1, 2**31 - 1), (0, 0)))
)
case(".pt", "2.weight shares its numbers with another entry")(
    torch_with(WEIGHT + storage(b"2.weight", b"0", 6, (3, 2), (1, 3)))
)
case(".pt", "0.weight has dtype torch.int64")(
    torch_with(storage(b"0.weight", b"0", 3, (1, 3), (3, 1), b"LongStorage"))
)
case(".pt", "epoch is a int, no tensor")(torch_with(b"X\x05\0\0\0epochK\x03"))
case(".pt", "an entry without a name")(torch_with(b"K\x05" + WEIGHT[13:]))
case(".pt", "0.weight must be finite, got nan")(
    torch_with(WEIGHT + BIAS, (np.full(6, np.nan, "<f4").tobytes(), B))
)
case(".pt", "at least one linear layer")(torch_with(b""))
case(".pt", "0.weight must be a matrix")(torch_with(storage(b"0.weight", b"0", 6, (6,), (1,))))
case(".pt", "running_mean")(torch_with(WEIGHT + storage(b"1.running_mean", b"1", 2, (2,), (1,))))

# --- .keras ---


def keras_with(*arguments, **options):
    return lambda good, marker: keras_file(*arguments, **options)


def layered(*layers, **options):
    return keras_with(keras_config([keras_layer("InputLayer", "in"), *layers], **options))


LAST = dense("two", activation="linear")


@case(".keras", "layer 'harm' is of kind Lambda, which is not supported")
def keras_lambda(good, marker):
    import base64
    import marshal

    code = compile(f"open({str(marker)!r}, 'w')", "<lambda>", "eval")
    function = {"code": base64.b64encode(marshal.dumps(code)).decode(), "closure": None}
    layer = keras_layer("Lambda", "harm", function={"class_name": "__lambda__", "config": function})
    return keras_file(keras_config([keras_layer("InputLayer", "in"), layer, LAST]))


case(".keras", "layer 'conv' is of kind Conv2D")(layered(keras_layer("Conv2D", "conv"), LAST))
case(".keras", "layer 'one' is of kind Dense, which is not")(
    layered(keras_layer("Dense", "one", module="os"), LAST)
)
case(".keras", "layer 'one' applies tanh")(layered(dense("one", activation="tanh"), LAST))
case(".keras", "layer 'one' applies ")(
    layered(dense("one", activation={"module": "os", "class_name": "system", "config": "x"}), LAST)
)
case(".keras", "layer 'cut' applies ReLU")(
    layered(
        dense("one", activation="linear"),
        keras_layer("ReLU", "cut", max_value=6.0, negative_slope=0.0, threshold=0.0),
        LAST,
    )
)
case(".keras", "layer 'leaky' has a slope of 1.5")(
    layered(
        dense("one", activation="linear"),
        keras_layer("LeakyReLU", "leaky", negative_slope=1.5),
        LAST,
    )
)
case(".keras", "layer 'leaky' has a slope of True")(
    layered(dense("one"), keras_layer("LeakyReLU", "leaky", negative_slope=True), LAST)
)
case(".keras", "got layer 'two' of type Dense, after a softmax, which must come last")(
    layered(dense("one", activation="softmax"), LAST)
)
case(".keras", "got layer 'again' of type ReLU, after a sigmoid, which must come last")(
    layered(
        dense("one", activation="sigmoid"),
        keras_layer("ReLU", "again", max_value=None, negative_slope=0.0, threshold=0.0),
    )
)
case(".keras", "layer 'one' was never built")(
    layered({**dense("one"), "build_config": None, "class_name": "Dense"}, LAST)
)
case(".keras", "layer 'one' acts on inputs that are not flat")(
    layered({**dense("one"), "build_config": {"input_shape": [None, 4, 3]}}, LAST)
)
case(".keras", "layer 'flat' flattens in the order of 'channels_first'")(
    layered(keras_layer("Flatten", "flat", data_format="channels_first"), dense("one"), LAST)
)
case(".keras", "a layer without a name of its own")(layered(dense("one"), dense("one")))
case(".keras", "layer 'one' has 2 units")(layered(dense("one", units=5), LAST))
case(".keras", "the arrays of layer 'three' cannot be read")(
    layered(dense("one"), LAST, dense("three"))
)
case(".keras", "it has no layers")(keras_with(keras_config([])))
case(".keras", "at least one linear layer")(layered())
case(".keras", "it has several inputs, 'in' and 'other'")(
    layered(dense("one"), keras_layer("InputLayer", "other"), LAST)
)
case(".keras", "layer 'sum' has 1 inputs")(layered(dense("one"), keras_layer("Add", "sum"), LAST))
case(".keras", "a Subclassed model, neither Sequential nor Functional")(
    keras_with(keras_config(kind="Subclassed"))
)


# --- .keras, functional ---


def graphed(*links, **config):
    """A functional model of an input, a Dense layer ``one`` of it, and more."""
    start = [(keras_layer("InputLayer", "in"),), (dense("one"), "in")]
    return keras_with(keras_graph(*start, *links, **config))


def called(layer, *nodes):
    """A layer with what its calls act on, written out."""
    return ({**layer, "inbound_nodes": list(nodes)},)


ADD = keras_layer("Add", "sum")
OPERATION = {**keras_layer("Add", "sum", module="keras.src.ops.numpy"), "registered_name": "Add"}
DROPOUT = keras_layer("Dropout", "drop")

case(".keras", "layer 'two' does not lead to the output")(graphed((LAST, "in"), output="one"))
case(".keras", "layer 'relu' does not lead to the output")(
    graphed((LAST, "one"), (keras_layer("Activation", "relu", activation="relu"), "one"))
)
case(".keras", "layer 'two' acts on what it gives itself")(graphed((LAST, "two")))
case(".keras", "layer '(sum|drop)' acts on what it gives itself")(
    graphed((ADD, "one", "drop"), (DROPOUT, "sum"), (LAST, "drop"))
)
case(".keras", "acts on what it gives itself")(
    graphed(
        *(({**DROPOUT, "config": {"name": f"d{k}"}}, f"d{(k + 1) % 5000}") for k in range(5000)),
        (LAST, "d7"),
    )
)
case(".keras", "layer 'two' acts on 'three', which gives nothing")(graphed((LAST, "three")))
case(".keras", "layer 'two' acts on 'one', which gives nothing")(graphed((LAST, tensor("one", 1))))
case(".keras", "layer 'two' acts on 'one', which gives nothing")(graphed((LAST, tensor("one", -1))))
case(".keras", "layer 'output' acts on 'three', which gives nothing")(
    graphed((LAST, "one"), output="three")
)
for _outputs in (
    [["two", 0, 0], ["one", 0, 0]],
    {"x": ["two", 0, 0], "y": ["one", 0, 0]},
    [],
    "two",
):
    case(".keras", "the output of the model is not what one layer gives, got ")(
        graphed((LAST, "one"), output_layers=_outputs)
    )
case(".keras", "it has several inputs, 'in' and 'other'")(
    graphed((keras_layer("InputLayer", "other"),), (ADD, "one", "other"), (LAST, "sum"))
)
for _sources in ([], ["one", "in"]):
    case(".keras", f"layer 'two' (is used 0 times, not once|has {len(_sources)} inputs)")(
        graphed((LAST, *_sources))
    )
case(".keras", "layer 'two' is used 2 times, not once")(
    graphed(called(LAST, *[{"args": [tensor("one")], "kwargs": {}}] * 2))
)
case(".keras", "an input of layer 'two' is not what one layer gives, got .7, 0, 0.")(
    graphed((LAST, tensor(7)))
)
case(".keras", "an input of layer 'two' is not what one layer gives, got .'one', True, 0.")(
    graphed((LAST, tensor("one", True)))
)
case(".keras", "an input of layer 'two' is not what one layer gives, got .'one', 0, 1.")(
    graphed((LAST, {"config": {"keras_history": ["one", 0, 1]}}))
)
case(".keras", "layer 'sum' acts on what no layer gives")(
    graphed((OPERATION, "one", 1.0), (LAST, "sum"))
)
case(".keras", "layer 'sum' acts on what no layer gives")(
    graphed((OPERATION, "one", {"config": {"value": 1.0}}), (LAST, "sum"))
)
case(".keras", "layer 'sum' has 1 inputs")(graphed((ADD, "one"), (LAST, "sum")))
case(".keras", "layer 'sum' has 1 inputs")(graphed((OPERATION, "one"), (LAST, "sum")))
case(".keras", "layer 'sum' adds arrays of different shapes")(
    graphed((ADD, "one", tensor("in", 0, (None, 1))), (LAST, "sum"))
)
case(".keras", "a sum must be of equal widths, got .2, 3.")(
    graphed((ADD, "one", "in"), (LAST, "sum"))
)
case(".keras", "layer 'sum' is called with mask")(
    graphed(called(ADD, {"args": [], "kwargs": {"mask": [None]}}), (LAST, "sum"))
)
case(".keras", "layer 'drop' is called with training")(
    graphed(
        called(DROPOUT, {"args": [tensor("one")], "kwargs": {"training": True}}), (LAST, "drop")
    )
)
case(".keras", "more than 10000 inputs of layers, at layer 'sum'")(
    graphed((ADD, *["one"] * 10_000), (LAST, "sum"))
)
case(".keras", "not laid out as it should be")(graphed(called(LAST, 3)))
case(".keras", "not laid out as it should be")(graphed(called(LAST, {"args": None, "kwargs": {}})))
for _change in (
    {"module": "keras.src.ops.numpy", "class_name": "Multiply", "registered_name": "Multiply"},
    {"module": "mine", "registered_name": "Add"},
    {"module": "keras.src.ops.numpy", "registered_name": "mine>Add"},
    {"module": "keras.layers", "registered_name": "mine>Add"},
):
    case(".keras", "layer 'sum' is of kind (Add|Multiply), which is not supported")(
        graphed(({**OPERATION, **_change}, "one", "one"), (LAST, "sum"))
    )
for _kind in ("Dense", "Add", "Lambda"):
    case(".keras", "layer 'one' applies .*, which is not supported")(
        layered(dense("one", activation=keras_layer(_kind, "inside", units=2)), LAST)
    )


@case(".keras", "the arrays of layer 'd2' are those of others as well")
def keras_shared_arrays(good, marker):
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as arrays:
        arrays["layers/dense/vars/0"] = np.ones((300, 300), "<f4")
        for k in range(1, 1000):
            arrays[f"layers/dense_{k}"] = arrays["layers/dense"]
    layers = [dense(f"d{k}", units=300, use_bias=False) for k in range(1000)]
    return keras_file(keras_config(layers), file.getvalue())


# --- .keras, the rest of the archive ---

case(".keras", "saved by Keras 2.15.0: save it again with Keras 3")(
    keras_with(metadata='{"keras_version": "2.15.0"}')
)
case(".keras", "not laid out as it should be .KeyError: 'keras_version'.")(
    keras_with(metadata="{}")
)
case(".keras", "not laid out as it should be")(keras_with("[]"))
case(".keras", "not laid out as it should be")(keras_with('{"config": {"layers": [3]}}'))
case(".keras", "it is nested too deeply")(keras_with("[" * 10**5))
case(".keras", "config.json has 5000000 bytes, more than 4194304")(
    lambda good, marker: changed(good, zipfile.ZIP_DEFLATED, config_json=b" " * 5_000_000)
)
case(".keras", "config.json is missing")(lambda good, marker: changed(good, config_json=None))
case(".keras", "model.weights.h5 is missing")(lambda good, marker: changed(good, weights_h5=None))
case(".keras", "the weights are no HDF5 file")(keras_with(arrays=b"\x89HDF" * 500))
case(".keras", "an HDF5 structure at|no HDF5")(
    lambda good, marker: keras_file(arrays=keras_arrays()[:200])
)
case(".keras", "an HDF5 structure at")(lambda good, marker: keras_file(arrays=keras_arrays()[:12]))
case(".keras", "two/kernel must take 2 inputs, got 4")(
    lambda good, marker: keras_file(arrays=keras_arrays((3, 2), (4, 2)))
)
case(".keras", "'one' cannot be read: an HDF5 array that is not of floats")(
    lambda good, marker: keras_file(arrays=keras_arrays(dtype="<i4"))
)
case(".keras", "'one' cannot be read: an HDF5 array that is not in one piece")(
    lambda good, marker: keras_file(arrays=keras_arrays(compression="gzip"))
)
case(".keras", "one/kernel must be a matrix, got shape")(
    lambda good, marker: keras_file(arrays=keras_arrays((3, 2, 1), (2, 2)))
)


@case(".keras", "that is there twice or a link")
def keras_links(good, marker):
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as arrays:
        arrays["layers/dense/vars/0"] = np.ones((3, 2))
        arrays["layers/dense/vars/1"] = h5py.SoftLink("/elsewhere")
    return keras_file(arrays=file.getvalue())


@case(".keras", "an HDF5 superblock of version [23]")
def keras_latest(good, marker):
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w", libver="latest") as arrays:
        arrays["layers/dense/vars/0"] = np.ones((3, 2))
    return keras_file(arrays=file.getvalue())


@case(".keras", "is not in one piece")
def keras_external(good, marker):
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as arrays:
        for name in ("dense", "dense_1"):
            external = [("/etc/hostname", 0, 48)]
            arrays.create_dataset(f"layers/{name}/vars/0", (3, 2), "<f8", external=external)
            arrays[f"layers/{name}/vars/1"] = np.ones(2)
    return keras_file(arrays=file.getvalue())


@case(".keras", "needs 8000000000000 bytes, has")
def keras_never_written(good, marker):
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as arrays:
        arrays.create_dataset("layers/dense/vars/0", (10**6, 10**6), "<f8")
        arrays["layers/dense/vars/1"] = np.ones(2)
    return keras_file(arrays=file.getvalue())


@case(".keras", "")
def keras_endless_tree(good, marker):
    data = bytearray(keras_arrays())
    at = data.index(b"TREE")
    data[at + 32 : at + 40] = struct.pack("<Q", at)
    return keras_file(arrays=bytes(data))


@case(".keras", "that is no heap")
def keras_without_names(good, marker):
    return keras_file(arrays=keras_arrays().replace(b"HEAP", b"HEAT"))
