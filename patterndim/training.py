"""Gradient descent with the explicit backward pass."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from patterndim.arithmetic import Real
from patterndim.errors import ArgumentError, KindError, NonFiniteError, ShapeError
from patterndim.factors import Factors, backpropagate
from patterndim.network import Network
from patterndim.pattern import check_inputs
from patterndim.products import pullback
from patterndim.typing import AnyArray, ArrayLike, FloatArray, Seed
from patterndim.validation import choice, float_array, integer, number, real_array
from patterndim.validation import seed as as_seed

LOSSES = ("cross-entropy", "square")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """
    A network while it is trained.

    Attributes
    ----------
    step : int
        Number of gradient steps so far.
    network : Network
        The network after them.
    loss : float
        Mean loss over the whole training sample.
    accuracy : float or None
        Fraction of the training sample whose largest output is the right one; None for the
        square loss.
    """

    step: int
    network: Network
    loss: float
    accuracy: float | None


def sgd(
    network: Network,
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    steps: int,
    rate: float = 0.1,
    batch: int | None = None,
    loss: str = "cross-entropy",
    every: int | Collection[int] = 1,
    rng: Seed = 0,
) -> Iterator[Snapshot]:
    """
    Snapshots of a network trained by stochastic gradient descent.

    Plain steps ``theta - rate * gradient``, no momentum.  Samples are drawn without replacement
    in shuffled passes over the data.  The sums are in a fixed order: the same seed gives the
    same networks, bit for bit, for any number of threads.

    Parameters
    ----------
    network : Network
        Where to start.
    inputs : array of float64, shape (N, n_0)
        Training sample, one input per row.
    targets : array of int, shape (N,), or array of float64, shape (N, n_L)
        Labels 0, ..., n_L - 1 for "cross-entropy" (a softmax behind the outputs), values for
        "square" (half the squared distance).
    steps : int
        Number of gradient steps.
    rate : float
        Learning rate, positive.
    batch : int, optional
        Samples per step; by default all of them, which is gradient descent.
    loss : {"cross-entropy", "square"}
        Loss of one sample; the mean over the batch is minimised.
    every : int or collection of int
        Yield a snapshot after every so many steps, or after those steps.  The first and the last
        network are always among them.
    rng : int or numpy.random.Generator
        Source of the order of the samples.

    Yields
    ------
    Snapshot
        Network, loss and accuracy on the whole training sample.

    Raises
    ------
    ShapeError, NonFiniteError, KindError, ArgumentError
        If the sample, the targets or an option is not as above, before the first step.
    NonFiniteError
        While iterating, if the parameters diverge beyond float64.

    Examples
    --------
    >>> from patterndim.data import digits
    >>> X, y = digits()
    >>> network = Network.random((64, 16, 10), rng=0)
    >>> first, last = sgd(network, X[:200], y[:200], steps=100, every=100)
    >>> first.step, last.step, last.loss < first.loss / 2
    (0, 100, True)
    """
    X = check_inputs(network, inputs)
    choice("loss", loss, LOSSES)
    T = _targets(targets, len(X), network.widths[-1], loss)
    integer("steps", steps, low=0)
    if number("rate", rate, low=0.0) == 0.0:
        raise ArgumentError("rate must be positive, got 0")
    size = len(X) if batch is None else min(integer("batch", batch, low=1), len(X))
    if isinstance(every, Collection):
        wanted = {integer("every", step, low=0) for step in every}
    else:
        wanted = set(range(0, steps, integer("every", every, low=1)))
    return _iterate(network, X, T, steps, float(rate), size, loss, wanted, as_seed(rng))


def _targets(targets: ArrayLike, inputs: int, outputs: int, loss: str) -> AnyArray:
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


def _iterate(
    network: Network,
    X: FloatArray,
    T: AnyArray,
    steps: int,
    rate: float,
    size: int,
    loss: str,
    wanted: set[int],
    seed: int,
) -> Iterator[Snapshot]:
    generator = np.random.default_rng(seed)
    queue = np.empty(0, dtype=np.int64)
    for step in range(steps + 1):
        if step in wanted or step in (0, steps):
            yield _measured(network, X, T, loss, step)
        if step < steps:
            if len(queue) < size:
                queue = np.concatenate([queue, generator.permutation(len(X))])
            chosen, queue = queue[:size], queue[size:]
            with np.errstate(all="ignore"):
                theta = network.theta - rate * gradient(network, X[chosen], T[chosen], loss)
            if not np.isfinite(theta).all():
                raise NonFiniteError(f"rate must let training converge, got {rate}: overflow")
            network = network.replace(theta=theta)


def _measured(network: Network, X: FloatArray, T: AnyArray, loss: str, step: int) -> Snapshot:
    with np.errstate(all="ignore"):
        outputs = _forward(network, X)[0][-1]
        value, _ = _loss(outputs, T, loss)
    if not np.isfinite(value):
        raise NonFiniteError(f"rate must let training converge, got a loss of {value}")
    right = float(np.mean(outputs.argmax(axis=1) == T)) if loss == "cross-entropy" else None
    return Snapshot(step, network, value, right)


def gradient(network: Network, X: FloatArray, T: AnyArray, loss: str) -> FloatArray:
    """Gradient of the mean loss by the parameters, shape (P,), by one backward pass."""
    activations, gate = _forward(network, X)
    _, slope = _loss(activations[-1], T, loss)
    seed = slope[np.newaxis] / len(X)
    sensitivities = backpropagate(network.architecture, network.theta, seed, gate, Real())
    return pullback(Factors(network.architecture, activations, sensitivities), np.ones(len(X)))


def _forward(
    network: Network, X: FloatArray
) -> tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]]:
    """Activations of all layers and gates of the hidden ones, by the signs that floats have."""
    architecture, arithmetic = network.architecture, Real()
    activations, gate = [X], []
    for v, layer in enumerate(architecture.layers[1:], start=1):
        z = np.zeros((len(X), layer.width))
        for e in architecture.incoming[v]:
            h, W = activations[architecture.connections[e].source], network.weights[e]
            z += h if W is None else arithmetic.product(h, W.T)
        if (b := network.biases[v - 1]) is not None:
            z += b
        if v in architecture.hidden_layers:
            gate.append(np.where(z > 0, 1.0, layer.slope))
            z = z * gate[-1]
        activations.append(z)
    return tuple(activations), tuple(gate)


def _loss(outputs: FloatArray, T: AnyArray, loss: str) -> tuple[float, FloatArray]:
    """Mean loss, and the derivative of each sample's loss by its outputs, shape (N, n_L)."""
    if loss == "square":
        difference = outputs - T
        return float(0.5 * np.mean((difference**2).sum(axis=1))), difference
    rows = np.arange(len(T))
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1)
    probabilities = exponentials / total[:, np.newaxis]
    probabilities[rows, T] -= 1.0
    return float(np.mean(np.log(total) - shifted[rows, T])), probabilities
