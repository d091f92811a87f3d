"""One experiment: data, network, training, and what is measured, as rows of plain values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from patterndim.dimension import local_dimension
from patterndim.factors import outputs
from patterndim.network import Network
from patterndim.sweeps.schema import read_settings
from patterndim.sweeps.sources import NETWORK, TRAINING, Samples, Settings, draw, resolve
from patterndim.sweeps.tasks import Task, plain
from patterndim.training import Snapshot, sgd

Row = dict[str, Any]


def run(task: Task) -> list[Row]:
    """
    Rows of an experiment: one for each trial, snapshot, sample and kind of output.

    Random streams are ``np.random.default_rng([seed, k, trial])``: k = 0 the order of the data
    (or the data), 1 noise, 2 labels, 3 the Gaussian sample, 4 the network, 5 training.
    """
    rows = []
    for trial in range(task.settings["measure"]["trials"]):
        samples = draw(task.settings, task.path, trial)
        for snapshot in _snapshots(task.settings, samples, trial):
            state = _state(task.settings, samples, snapshot)
            for row in _measured(task.settings, samples, snapshot.network):
                rows.append({"trial": trial, **state, **row})
    return [plain("row", row) for row in rows]


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
        yield Snapshot(0, 0, network, float("nan"), None)
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


def _state(settings: Settings, samples: Samples, snapshot: Snapshot) -> Row:
    """How far training is, and how good the network."""
    y, test = samples.test_targets, None
    if y is not None and y.ndim == 1 and len(y) and snapshot.accuracy is not None:
        guess = outputs(snapshot.network, samples.inputs["test"]).argmax(axis=1)
        test = float(np.mean(guess == y))
    return {
        "step": snapshot.step,
        "epoch": snapshot.epoch,
        "loss": snapshot.loss,
        "accuracy": snapshot.accuracy,
        "test_accuracy": test,
    }


def _measured(settings: Settings, samples: Samples, network: Network) -> Iterator[Row]:
    wanted = settings["measure"]
    for sample in wanted["samples"]:
        X = samples.inputs[sample]
        for output in wanted["outputs"]:
            found = local_dimension(network, X, output=output, rng=settings["seed"])
            row: Row = {"local_dimension": found.value}
            for name in ("kind", "lower", "upper", "bound", "failure_probability"):
                row[f"local_dimension_{name}"] = getattr(found, name)
            yield {
                "sample": sample,
                "output": output,
                **row,
                "P": network.parameter_count,
                "H": network.hidden_neurons,
                "N": len(X),
                "n_L": network.widths[-1],
            }
