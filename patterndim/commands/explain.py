"""``patterndim explain``: why the local dimension is below the number of parameters."""

import argparse
import json
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from patterndim.commands.output import add_network, evidence, heading, plain
from patterndim.explanation import CAUSES, Explanation, explain
from patterndim.formats import load, npz
from patterndim.progress import ProgressLine
from patterndim.validation import integer

ALWAYS = {
    "dead": "parameters of dead or unused neurons, and of inputs that are always 0",
    "rescaling": "rescaling of hidden neurons",
    "softmax": "what a softmax does not see",
    "head": "what the head does not see",
    "linear": "mixing and shifting of linear neurons",
    "aligned": "mixing of aligned neurons",
    "hidden": "other hidden symmetries",
}
SAMPLE = {
    "dead": "dead, unused or fed by zeros on this sample",
    "linear": "linear on this sample",
    "aligned": "aligned on this sample",
    "few inputs": "too few inputs, or in too few activation regions",
}
MECHANISMS = {
    "stably inactive": "{count} dead: {names}",
    "unused": "{count} with no path to an output: {names}",
    "affine layer": "affine on its image: every live neuron is linear",
    "stably linear": "{count} linear: {names}",
    "aligned": "{count} aligned with others: {names}",
    "bottleneck": "a bottleneck: only neuron {names} is live",
}
#: Most parameters for which the hidden directions themselves are looked at.
FORMED = 3000


def add(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "explain", help="why a local dimension is below the number of parameters"
    )
    parser.set_defaults(run=run)
    add_network(parser, inputs=True)
    parser.add_argument(
        "--probes",
        type=int,
        metavar="M",
        help="how many further inputs to try (default: enough to show every parameter)",
    )
    parser.add_argument("--neurons", action="store_true", help="list every hidden neuron")


def run(options: argparse.Namespace, progress: ProgressLine) -> int:
    """Run the command and return its exit status."""
    network = load(options.network)
    X = npz.read_array(options.inputs)
    if options.probes is not None:
        integer("--probes", options.probes, low=0)
    start = perf_counter()
    found = explain(
        network,
        X,
        probes=options.probes,
        output=options.output,
        rng=options.seed,
        progress=progress,
    )
    seconds = perf_counter() - start
    progress.clear()
    if options.json:
        print(json.dumps({**described(found), "seconds": seconds}, indent=2))
        return 0
    for line in balance(found):
        print(line)
    print()
    for line in layers(found):
        print(line)
    if options.neurons:
        print()
        for line in neurons(found):
            print(line)
    print(f"\n{seconds:.1f} seconds; symmetries counted modulo the prime {found.modulus}.")
    return 0


def balance(found: Explanation) -> Iterable[str]:
    """The balance from P down to the local dimension."""
    yield f"{found.network} on {found.inputs:,} inputs, {found.probes:,} further inputs tried"
    yield ""
    yield _line("parameters", found.network.parameter_count)
    if found.count(scope="always"):
        yield "no input that was tried shows"
        for cause, text in ALWAYS.items():
            if count := found.count(cause, scope="always"):
                yield _line(f"  {text}", -count)
    if found.probes:
        yield _line("a larger sample reaches", found.reachable.value)
    if found.count(scope="sample"):
        yield "other inputs show, this sample does not"
        for cause, text in SAMPLE.items():
            if count := found.count(cause, scope="sample"):
                yield _line(f"  {text}", -count)
    yield _line("local dimension", found.dimension.value)
    yield f"  {evidence(found.dimension)}"
    if found.dimension.ties:
        yield f"  {found.dimension.ties} exact zeros (ties): not differentiable there"


def _line(text: str, count: int) -> str:
    return f"{text:74}{count:>8,}"


def layers(found: Explanation) -> Iterable[str]:
    """Dimensions lost by layer and cause, and what the neurons do."""
    network = found.network
    shown = [
        (scope, cause)
        for scope in ("always", "sample")
        for cause in CAUSES
        if any(s.scope == scope and s.cause == cause and s.layer for s in found.shares)
    ]
    names = [cause if scope == "always" else f"{cause} here" for scope, cause in shown]
    heading = f"{'layer':>5}{'width':>7}{'parameters':>12}" + "".join(f"{n:>14}" for n in names)
    architecture = network.architecture
    hidden = _hidden_by_layer(found)
    if hidden:
        heading += f"{'hidden':>14}"
    yield heading
    for layer in range(1, len(architecture.layers)):
        size = sum(part.stop - part.start for part in architecture.parameter_slices(layer))
        cells = [f"{found.count(c, scope=scope, layer=layer):>14,}" for scope, c in shown]
        if hidden:
            cells.append(f"{hidden[layer]:>14.1f}")
        yield f"{layer:>5}{network.widths[layer]:>7}{size:>12,}" + "".join(cells)
    for mechanism in found.mechanisms:
        if architecture.layers[mechanism.layer].slope == 1.0 and mechanism.kind == "affine layer":
            yield f"layer {mechanism.layer} has no activation"
            continue
        text = MECHANISMS[mechanism.kind].format(
            count=len(mechanism.neurons), names=_names(mechanism.neurons)
        )
        yield (
            f"layer {mechanism.layer} is {text} (on all inputs that were tried)"
            if (mechanism.kind in ("affine layer", "bottleneck"))
            else f"layer {mechanism.layer}: {text} (on all inputs that were tried)"
        )
    for layer in architecture.hidden_layers:
        for state in ("dead", "unused", "linear", "aligned"):
            here = tuple(
                s.neuron
                for s in found.neurons
                if s.layer == layer and s.state == state and s.stable_state != state
            )
            if here:
                yield f"layer {layer}: {len(here)} {state} on this sample only: {_names(here)}"


def _hidden_by_layer(found: Explanation) -> dict[int, float]:
    """How much of the hidden directions lies in each layer's parameters; adds up to their count."""
    architecture = found.network.architecture
    if not found.count("hidden") or architecture.parameter_count > FORMED:
        return {}
    mass = (found.hidden_basis**2).sum(axis=0)
    return {
        layer: sum(float(mass[part].sum()) for part in architecture.parameter_slices(layer))
        for layer in range(1, len(architecture.layers))
    }


def _names(members: tuple[int, ...], most: int = 12) -> str:
    text = ", ".join(str(member) for member in members[:most])
    return text + (f" and {len(members) - most} more" if len(members) > most else "")


def neurons(found: Explanation) -> Iterable[str]:
    """One line for every hidden neuron."""
    yield f"{'layer':>5}{'neuron':>8}{'active':>9}  {'on this sample':16}on all inputs tried"
    for s in found.neurons:
        with_others = f" with {_names(s.partners)}" if s.partners else ""
        states = f"{s.state:16}{s.stable_state}{with_others}"
        yield f"{s.layer:>5}{s.neuron:>8}{s.active:>9.3f}  {states}"


def described(found: Explanation) -> dict[str, Any]:
    """The same as plain JSON."""
    return {
        **heading(found.network),
        "inputs": found.inputs,
        "probes": found.probes,
        "dimension": plain(found.dimension),
        "reachable": plain(found.reachable),
        "deficit": found.deficit,
        "shares": [vars(share) for share in found.shares],
        "mechanisms": [vars(mechanism) for mechanism in found.mechanisms],
        "neurons": [vars(state) for state in found.neurons],
        "modulus": found.modulus,
    }
