"""The Jacobian with another activation than (leaky) ReLU."""

from collections.abc import Callable

import numpy as np

from patterndim.comparison.case import Case, Explanation, Fault
from patterndim.comparison.inputs import slack
from patterndim.comparison.precision import Precision
from patterndim.typing import FloatArray

#: Value and derivative.
Activation = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


def _sigmoid(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    s = 0.5 * (1.0 + np.tanh(0.5 * z))
    return s, s * (1.0 - s)


def _tanh(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    t = np.tanh(z)
    return t, 1.0 - t**2


def _softplus(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.logaddexp(0.0, z), _sigmoid(z)[0]


def _silu(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    s, slope = _sigmoid(z)
    return z * s, s + z * slope


def _elu(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.where(z > 0, z, np.expm1(z)), np.where(z > 0, 1.0, np.exp(np.minimum(z, 0.0)))


def _gelu(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    from scipy.special import ndtr

    normal = np.asarray(ndtr(z), dtype=np.float64)
    return z * normal, normal + z * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)


def _gelu_by_tanh(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    root = np.sqrt(2.0 / np.pi)
    t, slope = _tanh(root * (z + 0.044715 * z**3))
    inner = root * (1.0 + 3 * 0.044715 * z**2)
    return 0.5 * z * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * z * slope * inner


def _relu6(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.clip(z, 0.0, 6.0), np.where((z > 0) & (z < 6), 1.0, 0.0)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "GELU": _gelu,
    "GELU by tanh": _gelu_by_tanh,
    "SiLU": _silu,
    "ELU": _elu,
    "ReLU6": _relu6,
}


def activations(case: Case, level: Precision) -> Explanation | None:
    """Jacobian of the same layers with another activation."""
    if case.given.shape != case.reference.J.shape or not case.gates:
        return None
    part = case.part
    for name, activation in ACTIVATIONS.items():
        with np.errstate(all="ignore"):
            backward, forward = _gates(part, activation)
            exact = part.expected(gates_=backward, forward=forward)
            if not (part.ratio(part.given, exact) <= slack(level) * case.limit(level)).all():
                continue
            backward, forward = _gates(case, activation)
            exact = case.expected(gates_=backward, forward=forward)
            if not (case.ratio(case.given, exact) <= slack(level) * case.limit(level)).all():
                continue
        text = f"the activation is {name}, not (leaky) ReLU"
        return Explanation((Fault("wrong activation", text),), case.given, exact, read=True)
    return None


def _gates(case: Case, activation: Activation) -> tuple[list[FloatArray], list[FloatArray]]:
    """Derivatives, and ratios of value and argument, at the hidden neurons."""
    network, architecture = case.network, case.network.architecture
    values, backward, forward = [case.X], [], []
    for v in architecture.hidden_layers:
        z = np.zeros((len(case.X), architecture.widths[v]))
        for e in architecture.incoming[v]:
            h, W = values[architecture.connections[e].source], network.weights[e]
            z += h if W is None else h @ W.T
        if (b := network.biases[v - 1]) is not None:
            z += b
        value, slope = activation(z)
        values.append(value)
        backward.append(slope)
        forward.append(np.where(z == 0.0, 0.0, value / z))
    return backward, forward
