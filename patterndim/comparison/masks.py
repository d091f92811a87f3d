"""Faults of the activation: masks, derivative at zero, slope; read off the given Jacobian."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patterndim.arithmetic import Real
from patterndim.comparison.case import Case, Explanation, Fault, MaskDisagreement
from patterndim.comparison.columns import rounded
from patterndim.comparison.precision import Precision
from patterndim.comparison.reference import Expected, expected, head
from patterndim.factors import propagate
from patterndim.network import Network
from patterndim.typing import BoolArray, FloatArray, IntArray

#: Disagreements that are listed; all are counted.
LISTED = 1000
#: Samples on which it is tried first.
FEW = 8


@dataclass(frozen=True, eq=False)
class Reading:
    """
    Factors of the hidden neurons in a Jacobian.

    Which of them left a trace in it, and which of those are not the certified ones.
    """

    gates: tuple[FloatArray, ...]
    changed: tuple[BoolArray, ...]
    traced: tuple[BoolArray, ...]


def masks(case: Case, level: Precision) -> Explanation | None:
    """Other masks, another slope, or no activation, where the samples do not agree."""
    if case.given.shape != case.reference.J.shape or not case.gates:
        return None
    good = np.array(
        [
            case.within(given, case.reference.at(n), level).all()
            for n, given in enumerate(case.given)
        ]
    )
    bad = np.flatnonzero(~good)
    if not len(bad):
        return None
    few = bad[:: max(1, len(bad) // FEW)][:FEW]
    if (tried := _explain(case, level, few, np.nan)) is None:
        return None
    if (found := _explain(case, level, bad, tried[2])) is None:
        return None
    exact, reading, value = found
    whole = Expected(case.reference.J.copy(), case.reference.size.copy())
    whole.J[bad], whole.size[bad] = exact.J, exact.size
    faults, disagreements, notes = _name(case, level, bad, reading, value)
    return Explanation(faults, case.given, whole, disagreements, notes)


def _explain(
    case: Case, level: Precision, samples: IntArray, value: float
) -> tuple[Expected, Reading, float] | None:
    """Jacobian at the masks that were read, if it is the given one at some samples."""
    X, given = case.X[samples], case.given[samples]
    certified = [gate[samples] for gate in case.gates]
    reading = _read(case, level, samples, value)
    if not any(changed.any() for changed in reading.changed):
        return None
    for forward in (reading.gates, certified):
        exact = expected(case.network, X, reading.gates, case.head, forward=forward)
        if case.within(given, exact, level).all():
            values = [g[c] for g, c in zip(reading.gates, reading.changed, strict=True) if c.any()]
            return exact, reading, float(np.median(np.concatenate(values)))
    return None


def _read(case: Case, level: Precision, samples: IntArray, value: float) -> Reading:
    """Factors of the hidden neurons at some samples; read twice where it takes activations."""
    certified = [gate[samples] for gate in case.gates]
    biased = [layer.bias for layer in case.network.architecture.layers[1:-1]]
    if all(biased):
        return _pass(case, level, samples, value, certified)
    first = _pass(case, level, samples, value, certified, simple=True)
    return _pass(case, level, samples, value, first.gates)


def _pass(
    case: Case,
    level: Precision,
    samples: IntArray,
    value: float,
    forward: Sequence[FloatArray],
    *,
    simple: bool = False,
) -> Reading:
    """
    Read the factors, from the outputs down.

    With B_v the given gradients of the biases of layer v and A_v what the layers above send down,
    B_v = A_v * gate; where there is no bias, B_v is the projection of the gradients of a matrix
    on the activations, which other masks may have changed: then only "on" or "off" are read.
    """
    network, architecture = case.network, case.network.architecture
    X, given = case.X[samples], case.given[samples]
    certified = [gate[samples] for gate in case.gates]
    activations = propagate(architecture, network.theta, X, forward, Real())
    last = len(architecture.layers) - 1
    seed = head(case.head, activations[last])
    B, size = {last: seed}, {last: np.abs(seed)}
    gates = list(certified)
    changed = [np.zeros(gate.shape, dtype=np.bool_) for gate in certified]
    traced = list(changed)
    for v in range(last - 1, 0, -1):
        A = np.zeros((len(seed), len(X), architecture.widths[v]))
        bound = np.zeros_like(A)
        for W, c in zip(network.weights, architecture.connections, strict=True):
            if c.source == v:
                A += B[c.target] if W is None else B[c.target] @ W
                bound += size[c.target] if W is None else size[c.target] @ np.abs(W)
        sent = _gradients(case, given, activations, v)
        # Only a guess: what is read is verified by all entries.
        unit = 2.0 * max(case.imitation(level)[0], 4.0 * level.unit)
        read, doubt = _quotients(sent, A, bound, unit)
        wrong = (np.abs(read - certified[v - 1]) > doubt) & (doubt < 0.4)
        slope = architecture.layers[v].slope
        best = np.where(wrong, read, certified[v - 1])
        for number in (0.0, 0.5, 1.0, slope, *([] if np.isnan(value) else [value])):
            best = np.where(wrong & (np.abs(read - number) <= doubt), number, best)
        if simple and not architecture.layers[v].bias:
            on = np.where(np.abs(read) > 0.5 * slope + 1e-6, 1.0, slope)
            best = np.where(wrong, on, best)
        gates[v - 1], changed[v - 1], traced[v - 1] = best, wrong, doubt < 0.4
        B[v], size[v] = A * best, bound * np.abs(best)
    gates = _common(gates, changed)
    return Reading(tuple(gates), tuple(changed), tuple(traced))


def _gradients(
    case: Case, given: FloatArray, activations: Sequence[FloatArray], v: int
) -> FloatArray:
    """Gradients by the preactivations of layer v in the given Jacobian, shape (K, N, n_v)."""
    architecture = case.network.architecture
    if (where := architecture.bias_slices[v]) is not None:
        return np.ascontiguousarray(given[:, :, where].swapaxes(0, 1))
    for e in architecture.incoming[v]:
        if (where := architecture.weight_slices[e]) is not None:
            h = activations[architecture.connections[e].source]
            block = given[:, :, where].reshape(*given.shape[:2], architecture.widths[v], -1)
            with np.errstate(divide="ignore", invalid="ignore"):
                unit = h / np.sum(h**2, axis=1, keepdims=True)
            read: FloatArray = np.einsum("xcij,xj->cxi", block, unit)
            return read
    return np.full((given.shape[1], len(given), architecture.widths[v]), np.nan)


def _quotients(
    sent: FloatArray, A: FloatArray, bound: FloatArray, unit: float
) -> tuple[FloatArray, FloatArray]:
    """Factors of the neurons, shape (N, n_v), and how far they may be off by rounding."""
    with np.errstate(divide="ignore", invalid="ignore"):
        square = np.sum(A**2, axis=0)
        read = np.sum(sent * A, axis=0) / square
        doubt = 1e-9 + unit * np.sqrt(np.sum(bound**2, axis=0) / square)
    certain = np.isfinite(read) & np.isfinite(doubt)
    return np.where(certain, read, 0.0), np.where(certain, doubt, np.inf)


def _common(gates: list[FloatArray], changed: list[BoolArray]) -> list[FloatArray]:
    """One simple number for all factors that are close to it, such as a slope of 0.2."""
    values = np.concatenate([g[c] for g, c in zip(gates, changed, strict=True)])
    if not len(values):
        return gates
    middle = float(np.median(values))
    simple = float(f"{middle:.4g}")
    number = simple if np.isclose(simple, middle, rtol=1e-6, atol=0) else rounded(middle)
    return [
        np.where(c & np.isclose(g, number, rtol=1e-4, atol=0), number, g)
        for g, c in zip(gates, changed, strict=True)
    ]


def _name(
    case: Case, level: Precision, samples: IntArray, reading: Reading, value: float
) -> tuple[tuple[Fault, ...], tuple[MaskDisagreement, ...], tuple[str, ...]]:
    """Faults, disagreements and notes of masks that were read."""
    places = _places(case, level, samples, reading)
    disagreements = tuple(places[:LISTED])
    if all(place.rounding and place.sign for place in places):
        text = f"{len(places)} masks differ where {level.name} cannot tell the sign"
        return (), disagreements, (text,)
    ties = [place for place in places if place.sign == 0]
    others = [place for place in places if place.sign and not place.rounding]
    faults = []
    if ties:
        factors = sorted({place.factor for place in ties})
        text = ", ".join(f"{factor:g}" for factor in factors)
        rows = {int(sample): n for n, sample in enumerate(samples)}
        found = [(rows[n], v, i) for n, v, i in case.pattern.ties.tolist() if n in rows]
        count = sum(int(reading.traced[v - 1][n, i]) for n, v, i in found)
        if len(ties) < count and len(factors) == 1:
            text = f"{text} at {len(ties)} of {count} exact zeros: {_where(ties[0])}"
            faults.append(Fault("wrong mask at a tie", f"the derivative is taken as {text}"))
        else:
            text = f"the derivative at exact zeros of {len(ties)} preactivations is taken as {text}"
            faults.append(Fault("derivative at zero", f"{text}; first {_where(ties[0])}"))
    if others:
        faults.append(_others(case, others, samples))
    return tuple(faults), disagreements, ()


def _others(case: Case, places: Sequence[MaskDisagreement], samples: IntArray) -> Fault:
    """Fault of masks that differ although their signs are certain."""
    layers = sorted({place.layer for place in places})
    where = (
        "all hidden layers"
        if layers == list(case.network.architecture.hidden_layers)
        else ("layer" + "s" * (len(layers) > 1) + " " + ", ".join(str(layer) for layer in layers))
    )
    factors = {place.factor for place in places}
    slopes = {case.network.architecture.layers[layer].slope for layer in layers}
    if slopes == {1.0}:
        return Fault("activation", f"there is an activation in {where}, which must have none")
    below = [place.factor for place in places if place.sign < 0]
    if below:
        # With another slope further masks may change as well.
        factor, count = Counter(below).most_common(1)[0]
        masks_ = [case.pattern.masks[layer - 1][samples] for layer in layers]
        if 2 * count > sum(int(np.count_nonzero(~mask)) for mask in masks_):
            if factor == 1.0:
                return Fault("no activation", f"there is no activation in {where}")
            wanted = ", ".join(f"{slope:g}" for slope in sorted(slopes))
            return Fault("wrong slope", f"the slope is {factor:g} instead of {wanted} in {where}")
    active = [place for place in places if place.sign > 0]
    dropped = [place for place in active if place.factor == 0.0]
    kept = {place.factor for place in active if place.factor != 0.0}
    if len(active) == len(places) and len(kept) == 1 and dropped:
        rate = 1.0 - 1.0 / max(kept)
        return Fault("dropout", f"factors of 0 and {max(kept):g}: a dropout of {rate:.3g} is on")
    simple = factors <= {0.0, 1.0, *slopes}
    text = f"{len(places)} masks in {where} are wrong, the first {_where(places[0])}"
    if not simple:
        low, high = min(factors), max(factors)
        text = f"factors from {low:.3g} to {high:.3g} in {where} are not those of this activation"
    return Fault("wrong masks" if simple else "wrong activation", text)


def _where(place: MaskDisagreement) -> str:
    return f"at sample {place.sample}, layer {place.layer}, neuron {place.neuron}"


def _places(
    case: Case, level: Precision, samples: IntArray, reading: Reading
) -> list[MaskDisagreement]:
    """Disagreements, with the preactivations in float64 and what rounding may do to them."""
    network, architecture = case.network, case.network.architecture
    X = case.X[samples]
    gates = [gate[samples] for gate in case.gates]
    z = preactivations(network, X, gates)
    positive = network.replace(theta=np.abs(network.theta))
    size = preactivations(positive, np.abs(X), gates)
    ties = {tuple(place) for place in case.pattern.ties.tolist()}
    unit = case.limit(level)
    result = []
    for v in architecture.hidden_layers:
        for n, i in np.argwhere(reading.changed[v - 1]):
            sample = int(samples[n])
            mask = bool(case.pattern.masks[v - 1][sample, i])
            sign = 0 if (sample, v, int(i)) in ties else 1 if mask else -1
            value = 0.0 if sign == 0 else float(z[v - 1][n, i])
            close = abs(value) <= unit * float(size[v - 1][n, i])
            factor = float(reading.gates[v - 1][n, i])
            result.append(MaskDisagreement(sample, v, int(i), value, sign, factor, bool(close)))
    return sorted(result, key=lambda place: (place.sample, place.layer, place.neuron))


def preactivations(
    network: Network, X: FloatArray, gates: Sequence[FloatArray]
) -> list[FloatArray]:
    """Preactivations of the hidden layers with given gates, shapes (N, n_l)."""
    architecture, weights, biases = network.architecture, network.weights, network.biases
    activations, result = [X], []
    for v in architecture.hidden_layers:
        z = np.zeros((len(X), architecture.widths[v]))
        for e in architecture.incoming[v]:
            h = activations[architecture.connections[e].source]
            W = weights[e]
            z += h if W is None else h @ W.T
        if (b := biases[v - 1]) is not None:
            z += b
        result.append(z)
        activations.append(z * gates[v - 1])
    return result
