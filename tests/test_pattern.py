from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.errors import ArgumentError, KindError, NonFiniteError, ShapeError
from tests import oracles
from tests.strategies import networks, sample


def assert_exact(network, X):
    pattern = pdm.activation_pattern(network, X)
    signs = oracles.exact_signs(network, X)
    for mask, sign in zip(pattern.masks, signs, strict=True):
        assert np.array_equal(mask, sign > 0)
    ties = [
        (int(x), layer, int(i))
        for layer, sign in enumerate(signs, start=1)
        for x, i in np.argwhere(sign == 0)
    ]
    assert [tuple(tie) for tie in pattern.ties.tolist()] == sorted(ties)
    assert {tuple(tie) for tie in ties} <= {tuple(place) for place in pattern.uncertain.tolist()}
    return pattern


@given(networks())
def test_masks_and_ties_of_integer_networks_equal_the_fractions(network):
    assert_exact(network, sample(network, 1, 5))


@given(networks(integers=False, max_hidden=2))
def test_masks_of_gaussian_networks_equal_the_fractions(network):
    pattern = assert_exact(network, sample(network, 1, 5, integers=False))
    assert pattern.margin > 1.0 or len(pattern.uncertain)


@given(st.integers(0, 10_000))
def test_masks_of_inputs_on_and_next_to_hyperplanes(seed):
    """The last coordinate is moved so that w.x + b is zero up to rounding, then by single ulps."""
    rng = np.random.default_rng(seed)
    network = pdm.Network.from_layers(
        [rng.standard_normal((4, 3)), rng.standard_normal((4, 4)), rng.standard_normal((1, 4))],
        [rng.standard_normal(4), rng.standard_normal(4), rng.standard_normal(1)],
        slope=[0.0, 0.25],
    )
    plain = oracles.describe(network, Fraction)
    rows = []
    for layer in (1, 2):
        for neuron in range(4):
            x = rng.standard_normal(3)
            for _ in range(3):  # exact Newton steps in the last coordinate
                z = oracles.forward(plain, [Fraction(a) for a in x])[0][layer][neuron]
                moved = x.copy()
                moved[2] = np.nextafter(x[2], np.inf)
                step = oracles.forward(plain, [Fraction(a) for a in moved])[0][layer][neuron] - z
                if step:
                    x[2] -= float(z / step * (Fraction(moved[2]) - Fraction(x[2])))
            rows += [x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf)]
    pattern = assert_exact(network, np.array(rows))
    assert len(pattern.uncertain) > 0


def test_exact_zeros_are_ties_even_where_floats_round_to_something_else():
    # 0.1 * 3 rounds to 0.30000000000000004, but in binary 0.1 * 2 - 0.2 is exactly zero.
    network = pdm.Network.from_layers([[[0.1], [0.1]], [[1.0, 1.0]]], [[-0.2, -0.3], [0.0]])
    pattern = assert_exact(network, np.array([[2.0], [3.0]]))
    assert pattern.ties.tolist() == [[0, 1, 0]]
    assert pattern.masks[0].tolist() == [[False, False], [True, True]]


def test_overflow_and_underflow_are_decided_exactly():
    huge = pdm.Network.from_layers([[[1e300, -1e300]], [[1.0]]])
    X = np.array([[1e300, 1e300], [1e300, 1e299], [1e299, 1e300]])
    assert_exact(huge, X)
    assert pdm.activation_pattern(huge, X).masks[0].ravel().tolist() == [False, True, False]
    tiny = pdm.Network.from_layers([[[1e-300]], [[1.0]]])
    pattern = assert_exact(tiny, np.array([[1e-300], [-1e-300], [0.0]]))
    assert pattern.masks[0].ravel().tolist() == [True, False, False]
    deep = pdm.Network.from_layers([[[1e200]], [[1e200]], [[1.0]]])
    assert_exact(deep, np.array([[1.0], [-1.0]]))


def test_margin_says_whether_floats_were_enough():
    network = pdm.Network.random((5, 6, 6, 2), rng=0, bias_std=0.1)
    pattern = pdm.activation_pattern(network, sample(network, 0, 20, integers=False))
    assert pattern.margin > 1.0
    assert len(pattern.uncertain) == 0
    assert pdm.activation_pattern(network, np.zeros((1, 5))).margin > 1.0
    on_kink = pdm.Network.from_layers([[[1.0]], [[1.0]]])
    assert pdm.activation_pattern(on_kink, [[0.0]]).margin == 0.0


def test_many_inputs_go_through_in_chunks():
    network = pdm.Network.from_layers([[[1.0], [-1.0]], [[1.0, 1.0]]], [[-3.0, 1.0], None])
    X = np.arange(5000.0)[:, np.newaxis] / 1000
    pattern = pdm.activation_pattern(network, X)
    assert np.array_equal(pattern.masks[0][:, 0], X[:, 0] > 3)
    assert pattern.ties.tolist() == [[1000, 1, 1], [3000, 1, 0]]


