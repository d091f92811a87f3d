"""What neurons do on a sample, and how their weights lie."""

import numpy as np

from patterndim.learning_space import balance
from patterndim.quantities.values import Value
from patterndim.quantities.view import View
from patterndim.tangents import neuron_groups
from patterndim.typing import FloatArray


def perceived_regions(view: View) -> Value:
    """Number of activation regions with an input, the largest one, and those of one input."""
    sizes = view.region_sizes
    return {
        "": len(sizes),
        "largest": int(sizes.max()),
        "single": int(np.count_nonzero(sizes == 1)),
    }


def aligned_neurons(view: View) -> Value:
    """
    Neurons whose gate is that of another of their layer, in all and layer by layer.

    And how many different gates there are ("distinct"), neurons whose gate is always 0 ("dead")
    and never varies otherwise ("linear", one gate for all of a layer).
    """
    architecture = view.network.architecture
    counts = {
        v: {"": 0, "distinct": 0, "dead": architecture.widths[v], "linear": 0}
        for v in architecture.hidden_layers
    }
    for group in neuron_groups(architecture, view.pattern.masks):
        count, size = counts[group.layer], len(group.neurons)
        count[""] += size if size > 1 else 0
        count["distinct"] += 1
        count["dead"] -= size
        count["linear"] += size if group.linear else 0
    found = {
        key: sum(count[key] for count in counts.values())
        for key in ("", "distinct", "dead", "linear")
    }
    for v, count in counts.items():
        found |= {f"{key}_{v}" if key else str(v): number for key, number in count.items()}
    return found


def pattern_changes(view: View) -> Value:
    """Masks that differ from those before, and what fraction of all that is."""
    if view.previous is None:
        return {"": None, "fraction": None}
    pairs = zip(view.pattern.masks, view.previous.pattern.masks, strict=True)
    count = sum(int(np.count_nonzero(mask != before)) for mask, before in pairs)
    total = view.network.hidden_neurons * len(view.X)
    return {"": count, "fraction": count / total if total else 0.0}


def balances(view: View) -> Value:
    """Largest absolute balance of a hidden neuron, and the largest change since the first view."""
    now, start = (_all_balances(v) for v in (view, view.first))
    return {
        "": float(np.abs(now).max(initial=0.0)),
        "drift": float(np.abs(now - start).max(initial=0.0)),
        "negative": int(np.count_nonzero(now < 0)),
    }


def _all_balances(view: View) -> FloatArray:
    return np.concatenate([np.empty(0), *balance(view.network)])


def weight_alignment(view: View) -> Value:
    """
    How the incoming weights (bias included) of the neurons of a layer align.

    For each hidden layer the mean absolute cosine between two of them, the mean cosine of each
    with its nearest ("nearest"), and the effective number of directions ("directions"): the
    squared trace of their Gram matrix over its squared norm.  Neurons without weights do not
    count.  The first without a number is the mean over layers.
    """
    found: dict[str, float | None] = {}
    for v in view.network.architecture.hidden_layers:
        A = _incoming(view, v)
        A = A[np.any(A != 0, axis=1)]
        if len(A) < 2:
            found |= {str(v): None, f"nearest_{v}": None, f"directions_{v}": float(len(A))}
            continue
        unit = A / np.linalg.norm(A, axis=1, keepdims=True)
        cosines, gram = unit @ unit.T, A @ A.T
        pairs = ~np.eye(len(A), dtype=bool)
        found[str(v)] = float(np.abs(cosines[pairs]).mean())
        nearest = np.where(pairs, cosines, -1.0).max(axis=1)
        found[f"nearest_{v}"] = float(nearest.mean())
        found[f"directions_{v}"] = float(np.trace(gram) ** 2 / (gram**2).sum())
    layers = [found[str(v)] for v in view.network.architecture.hidden_layers]
    known = [value for value in layers if value is not None]
    return {"": float(np.mean(known)) if known else None, **found}


def _incoming(view: View, layer: int) -> FloatArray:
    """Incoming weights and bias of each neuron of a layer, shape (n_l, entries)."""
    network = view.network
    parts = [network.weights[e] for e in network.architecture.incoming[layer]]
    bias = network.biases[layer - 1]
    parts.append(None if bias is None else bias[:, np.newaxis])
    empty = np.empty((network.widths[layer], 0))
    return np.concatenate([empty, *(part for part in parts if part is not None)], axis=1)
