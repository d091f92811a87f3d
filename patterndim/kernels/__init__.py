"""
Numba kernels: arrays in, arrays out, no validation, no exceptions.

Rules for every file of this package:

1. A kernel calls kernels and reads constants of its own file only: numba's disk cache does not
   see changes elsewhere.  The options stand at the top of each file for the same reason.
2. fastmath never: masks are signs of sums, residues are exact integers.
3. No ``parallel=True`` and no state: kernels release the GIL and work on a range of rows, and
   `patterndim.parallel` gives each thread its own range.  So results do not depend on the number
   of threads, and calls are safe from several Python threads and after a fork.
4. One signature per kernel: C-contiguous arrays of float64, int64 or bool.
5. Modular arithmetic: residues are float64 integers in about [-p/2, p/2]; each product states
   why its sum stays below 2**53.

What this module exports can be called from ``njit`` functions of other packages and keeps its
signature and meaning from version to version; all else here may change.  Arrays are C-contiguous,
floats float64, masks bool, and what is overwritten comes last.  A function of yours with
``cache=True`` keeps the kernels that it was compiled with: numba sees no change in other files,
so clear its cache after an update of patterndim.
"""

import numba

from patterndim.kernels.elimination import rank_modulo
from patterndim.kernels.propagation import backward, fill_jacobian, forward
from patterndim.kernels.residues import reduce_rows, to_residues

__all__ = [
    "backward",
    "fill_jacobian",
    "forward",
    "rank_modulo",
    "reduce_rows",
    "thread_count",
    "to_residues",
]


def thread_count() -> int:
    """Return the number of threads for kernels: NUMBA_NUM_THREADS, by default all cores."""
    return int(getattr(numba.config, "NUMBA_NUM_THREADS", 1))
