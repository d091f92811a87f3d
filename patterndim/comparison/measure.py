"""How far a Jacobian is off: by block, at worst, in precision, and in the forward pass."""

import sys

import numpy as np

from patterndim.arithmetic import Real
from patterndim.comparison.case import Case, Fault
from patterndim.comparison.columns import gather, in_theta, natural
from patterndim.comparison.diagnosis import Diagnosis
from patterndim.comparison.layout import Given
from patterndim.comparison.precision import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, TF32, Precision
from patterndim.comparison.result import BlockError, WorstEntry
from patterndim.comparison.rows import listed
from patterndim.factors import propagate
from patterndim.formats.imported import HEADS, Imported, Parameter
from patterndim.typing import FloatArray

#: Bits by which the errors of two computations in one precision may differ on average.
NEAR = 2.5


def block_errors(
    case: Case, found: Diagnosis, level: Precision
) -> tuple[tuple[BlockError, ...], WorstEntry | None]:
    """Errors by block and the worst entry, before faults are undone if shapes allow it."""
    exact, given = case.reference, found.given
    if case.given.shape == exact.J.shape:
        layouts = natural(case)
        ways = [gather(case.given, pieces, exact.J.shape[2]) for pieces in layouts]
        given = min(ways, key=lambda way: float(np.nan_to_num(np.abs(way - exact.J)).sum()))
    count = min(len(given), len(exact.J))
    if given.shape[1:] != exact.J.shape[1:]:
        return (), None
    given, exact = given[:count], exact.at(slice(count))
    ratio = case.ratio(given, exact)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    limit, error = case.limit(level), np.abs(given - exact.J)
    result = []
    for parameter in in_theta(case.parameters):
        part = slice(parameter.start, parameter.stop)
        result.append(
            BlockError(
                layer=_layer(case, parameter),
                parameter=parameter.name,
                error=float(error[:, :, part].max()),
                scale=float(np.abs(exact.J[:, :, part]).max()),
                units=float(ratio[:, :, part].max()) / level.eps,
                wrong=int(np.count_nonzero(ratio[:, :, part] > limit)),
                entries=ratio[:, :, part].size,
            )
        )
    n, c, column = (int(i) for i in np.unravel_index(int(ratio.argmax()), ratio.shape))
    parameter = next(p for p in case.parameters if p.start <= column < p.stop)
    worst = WorstEntry(
        layer=_layer(case, parameter),
        parameter=parameter.name,
        index=_index(parameter, column),
        sample=n,
        output=c,
        given=float(given[n, c, column]),
        expected=float(exact.J[n, c, column]),
        units=float(ratio[n, c, column]) / level.eps,
    )
    return tuple(result), worst


def _layer(case: Case, parameter: Parameter) -> int:
    architecture = case.network.architecture
    return next(
        v
        for v in range(1, len(architecture.layers))
        if any(s.start == parameter.start for s in architecture.parameter_slices(v))
    )


def _index(parameter: Parameter, column: int) -> tuple[int, ...]:
    """Place in the source's array of a column of J."""
    shape = parameter.shape[::-1] if parameter.transposed else parameter.shape
    index = tuple(int(i) for i in np.unravel_index(column - parameter.start, shape))
    return index[::-1] if parameter.transposed else index


def not_finite(case: Case) -> Diagnosis:
    """Diagnosis of a Jacobian with NaN or infinity."""
    bad = ~np.isfinite(case.given)
    samples = np.flatnonzero(bad.any(axis=(1, 2))).tolist()
    text = f"{np.count_nonzero(bad)} entries are NaN or infinite, at {listed('sample', samples)}"
    fault = Fault("not finite", text)
    return Diagnosis((fault,), (), (), None, float("nan"), case, case.given)


def held(given: Given, values: Precision) -> Precision:
    """Precision that a Jacobian comes in: that of its type, or that of its entries if lower."""
    return max(given.precision, values, key=lambda level: level.unit)


def precision_fault(
    case: Case, found: Diagnosis, given: Given, holds: Precision, wanted: Precision
) -> tuple[tuple[Fault, ...], tuple[str, ...]]:
    """Fault of a precision below the one that is wanted, or a note about it."""
    level = found.level
    if level is None or level is FLOAT64 or np.isnan(found.bits):
        return (), ()
    packed = holds is FLOAT32 and given.dtype == "float64"
    if level.unit <= wanted.unit:
        if packed:
            text = "float32 entries in a float64 array: its tolerance counts rounding as rank"
            return (), (text,)
        return (), ()
    bits = f"errors of about 2^-{found.bits:.0f} where {wanted.name} allows 2^-{wanted.results}"
    if holds in (BFLOAT16, FLOAT16):
        return (Fault(f"{holds.name} precision", f"the entries are {holds.name} numbers"),), ()
    if level is FLOAT32 and holds is FLOAT32:
        jax = sys.modules.get("jax")
        if given.framework == "jax" and jax is not None and not jax.config.jax_enable_x64:
            text = "JAX computed in float32: jax_enable_x64 is not set"
            return (Fault("jax without x64", text),), ()
        text = "in a float64 array" if packed else "in a float32 array"
        text = f"the entries are float32 numbers {text}, but the parameters are float64"
        return (Fault("float32 precision", text),), ()
    mean = 2.0**-found.bits
    for other in (FLOAT32, TF32, BFLOAT16):
        imitated = case.imitation(other)[1]
        if imitated > 0 and abs(np.log2(mean / imitated)) <= NEAR:
            return (Fault(f"{other.name} precision", f"{bits}, like those of {other.name}"),), ()
    text = f"{bits}, like neither float32 nor less: finite differences?"
    return (Fault("low precision", text),), ()


def forward_fault(
    subject: Imported, X: FloatArray, case: Case, own: Precision
) -> tuple[Fault, ...]:
    """Fault of a source whose own outputs are not those of the network that was read from it."""
    if subject.outputs is None:
        return ()
    z = propagate(case.network.architecture, case.network.theta, X, case.gates, Real())[-1]
    positive = case.network.replace(theta=np.abs(case.network.theta))
    size = propagate(
        case.network.architecture,
        positive.theta,
        np.abs(X),
        [np.abs(g) for g in case.gates],
        Real(),
    )[-1]
    outputs = np.asarray(subject.outputs(X))
    found = outputs.astype(np.float64)
    eps = float(np.finfo(outputs.dtype).eps) if outputs.dtype.kind == "f" else 0.0
    limit = max(eps, own.eps) * 2.0 * sum(case.network.widths)
    error = np.abs(found - HEADS[subject.head](z))
    bad = ~(error <= limit * (1.0 + size.max(axis=1, keepdims=True)))
    if not bad.any():
        return ()
    samples = np.flatnonzero(bad.any(axis=1)).tolist()
    text = (
        f"the outputs of the model are not those of its layers at {listed('sample', samples)}, "
        f"by up to {float(np.nanmax(error)):.3g}"
    )
    return (Fault("forward pass", text),)
