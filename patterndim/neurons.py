"""What hidden neurons do on a sample, and the mechanisms that hide parameters."""

from dataclasses import dataclass

import numpy as np

from patterndim.architecture import Architecture
from patterndim.frozen import FrozenJacobian
from patterndim.live import live_parameters
from patterndim.tangents import neuron_groups
from patterndim.typing import FloatArray


@dataclass(frozen=True)
class NeuronState:
    """
    What one hidden neuron does.

    Attributes
    ----------
    layer, neuron : int
        Which one; layers count from 1.
    state, stable_state : str
        On the sample, and on all inputs that were tried: "dead" (its gate is always 0),
        "unused" (no path of nonzero weights leads from it to an output that counts), "linear"
        (its gate never varies), "aligned" (its gate always equals that of another neuron of the
        layer), or "free".
    active : float
        Fraction of the sample on which it is active.
    partners : tuple of int
        The other neurons of its group on the sample, if it is aligned or linear.
    """

    layer: int
    neuron: int
    state: str
    stable_state: str
    active: float
    partners: tuple[int, ...]


@dataclass(frozen=True)
class Mechanism:
    """
    Something that makes directions invisible to every input that was tried.

    ``kind`` is "stably inactive" (dead neurons), "unused" (neurons without a path to an output),
    "affine layer" (every neuron of the layer that is not dead is linear), "stably linear"
    (some are), "aligned" (their gates always agree) or "bottleneck" (one live neuron only).
    """

    kind: str
    layer: int
    neurons: tuple[int, ...]


def neuron_states(
    frozen: FrozenJacobian, wide: FrozenJacobian, theta: FloatArray
) -> tuple[NeuronState, ...]:
    """State of every hidden neuron on a sample and on a larger one."""
    narrow, stable = _states(frozen, theta), _states(wide, theta)
    found = []
    for layer, mask in zip(frozen.architecture.hidden_layers, frozen.pattern.masks, strict=True):
        active = mask.mean(axis=0).tolist()
        for neuron in range(mask.shape[1]):
            state, partners = narrow[layer, neuron]
            stable_state, _ = stable[layer, neuron]
            found.append(NeuronState(layer, neuron, state, stable_state, active[neuron], partners))
    return tuple(found)


def _states(
    frozen: FrozenJacobian, theta: FloatArray
) -> dict[tuple[int, int], tuple[str, tuple[int, ...]]]:
    architecture = frozen.architecture
    found: dict[tuple[int, int], tuple[str, tuple[int, ...]]] = {}
    live = live_parameters(architecture, frozen.X, frozen.passing, frozen.head.reach, theta)
    for layer, passing in zip(architecture.hidden_layers, frozen.passing, strict=True):
        used = live.reached[layer]
        for neuron, on in enumerate(np.any(passing, axis=0)):
            found[layer, neuron] = ("unused" if on and not used[neuron] else "dead"), ()
    for group in neuron_groups(architecture, frozen.pattern.masks):
        members = group.neurons.tolist()
        for neuron in members:
            if live.reached[group.layer][neuron]:
                partners = tuple(other for other in members if other != neuron)
                shared = "linear" if group.linear else "aligned" if partners else "free"
                found[group.layer, neuron] = shared, partners
    return found


def mechanisms(
    architecture: Architecture, states: tuple[NeuronState, ...]
) -> tuple[Mechanism, ...]:
    """What makes directions invisible on all inputs that were tried, layer by layer."""
    found = []
    for layer in architecture.hidden_layers:
        stable = [state.stable_state for state in states if state.layer == layer]
        by_state = {
            kind: tuple(np.flatnonzero([s == kind for s in stable]).tolist())
            for kind in ("dead", "unused", "linear", "aligned", "free")
        }
        live = by_state["linear"] + by_state["aligned"] + by_state["free"]
        affine = by_state["linear"] and len(by_state["linear"]) == len(live)
        kinds = {
            "stably inactive": by_state["dead"],
            "unused": by_state["unused"],
            "affine layer" if affine else "stably linear": by_state["linear"],
            "aligned": by_state["aligned"],
            "bottleneck": live if len(live) == 1 else (),
        }
        found += [Mechanism(kind, layer, neurons) for kind, neurons in kinds.items() if neurons]
    return tuple(found)
