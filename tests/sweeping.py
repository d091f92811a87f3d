"""Functions that worker processes import, and a sweep that is there to be killed."""

import os
import sys
import time
from pathlib import Path

import patterndim as pdm

COUNT = 200


def square(task):
    return {"square": task["n"] ** 2}


def faulty(task):
    """Squares, but for some n something else happens."""
    n, how = task["n"], task.get("how", {}).get(str(task["n"]))
    if how == "raise":
        raise ValueError(f"no square for {n}")
    if how == "exit":
        sys.exit(3)
    if how == "die":
        os._exit(1)
    if how == "die once":
        mark = Path(task["folder"]) / f"died-{n}"
        if not mark.exists():
            mark.touch()
            os._exit(1)
    if how == "no rows":
        return [n]
    if how == "no JSON":
        return {"square": {n}}
    return {"square": n**2}


def breaks(task):
    """Rows one by one, and no memory for the last while the folder is empty."""
    for i in range(task["n"]):
        if i == 2 and not list(Path(task["folder"]).iterdir()):
            raise MemoryError("too large")
        yield {"i": i}


class MuteError(Exception):
    """Has no text."""

    def __str__(self):
        return None


class Text(str):
    """Cannot be sent: no process finds it by its name."""

    __qualname__ = "nowhere.Text"


def odd(task):
    """A row, and then what nobody expects."""
    yield {Text("n"): Text(task["n"])}
    if how := {"mute": MuteError, "exit": GeneratorExit, "stop": KeyboardInterrupt}.get(task["n"]):
        raise how


class Late:
    """Squares, but some workers die while it arrives there."""

    def __init__(self, folder, deaths):
        self.arguments = folder, deaths

    def __reduce__(self):
        return arrive, self.arguments

    def __call__(self, task):
        return square(task)


def arrive(folder, deaths):
    marks = len(list(Path(folder).iterdir()))
    if marks < deaths:
        (Path(folder) / str(marks)).touch()
        os._exit(1)
    return Late(folder, deaths)


def threads(task):
    return {name: os.environ.get(name) for name in task["names"]}


def slow(task):
    """A few rows, a moment later; every call leaves a line behind."""
    with open(task["log"], "a") as log:
        log.write(f"{task['n']} {os.getpid()}\n")
    time.sleep(0.004)
    return [{"i": i, "value": task["n"] / (i + 3)} for i in range(task["n"] % 4)]


def tasks(log):
    return [{"n": n, "log": log} for n in range(COUNT)]


if __name__ == "__main__":
    out, log, workers = sys.argv[1:]
    pdm.sweep(tasks(log), run=slow, out=out, workers=int(workers))
