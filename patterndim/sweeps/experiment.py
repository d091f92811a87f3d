"""One experiment: data, network, training, and what is measured, as rows of plain values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from patterndim.factors import outputs
from patterndim.network import Network
from patterndim.sweeps import trials
from patterndim.sweeps.schema import read_settings
from patterndim.sweeps.sources import NETWORK, TRAINING, Samples, Settings, draw, resolve
from patterndim.sweeps.tasks import Task, plain
from patterndim.tracing import traced
from patterndim.training import Snapshot, sgd

Row = dict[str, Any]

#: How far training is, and how good the network.
STATE = ("step", "epoch", "loss", "accuracy", "test_accuracy")


def run(task: Task) -> list[Row]:
    """
    Rows of an experiment: one for each trial, snapshot, sample and kind of output.

    Random streams are ``np.random.default_rng([seed, k, trial])``: k = 0 the order of the data
    (or the data), 1 noise, 2 labels, 3 the Gaussian sample, 4 the network, 5 training.
    """
    return list(measured(task))


def measured(task: Task) -> Iterator[Row]:
    """Rows of `run` as they are found."""
    settings = task.settings
    if trials.suit(settings):
        every = range(settings["measure"]["trials"])
        drawn = ((t, _network(settings, t), draw(settings, task.path, t)) for t in every)
        yield from (plain("row", row) for row in trials.measured(settings, drawn))
        return
    for trial in range(settings["measure"]["trials"]):
        samples = draw(settings, task.path, trial)
        accuracy: dict[Any, float | None] = {}
        for row in traced(
            _watched(_snapshots(settings, samples, trial), samples, accuracy),
            {name: samples.inputs[name] for name in settings["measure"]["samples"]},
            quantities=settings["measure"]["quantities"],
            outputs=settings["measure"]["outputs"],
            rng=settings["seed"],
        ):
            state = {"trial": trial, **{name: row.get(name) for name in STATE}}
            state["test_accuracy"] = accuracy[row["step"]]
            yield plain("row", state | row)


#: An experiment that takes a moment and compiles every kernel that others need.
WARM_UP = {
    "data": {"train": 24, "gaussian": 24},
    "network": {"widths": [64, 6, 4, 10]},
    "training": {"steps": 2, "batch": 8},
    "measure": {"samples": ["train", "gaussian"], "outputs": ["affine", "softmax"]},
}


def warm_up(_: object) -> list[Row]:
    """Compile kernels: done once before many processes would all fill the same cache."""
    settings, path = resolve(read_settings(WARM_UP), Path())
    return run(Task(settings, path=path))


def _network(settings: Settings, trial: int) -> Network:
    given = settings["network"]
    network = Network.random(
        given["widths"],
        rng=np.random.default_rng([settings["seed"], NETWORK, trial]),
        init=given["init"],
        bias_std=given["bias_std"],
        slope=given["slope"],
        bias=given["bias"],
    )
    theta = network.theta.copy()
    for where in network.architecture.weight_slices:
        if where is not None:
            theta[where] *= given["scale"]
    return network.replace(theta=theta)


def _epoch(settings: Settings) -> int:
    """Steps of an epoch: every training input once."""
    train, batch = settings["data"]["train"], settings["training"]["batch"]
    return 1 if batch is None else -(-train // batch)


def _snapshots(settings: Settings, samples: Samples, trial: int) -> Iterator[Snapshot]:
    given, network = settings["training"], _network(settings, trial)
    unit, length = (
        ("steps", given["steps"]) if given["epochs"] is None else ("epochs", given["epochs"])
    )
    if not length or samples.targets is None:
        yield Snapshot(0, network, loss=float("nan"), epoch=0)
        return
    at = set(settings["measure"]["at"])
    factor = 1 if unit == "steps" else _epoch(settings)
    rate = {0: given["rate"]} | {factor * when: rate for when, rate in given["milestones"] or []}
    for snapshot in sgd(
        network,
        samples.inputs["train"],
        samples.targets,
        **{unit: length},
        rate=rate,
        batch=given["batch"],
        momentum=given["momentum"],
        decay=given["decay"],
        loss=given["loss"],
        dtype=given["dtype"],
        every=at,
        rng=np.random.default_rng([settings["seed"], TRAINING, trial]),
    ):
        if snapshot.step in {factor * when for when in at}:
            yield snapshot


def _watched(
    snapshots: Iterator[Snapshot], samples: Samples, accuracy: dict[Any, float | None]
) -> Iterator[Snapshot]:
    """Snapshots as they come, and the accuracy on the test sample by step."""
    y = samples.test_targets
    for snapshot in snapshots:
        accuracy[snapshot.step] = None
        if y is not None and len(y) and snapshot.accuracy is not None:
            guess = outputs(snapshot.network, samples.inputs["test"]).argmax(axis=1)
            accuracy[snapshot.step] = float(np.mean(guess == y))
        yield snapshot
