"""Arrays of other libraries go in, exactly as they are; plain numpy comes out."""

import numpy as np
import pytest

import patterndim as pdm
from patterndim.errors import KindError, NonFiniteError, PatterndimError
from patterndim.validation import exact_array, float_array

NETWORK = pdm.Network.random((3, 5, 4, 2), rng=0, bias_std=0.5)
# Numbers of eight bits: exact in bfloat16 and float16 too.
X = np.random.default_rng(0).integers(-100, 100, (6, 3)) / 16.0


class Capsule:
    """Speaks DLPack and nothing else."""

    def __init__(self, array, device=None):
        self.array, self.device = array, device

    def __dlpack__(self, **options):
        if self.device is not None:
            raise BufferError(f"cannot export from {self.device}")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Wrapped:
    """Has ``__array__`` and nothing else."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array.astype(dtype or self.array.dtype)


def given(name):
    if name == "DLPack only":
        return Capsule(X)
    if name == "__array__ only":
        return Wrapped(X)
    if name == "float16":
        return X.astype(np.float16)
    library, _, kind = name.partition(" ")
    if library == "torch":
        torch = pytest.importorskip("torch")
        return torch.tensor(X).to(getattr(torch, kind))
    if library == "jax":
        jnp = pytest.importorskip("jax").numpy
        return jnp.asarray(X, dtype=getattr(jnp, kind))
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X)
    return frame.convert_dtypes() if kind == "nullable" else frame


GIVEN = ["DLPack only", "__array__ only", "float16", "pandas float64", "pandas nullable"]
FRAMEWORKS = ["torch float64", "torch float32", "torch bfloat16", "torch float16"]
FRAMEWORKS += ["jax float32", "jax bfloat16", "jax float16"]
GIVEN += [pytest.param(name, marks=pytest.mark.compiled) for name in FRAMEWORKS]


@pytest.mark.parametrize("name", GIVEN)
def test_arrays_of_any_library_give_what_numpy_gives(name):
    inputs = given(name)
    array = float_array("inputs", inputs, ("N", 3))
    assert type(array) is np.ndarray
    assert array.dtype == np.float64
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert np.array_equal(array, X)
    assert pdm.local_dimension(NETWORK, inputs) == pdm.local_dimension(NETWORK, X)
    assert np.array_equal(
        pdm.parameter_jacobian(NETWORK, inputs), pdm.parameter_jacobian(NETWORK, X)
    )
    assert type(pdm.outputs(NETWORK, inputs)) is np.ndarray
    assert pdm.rank.modular_rank(inputs).value == 3
    assert pdm.explain(NETWORK, X, probes=inputs).probes == len(X)


def test_networks_heads_and_patterns_of_capsules():
    layers = zip(NETWORK.weights, NETWORK.biases, strict=True)
    weights, biases = zip(*((Capsule(W.copy()), Capsule(b.copy())) for W, b in layers), strict=True)
    network = pdm.Network.from_layers(list(weights), list(biases))
    assert np.array_equal(network.theta, NETWORK.theta)
    assert np.array_equal(network.replace(theta=Capsule(network.theta.copy())).theta, network.theta)
    head = np.array([[1.0, -1.0]])
    one, two = (pdm.parameter_jacobian(network, X, output=C) for C in (head, Capsule(head)))
    assert np.array_equal(one, two)
    pattern = pdm.activation_pattern(network, X)
    masks = [Capsule(mask.copy()) for mask in pattern.masks]
    again = pdm.ActivationPattern.from_masks(masks)
    assert all(np.array_equal(a, b) for a, b in zip(again.masks, pattern.masks, strict=True))
    packed = pdm.ActivationPattern.from_packed(Capsule(pattern.packed()), [5, 4])
    assert np.array_equal(packed.packed(), pattern.packed())


def test_nothing_is_rounded_on_the_way():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [2**60 + 1, 1], "b": [0.5, 1.0]})
    with pytest.raises(KindError, match="A must be exact in float64, got integers that are not"):
        float_array("A", frame, ("m", "n"))
    assert exact_array("A", frame)[0, 0] == 2**60 + 1
    assert float_array("A", [2**70, 1], ("n",)).tolist() == [2.0**70, 1.0]
    for value in ([10**400, 1], [2**53 + 1, 0.5]):
        with pytest.raises(KindError, match="A must be exact in float64"):
            float_array("A", value, ("n",))
    with pytest.raises(PatterndimError, match=r"A must (be finite, got nan|hold real)"):
        float_array("A", pandas.DataFrame({"a": [1, None]}).convert_dtypes(), ("m", "n"))
    with pytest.raises(NonFiniteError, match="A must be finite, got nan"):
        float_array("A", pandas.DataFrame({"a": [1.0, np.nan]}, dtype=object), ("m", "n"))


def test_a_series_is_a_vector():
    pandas = pytest.importorskip("pandas")
    for dtype in ("int64", "float32", "Int64", object, "int8"):
        array = float_array("b", pandas.Series([1, 2, 3], dtype=dtype), ("n",))
        assert array.tolist() == [1.0, 2.0, 3.0]
    assert exact_array("b", pandas.Series([2**60 + 1, 0.5], dtype=object))[0] == 2**60 + 1
    with pytest.raises(PatterndimError, match=r"b must (be finite, got nan|hold real)"):
        float_array("b", pandas.Series([1, None], dtype="Int64"), ("n",))


def test_what_cannot_be_exported_is_one_clear_line():
    with pytest.raises(
        KindError, match="inputs must be readable by numpy, got Capsule: cannot expo"
    ):
        pdm.outputs(NETWORK, Capsule(X, device="a GPU"))


@pytest.mark.compiled
def test_tensors_that_numpy_cannot_read_are_one_clear_line():
    torch = pytest.importorskip("torch")
    for tensor, reason in (
        (torch.tensor(X, requires_grad=True), r"Can't call numpy\(\) on Tensor that requires grad"),
        (torch.empty((6, 3), device="meta"), "can't convert meta device type tensor to numpy"),
        (torch.tensor(X).to_sparse(), "can't convert Sparse layout tensor to numpy"),
    ):
        message = "inputs must be readable by numpy, got Tensor: " + reason
        with pytest.raises(KindError, match=message) as found:
            pdm.local_dimension(NETWORK, tensor)
        assert "\n" not in str(found.value)


@pytest.mark.compiled
def test_a_traced_array_is_refused():
    jax = pytest.importorskip("jax")
    with pytest.raises(
        KindError, match=r"inputs must be readable by numpy, got .*Tracer: The numpy"
    ):
        jax.jit(lambda x: pdm.outputs(NETWORK, x))(X)
