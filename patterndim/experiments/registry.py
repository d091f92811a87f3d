"""The experiments: what each is called, where its specs are, how its rows become a table."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from patterndim.errors import ArgumentError
from patterndim.experiments import float32, full_rank, hidden_symmetries, saddles, samples
from patterndim.experiments.table import Table
from patterndim.summary import Row
from patterndim.typing import FloatArray
from patterndim.validation import choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = ("small", "paper")


@dataclass(frozen=True)
class Experiment:
    """
    An experiment that ships with the package.

    Attributes
    ----------
    title : str
        What is measured, in one line.
    source : str
        Where it comes from.
    table, figure : callable
        Make a `Table`, or a matplotlib figure, of the rows of the sweep.
    data : callable or None
        Makes the inputs and targets that the spec calls "teacher.npz".
    """

    title: str
    source: str
    table: Callable[[list[Row]], Table]
    figure: "Callable[[list[Row]], Figure]"
    data: Callable[[], tuple[FloatArray, FloatArray]] | None = None


EXPERIMENTS = {
    "epochs": Experiment(
        "local dimension while a network learns, on three samples",
        "arXiv:2402.08269",
        samples.epochs_table,
        samples.epochs_figure,
    ),
    "width": Experiment(
        "local dimension after training against width",
        "arXiv:2402.08269",
        samples.width_table,
        samples.width_figure,
    ),
    "noise": Experiment(
        "local dimension after training against noise on the training inputs",
        "arXiv:2402.08269",
        samples.noise_table,
        samples.noise_figure,
    ),
    "corruption": Experiment(
        "local dimension after training against the fraction of random labels",
        "arXiv:2402.08269",
        samples.corruption_table,
        samples.corruption_figure,
    ),
    "float32": Experiment(
        "ranks that float32 Jacobians seem to have, counted as published, beside exact ones",
        "arXiv:2402.08269",
        float32.table,
        float32.figure,
    ),
    "hidden_symmetries": Experiment(
        "how often random networks have functional dimension P - H, against depth and width",
        "arXiv:2306.06179",
        hidden_symmetries.table,
        hidden_symmetries.figure,
    ),
    "full_rank": Experiment(
        "probability that the Jacobian of a shallow network has full rank n",
        "arXiv:2305.19510",
        full_rank.table,
        full_rank.figure,
    ),
    "saddle_to_saddle": Experiment(
        "dimension, aligned neurons and loss from a small initialisation",
        "arXiv:2402.08269",
        saddles.table,
        saddles.figure,
        saddles.teacher,
    ),
}


def experiment(name: str) -> Experiment:
    """
    Experiment of this name.

    Raises
    ------
    ArgumentError
        If there is none.
    """
    if name not in EXPERIMENTS:
        known = ", ".join(EXPERIMENTS)
        raise ArgumentError(f"name must be one of {known}, got {name!r}")
    return EXPERIMENTS[name]


def spec_path(name: str, size: str = "small") -> Path:
    """
    TOML file of an experiment, which `patterndim.sweep` understands too.

    Raises
    ------
    ArgumentError
        If there is no such experiment or size.

    Examples
    --------
    >>> spec_path("noise").name
    'noise_small.toml'
    """
    experiment(name)
    choice("size", size, SIZES)
    path = _path(name, size)
    if not path.exists():
        raise ArgumentError(f"size must be {', '.join(sizes(name))} for {name}, got {size!r}")
    return path


def sizes(name: str) -> list[str]:
    """Sizes of an experiment that there are."""
    return [size for size in SIZES if _path(name, size).exists()]


def _path(name: str, size: str) -> Path:
    return Path(str(files("patterndim").joinpath("experiments", "specs", f"{name}_{size}.toml")))
