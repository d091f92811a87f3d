import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patterndim as pdm
from patterndim.errors import ArgumentError, KindError, NonFiniteError, ShapeError
from tests.strategies import networks, sample

MLP = pdm.Network.random((4, 5, 3, 2), rng=0, bias_std=0.3, slope=[0.1, 0.0])
SKIP = pdm.Network.from_graph(
    (2, 2, 2, 1),
    [
        (0, 1, np.eye(2)),
        (1, 2, np.ones((2, 2))),
        (0, 2, "identity"),
        (2, 3, np.ones((1, 2))),
    ],
)


def beside():
    """A network whose only identity lies beside a trainable matrix."""
    rng = np.random.default_rng(1)
    return pdm.Network.from_graph(
        (3, 4, 4, 2),
        [
            (0, 1, rng.standard_normal((4, 3))),
            (1, 2, rng.standard_normal((4, 4))),
            (1, 2, "identity"),
            (2, 3, rng.standard_normal((2, 4))),
        ],
        [rng.standard_normal(4), None, rng.standard_normal(2)],
    )


def moved(network, seed, powers=False):
    """The network rescaled and permuted at random."""
    rng = np.random.default_rng(seed)
    hidden = network.widths[1:-1]
    exponents = [rng.integers(-3, 4, n) if powers else rng.uniform(-3, 3, n) for n in hidden]
    network = pdm.rescale(network, [np.exp2(e) for e in exponents])
    return pdm.permute(network, [rng.permutation(n) for n in hidden])


@given(st.integers(0, 1000))
@pytest.mark.parametrize("network", [MLP, beside()], ids=["mlp", "beside an identity"])
def test_T2_rescaling_and_permutation_keep_the_function_and_the_dimension(network, seed):
    X = sample(network, seed, 12, integers=False)
    other = moved(network, seed)
    np.testing.assert_allclose(
        pdm.outputs(other, X), pdm.outputs(network, X), rtol=1e-9, atol=1e-11
    )
    assert pdm.local_dimension(other, X).value == pdm.local_dimension(network, X).value


@given(st.integers(0, 1000))
def test_rescaling_by_powers_of_two_is_exact(seed):
    X = sample(MLP, seed, 12, integers=False)
    factors = [np.exp2(np.random.default_rng(seed).integers(-9, 9, n)) for n in MLP.widths[1:-1]]
    other = pdm.rescale(MLP, factors)
    assert np.array_equal(pdm.outputs(other, X), pdm.outputs(MLP, X))
    back = pdm.rescale(other, [1 / factor for factor in factors])
    assert np.array_equal(back.theta, MLP.theta)


@given(st.integers(0, 1000))
@pytest.mark.parametrize("widths", [(4, 5, 3, 2), (2, 6, 1), (3, 4, 4, 4, 2)])
def test_canonical_forms_of_equal_networks_are_equal(widths, seed):
    network = pdm.Network.random(widths, rng=seed, bias_std=0.3)
    form = pdm.canonical_form(network)
    np.testing.assert_allclose(
        pdm.canonical_form(moved(network, seed)).theta, form.theta, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(pdm.canonical_form(form).theta, form.theta, rtol=1e-12, atol=1e-14)
    X = sample(network, seed, 12, integers=False)
    np.testing.assert_allclose(pdm.outputs(form, X), pdm.outputs(network, X), rtol=1e-9, atol=1e-11)
    changed = network.replace(theta=network.theta * np.linspace(1.0, 1.1, network.theta.size))
    assert not np.allclose(pdm.canonical_form(changed).theta, form.theta, rtol=1e-6)


def test_canonical_form_keeps_neurons_without_incoming_weights():
    network = pdm.Network.from_layers([[[0.0], [2.0]], [[3.0, 4.0]]])
    assert pdm.canonical_form(network).theta.tolist() == [0.0, 1.0, 3.0, 8.0]


@given(networks(integers=False, skips=False))
def test_rescaling_tangents_are_invisible_and_are_the_derivative_of_the_orbit(network):
    X = sample(network, 0, 6, integers=False)
    tangents = pdm.rescaling_tangents(network)
    J = pdm.jacobian_operator(network, X)
    scale = np.abs(network.theta).max() * max(np.abs(pdm.parameter_jacobian(network, X)).max(), 1)
    assert np.abs(J @ tangents.T).max() < 1e-11 * scale
    step = 1e-6
    factors = [np.ones(n) for n in network.widths[1:-1]]
    factors[0][0] += step
    change = (pdm.rescale(network, factors).theta - network.theta) / step
    np.testing.assert_allclose(change, tangents[0], atol=1e-4)


def test_identities_bind_factors_and_permutations():
    with pytest.raises(ArgumentError, match="factors must be equal along the identity 0 -> 2"):
        pdm.rescale(SKIP, [[1.0, 1.0], [1.0, 2.0]])
    with pytest.raises(ArgumentError, match="permutations must be equal along the identity 0 -> 2"):
        pdm.permute(SKIP, [[0, 1], [1, 0]])
    X = sample(SKIP, 0, 5)
    other = pdm.permute(pdm.rescale(SKIP, [[2.0, 4.0], [1.0, 1.0]]), [[1, 0], [0, 1]])
    assert np.array_equal(pdm.outputs(other, X), pdm.outputs(SKIP, X))
    for function in (pdm.canonical_form, pdm.rescaling_tangents):
        with pytest.raises(ArgumentError, match="network must have no identity connections"):
            function(SKIP)


BAD = [
    (lambda: pdm.rescale(MLP, [np.ones(5)]), ShapeError, "factors must have one array per hidden"),
    (
        lambda: pdm.rescale(MLP, [np.ones(5), np.ones(4)]),
        ShapeError,
        r"factors\[1\] must have shape",
    ),
    (lambda: pdm.rescale(MLP, [np.ones(5), np.zeros(3)]), ArgumentError, "must be positive, got 0"),
    (lambda: pdm.rescale(MLP, [np.ones(5), [1, np.nan, 1]]), NonFiniteError, "must be finite"),
    (lambda: pdm.rescale(MLP, 2.0), KindError, r"factors must be a sequence, got 2\.0"),
    (lambda: pdm.rescale("x", []), KindError, r"network must be a patterndim.Network, got str"),
    (lambda: pdm.canonical_form("x"), KindError, r"network must be a patterndim.Network, got str"),
    (
        lambda: pdm.permute(MLP, [[0, 1, 2, 3, 3], [0, 1, 2]]),
        ArgumentError,
        r"permutations\[0\] must be a permutation of 0\.\.4",
    ),
    (
        lambda: pdm.permute(MLP, [[0, 1, 2, 3, 4.0], [0, 1, 2]]),
        KindError,
        r"permutations\[0\] must hold integers, got dtype float64",
    ),
]


@pytest.mark.parametrize(("run", "error", "message"), BAD)
def test_bad_arguments_are_refused(run, error, message):
    with pytest.raises(error, match=message):
        run()
