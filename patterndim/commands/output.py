"""What commands have in common: options, results as plain JSON, evidence in words."""

import argparse
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import patterndim
from patterndim.dimension import Dimension
from patterndim.heads import OUTPUTS
from patterndim.network import Network

BOUNDS = {
    "outputs": "the number of outputs that count",
    "parameters": "live parameters minus rescaling symmetries",
    "regions": "the activation regions that hold samples",
    "inputs": "the rank of the inputs in each activation region",
    "symmetries": "live parameters minus symmetries, those of linear and aligned neurons too",
}


def add_network(parser: argparse.ArgumentParser, *, inputs: bool) -> None:
    """Options of all commands about a saved network, and its sample if it needs one."""
    parser.add_argument(
        "network",
        type=Path,
        metavar="NET",
        help="file of a network: .npz, .safetensors, .pt, .keras",
    )
    if inputs:
        parser.add_argument(
            "inputs", type=Path, metavar="X.npy", help="array (N, n_0) by numpy.save"
        )
    parser.add_argument(
        "--output",
        choices=OUTPUTS,
        default="affine",
        help="the outputs or their softmax (default affine)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def heading(network: Network) -> dict[str, Any]:
    """First entries of every JSON object about a network."""
    return {
        "patterndim": patterndim.__version__,
        "widths": list(network.widths),
        "parameter_count": network.parameter_count,
        "hidden_neurons": network.hidden_neurons,
    }


def parameters(network: Network) -> tuple[str, str]:
    """Line on the parameters; P - H says something where no identity ties neurons together."""
    P, H = network.parameter_count, network.hidden_neurons
    if all(connection.trainable for connection in network.architecture.connections):
        return "P, P - H", f"{P}, {P - H}"
    return "P, H", f"{P}, {H}"


def plain(found: Dimension) -> dict[str, Any]:
    """Fields of a result as valid JSON: no arrays, no NaN, no infinity."""
    named = {field.name: getattr(found, field.name) for field in fields(found) if field.compare}
    return {name: _number(value) for name, value in named.items()}


def _number(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_number(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def evidence(found: Dimension) -> str:
    """What the kind of a result rests on, in words."""
    if found.kind == "proved":
        return "proved: lower and upper bound meet"
    if found.kind == "probable":
        return (
            f"probable: at least {found.lower} for certain, "
            f"higher with probability below {found.failure_probability:.1e}"
        )
    gap = "none" if found.gap is None else f"{found.gap:.1e}"
    return f"numerical: singular values above {found.rtol:.1e} of the largest, gap {gap}"
