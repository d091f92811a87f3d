"""
Real data that comes with the package, and data sets in files.

Optical Recognition of Handwritten Digits, by E. Alpaydin and C. Kaynak, UCI Machine Learning
Repository (1998), https://doi.org/10.24432/C50P49, licensed under CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/).  Here: the 1,797 digits of its test set, as
scikit-learn ships them, packed as uint8; otherwise unchanged.
"""

import gzip
import math
import struct
from hashlib import sha256
from importlib.resources import files
from os import PathLike
from pathlib import Path

import numpy as np

from patterndim.errors import FileError
from patterndim.typing import AnyArray, FloatArray, IntArray

#: Third byte of an IDX file, and the dtype that it stands for.
IDX_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


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


def read(path: str | PathLike[str]) -> tuple[AnyArray, AnyArray | None]:
    """
    Inputs and targets of a data set in files, as they are stored.

    Parameters
    ----------
    path : path
        An ``.npz`` archive of ``X``, shape (N, ...), and perhaps ``y``, shape (N,) or (N, n_L);
        or a folder of IDX files as MNIST comes in (``train-images-idx3-ubyte`` and so on, plain
        or ``.gz``): the training images, followed by the ``t10k`` ones if they are there.

    Returns
    -------
    X : array of its own dtype, shape (N, n_0)
        Inputs as rows; see `values`.
    y : array, shape (N,) or (N, n_L), or None

    Raises
    ------
    FileError
        If something is missing, damaged, or does not fit together.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/squares.npz", X=[[0.0], [0.5], [2.0]], y=[0.0, 0.25, 4.0])
    ...     X, y = read(f"{folder}/squares.npz")
    >>> X.shape, y
    ((3, 1), array([0.  , 0.25, 4.  ]))
    """
    source = Path(path)
    X, y = _read_idx_folder(source) if source.is_dir() else _read_npz(source)
    if X.ndim < 2 or X.size == 0 or X.dtype.kind not in "biuf":
        raise FileError(
            f"X must be real numbers of shape (N, n_0), got {X.dtype} {X.shape}: {path}"
        )
    if y is not None and (y.ndim not in (1, 2) or len(y) != len(X) or y.dtype.kind not in "biuf"):
        raise FileError(f"y must be {len(X)} real targets, got {y.dtype} {y.shape}: {path}")
    for name, array in (("X", X), ("y", y)):
        if array is not None and array.dtype.kind == "f" and array.dtype.itemsize > 8:
            raise FileError(f"{name} must be at most float64, got {array.dtype}: {path}")
    return X.reshape(len(X), -1), y


def values(X: AnyArray) -> FloatArray:
    """Inputs as float64: bytes are grey values and become 0 to 1, all else stays as it is."""
    return X / 255.0 if X.dtype == np.uint8 else X.astype(np.float64)


def fingerprint(X: AnyArray, y: AnyArray | None) -> str:
    """Hash of what a data set holds, whatever file it came in."""
    found = sha256()
    for array in (X, y):
        if array is not None:
            kind = array.dtype.newbyteorder("<")
            found.update(f"{kind.str} {array.shape};".encode())
            found.update(np.ascontiguousarray(array, dtype=kind).data)
    return found.hexdigest()


def _read_npz(path: Path) -> tuple[AnyArray, AnyArray | None]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return archive["X"], archive["y"] if "y" in archive.files else None
    except Exception as error:  # damaged bytes make numpy and zipfile raise almost anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"data must be an .npz with X, got {str(path)!r}: {reason}") from error


def _read_idx_folder(folder: Path) -> tuple[AnyArray, AnyArray | None]:
    images, labels = [], []
    for part in ("train", "t10k"):
        pair = [sorted(folder.glob(f"{part}*{what}*")) for what in ("images", "labels")]
        if all(pair):
            images.append(_read_idx(pair[0][0]))
            labels.append(_read_idx(pair[1][0]))
    if not images:
        raise FileError(f"data must be IDX files such as train-images-idx3-ubyte, none in {folder}")
    try:
        return np.concatenate(images), np.concatenate(labels)
    except ValueError as error:
        raise FileError(f"IDX files must fit together, got {folder}: {error}") from error


def _read_idx(path: Path) -> AnyArray:
    """
    One array: two zero bytes, dtype, number of axes, lengths as big-endian uint32, entries.

    No more is read than the header promises, which the file's own size bounds.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            zeros, code, axes = struct.unpack(">HBB", file.read(4))
            if zeros != 0 or code not in IDX_DTYPES:
                raise ValueError("its first bytes are those of something else")
            shape = struct.unpack(f">{axes}I", file.read(4 * axes))
            dtype = np.dtype(IDX_DTYPES[code])
            size = math.prod(shape) * dtype.itemsize
            # gzip packs at most 1032 to one.
            if size > 1032 * path.stat().st_size:
                raise ValueError(f"it is too short for {shape}")
            entries = file.read(size)
            if len(entries) != size:
                raise ValueError(f"it holds {len(entries)} of {size} bytes")
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise FileError(f"data must be readable IDX files, got {str(path)!r}: {error}") from error
    array = np.frombuffer(entries, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="))
