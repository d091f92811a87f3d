"""Dimensions of many random networks at once, where nothing is trained."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from patterndim import bulk
from patterndim.batch import local_dimensions
from patterndim.network import Network
from patterndim.quantities import columns
from patterndim.sweeps.sources import Samples, Settings

#: Most bytes of the samples of networks that are worked on together.
SAMPLES = 2**27

Trial = tuple[int, Network, Samples]


def suit(settings: Settings) -> bool:
    """Whether an experiment is about local dimensions of several small untrained networks."""
    measure, training = settings["measure"], settings["training"]
    widths = settings["network"]["widths"]
    parameters = sum((a + 1) * b for a, b in pairwise(widths))
    return (
        measure["trials"] > 1
        and not training["epochs"]
        and not training["steps"]
        and measure["quantities"] == ["local_dimension"]
        and parameters <= bulk.LARGEST
    )


def measured(settings: Settings, trials: Iterator[Trial]) -> Iterator[dict[str, Any]]:
    """
    Rows of all trials, by compiled loops over networks.

    Values are those of one at a time.  Bounds are weaker, those that the loops find: "probable"
    may stand where `local_dimension` would prove the same value.
    """
    measure, given = settings["measure"], settings["data"]
    inputs = sum(given[name] for name in measure["samples"])
    size = max(1, SAMPLES // (8 * inputs * settings["network"]["widths"][0]))
    while batch := [trial for _, trial in zip(range(size), trials)]:  # noqa: B905
        yield from _batch(settings, batch)


def _batch(settings: Settings, trials: list[Trial]) -> Iterator[dict[str, Any]]:
    measure, network = settings["measure"], trials[0][1]
    thetas = np.array([each.theta for _, each, _ in trials])
    pairs = [(sample, output) for sample in measure["samples"] for output in measure["outputs"]]
    found = {
        (sample, output): local_dimensions(
            network.architecture,
            thetas,
            np.array([samples.inputs[sample] for _, _, samples in trials]),
            output=output,
            rng=settings["seed"],
        )
        for sample, output in pairs
    }
    for k, (trial, _, samples) in enumerate(trials):
        for sample, output in pairs:
            yield {
                "trial": trial,
                "step": 0,
                "epoch": 0,
                "loss": None,
                "accuracy": None,
                "test_accuracy": None,
                "sample": sample,
                "output": output,
                **columns("local_dimension", found[sample, output][k]),
                "P": network.parameter_count,
                "H": network.hidden_neurons,
                "N": len(samples.inputs[sample]),
                "n_L": network.widths[-1],
            }
