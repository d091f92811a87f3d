import numpy as np
import pytest
from hypothesis import given

import patterndim as pdm
from patterndim.architecture import Connection, Layer
from patterndim.errors import ArgumentError, FileError, KindError, NonFiniteError, ShapeError
from patterndim.formats.npz import read_array
from tests import oracles
from tests.strategies import networks, sample


def residual(slope=0.0):
    rng = np.random.default_rng(0)
    return pdm.Network.from_graph(
        (2, 3, 3, 2),
        [
            (0, 1, rng.standard_normal((3, 2))),
            (1, 2, "identity"),
            (1, 2, rng.standard_normal((3, 3))),
            (2, 3, rng.standard_normal((2, 3))),
            (0, 3, rng.standard_normal((2, 2))),
        ],
        [np.ones(3), None, np.ones(2)],
        slope=slope,
    )


def test_theta_is_ordered_layer_by_layer_matrix_then_bias():
    W1, b1, W2 = np.arange(6.0).reshape(3, 2), np.arange(6.0, 9.0), np.arange(9.0, 12.0)
    network = pdm.Network.from_layers([W1, [W2]], [b1, [12.0]])
    assert network.theta.tolist() == list(range(13))
    assert np.array_equal(network.weights[0], W1)
    assert np.array_equal(network.biases[0], b1)
    assert network.parameter_count == 13
    assert network.hidden_neurons == 3


def test_views_share_memory_with_theta_and_cannot_be_written():
    network = pdm.Network.random((3, 4, 2))
    for view in (*network.weights, *network.biases):
        assert np.shares_memory(view, network.theta)
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1.0


def test_network_copies_what_it_is_given():
    W = np.ones((2, 3))
    theta = np.ones(6)
    network = pdm.Network.from_layers([W])
    other = network.replace(theta=theta)
    W[:] = theta[:] = 5.0
    assert network.theta.tolist() == other.theta.tolist() == [1.0] * 6


def test_connections_are_ordered_by_target_whatever_order_they_are_given_in():
    W1, W2 = np.array([[2.0]]), np.array([[3.0]])
    one = pdm.Network.from_graph((1, 1, 1), [(0, 1, W1), (1, 2, W2)])
    two = pdm.Network.from_graph((1, 1, 1), [(1, 2, W2), (0, 1, W1)])
    assert one.theta.tolist() == two.theta.tolist() == [2.0, 3.0]


@given(networks())
def test_outputs_equal_the_oracle(network):
    X = sample(network, 0, 4)
    plain = oracles.describe(network)
    expected = [oracles.forward(plain, x)[1][-1] for x in X.tolist()]
    assert pdm.outputs(network, X).tolist() == expected


@pytest.mark.parametrize("init", ["he", "glorot", "lecun", "torch"])
def test_random_initialisations_have_their_documented_spread(init):
    network = pdm.Network.random((400, 300, 2), rng=1, init=init)
    W, b = network.weights[0], network.biases[0]
    variance = {"he": 2 / 400, "glorot": 2 / 700, "lecun": 1 / 400, "torch": 1 / 1200}[init]
    assert abs(W.var() / variance - 1) < 0.02
    assert abs(W.mean()) < 5 * np.sqrt(variance / W.size)
    if init in ("glorot", "torch"):
        assert np.abs(W).max() <= np.sqrt(3 * variance) * (1 + 1e-12)
    if init == "torch":
        assert 0 < np.abs(b).max() <= 1 / 20
    else:
        assert not b.any()


def test_random_is_reproducible_and_takes_architectures():
    architecture = residual().architecture
    one = pdm.Network.random(architecture, rng=3, bias_std=0.1)
    two = pdm.Network.random(architecture, rng=np.random.default_rng(3), bias_std=0.1)
    assert one.theta.shape == (architecture.parameter_count,)
    assert one.biases[1] is None
    assert not np.array_equal(one.theta, two.theta)  # a generator hands out a seed of its own
    assert np.array_equal(one.theta, pdm.Network.random(architecture, rng=3, bias_std=0.1).theta)
    leaky = pdm.Network.random((400, 300, 1), slope=0.5, bias=False)
    assert abs(leaky.weights[0].var() / (2 / 1.25 / 400) - 1) < 0.02
    assert leaky.biases == (None, None)
    with_bias = pdm.Network.random((2, 200, 1), bias_std=0.5)
    assert abs(with_bias.biases[0].std() / 0.5 - 1) < 0.2


