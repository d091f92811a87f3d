"""The demonstration: the local dimension of a network on real digits while it learns."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from patterndim.data import digits
from patterndim.dimension import Dimension, local_dimension
from patterndim.elimination import Progress
from patterndim.factors import outputs
from patterndim.network import Network
from patterndim.training import sgd
from patterndim.typing import AnyArray, FloatArray

WIDTHS = (64, 16, 12, 10)
RATE, BATCH = 0.2, 64
TRAIN = 1200


@dataclass(frozen=True, eq=False)
class DemoRow:
    """One line of the table."""

    step: int
    loss: float
    accuracy: float
    test_accuracy: float
    train: Dimension
    gaussian: Dimension
    seconds: float


@dataclass(frozen=True, eq=False)
class Demo:
    """
    A small network, real digits split into training and test sample, and Gaussian inputs.

    The Gaussian inputs are as many as the training sample, each coordinate normal with mean 0.5
    and standard deviation 1, as in the experiments of arXiv:2402.08269.
    """

    network: Network
    X: FloatArray
    y: AnyArray
    X_test: FloatArray
    y_test: AnyArray
    gaussian: FloatArray
    seed: int

    @classmethod
    def build(cls, seed: int, samples: int = TRAIN) -> "Demo":
        """Shuffle the digits, split them, and draw a network."""
        X, y = digits()
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(X))
        train, test = order[:samples], order[TRAIN:]
        gaussian = rng.normal(0.5, 1.0, (samples, X.shape[1]))
        network = Network.random(WIDTHS, rng=seed, init="glorot")
        return cls(network, X[train], y[train], X[test], y[test], gaussian, seed)

    def rows(self, steps: int, progress: Progress | None = None) -> Iterator[DemoRow]:
        """Train, and measure at about logarithmically spaced steps."""
        wanted = {int(s) for base in (1, 10, 100, 1000, 10_000) for s in (base, 3 * base)}
        snapshots = sgd(
            self.network,
            self.X,
            self.y,
            steps=steps,
            rate=RATE,
            batch=BATCH,
            rng=self.seed,
            every={step for step in wanted if 10 <= step <= steps},
        )
        start = perf_counter()
        for snapshot in snapshots:
            guess = outputs(snapshot.network, self.X_test).argmax(axis=1)
            train, gaussian = (
                local_dimension(snapshot.network, X, rng=self.seed, progress=progress)
                for X in (self.X, self.gaussian)
            )
            yield DemoRow(
                snapshot.step,
                snapshot.loss,
                snapshot.accuracy or 0.0,
                float(np.mean(guess == self.y_test)),
                train,
                gaussian,
                perf_counter() - start,
            )
            start = perf_counter()
