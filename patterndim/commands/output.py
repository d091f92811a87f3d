"""What the commands print alike: results as plain JSON, and evidence in words."""

import math
from dataclasses import fields
from typing import Any

from patterndim.dimension import Dimension

BOUNDS = {
    "outputs": "the number of outputs that count",
    "parameters": "live parameters minus rescaling symmetries",
    "regions": "the activation regions that hold samples",
    "inputs": "the rank of the inputs in each activation region",
    "symmetries": "live parameters minus symmetries, those of linear and aligned neurons too",
}


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
