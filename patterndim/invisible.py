"""Orthonormal bases of invisible directions, in float64, cut where the exact rank says."""

from collections.abc import Iterable

import numpy as np

from patterndim.factors import checked
from patterndim.frozen import FrozenJacobian
from patterndim.jacobian import dense
from patterndim.network import Network
from patterndim.products import operator
from patterndim.typing import BoolArray, FloatArray


def orthonormal(
    frozen: FrozenJacobian, network: Network, rank: int
) -> tuple[FloatArray, float | None, float]:
    """Right singular vectors of C J beyond its rank, the gap there, and the check by C J v."""
    from scipy.linalg import qr, svd

    factors = checked(network, frozen.X, frozen.gate, frozen.head.C)
    J = dense(factors)
    if J.shape[0] > J.shape[1]:
        (triangle,) = qr(J, mode="r", overwrite_a=True)
        J = np.asarray(triangle[: J.shape[1]], dtype=np.float64)
    _, sigma, V = svd(J, full_matrices=True, overwrite_a=True)
    basis = np.ascontiguousarray(V[rank:])
    gap = None
    if 0 < rank < len(sigma):
        gap = float(sigma[rank - 1] / sigma[rank]) if sigma[rank] > 0 else float("inf")
    norms = np.linalg.norm(operator(factors) @ basis.T, axis=0)
    largest = float(sigma[0]) if sigma[0] > 0 else 1.0
    return basis, gap, float(norms.max(initial=0.0)) / largest


def complement(
    basis: FloatArray, dead: BoolArray, blocks: Iterable[FloatArray], count: int
) -> FloatArray:
    """
    The part of an orthonormal basis (k, P) that is orthogonal to known directions in its span.

    Known are the unit vectors of ``dead`` parameters and the vectors of ``blocks``; ``count`` is
    how many dimensions they leave, shape (count, P).
    """
    from scipy.linalg import svd

    rows = [basis[:, dead].T]
    for block in blocks:
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        rows.append((block / np.where(lengths > 0, lengths, 1.0)) @ basis.T)
    _, _, V = svd(np.concatenate(rows), full_matrices=True)
    found: FloatArray = V[len(basis) - count :] @ basis
    return found
