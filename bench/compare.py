"""Agreement of answers, then times: every peer in turn, round after round."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from bench.cases import Case, Size
from bench.peers import TASKS, Peer, Run
from patterndim.rank import Rank

#: Largest difference of two arrays, relative to their largest entry, that counts as agreement.
TOLERANCE = 1e-10
ONCE = (
    "ran once, without warm-up: the run whose answer was checked is the timed one, and its ratio "
    "is to the median of patterndim"
)

Say = Callable[[str], None]


class DisagreementError(Exception):
    """Two peers answer differently, so their times mean nothing."""


@dataclass(frozen=True)
class Choice:
    """Which peers take part: those named (all if none), the slow ones only if ``slow``."""

    names: Collection[str] = ()
    slow: bool = False

    def status(self, peer: Peer, size: Size) -> str:
        """Whether a peer is "measured", and if not why."""
        if peer.name == "patterndim":
            return "measured"
        if self.names and peer.name not in self.names:
            return "not chosen"
        if not peer.available():
            return "not installed"
        if peer.name in size.slow and not self.slow:
            return "left out, takes many minutes: name the case or give --slow"
        return "measured"


def measure(case: Case, size: Size, choice: Choice, rounds: int, say: Say) -> dict[str, Any]:
    """Everything about one size of a case but its memory, ready for JSON."""
    peers = [peer for peer in TASKS[case.task] if peer.name in ("patterndim", *case.peers)]
    status = {peer.name: choice.status(peer, size) for peer in peers}
    problem = size.build()
    runs: dict[str, Run] = {}
    for peer in peers:
        if status[peer.name] == "measured":
            say(f"preparing {peer.name}")
            runs[peer.name] = peer.prepare(problem)
    silent = [peer.name for peer in peers if not peer.answers]
    answer, first, differences = agree(runs, silent, say)
    repeated = {name: run for name, run in runs.items() if name not in size.once}
    seconds = time_in_turn(repeated, rounds, say)
    own = seconds["patterndim"]
    records: list[dict[str, Any]] = []
    for peer in peers:
        name = peer.name
        record: dict[str, Any] = {
            "name": name,
            "description": peer.description,
            "status": status[name],
        }
        if name in differences:
            record["largest_relative_difference"] = differences[name]
        if name in repeated:
            record |= _summary(seconds[name], own)
        elif name in runs:
            record |= _summary([first[name]], [median(own)]) | {"note": ONCE}
        records.append(record)
    return {
        "case": case.name,
        "size": size.label,
        "task": case.task,
        "answer": answer,
        "peers": records,
    }


def agree(
    runs: Mapping[str, Run], silent: Collection[str], say: Say
) -> tuple[dict[str, Any], dict[str, float], dict[str, float]]:
    """
    Run everyone once, patterndim first, and compare what they answer.

    Returns the answer of patterndim as JSON keeps it, the seconds of each run (with its warm-up),
    and how far each array differs relative to its largest entry.

    Raises
    ------
    DisagreementError
        If ranks are not equal or arrays differ by more than `TOLERANCE`.
    """
    own: Any = None
    seconds: dict[str, float] = {}
    differences: dict[str, float] = {}
    for name, run in runs.items():
        say(f"checking the answer of {name}")
        start = perf_counter()
        answer = run()
        seconds[name] = perf_counter() - start
        if own is None:
            own = answer
        elif name in silent:
            continue
        elif isinstance(own, np.ndarray):
            differences[name] = difference(own, answer)
            if not differences[name] <= TOLERANCE:
                raise DisagreementError(
                    f"{name} differs from patterndim by {differences[name]:.3g} of the largest "
                    f"entry, more than {TOLERANCE:.0e}"
                )
        elif int(answer) != int(own):
            raise DisagreementError(f"{name} answers {int(answer)}, patterndim {int(own)}")
    return describe(own), seconds, differences


def difference(own: Any, other: Any) -> float:
    """Largest difference of two arrays relative to the largest entry; infinite if they do not fit.

    >>> difference(np.array([1.0, 4.0]), np.array([1.0, 3.0]))
    0.25
    """
    if own.shape != other.shape:
        return float("inf")
    return float(np.abs(own - other).max() / np.abs(own).max())


def time_in_turn(runs: Mapping[str, Run], rounds: int, say: Say) -> dict[str, list[float]]:
    """Seconds of every run in every round; everyone has run before."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(1, rounds + 1):
        say(f"round {number} of {rounds}")
        # One after the other within each round: drift hits everyone alike.
        for name, run in runs.items():
            start = perf_counter()
            answer = run()
            seconds[name].append(perf_counter() - start)
            del answer  # outside the clock
    return seconds


def describe(answer: Any) -> dict[str, Any]:
    """What JSON keeps of an answer: a rank with its evidence, a number, the shape of an array."""
    if isinstance(answer, Rank):
        return {
            "value": answer.value,
            "kind": answer.kind,
            "failure_probability": answer.failure_probability,
            "gap": answer.gap,
            "sigma": answer.sigma,
        }
    return {"shape": list(answer.shape)} if isinstance(answer, np.ndarray) else {"value": answer}


def _summary(seconds: list[float], own: list[float]) -> dict[str, Any]:
    """Times of a peer and its ratios to patterndim: above 1 patterndim is faster."""
    ratios = [theirs / ours for theirs, ours in zip(seconds, own, strict=True)]
    return {
        "rounds": len(seconds),
        "seconds": seconds,
        "median_seconds": median(seconds),
        "ratios": ratios,
        "median_ratio": median(ratios),
    }
