"""Array types used in annotations."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]
AnyArray = NDArray[Any]
Seed = int | np.random.Generator
#: What stands behind the outputs: a name, or a Jacobian with respect to them.
Output = str | ArrayLike

__all__ = [
    "AnyArray",
    "ArrayLike",
    "BoolArray",
    "ByteArray",
    "FloatArray",
    "IntArray",
    "Output",
    "Seed",
]