@given(networks())
def test_packed_patterns_come_back(network):
    pattern = pdm.activation_pattern(network, sample(network, 2, 6))
    packed = pattern.packed()
    assert packed.shape == (6, -(-network.hidden_neurons // 8))
    widths = network.widths[1:-1]
    again = pdm.ActivationPattern.from_packed(packed, widths)
    for one, two in zip(pattern.masks, again.masks, strict=True):
        assert np.array_equal(one, two)
    regions = pattern.regions()
    together = np.concatenate(pattern.masks, axis=1)
    for i in range(6):
        for j in range(6):
            assert (regions[i] == regions[j]) == np.array_equal(together[i], together[j])


def test_a_network_without_hidden_layers_has_no_masks():
    pattern = pdm.activation_pattern(pdm.Network.random((3, 2)), np.ones((4, 3)))
    assert pattern.masks == ()
    assert pattern.margin == float("inf")
    with pytest.raises(ArgumentError, match="packed needs a hidden layer"):
        pattern.packed()


NETWORK = pdm.Network.random((3, 4, 2))
BAD_INPUTS = [
    (np.ones(3), ShapeError, r"inputs must have shape \(N, 3\), got \(3,\)"),
    (np.ones((2, 4)), ShapeError, r"inputs must have shape \(N, 3\), got \(2, 4\)"),
    (np.ones((0, 3)), ShapeError, r"inputs must not be empty, got shape \(0, 3\)"),
    ([], ShapeError, r"inputs must have shape \(N, 3\), got \(0,\)"),
    ([[1, 2, np.nan]], NonFiniteError, r"inputs must be finite, got nan at \(0, 2\)"),
    ([[1, -np.inf, 2]], NonFiniteError, r"inputs must be finite, got -inf at \(0, 1\)"),
    ([["a", "b", "c"]], KindError, "inputs must hold real numbers, got dtype <U1"),
    ([[None, 1, 2]], KindError, "inputs must hold real numbers, got dtype object"),
    ([[1j, 1, 2]], KindError, "inputs must hold real numbers, got dtype complex128"),
    (np.array([["2020-01-01"] * 3], dtype="M8[D]"), KindError, "got dtype datetime64"),
    ([[1, 2, 3], [1, 2]], ShapeError, "inputs must be a rectangular array"),
    ([[2**60 + 1, 0, 0]], KindError, "inputs must be exact in float64, got int64"),
    (np.array([[2**64 - 1, 0, 0]], np.uint64), KindError, "exact in float64, got uint64"),
]


@pytest.mark.parametrize(("inputs", "error", "message"), BAD_INPUTS)
@pytest.mark.parametrize(
    "function",
    [
        pdm.activation_pattern,
        pdm.outputs,
        pdm.parameter_jacobian,
        pdm.jacobian_operator,
        pdm.input_jacobian,
        pdm.ntk,
        pdm.local_dimension,
        pdm.generic_dimension,
    ],
)
def test_bad_inputs_are_refused_everywhere(function, inputs, error, message):
    with pytest.raises(error, match=message) as caught:
        function(NETWORK, inputs)
    assert isinstance(caught.value, pdm.errors.PatterndimError)


@pytest.mark.parametrize(
    "function", [pdm.activation_pattern, pdm.parameter_jacobian, pdm.local_dimension]
)
def test_what_is_not_a_network_is_refused(function):
    with pytest.raises(KindError, match=r"network must be a patterndim.Network, got ndarray"):
        function(np.ones(3), np.ones((2, 3)))


def test_bad_patterns_are_refused():
    with pytest.raises(KindError, match=r"masks\[0\] must be an array of bool, got dtype int64"):
        pdm.ActivationPattern.from_masks([np.ones((2, 3), dtype=np.int64)])
    with pytest.raises(ShapeError, match=r"masks\[1\] must have shape \(N, n_2\), got \(3, 2\)"):
        pdm.ActivationPattern.from_masks([np.ones((2, 3), bool), np.ones((3, 2), bool)])
    with pytest.raises(KindError, match="packed must be an array of uint8"):
        pdm.ActivationPattern.from_packed([[1]], [3])
    with pytest.raises(ShapeError, match=r"packed must have shape \(N, 2\), got \(1, 1\)"):
        pdm.ActivationPattern.from_packed(np.ones((1, 1), np.uint8), [9])
    with pytest.raises(KindError, match="masks must be a sequence, got 5"):
        pdm.ActivationPattern.from_masks(5)
    with pytest.raises(ArgumentError, match="width of a layer must be at least 1, got 0"):
        pdm.ActivationPattern.from_packed(np.ones((1, 1), np.uint8), [0])
    none = np.empty((0, 3), dtype=np.int64)
    floats = pdm.ActivationPattern((np.ones((2, 4)),), 1.0, none, none)
    with pytest.raises(KindError, match="pattern must have masks that are arrays of bool"):
        pdm.generic_dimension(NETWORK, np.ones((2, 3)), floats)
    pattern = pdm.ActivationPattern.from_masks([np.ones((2, 3), bool)])
    with pytest.raises(ShapeError, match=r"pattern must have masks of shapes \[\(2, 4\)\]"):
        pdm.generic_dimension(NETWORK, np.ones((2, 3)), pattern)
    with pytest.raises(KindError, match="pattern must be an ActivationPattern, got NoneType"):
        pdm.generic_dimension(NETWORK.architecture, np.ones((2, 3)))
    with pytest.raises(KindError, match="network must be a Network or Architecture, got str"):
        pdm.generic_dimension("network", np.ones((2, 3)), pattern)
