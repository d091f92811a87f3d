"""Gradient descent with the explicit backward pass."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from patterndim.errors import ArgumentError, NonFiniteError
from patterndim.network import Network
from patterndim.pattern import check_inputs
from patterndim.training.backward import forward, theta_gradient
from patterndim.training.losses import LOSSES, check_targets, mean_loss
from patterndim.training.schedule import Rate, as_schedule
from patterndim.typing import AnyArray, ArrayLike, FloatArray, Seed
from patterndim.validation import choice, integer, number
from patterndim.validation import seed as as_seed

DTYPES = ("float64", "float32")


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
        Mean loss over the whole training sample, without weight decay.
    accuracy : float or None
        Fraction of the training sample whose largest output is the right one; None for the
        square loss.
    epoch : int or None
        Number of complete passes over the training sample so far.
    """

    step: int
    network: Network
    loss: float
    accuracy: float | None = None
    epoch: int | None = None


def sgd(
    network: Network,
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    rate: Rate = 0.1,
    batch: int | None = None,
    momentum: float = 0.0,
    decay: float = 0.0,
    loss: str = "cross-entropy",
    dtype: str = "float64",
    every: int | Collection[int] = 1,
    rng: Seed = 0,
) -> Iterator[Snapshot]:
    """
    Snapshots of a network trained by stochastic gradient descent.

    A step is ``v = momentum * v + gradient + decay * theta`` and ``theta = theta - rate * v``,
    from v = 0: the heavy ball as PyTorch has it, with weight decay coupled to it (that is, an L2
    penalty ``decay / 2 * |theta|^2``, biases included).  An epoch is one pass over the sample in
    a new random order, cut into batches, the last one smaller if they do not divide it.  Sums
    are in a fixed order: the same seed gives the same networks, bit for bit, for any number of
    threads.

    Parameters
    ----------
    network : Network
        Where to start.
    inputs : array of float64, shape (N, n_0)
        Training sample, one input per row.
    targets : array of int, shape (N,), or array of float64, shape (N, n_L)
        Labels 0, ..., n_L - 1 for "cross-entropy" (a softmax behind the outputs), values for
        "square" (half the squared distance).
    steps, epochs : int
        Number of gradient steps, or of passes over the sample: one of the two.
    rate : float, mapping of int to float, or callable
        Learning rate, positive; or the rate from each of some steps on, such as
        ``{0: 0.1, 1000: 0.01}``; or a function of the step, from 0.  Zero is allowed there.
    batch : int, optional
        Samples per step; by default all of them in the order given, which is gradient descent.
    momentum : float
        From 0 to below 1.
    decay : float
        Weight decay, at least 0.
    loss : {"cross-entropy", "square"}
        Loss of one sample; the mean over the batch is minimised.
    dtype : {"float64", "float32"}
        Precision of the parameters and of everything that is computed, the sample rounded to it.
    every : int or collection of int
        Yield a snapshot after every so many steps, or after those steps; with ``epochs``, after
        so many epochs.  The first and the last network are always among them.
    rng : int or numpy.random.Generator
        Source of the order of the samples.

    Yields
    ------
    Snapshot
        Network, loss and accuracy on the whole training sample.

    Raises
    ------
    ShapeError, NonFiniteError, KindError, ArgumentError
        If the sample, the targets or an option is not as above, before the first step; a rate
        that a function returns, when it does.
    NonFiniteError
        While iterating, if the parameters diverge beyond their precision.

    See Also
    --------
    patterndim.trace : dimensions and other quantities of the snapshots.

    Examples
    --------
    Which numbers are of size above 1/2?

    >>> X = np.linspace(-1.0, 1.0, 10)[:, np.newaxis]
    >>> y = (np.abs(X[:, 0]) > 0.5).astype(int)
    >>> network = Network.random((1, 5, 2), rng=0, bias_std=0.5)
    >>> first, last = sgd(network, X, y, steps=100, rate=0.5, every=100)
    >>> first.step, first.accuracy, last.step, last.accuracy, last.loss < first.loss / 5
    (0, 0.6, 100, 1.0, True)

    Ten epochs of ten samples in batches of four are thirty steps.

    >>> options = {"epochs": 10, "batch": 4, "momentum": 0.9, "every": {5}}
    >>> snapshots = sgd(network, X, y, rate={0: 0.1, 20: 0.01}, **options)
    >>> [(snapshot.step, snapshot.epoch) for snapshot in snapshots]
    [(0, 0), (15, 5), (30, 10)]
    """
    X = check_inputs(network, inputs)
    choice("loss", loss, LOSSES)
    choice("dtype", dtype, DTYPES)
    T = check_targets(targets, len(X), network.widths[-1], loss)
    size = None if batch is None else min(integer("batch", batch, low=1), len(X))
    passes = 1 if size is None else -(-len(X) // size)
    if (steps is None) == (epochs is None):
        raise ArgumentError(f"one of steps and epochs must be given, got {steps} and {epochs}")
    unit = 1 if epochs is None else passes
    length = integer("steps", steps, low=0) if epochs is None else integer("epochs", epochs, low=0)
    wanted = _chosen(every, unit, unit * length)
    descent = _Descent(
        network,
        _rounded("theta", network.theta, dtype),
        _rounded("inputs", X, dtype),
        _rounded("targets", T, dtype) if loss == "square" else T,
        size,
        as_schedule(rate),
        number("momentum", momentum, low=0.0, high=1.0),
        number("decay", decay, low=0.0),
        loss,
        as_seed(rng),
    )
    return descent.run(unit * length, wanted)


def _chosen(every: int | Collection[int], unit: int, last: int) -> Callable[[int], bool]:
    """Whether a snapshot is taken after a step; units of steps are counted."""
    if isinstance(every, np.ndarray) and every.ndim == 0:
        every = every[()]
    if isinstance(every, Collection):
        chosen = {0, last, *(unit * integer("every", when, low=0) for when in every)}
        return lambda step: step in chosen
    stride = unit * integer("every", every, low=1)
    return lambda step: step % stride == 0 or step == last


def _rounded(name: str, values: FloatArray, dtype: str) -> AnyArray:
    """Writable copy in a precision, or an error if that is beyond its range."""
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    if not np.isfinite(found).all():
        raise NonFiniteError(f"{name} must be finite in {dtype}, got {np.abs(values).max()}")
    return found


@dataclass(frozen=True, eq=False)
class _Descent:
    """What does not change while a network is trained."""

    network: Network
    theta: AnyArray
    X: AnyArray
    T: AnyArray
    size: int | None
    schedule: Callable[[int], float]
    momentum: float
    decay: float
    loss: str
    seed: int

    def run(self, steps: int, wanted: Callable[[int], bool]) -> Iterator[Snapshot]:
        """Snapshots after the steps that are wanted."""
        architecture = self.network.architecture
        theta = self.theta
        velocity = np.zeros_like(theta)
        batches = self._batches()
        epoch = 0
        for step in range(steps + 1):
            if wanted(step):
                yield self._measured(theta, step, epoch)
            if step < steps:
                chosen, last = next(batches)
                rate = self.schedule(step)
                with np.errstate(all="ignore"):
                    change = theta_gradient(
                        architecture, theta, self.X[chosen], self.T[chosen], self.loss
                    )
                    if self.decay:
                        change += self.decay * theta
                    if self.momentum:
                        velocity = change = self.momentum * velocity + change
                    theta = theta - rate * change
                if not np.isfinite(theta).all():
                    raise NonFiniteError(f"rate must let training converge, got {rate}: overflow")
                epoch += last

    def _batches(self) -> Iterator[tuple[AnyArray | slice, bool]]:
        """Which samples each step takes, without end, and whether they complete an epoch."""
        if self.size is None:
            while True:
                yield slice(None), True
        generator = np.random.default_rng(self.seed)
        while True:
            order = generator.permutation(len(self.X))
            for start in range(0, len(order), self.size):
                yield order[start : start + self.size], start + self.size >= len(order)

    def _measured(self, theta: AnyArray, step: int, epoch: int) -> Snapshot:
        network, T = self.network, self.T
        # At the beginning it is the very network that was given, unless that was rounded.
        if not np.array_equal(theta, network.theta):
            network = network.replace(theta=theta)
        with np.errstate(all="ignore"):
            outputs = forward(network.architecture, theta, self.X)[0][-1]
            value = mean_loss(outputs, T, self.loss)
        if not np.isfinite(value):
            raise NonFiniteError(f"rate must let training converge, got a loss of {value}")
        right = self.loss == "cross-entropy"
        accuracy = float(np.mean(outputs.argmax(axis=1) == T)) if right else None
        return Snapshot(step, network, value, accuracy, epoch)
