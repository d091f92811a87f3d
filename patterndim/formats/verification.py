"""A network that was read is compared with its source's own forward pass."""

from collections.abc import Callable

import numpy as np

from patterndim.arithmetic import Real
from patterndim.errors import ArgumentError, ShapeError
from patterndim.factors import gates, propagate
from patterndim.formats.imported import HEADS, Imported
from patterndim.network import Network
from patterndim.pattern import activation_pattern
from patterndim.typing import AnyArray, BoolArray, FloatArray

#: Sizes of the inputs on which both are run: of one size only, large biases could keep neurons
#: off, or on, in all of them.  And the number of inputs of each size.
SCALES, EACH = (1.0, 10.0, 100.0, 1000.0), 8
PROBES = EACH * len(SCALES)


def verified(
    imported: Imported,
    forward: Callable[[FloatArray], AnyArray],
    *,
    precision: str | None = None,
) -> Imported:
    """
    Return what was imported, if the source's own forward pass agrees on random inputs.

    Rounding moves the outputs by some units in the last place of the same pass over absolute
    values; their number grows like the root of the number of terms (Higham and Mary, SIAM J. Sci.
    Comput. 41, 2019), of which eight times as much is allowed.  ``precision`` is that of the
    forward pass if it is not that of the source.
    """
    network = imported.network
    X, small, absolute, largest = _probes(network, imported.dtype)
    expected = HEADS[imported.head](_activations(network, X)[-1])
    try:
        given = np.asarray(forward(X))
        found = given.astype(np.float64)
    except Exception as error:  # whatever the source's own code raises
        raise ArgumentError(f"{imported.source} must run on {X.shape} inputs: {error}") from error
    if found.shape != expected.shape:
        raise ShapeError(
            f"{imported.source} must give outputs of shape {expected.shape}, got {found.shape}"
        )
    if given.dtype.kind != "f" and given.dtype.name != "bfloat16":
        raise ArgumentError(f"{imported.source} must give floats, got outputs of {given.dtype}")
    units = (
        [_unit(given.dtype), _unit(imported.dtype)]
        if precision is None
        else [_unit(np.dtype(precision))]
    )
    terms = sum(network.widths) + len(network.architecture.connections)
    allowed = 8.0 * max(units) * np.sqrt(terms) * (1.0 + absolute[:, np.newaxis])
    if imported.output == "softmax" and expected.shape[1] == 1:
        allowed *= 0.0  # of one output it is 1, exactly
    with np.errstate(invalid="ignore"):
        differences = np.abs(found - expected)
    wrong = ~(differences <= allowed)
    overflow = largest >= _most(given.dtype)  # the source may compute in less than it holds
    untold = _untold(imported.head, found, expected) | overflow[:, np.newaxis]
    wrong &= small[:, np.newaxis] | ~untold
    if wrong.any():
        worst = float(differences[wrong].max())
        raise ArgumentError(
            f"{imported.source} must compute what its layers say, "
            f"got outputs that differ by up to {worst:.3g}"
        )
    return imported


def _probes(
    network: Network, dtype: np.dtype
) -> tuple[FloatArray, BoolArray, FloatArray, FloatArray]:
    """
    Inputs, which of them are of the smallest size, and bounds on the outputs and on all layers.

    Of the larger ones, only those on which no layer overflows in float32, or in float16.
    """
    scales = np.repeat(SCALES, EACH)
    X = np.random.default_rng(0).normal(size=(PROBES, network.widths[0])) * scales[:, np.newaxis]
    X = X.astype(dtype).astype(np.float64)
    active = [np.ones((PROBES, layer.width)) for layer in network.architecture.layers[1:-1]]
    with np.errstate(over="ignore", invalid="ignore"):
        theta, arithmetic = np.abs(network.theta), Real()
        absolute = propagate(network.architecture, theta, np.abs(X), active, arithmetic)
        largest = np.max([h.max(axis=1) for h in absolute], axis=0)
    small = scales == SCALES[0]
    kept = small | (largest < _most(dtype))
    return X[kept], small[kept], absolute[-1].max(axis=1)[kept], largest[kept]


def _activations(network: Network, X: FloatArray) -> tuple[FloatArray, ...]:
    """Activations of all layers; sensitivities, which may be large, are not computed."""
    gate = gates(network.architecture, activation_pattern(network, X).masks)
    with np.errstate(over="ignore", invalid="ignore"):
        return propagate(network.architecture, network.theta, X, gate, Real())


def _untold(head: str, found: FloatArray, expected: FloatArray) -> BoolArray:
    """Where exponentials of large outputs may overflow or underflow, in plain formulas."""
    if head == "log_softmax":
        lowest = float(np.log(np.finfo(np.float32).tiny))
        return ~np.isfinite(found) | (expected < lowest)
    return np.isnan(found) & (head != "identity")


def _most(dtype: np.dtype) -> float:
    """Largest number of a precision, or of float32."""
    return float(np.finfo(np.float16 if dtype == np.float16 else np.float32).max)


def _unit(dtype: np.dtype) -> float:
    """Distance from 1 to the next number."""
    return 2.0**-7 if dtype.name == "bfloat16" else float(np.finfo(dtype).eps)