def test_repr_is_short():
    assert repr(residual()) == "Network(2-3-3-2, 2 skips, P=30, H=6)"


@pytest.mark.parametrize("suffix", [".npz"])
@pytest.mark.parametrize("network", [residual(0.25), pdm.Network.random((3, 2), bias=False)])
def test_saved_networks_come_back_bit_for_bit(network, suffix, tmp_path):
    path = tmp_path / f"network{suffix}"
    pdm.save(network, path)
    loaded = pdm.load(str(path))
    assert loaded.architecture == network.architecture
    assert np.array_equal(loaded.theta, network.theta)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_unreadable_files_are_file_errors(tmp_path):
    good = tmp_path / "good.npz"
    pdm.save(pdm.Network.random((3, 2, 1)), good)
    truncated = tmp_path / "truncated.npz"
    truncated.write_bytes(good.read_bytes()[:-100])
    noise = tmp_path / "noise.npz"
    noise.write_bytes(b"noise" * 10)
    empty = tmp_path / "empty.npz"
    empty.write_bytes(b"")
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, theta=np.array([{}], dtype=object), format="patterndim network")
    array = tmp_path / "array.npz"
    with array.open("wb") as file:
        np.save(file, np.ones(3))
    folder = tmp_path / "folder.npz"
    folder.mkdir()
    damaged = tmp_path / "damaged.npz"
    data = bytearray(good.read_bytes())
    data[len(data) // 2] ^= 255
    damaged.write_bytes(bytes(data))
    for path in (truncated, noise, empty, pickled, array, folder, tmp_path / "missing.npz"):
        with pytest.raises(FileError, match="source must be"):
            pdm.load(path)
    with pytest.raises(FileError):
        pdm.load(damaged)
    with pytest.raises(OSError, match="source must be"):
        pdm.load(noise)


def test_archives_that_are_no_networks_are_file_errors(tmp_path):
    path = tmp_path / "network.npz"
    pdm.save(pdm.Network.random((3, 2, 1)), path)
    with np.load(path) as archive:
        arrays = dict(archive)

    def rewritten(**changes):
        np.savez(path, **{**arrays, **changes})
        return path

    with pytest.raises(FileError, match=r"valid network.* format version 2 instead of 1"):
        pdm.load(rewritten(version=2))
    with pytest.raises(FileError, match=r"valid network.* format 'another'"):
        pdm.load(rewritten(format="another"))
    with pytest.raises(
        FileError, match=r"valid network.*theta must have shape \(11,\), got \(3,\)"
    ):
        pdm.load(rewritten(theta=np.ones(3)))
    with pytest.raises(FileError, match="valid network"):
        pdm.load(rewritten(widths=np.array([3, 2])))
    with pytest.raises(FileError, match=r"valid network.*finite"):
        pdm.load(rewritten(theta=np.full(11, np.nan)))
    with pytest.raises(FileError, match=r"valid network.* widths of dtype float64"):
        pdm.load(rewritten(widths=np.array([3.0, 2.0, 1.0])))
    with pytest.raises(FileError, match=r"valid network.* theta of 2 axes"):
        pdm.load(rewritten(theta=np.ones((1, 11))))
    np.savez(path, theta=arrays["theta"])
    with pytest.raises(FileError, match=r"valid network.* no array named format"):
        pdm.load(path)


def test_saving_where_one_cannot_is_a_file_error(tmp_path):
    network = pdm.Network.random((3, 2, 1))
    with pytest.raises(FileError, match="path must be writable"):
        pdm.save(network, tmp_path / "nowhere" / "network.npz")
    with pytest.raises(
        ArgumentError, match=r"path must end in .npz or .safetensors, got 'network.txt'"
    ):
        pdm.save(network, tmp_path / "network.txt")
    with pytest.raises(KindError, match=r"network must be a patterndim.Network, got int"):
        pdm.save(3, tmp_path / "network.npz")
    with pytest.raises(KindError, match="path must be a path, got int"):
        pdm.save(network, 3)
    with pytest.raises(KindError, match="path must be a path, got bytes"):
        pdm.save(network, b"network.npz")
    with pytest.raises(FileError, match="path must be writable"):
        pdm.save(network, tmp_path / "null\0byte.npz")
    assert not list(tmp_path.iterdir())


BAD_NETWORKS = [
    (lambda: pdm.Network.from_layers([]), ShapeError, "weights must hold at least one matrix"),
    (
        lambda: pdm.Network.from_layers([np.ones((3, 2)), np.ones((1, 4))]),
        ShapeError,
        r"weights\[1\] must have shape \(n_2, 3\), got \(1, 4\)",
    ),
    (lambda: pdm.Network.from_layers([np.ones(3)]), ShapeError, r"weights\[0\] must have shape"),
    (lambda: pdm.Network.from_layers([np.ones((0, 3))]), ShapeError, "must not be empty"),
    (lambda: pdm.Network.from_layers([[[1.0], [1.0, 2.0]]]), ShapeError, "rectangular array"),
    (
        lambda: pdm.Network.from_layers([[["a"]]]),
        KindError,
        "must hold real numbers, got dtype <U1",
    ),
    (lambda: pdm.Network.from_layers([[[1j]]]), KindError, "real numbers, got dtype complex128"),
    (lambda: pdm.Network.from_layers([[[np.nan]]]), NonFiniteError, r"finite, got nan at \(0, 0\)"),
    (lambda: pdm.Network.from_layers([[[2**53 + 1]]]), KindError, "must be exact in float64"),
    (lambda: pdm.Network.from_layers([[[2**63 - 1]]]), KindError, "must be exact in float64"),
    (
        lambda: pdm.Network.from_layers([np.array([[1]], dtype=np.longdouble) / 3]),
        KindError,
        "must be exact in float64",
    ),
    (
        lambda: pdm.Network.from_layers([np.array([[10]], dtype=np.longdouble) ** 400]),
        KindError,
        "must be exact in float64",
    ),
    (
        lambda: pdm.Network.from_layers([np.ma.masked_equal([[1.0, 2.0]], 2.0)]),
        KindError,
        "must not have masked entries",
    ),
    (
        lambda: pdm.Network.from_layers([np.ones((3, 2))], [np.ones(2)]),
        ShapeError,
        r"biases\[0\] must have shape \(3,\), got \(2,\)",
    ),
    (
        lambda: pdm.Network.from_layers([np.ones((3, 2))], [None, None]),
        ShapeError,
        "biases must have one entry per layer, 1, got 2",
    ),
    (
        lambda: pdm.Network.from_layers([np.eye(2), np.eye(2)], slope=1.5),
        ArgumentError,
        "slope of layer 1 must be at least 0 and at most 1, got 1.5",
    ),
    (
        lambda: pdm.Network.from_layers([np.eye(2), np.eye(2)], slope=[0.1, 0.2]),
        ShapeError,
        "slope must be a number or one per hidden layer, 1",
    ),
    (lambda: pdm.Network.random((3, 0, 2)), ArgumentError, "width of layer 1 must be at least 1"),
    (lambda: pdm.Network.random((3, 2.5)), KindError, "width of layer 1 must be an integer"),
    (lambda: pdm.Network.random("32"), KindError, "widths must be a sequence, got '32'"),
    (lambda: pdm.Network.random(3), KindError, "widths must be a sequence, got 3"),
    (lambda: pdm.Network.random(np.array(3)), KindError, "widths must be a sequence, got array"),
    (lambda: pdm.Network.random((3, 2), bias="no"), KindError, "bias of layer 1 must be a bool"),
    (
        lambda: pdm.Network.random((3, 2, 1), slope=10**400),
        ArgumentError,
        "slope of layer 1 must be at least 0 and at most 1, got 1000",
    ),
    (
        lambda: pdm.Architecture((3, 2), ()),
        KindError,
        "layer 0 must be a Layer, got 3",
    ),
    (
        lambda: pdm.Architecture((Layer(1), Layer(1)), ((0, 1),)),
        KindError,
        r"connections must be Connections, got \(0, 1\)",
    ),
    (
        lambda: pdm.Architecture((Layer(1), Layer(1)), (Connection(0, 1, "yes"),)),
        KindError,
        "trainable must be a bool, got 'yes'",
    ),
    (
        lambda: pdm.Network.from_graph((2, 2), [5]),
        ShapeError,
        r"connections must be \(source, target, W\), got 5",
    ),
    (lambda: pdm.Network.random((3,)), ArgumentError, "layers must be at least input and output"),
    (lambda: pdm.Network.random((3, 2), init="best"), ArgumentError, "init must be one of he, "),
    (lambda: pdm.Network.random((3, 2), bias_std=-1), ArgumentError, "bias_std must be at least 0"),
    (lambda: pdm.Network.random((3, 2), bias_std="x"), KindError, "bias_std must be a number"),
    (lambda: pdm.Network.random((3, 2), rng=-1), ArgumentError, "rng must be at least 0, got -1"),
    (lambda: pdm.Network.random((3, 2), rng=1.5), KindError, "rng must be an integer, got 1.5"),
    (
        lambda: pdm.Network.random((3, 2)).replace(theta=[1.0]),
        ShapeError,
        r"theta must have shape \(8,\), got \(1,\)",
    ),
    (lambda: pdm.Network((3, 2), np.ones(8)), KindError, "architecture must be an Architecture"),
    (
        lambda: pdm.Network.from_graph((2, 2), [(0, 1)]),
        ShapeError,
        r"connections must be \(source, target, W\)",
    ),
    (
        lambda: pdm.Network.from_graph((2, 2), [(0, 1, "skip")]),
        ArgumentError,
        "connection 0 -> 1 must be one of identity, got 'skip'",
    ),
    (
        lambda: pdm.Network.from_graph((2, 2), [(0, 1, np.ones((2, 3)))]),
        ShapeError,
        r"weights of connection 0 -> 1 must have shape \(2, 2\), got \(2, 3\)",
    ),
    (
        lambda: pdm.Network.from_graph((2, 2), [(1, 1, np.eye(2))]),
        ArgumentError,
        "connections must lead to a later layer, at most 1, got 1 -> 1",
    ),
    (
        lambda: pdm.Network.from_graph((2, 2), [(0, 5, np.eye(2))]),
        ArgumentError,
        "at most 1, got 0 -> 5",
    ),
    (
        lambda: pdm.Network.from_graph((2, 3), [(0, 1, "identity")]),
        ShapeError,
        "an identity connection must join equal widths, got 0 -> 1 of widths 2 and 3",
    ),
    (
        lambda: pdm.Network.from_graph((2, 2, 2), [(0, 2, np.eye(2))]),
        ArgumentError,
        "layer 1 must have an incoming connection, got none",
    ),
    (
        lambda: pdm.Network.from_graph((2, 2, 2), [(0, 1, np.eye(2)), (0, 2, np.eye(2))]),
        ArgumentError,
        "layer 1 must have an outgoing connection, got none",
    ),
    (
        lambda: pdm.Network.from_graph((2, 2), [(0, 1, "identity")]),
        ArgumentError,
        "a network must have parameters, got only identity connections",
    ),
]


@pytest.mark.parametrize(("build", "error", "message"), BAD_NETWORKS)
def test_bad_networks_are_refused(build, error, message):
    with pytest.raises(error, match=message) as caught:
        build()
    assert isinstance(caught.value, pdm.errors.PatterndimError)
    assert isinstance(caught.value, ValueError | TypeError)


@pytest.mark.parametrize(
    "change",
    [
        lambda A: A.tolist(),
        lambda A: A.astype(np.int32),
        lambda A: A.astype(np.float32),
        lambda A: A.astype(np.float16),
        lambda A: A.astype(np.longdouble),
        np.asfortranarray,
        lambda A: np.repeat(A, 2, axis=0)[::2],
        lambda A: A[::-1][::-1],
        lambda A: A.astype(">f8"),
        lambda A: np.ma.masked_array(A),
    ],
)
def test_any_layout_and_numeric_dtype_just_works(change):
    W, X = np.array([[1.0, -2.0], [3.0, 1.0]]), np.array([[1.0, 2.0], [5.0, -1.0], [0.0, 2.0]])
    reference = pdm.parameter_jacobian(pdm.Network.from_layers([W, W]), X)
    network = pdm.Network.from_layers([change(W), change(W)])
    given = change(X)
    if isinstance(given, np.ndarray):
        given.flags.writeable = False
    assert np.array_equal(pdm.parameter_jacobian(network, given), reference)
    assert pdm.local_dimension(network, given) == pdm.local_dimension(network, X)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (3",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000, 10000000), }",
    ],
)
def test_damaged_array_headers_are_file_errors(header, tmp_path):
    path = tmp_path / "X.npy"
    padded = header.ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded)
    with pytest.raises(FileError, match=r"source must be a readable \.npy array"):
        read_array(path)
