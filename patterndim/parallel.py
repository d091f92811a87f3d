"""Ranges of rows shared among threads; the work itself releases the GIL inside kernels."""

from collections.abc import Callable
from itertools import pairwise
from threading import Thread

from patterndim.kernels import thread_count

# Starting a thread costs about 50 microseconds, a kernel about one nanosecond per operation.
WORTH_A_THREAD = 500_000


def share_rows(work: Callable[[int, int], None], rows: int, operations: int) -> None:
    """
    Call ``work(start, stop)`` on ranges that cover ``rows``, each in a thread of its own.

    Every row must be computed independently of the others, so that the result does not depend
    on the ranges.  Threads live only for the call: nothing to break after a fork.
    """
    count = max(1, min(thread_count(), rows, operations // WORTH_A_THREAD))
    bounds = [rows * i // count for i in range(count + 1)]
    failures: list[BaseException] = []

    def guarded(start: int, stop: int) -> None:
        try:
            work(start, stop)
        except BaseException as failure:  # raised again in the calling thread
            failures.append(failure)

    threads = [Thread(target=guarded, args=ends) for ends in pairwise(bounds[1:])]
    for thread in threads:
        thread.start()
    guarded(0, bounds[1])
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
