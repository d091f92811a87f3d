"""The Jacobian of other parameters: what they are is read off it."""

import numpy as np

from patterndim.comparison.case import Case, Explanation, Fault
from patterndim.comparison.inputs import slack
from patterndim.comparison.precision import FLOAT32, Precision
from patterndim.comparison.reference import head
from patterndim.network import Network
from patterndim.typing import FloatArray


def parameters(case: Case, level: Precision) -> Explanation | None:
    """Jacobian of the same architecture with other parameters, as before a training step."""
    if case.given.shape != case.reference.J.shape or level.unit > FLOAT32.unit:
        return None
    if not _readable(case.network) or case.head != "affine":
        return None
    with np.errstate(all="ignore"):
        theta, gates = _read(case)
    if not np.isfinite(theta).all():
        return None
    exact = case.expected(case.network.replace(theta=theta), gates_=gates)
    if not (case.ratio(case.given, exact) <= slack(level) * case.limit(level)).all():
        return None
    change = np.abs(theta - case.network.theta)
    worst = int(change.argmax())
    block = next(p for p in case.parameters if p.start <= worst < p.stop)
    moved = float(np.linalg.norm(change)) / max(float(np.linalg.norm(case.network.theta)), 1e-300)
    text = (
        f"this is the Jacobian of other parameters, {moved:.2g} away relative to their norm, "
        f"by up to {change[worst]:.3g} in {block.name}: those of another training step"
    )
    return Explanation((Fault("other parameters", text),), case.given, exact, read=True)


def _readable(network: Network) -> bool:
    """Whether this is a multilayer perceptron with biases, and with ReLU or no activation."""
    architecture = network.architecture
    path = all(
        c.trainable and (c.source, c.target) == (v, v + 1)
        for v, c in enumerate(architecture.connections)
    )
    hidden = [architecture.layers[v] for v in architecture.hidden_layers]
    return (
        path and bool(hidden) and all(layer.bias and layer.slope in (0.0, 1.0) for layer in hidden)
    )


def _read(case: Case) -> tuple[FloatArray, list[FloatArray]]:
    """
    Parameters and masks at which a Jacobian was taken.

    The parameters are as close to those of the network as it allows.  The gradients of the biases
    are B_v = B_{v+1} W_{v+1} where a neuron is active, which gives W_{v+1}; those of W_{v+1} are
    B_{v+1} (outer) h_v, which gives h_v = W_v h_{v-1} + b_v.
    """
    network, architecture, given = case.network, case.network.architecture, case.given
    theta = network.theta.copy()
    weights, biases = architecture.weights_of(theta), architecture.biases_of(theta)
    last = len(architecture.layers) - 1
    B = head("affine", np.zeros((len(case.X), network.widths[-1]))).swapaxes(0, 1)
    activations, gates = {0: case.X}, list(case.gates)
    for v in range(last - 1, 0, -1):
        block, where, W = architecture.weight_slices[v], architecture.bias_slices[v], weights[v]
        if block is None or where is None or W is None:
            return theta, []
        outer = given[:, :, block].reshape(*B.shape, -1)
        square = np.sum(B**2, axis=(1, 2))[:, np.newaxis]
        h = np.einsum("xcij,xci->xj", outer, B) / square
        activations[v] = np.where(square > 0, h, 0.0)
        on = (h != 0.0) | (architecture.layers[v].slope == 1.0)
        gates[v - 1] = np.where(square > 0, on, case.gates[v - 1])
        below = given[:, :, where]
        for i in range(W.shape[1]):
            active = below[:, :, i].any(axis=1)
            left = B[active].reshape(-1, W.shape[0])
            change = below[active, :, i].reshape(-1) - left @ W[:, i]
            if active.any():
                W[:, i] += np.linalg.lstsq(left, change, rcond=1e-9)[0]
        B = below
    for v in range(1, last):
        W, b, h = weights[v - 1], biases[v], activations[v - 1]
        if W is None or b is None:
            return theta, []
        for j in range(len(b)):
            active = activations[v][:, j] != 0.0
            z = activations[v][active, j]
            if v > 1 and active.any():
                b[j] = np.median(z - h[active] @ W[j])
            elif active.any():
                left = np.column_stack([h[active], np.ones(len(z))])
                change = np.linalg.lstsq(left, z - h[active] @ W[j] - b[j], rcond=1e-9)[0]
                W[j] += change[:-1]
                b[j] += change[-1]
    return theta, gates
