"""
Experiments of papers about local dimension, each one command: ``patterndim reproduce NAME``.

An experiment is a sweep, whose spec ships with the package in two sizes, and what makes a table
and a figure of its rows.  Nothing here knows what should come out.
"""

from patterndim.experiments.registry import (
    EXPERIMENTS,
    SIZES,
    Experiment,
    experiment,
    sizes,
    spec_path,
)
from patterndim.experiments.reproduction import Reproduction, reproduce
from patterndim.experiments.table import Table, tabulate

__all__ = [
    "EXPERIMENTS",
    "SIZES",
    "Experiment",
    "Reproduction",
    "Table",
    "experiment",
    "reproduce",
    "sizes",
    "spec_path",
    "tabulate",
]
