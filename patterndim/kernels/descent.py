"""Matrix products for training, in float64 and in float32, in one fixed order of summation."""

from numba import njit

from patterndim.typing import AnyArray

kernel = njit(cache=True, nogil=True)


def _accumulate(left: AnyArray, right: AnyArray, start: int, stop: int, out: AnyArray) -> None:
    """Add ``left @ right`` to ``out`` in rows start..stop; the three have one dtype."""
    inner, columns = right.shape
    for row in range(start, stop):
        for k in range(inner):
            factor = left[row, k]
            if factor != 0.0:
                for column in range(columns):
                    out[row, column] += factor * right[k, column]


#: Two kernels, each with one signature: for float64 and for float32.
accumulate = kernel(_accumulate)
accumulate_single = kernel(_accumulate)
