"""Files of networks: ours exactly, and those that torch, safetensors and Keras write."""

import json
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.errors import ArgumentError, FileError, MissingPackageError, ShapeError
from patterndim.formats import hdf5, npz, read, safetensors
from tests import malformed
from tests.strategies import networks

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def tensors_file(path, tensors, metadata=None):
    """A .safetensors file by hand: name -> (dtype, shape, bytes)."""
    header, data = {} if metadata is None else {"__metadata__": metadata}, b""
    for name, (dtype, shape, raw) in tensors.items():
        place = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": place}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@given(network=networks(integers=False))
@settings(max_examples=60)
def test_every_network_comes_back_bit_for_bit(network, suffix, tmp_path_factory):
    theta = network.theta.copy()
    theta[0] = -0.0
    theta[-1] = 5e-324
    network = network.replace(theta=theta)
    path = tmp_path_factory.mktemp("files") / f"network{suffix}"
    pdm.save(network, path)
    found = read(path)
    assert found.network.architecture == network.architecture
    assert found.network.theta.tobytes() == network.theta.tobytes()
    places = np.zeros(len(theta), dtype=int)
    for part in found.parameters:
        assert part.stop - part.start == np.prod(part.shape)
        places[part.start : part.stop] += 1
    assert (places == 1).all()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_two_matrices_between_the_same_layers_keep_their_places(tmp_path):
    W = [np.full((2, 2), value) for value in (1.0, 2.0, 3.0)]
    edges = [(0, 1, W[0]), (0, 1, W[1]), (1, 2, W[2])]
    network = pdm.Network.from_graph((2, 2, 2), edges, slope=0.1)
    pdm.save(network, tmp_path / "twice.safetensors")
    found = read(tmp_path / "twice.safetensors")
    assert found.network.theta.tolist() == network.theta.tolist()
    assert [part.name for part in found.parameters] == ["0.weight.0", "0.weight.1", "2.weight"]


def test_a_network_of_many_layers_is_read_in_no_time(tmp_path):
    network = pdm.Network.random([1] * 5000)
    for suffix in (".npz", ".safetensors"):
        pdm.save(network, tmp_path / f"deep{suffix}")
        assert pdm.load(tmp_path / f"deep{suffix}").architecture == network.architecture


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"network{suffix}"
    pdm.save(pdm.Network.random((3, 2, 1)), path)
    before = path.read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FileError, match=r"path must be writable.*No space left on device"):
        pdm.save(pdm.Network.random((4, 2, 1)), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_safetensors_reads_what_we_write(tmp_path):
    official = pytest.importorskip("safetensors.numpy")
    network = pdm.Network.random((3, 5, 2), rng=1, bias_std=1.0)
    pdm.save(network, tmp_path / "network.safetensors")
    found = official.load_file(tmp_path / "network.safetensors")
    assert sorted(found) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    for name, array in zip(("0.weight", "2.weight"), network.weights, strict=True):
        assert np.array_equal(found[name], array)
    for name, array in zip(("0.bias", "2.bias"), network.biases, strict=True):
        assert np.array_equal(found[name], array)
    length = int.from_bytes((tmp_path / "network.safetensors").read_bytes()[:8], "little")
    assert length % 8 == 0


ARRAYS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "__metadata__"),
    st.tuples(
        st.sampled_from(["float64", "float32", "float16"]),
        st.lists(st.integers(0, 3), max_size=3),
        st.integers(0, 99),
    ),
    min_size=1,
    max_size=6,
)


@given(given_arrays=ARRAYS, metadata=st.none() | st.dictionaries(st.text(), st.text(), max_size=3))
def test_we_read_what_safetensors_writes(given_arrays, metadata, tmp_path_factory):
    official = pytest.importorskip("safetensors.numpy")
    arrays = {
        name: np.random.default_rng(seed).normal(size=shape).astype(dtype)
        for name, (dtype, shape, seed) in given_arrays.items()
    }
    path = tmp_path_factory.mktemp("files") / "any.safetensors"
    official.save_file(arrays, path, metadata)
    with path.open("rb") as file:
        found, described = safetensors.read_tensors(file)
    assert described == (metadata or {})
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_every_bfloat16_is_read_exactly(tmp_path):
    bits = np.arange(2**16, dtype="<u2")
    path = tensors_file(tmp_path / "all.safetensors", {"x": ("BF16", (256, 256), bits.tobytes())})
    with path.open("rb") as file:
        found = safetensors.read_tensors(file)[0]["x"].reshape(-1)
    sign = np.where(bits >> 15, -1.0, 1.0)
    exponent, fraction = (bits >> 7 & 255).astype(int), (bits & 127) / 128.0
    normal, ordinary = exponent > 0, exponent < 255
    expected = sign * (normal + fraction) * 2.0 ** (np.maximum(exponent, 1) - 127)
    assert np.array_equal(found[ordinary], expected[ordinary])
    assert np.isinf(found[~ordinary & (fraction == 0)]).all()
    assert np.isnan(found[~ordinary & (fraction > 0)]).all()


