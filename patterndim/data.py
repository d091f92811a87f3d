"""
Real data that comes with the package.

Optical Recognition of Handwritten Digits, by E. Alpaydin and C. Kaynak, UCI Machine Learning
Repository (1998), https://doi.org/10.24432/C50P49, licensed under CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/).  Here: the 1,797 digits of its test set, as
scikit-learn ships them, packed as uint8; otherwise unchanged.
"""

from importlib.resources import files

import numpy as np

from patterndim.typing import FloatArray, IntArray


def digits() -> tuple[FloatArray, IntArray]:
    """
    UCI optical handwritten digits: 1,797 images of 8 x 8 pixels.

    Returns
    -------
    X : array of float64, shape (1797, 64)
        Pixels from 0 to 1 in steps of 1/16, so exact in float64; row-major.
    y : array of int64, shape (1797,)
        The digits 0 to 9.

    References
    ----------
    .. [1] E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
       Learning Repository, 1998, https://doi.org/10.24432/C50P49.  CC BY 4.0.

    Examples
    --------
    >>> X, y = digits()
    >>> X.shape, X.max(), y[:5]
    ((1797, 64), np.float64(1.0), array([0, 1, 2, 3, 4]))
    """
    with files("patterndim").joinpath("digits.npz").open("rb") as file, np.load(file) as archive:
        return archive["X"] / 16.0, archive["y"].astype(np.int64)
