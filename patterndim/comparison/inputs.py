"""Faults of the inputs: scaled, standardised, other features; read off the given Jacobian."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from patterndim.comparison.case import Case, Explanation, Fault
from patterndim.comparison.columns import HUGE, rounded
from patterndim.comparison.precision import BFLOAT16, FLOAT32, FLOAT64, TF32, Precision
from patterndim.comparison.reference import Expected
from patterndim.typing import BoolArray, FloatArray

#: Factors between images as bytes and as fractions, where the inputs cannot be read.
FACTORS = (1 / 255, 255.0, 1 / 256, 256.0, 1 / 16, 16.0, -1.0, 2.0, 0.5)


def slack(level: Precision) -> float:
    """How much more an explanation may be off that was read off the Jacobian, errors and all."""
    return 2.0**12 if level is FLOAT64 else 2.0**4 if level is FLOAT32 else 1.0


def inputs(case: Case, level: Precision) -> Explanation | None:
    """Jacobian at other inputs."""
    if case.given.shape != case.reference.J.shape:
        return None
    read = _read(case)
    part = case.part
    for X, text in _fixed(case.X) if read is None else _related(case.X, *read):
        if not np.isfinite(X).all():
            continue
        first = part.expected(X=X[case.probe])
        if not part.within(part.given, first, level).all():
            continue
        exact = case.expected(X=X)
        if case.fits(case.given, exact, level):
            return Explanation((Fault("wrong inputs", text),), case.given, exact)
    return None if read is None else _others(case, *read, level)


def _others(case: Case, X: FloatArray, traced: BoolArray, level: Precision) -> Explanation | None:
    """Inputs that no simple map makes of the sample; those without a trace may be any."""
    if not np.isfinite(X).all() or level.unit > FLOAT32.unit or 2 * traced.sum() < len(X):
        return None
    exact = case.expected(X=X)
    exact.J[~traced] = case.given[~traced]
    if not (case.ratio(case.given, exact) <= slack(level) * case.limit(level)).all():
        return None
    moved = np.abs(X - case.X).max(axis=1)
    n = int(moved.argmax())
    far = np.count_nonzero(moved > 1e-6 * np.abs(case.X).max())
    if far == 0:
        return None
    text = f"this is the Jacobian at {far} other inputs, input {n} moved by {moved[n]:.3g}"
    return Explanation((Fault("wrong inputs", text),), case.given, exact, read=True)


def _read(case: Case) -> tuple[FloatArray, BoolArray] | None:
    """Inputs of a Jacobian, the gradients of a matrix over those of its bias, and where any are."""
    architecture = case.network.architecture
    for where, connection in zip(architecture.weight_slices, architecture.connections, strict=True):
        bias = architecture.bias_slices[connection.target]
        if connection.source != 0 or where is None or bias is None:
            continue
        B = case.given[:, :, bias]
        W = case.given[:, :, where].reshape(*B.shape, -1)
        square = np.sum(B**2, axis=(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            X = np.einsum("xcij,xci->xj", W, B) / square[:, np.newaxis]
        traced: BoolArray = square > 0
        return np.where(traced[:, np.newaxis], X, case.X), traced
    return None


def _fixed(X: FloatArray) -> Iterator[tuple[FloatArray, str]]:
    for factor in FACTORS:
        yield X * factor, _times(factor)


def _times(factor: float) -> str:
    if 1 / HUGE < abs(factor) < 1 and np.isclose(1 / factor, round(1 / factor), rtol=1e-9):
        return f"the inputs are divided by {round(1 / factor)}"
    return f"the inputs are multiplied by {factor:.6g}"


def _related(
    X: FloatArray, read: FloatArray, traced: BoolArray
) -> Iterator[tuple[FloatArray, str]]:
    """Simple maps that may have made the inputs that were read."""
    square = float(np.vdot(X[traced], X[traced]))
    if square:
        factor = rounded(float(np.vdot(X[traced], read[traced])) / square)
        if factor != 1.0:
            yield (
                (X / round(1 / factor) if 1 / HUGE < abs(factor) < 1 else X * factor),
                _times(factor),
            )
            yield X * factor, _times(factor)
    mean, std = X.mean(axis=0), X.std(axis=0)
    yield X - mean, "the inputs are centred: their mean is subtracted"
    yield X - X.mean(), "the inputs are centred: one mean is subtracted from all features"
    for ddof in (0, 1) if len(X) > 1 else (0,):
        std = X.std(axis=0, ddof=ddof)
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(std > 0, (X - mean) / std, 0.0)
            yield scaled, "the inputs are standardised, feature by feature"
            yield (X - X.mean()) / X.std(ddof=ddof), "the inputs are standardised as a whole"
    with np.errstate(divide="ignore", invalid="ignore"):
        yield X / np.linalg.norm(X, axis=1, keepdims=True), "every input is divided by its norm"
        low, high = X.min(axis=0), X.max(axis=0)
        yield np.where(high > low, (X - low) / (high - low), 0.0), "the inputs are scaled to [0, 1]"
    if len(X) * X.shape[1] ** 2 <= 2**24:
        pairs = read[traced, :, np.newaxis] - X[traced, np.newaxis, :]
        distances = np.abs(pairs).sum(axis=0)
        order = distances.argmin(axis=1)
        if not np.array_equal(order, np.arange(X.shape[1])):
            yield X[:, order], "the features of the inputs come in another order"


def rounded_numbers(case: Case, level: Precision) -> Explanation | None:
    """Jacobian at parameters or inputs that were rounded to another precision."""
    if case.given.shape != case.reference.J.shape:
        return None
    for other in (FLOAT32, TF32, BFLOAT16):
        for what in ("parameters and inputs", "parameters", "inputs"):
            exact = case.explained(partial(_rounded, other=other, what=what), level)
            if exact is not None:
                text = f"the {what} were rounded to {other.name} before the Jacobian was taken"
                return Explanation((Fault("rounded numbers", text),), case.given, exact)
    return None


def _rounded(case: Case, other: Precision, what: str) -> Expected:
    """Jacobian at rounded parameters or inputs."""
    network, X = case.network, case.X
    if "parameters" in what:
        network = network.replace(theta=other.encode_operands(network.theta))
    return case.expected(network, other.encode_operands(X) if "inputs" in what else X)