W1, B1 = np.arange(12.0).reshape(4, 3), np.arange(4.0)
W2, B2 = -np.arange(8.0).reshape(2, 4), np.arange(2.0)
NAMES = {
    "torch": {"0.weight": W1, "0.bias": B1, "2.weight": W2, "2.bias": B2},
    "torch, nested": {"net.layers.9.weight": W1, "net.layers.10.weight": W2},
    "torch, functions": {"fc1.weight": W1, "fc1.bias": B1, "out.weight": W2, "out.bias": B2},
    "flax": {"Dense_0.kernel": W1.T, "Dense_0.bias": B1, "Dense_1.kernel": W2.T},
    "flax, nested": {"params/Dense_2/kernel": W1.T, "params/Dense_10/kernel": W2.T},
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_names_of_torch_and_flax_are_understood(names, dtype, tmp_path):
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}

    def raw(array):
        if dtype == "BF16":  # small integers: the lower half of their float32 is zero
            return (np.ascontiguousarray(array, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
        return np.ascontiguousarray(array, kinds[dtype]).tobytes()

    tensors = {name: (dtype, a.shape, raw(a)) for name, a in sorted(NAMES[names].items())}
    path = tensors_file(tmp_path / "model.safetensors", tensors)
    found = read(path)
    assert np.array_equal(found.network.weights[0], W1)
    assert np.array_equal(found.network.weights[1], W2)
    assert (found.network.biases[0] is None) == (len(tensors) == 2)
    assert found.dtype == np.dtype({"BF16": "f4"}.get(dtype, kinds.get(dtype)))
    assert {part.name for part in found.parameters} == set(tensors)
    assert all(part.transposed == ("kernel" in part.name) for part in found.parameters)
    assert pdm.load(path, slope=0.25).architecture.layers[1].slope == 0.25


def test_a_slope_is_for_files_that_do_not_tell_it(tmp_path):
    network = pdm.Network.random((3, 2, 1), slope=0.5)
    for suffix in (".npz", ".safetensors"):
        pdm.save(network, tmp_path / f"n{suffix}")
        with pytest.raises(ArgumentError, match=r"slope must not be given for .* got 0\.1"):
            pdm.load(tmp_path / f"n{suffix}", slope=0.1)
    tensors = {"0.weight": ("F64", (4, 3), W1.tobytes()), "1.weight": ("F64", (2, 4), W2.tobytes())}
    path = tensors_file(tmp_path / "model.safetensors", tensors)
    with pytest.raises(ShapeError, match="slope must be a number or one per hidden layer, 1"):
        pdm.load(path, slope=[0.1, 0.2])
    with pytest.raises(ArgumentError, match="slope of layer 1 must be at least 0 and at most 1"):
        pdm.load(path, slope=1.5)


# --- torch ---


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_state_dicts_of_torch_come_in_exactly(dtype, suffix, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(
        nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6, bias=False), nn.ReLU(), nn.Linear(6, 3)
    ).to(getattr(torch, dtype))
    torch.save(model.state_dict(), tmp_path / f"model{suffix}")
    found = read(tmp_path / f"model{suffix}")
    arrays = {name: value.double().numpy() for name, value in model.state_dict().items()}
    assert [part.name for part in found.parameters] == list(arrays)
    for part in found.parameters:
        assert np.array_equal(found.network.theta[part.start : part.stop], arrays[part.name].flat)
    X = np.random.default_rng(0).integers(-8, 9, (20, 5)) / 8.0
    with torch.no_grad():
        expected = model(torch.tensor(X, dtype=getattr(torch, dtype))).double().numpy()
    assert np.abs(pdm.outputs(found.network, X) - expected).max() < 20 * EPSILON[dtype]


@pytest.mark.compiled
def test_checkpoints_that_hold_a_state_dict_come_in(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LeakyReLU(), torch.nn.Linear(2, 1))
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    for entry in ("state_dict", "model_state_dict", "model"):
        whole = {"epoch": 3, entry: model.state_dict(), "optimizer": optimiser.state_dict()}
        torch.save(whole, tmp_path / "checkpoint.pt")
        found = pdm.load(tmp_path / "checkpoint.pt", slope=0.01)
        assert np.array_equal(found.weights[0], model[0].weight.detach().double().numpy())
        assert found.architecture.layers[1].slope == 0.01
    with pytest.raises(ShapeError, match="slope must be a number or one per hidden layer, 1"):
        pdm.load(tmp_path / "checkpoint.pt", slope=[])
    parameters = {name: torch.nn.Parameter(value) for name, value in model.state_dict().items()}
    torch.save(parameters, tmp_path / "parameters.pt")
    assert pdm.load(tmp_path / "parameters.pt").widths == (3, 2, 1)


@pytest.mark.compiled
def test_our_safetensors_are_a_state_dict_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    official = pytest.importorskip("safetensors.torch")
    network = pdm.Network.random((3, 5, 4, 2), rng=2, init="torch")
    pdm.save(network, tmp_path / "n.safetensors")
    nn = torch.nn
    layers = [nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)]
    model = nn.Sequential(*layers).double()
    model.load_state_dict(official.load_file(tmp_path / "n.safetensors"))
    X = np.random.default_rng(0).normal(size=(10, 3))
    found = model(torch.tensor(X)).detach().numpy()
    assert np.abs(found - pdm.outputs(network, X)).max() < 1e-14
    official.save_file(model.to(torch.bfloat16).state_dict(), tmp_path / "half.safetensors")
    again = read(tmp_path / "half.safetensors")
    expected = [value.double().reshape(-1).numpy() for value in model.state_dict().values()]
    assert np.array_equal(again.network.theta, np.concatenate(expected))


def test_without_torch_its_files_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(MissingPackageError, match=r'pip install "patterndim\[torch\]"'):
        pdm.load(tmp_path / "model.pt")


# --- Keras ---


KERAS = ["functional", "residual", "stream", "terms", "linear", "operations"]
KERAS += ["images", "activated", "compiled", "deep", "half"]


def keras_models():
    """Models of every kind that a file may hold: build, slopes of hidden layers, head."""
    keras = pytest.importorskip("keras")
    layers, activations = keras.layers, keras.activations

    def functional():
        tensor = start = layers.Input((4,), name="start")
        # Names that are not in the order of the layers.
        tensor = layers.Dense(6, name="zebra", activation=activations.relu)(tensor)
        tensor = layers.Dense(5, name="ant")(layers.Dropout(0.1)(tensor))
        tensor = layers.LeakyReLU(negative_slope=0.125)(tensor)
        return keras.Model(start, layers.Softmax()(layers.Dense(3, name="mole")(tensor)))

    def images():
        parts = [layers.Input((2, 3, 2)), layers.Flatten(), layers.Dense(5), layers.ReLU()]
        return keras.Sequential([*parts, layers.Dropout(0.5), layers.Dense(2, "sigmoid")])

    def activated():
        leaky = layers.LeakyReLU(negative_slope=0.25)
        parts = [layers.Dense(5, activation=leaky), layers.Dense(4, activation="leaky_relu")]
        parts += [layers.Dense(4), layers.Activation("relu"), layers.ReLU(negative_slope=0.0)][:2]
        end = layers.Dense(3, use_bias=False)
        return keras.Sequential([layers.Input((4,)), *parts, end, layers.Activation("linear")])

    def compiled():
        parts = [layers.Input((4,)), layers.Dense(5, "relu"), layers.Dense(2, "log_softmax")]
        model = keras.Sequential(parts)
        model.compile(optimizer="adam", loss="mse")
        model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
        return model

    def deep():
        parts = [layers.Dense(3, "relu", bias_initializer="normal") for _ in range(40)]
        return keras.Sequential([layers.Input((3,)), *parts, layers.Dense(2)])

    def half():
        policy = {"dtype": "bfloat16"}
        parts = [layers.Dense(4, "relu", **policy), layers.Dense(2, **policy)]
        return keras.Sequential([layers.Input((3,)), *parts])

    def residual():
        start = layers.Input((4,))
        stream = layers.Dense(5, "relu", name="zebra", bias_initializer="normal")(start)
        for name in ("mole", "ant"):
            inside = layers.Dense(6, "relu", bias_initializer="normal")(stream)
            stream = layers.Add()([layers.Dense(5, name=name)(inside), stream])
            stream = layers.ReLU()(stream)
        return keras.Model(start, layers.Dense(2)(stream))

    def stream():
        start = layers.Input((4,))
        tensor = layers.Dense(5, bias_initializer="normal")(start)
        for _ in range(2):
            inside = layers.Dense(6, "relu", bias_initializer="normal")(tensor)
            tensor = layers.Add()([tensor, layers.Dense(5, use_bias=False)(inside)])
        return keras.Model(start, layers.Dense(2, "softmax")(tensor))

    def terms():
        start = layers.Input((4,))
        one = layers.Dense(4, layers.LeakyReLU(negative_slope=0.25), bias_initializer="normal")
        total = layers.Add()([start, one(start), layers.Dense(4, use_bias=False)(start)])
        return keras.Model(start, layers.Dense(3)(layers.LeakyReLU(negative_slope=0.5)(total)))

    def linear():
        parts = [layers.Input((4,)), layers.Dense(6), layers.Dense(2, bias_initializer="normal")]
        return keras.Sequential([*parts, layers.Activation("linear"), layers.Dense(5), one()])

    def one():
        return layers.ReLU(negative_slope=1.0)

    def operations():
        start, relu = layers.Input((4,)), layers.ReLU()
        tensor = relu(layers.Dense(4)(start))
        tensor = relu(layers.Dense(4, bias_initializer="normal")(tensor)) + tensor
        tensor = activations.leaky_relu(tensor + start, negative_slope=0.5)
        tensor = activations.relu(layers.Dense(3)(tensor), negative_slope=0.25)
        tensor = keras.ops.relu(keras.ops.add(layers.Dense(3)(tensor), tensor))
        return keras.Model(start, activations.log_softmax(layers.Identity()(tensor)))

    return {
        "functional": (functional, [0.0, 0.125], "softmax"),
        "residual": (residual, [0.0] * 5, "identity"),
        "stream": (stream, [1.0, 0.0, 1.0, 0.0, 1.0], "softmax"),
        "terms": (terms, [0.25, 0.5], "identity"),
        "linear": (linear, [1.0, 1.0], "identity"),
        "operations": (operations, [0.0, 0.0, 0.5, 0.25, 0.0], "log_softmax"),
        "images": (images, [0.0], "sigmoid"),
        "activated": (activated, [0.25, 0.2, 0.0], "identity"),
        "compiled": (compiled, [0.0], "log_softmax"),
        "deep": (deep, [0.0] * 40, "identity"),
        "half": (half, [0.0], "identity"),
    }


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize("name", KERAS)
def test_files_of_keras_come_in_exactly(name, tmp_path):
    build, slopes, head = keras_models()[name]
    model = build()
    model.save(tmp_path / "model.keras")
    found = read(tmp_path / "model.keras")
    assert [layer.slope for layer in found.network.architecture.layers[1:-1]] == slopes
    assert found.head == head
    assert found.output == ("softmax" if "softmax" in head else "affine")
    plain = pytest.importorskip("keras").ops.convert_to_numpy
    arrays = [plain(weight).astype(np.float64) for weight in model.weights]
    assert len(found.parameters) == len(arrays)
    for part, array in zip(found.parameters, arrays, strict=True):
        assert part.shape == array.shape
        values = found.network.theta[part.start : part.stop]
        assert np.array_equal(values, (array.T if part.transposed else array).reshape(-1))
    X = np.random.default_rng(0).integers(-8, 9, (10, found.network.widths[0])) / 8.0
    shaped = X.reshape(10, *model.input_shape[1:]).astype(np.float32)
    expected = plain(model(shaped)).astype(np.float64)
    from patterndim.formats.imported import HEADS

    outputs = HEADS[head](pdm.outputs(found.network, X))
    epsilon = EPSILON["bfloat16" if name == "half" else "float32"]
    assert np.abs(outputs - expected).max() < 30 * epsilon * max(1.0, np.abs(expected).max())
    live = read(model)
    assert live.network.architecture == found.network.architecture
    assert live.network.theta.tobytes() == found.network.theta.tobytes()
    assert live.head == found.head


def keras_graph_file(path, *links, output):
    """A .keras file of an input, a Dense layer ``one`` of it, and more layers."""
    pytest.importorskip("h5py")
    start = malformed.keras_layer("InputLayer", "in"), malformed.dense("one")
    config = malformed.keras_graph((start[0],), (start[1], "in"), *links, output_layers=output)
    path.write_bytes(malformed.keras_file(config))
    return path


def test_sums_of_sums_do_not_grow_without_end(tmp_path):
    names = ["one", *(f"sum{k}" for k in range(60))]
    sums = [malformed.keras_layer("Add", name) for name in names[1:]]
    links = [(layer, name, name) for layer, name in zip(sums, names[:-1], strict=True)]
    path = keras_graph_file(tmp_path / "doubled.keras", *links, output={"y": [names[-1], 0, 0]})
    network = pdm.load(path)
    assert len(network.architecture.connections) < 64 * 60
    W, b = network.weights[0], network.biases[0]
    X = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(pdm.outputs(network, X), 2.0**60 * np.maximum(X @ W.T + b, 0.0))


def test_a_keras_file_of_many_layers_is_read_in_no_time(tmp_path):
    names = ["one", *(f"layer{k}" for k in range(4000))]
    links = [
        (malformed.keras_layer("Add", name), below, "one")
        if k % 2
        else (malformed.keras_layer("LeakyReLU", name, negative_slope=0.5), below)
        for k, (below, name) in enumerate(pairwise(names))
    ]
    path = keras_graph_file(tmp_path / "deep.keras", *links, output=[[names[-1], 0, 0]])
    assert len(pdm.load(path).architecture.layers) == 2 + 2000


def test_arrays_of_hdf5_are_those_that_h5py_wrote(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    arrays = {}
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for k in range(300):
            shape = tuple(int(n) for n in rng.integers(1, 5, k % 4))
            array = rng.normal(size=shape).astype(("<f8", "<f4", "<f2")[k % 3])
            arrays[f"array {k} \N{GREEK SMALL LETTER MU}"] = array
            data = file.create_dataset(f"group/array {k} \N{GREEK SMALL LETTER MU}", data=array)
            for extra in range(k % 7):
                data.attrs[f"attribute {extra}"] = "text" * extra
    found = hdf5.Hdf5((tmp_path / "many.h5").read_bytes())
    members = found.members(found.members(found.root)["group"])
    assert members.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found.array(members[name]).dtype == array.dtype
        assert np.array_equal(found.array(members[name]), array)
    monkeypatch.setattr(hdf5, "MOST_MEMBERS", 299)
    with pytest.raises(FileError, match="an HDF5 group of more than 299 members"):
        found.members(found.members(found.root)["group"])


# --- arrays of numpy ---


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", ">f8", "i4", "u1", "?", "U3", "c16"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (4, 5), (2, 3, 4)])
def test_arrays_of_numpy_come_in_as_they_are(shape, dtype, order, tmp_path):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype, order=order)
    np.save(tmp_path / "array.npy", array)
    np.savez_compressed(tmp_path / "arrays.npz", array=array, other=array)
    found = [npz.read_array(tmp_path / "array.npy")]
    found += npz.read_arrays(tmp_path / "arrays.npz").values()
    for each in found:
        assert each.dtype == array.dtype
        assert each.shape == array.shape
        assert np.array_equal(each, array)


def test_archives_of_pictures_are_within_the_bounds(tmp_path):
    """Real data compresses well: the bound is for what no data does."""
    X, y = pdm.data.digits()
    X = np.round(X * 255).astype(np.uint8).repeat(5, axis=0)
    np.savez_compressed(tmp_path / "digits.npz", X=X, y=y, empty=np.zeros(10**6))
    found = npz.read_arrays(tmp_path / "digits.npz")
    assert np.array_equal(found["X"], X)
    assert found["empty"].sum() == 0
    np.savez_compressed(tmp_path / "zeros.npz", np.zeros(10**7))
    with pytest.raises(FileError, match="would expand to"):
        npz.read_arrays(tmp_path / "zeros.npz")
