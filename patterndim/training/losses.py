"""Losses, their derivatives by the outputs, and what targets they take."""

import numpy as np

from patterndim.errors import ArgumentError, KindError, ShapeError
from patterndim.heads import softmax
from patterndim.typing import AnyArray, ArrayLike
from patterndim.validation import float_array, real_array

LOSSES = ("cross-entropy", "square")


def check_targets(targets: ArrayLike, inputs: int, outputs: int, loss: str) -> AnyArray:
    """Labels (N,) of int64, or values (N, n_L) of float64."""
    if loss == "square":
        return float_array("targets", targets, (inputs, outputs))
    labels = real_array("targets", targets)
    if labels.dtype.kind not in "iu":
        raise KindError(f"targets must be integer labels, got dtype {labels.dtype}")
    if labels.shape != (inputs,):
        raise ShapeError(f"targets must have shape ({inputs},), got {labels.shape}")
    if labels.min() < 0 or labels.max() >= outputs:
        given = f"{labels.min()} to {labels.max()}"
        raise ArgumentError(f"targets must be labels from 0 to {outputs - 1}, got {given}")
    return labels.astype(np.int64)


def mean_loss(outputs: AnyArray, T: AnyArray, loss: str) -> float:
    """Mean over the samples of half the squared distance, or of the cross-entropy."""
    if loss == "square":
        return float(0.5 * np.mean(((outputs - T) ** 2).sum(axis=1)))
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1)
    return float(np.mean(np.log(total) - shifted[np.arange(len(T)), T]))


def slope(outputs: AnyArray, T: AnyArray, loss: str) -> AnyArray:
    """Derivative of each sample's loss by its outputs, shape (N, n_L)."""
    if loss == "square":
        difference: AnyArray = outputs - T
        return difference
    probabilities: AnyArray = softmax(outputs)
    probabilities[np.arange(len(T)), T] -= 1.0
    return probabilities
