"""Peak memory of patterndim alone, in a process of its own."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

from bench.cases import CASES
from bench.peers import TASKS


def peak_memory(name: str, index: int, smoke: bool) -> dict[str, int]:
    """
    Peak bytes of a fresh process that solves one size of a case with patterndim.

    "memory_before_bytes" is the part that Python, the libraries and the problem take.  On Linux a
    process that is started directly inherits the peak of the one that starts it; children of the
    small fork server do not.  Empty where there is no fork server (Windows).
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return {}
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        before, peak = executor.submit(solve, name, index, smoke).result()
    return {"peak_memory_bytes": peak, "memory_before_bytes": before}


def solve(name: str, index: int, smoke: bool) -> tuple[int, int]:
    """Peak bytes of this process before and after patterndim solves one size of a case."""
    case = CASES[name]
    size = (case.smoke if smoke else case.sizes)[index]
    run = TASKS[case.task][0].prepare(size.build())
    before = _peak()
    run()
    return before, _peak()


def _peak() -> int:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)  # a case may start processes
    return max(resource.getrusage(one).ru_maxrss for one in who) * unit
