"""
What stands behind the outputs, as the linear map C_x of their changes at each input x.

A differentiable head multiplies the rows of J that belong to x by its own Jacobian C_x (chain
rule), so what counts is C J, with one C for all inputs or one for each.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from patterndim.dyadic import IntegerArray, null_vectors
from patterndim.errors import ShapeError
from patterndim.kernels import rank_modulo, to_residues
from patterndim.typing import AnyArray, FloatArray, IntArray, Output
from patterndim.validation import choice, float_array, real_array

OUTPUTS = ("affine", "softmax")
#: Most entries of C, and most products of machine words in the elimination of one C_x, for which
#: the exact kernel is worth finding.
EXACT = 2**20
#: Prime below 2**23 modulo which full ranks are proved.
MODULUS = 8_388_593


@dataclass(frozen=True, eq=False)
class Head:
    """
    The map C_x behind the outputs at every input, and what is certain about its rank.

    Attributes
    ----------
    C : array of float64, shape (k, n_L) or (N, k, n_L)
        One map for all inputs, or one for each.
    name : str
        "affine", "softmax" or "array".
    """

    C: FloatArray
    name: str = "array"

    @classmethod
    def of(cls, output: Output, outputs: int, inputs: int | None = None) -> Self:
        """
        Head by its name or Jacobian; one for each input only if their number is given.

        Errors are those of `validation.choice` and `validation.float_array`.  Floats are dyadic
        rationals: a Jacobian is taken as exactly what it holds.
        """
        if isinstance(output, str):
            choice("output", output, OUTPUTS)
            return cls(output_map(outputs, output), output)
        array = real_array("output", output)
        if array.ndim == 3 and inputs is None:
            raise ShapeError(
                f"output must be one matrix (k, {outputs}) for all inputs here, got {array.shape}"
            )
        each = [inputs] if inputs is not None and array.ndim == 3 else []
        return cls(float_array("output", array, [*each, "k", outputs]))

    @property
    def count(self) -> int:
        """Number k of rows at each input."""
        return int(self.C.shape[-2])

    @cached_property
    def reach(self) -> FloatArray:
        """1.0 for outputs that some row takes up, as a head of one row: (1, n_L), (N, 1, n_L)."""
        return np.where((self.C != 0.0).any(axis=-2, keepdims=True), 1.0, 0.0)

    @cached_property
    def hidden(self) -> IntegerArray:
        """
        Independent integer vectors w, (m, n_L), with C_x w = 0 at every x: all, if C is small.

        Of a large C they are the unit vectors of outputs that no row takes up.
        """
        outputs = self.C.shape[-1]
        if self.name == "affine":
            return np.zeros((0, outputs), dtype=object)
        if self.name == "softmax":
            return np.ones((1, outputs), dtype=object)
        stack = self.C.reshape(-1, self.count, outputs)
        if _full(stack.reshape(-1, outputs)[: 4 * outputs]):
            return np.zeros((0, outputs), dtype=object)
        hidden = np.eye(outputs, dtype=np.int64).astype(object)
        if self.C.size > EXACT or _work(self.C) > EXACT:
            return hidden[~self.reach.any(axis=tuple(range(self.C.ndim - 1)))]
        for C in stack:
            if len(hidden):
                hidden = null_vectors(C, hidden)
        return hidden

    @property
    def span(self) -> int:
        """Bound of the dimension that all rows of all C_x span together."""
        return int(self.C.shape[-1]) - len(self.hidden)

    def ranks(self, inputs: int) -> IntArray:
        """Bounds of the ranks of C_x at so many inputs, shape (N,): by nonzero rows and columns."""
        most = min(self.count, self.span)
        if self.C.ndim == 2:
            return np.full(inputs, most)
        entries = self.C != 0.0
        rows, columns = (entries.any(axis=axis).sum(axis=1) for axis in (2, 1))
        found: IntArray = np.minimum(np.minimum(rows, columns), most)
        return found

    def spans(self, groups: IntArray) -> IntArray:
        """Bounds of the dimension that the rows of C_x span together in each group of inputs."""
        count = int(groups.max()) + 1
        if self.C.ndim == 2:
            return np.full(count, min(self.count, self.span))
        taken = np.zeros((count, self.C.shape[-1]), dtype=np.bool_)
        np.logical_or.at(taken, groups, self.reach[:, 0] > 0.0)
        found: IntArray = np.minimum(taken.sum(axis=1), self.span)
        return found


def _full(rows: FloatArray) -> bool:
    """Whether the columns are independent, for certain: a rank modulo a prime is a lower bound."""
    residues = np.empty(rows.shape)
    to_residues(rows, MODULUS, residues)
    return bool(rank_modulo(residues, MODULUS) == rows.shape[1])


def _work(C: FloatArray) -> float:
    """Products of words of 64 bits in the elimination of one C_x, roughly."""
    count, outputs = C.shape[-2:]
    exponents = np.frexp(C[C != 0.0])[1]
    bits = 53.0 + (int(np.ptp(exponents)) if exponents.size else 0)
    least = min(count, outputs)
    return float(count * outputs * least * max(1.0, least * bits / 64.0))


def output_map(outputs: int, output: str) -> FloatArray:
    """
    Linear map of the outputs whose rank counts: the identity, or differences for a softmax.

    The Jacobian diag(q) - q q^T of a softmax has kernel spanned by (1, ..., 1) for every q > 0, so
    behind a softmax J has the rank of C J, where C takes the differences with the last output.
    """
    C = np.eye(outputs)
    if output == "softmax":
        C = C[:-1] - C[-1]
    return C


def at(C: FloatArray, inputs: slice) -> FloatArray:
    """The map at some of the inputs."""
    return C if C.ndim == 2 else C[inputs]


def seed(C: FloatArray, inputs: int) -> FloatArray:
    """Where backpropagation starts: C at so many inputs, shape (k, N, n_L)."""
    rows = C[:, np.newaxis] if C.ndim == 2 else C.transpose(1, 0, 2)
    return np.array(np.broadcast_to(rows, (len(rows), inputs, C.shape[-1])), order="C")


def softmax_jacobian(outputs: FloatArray) -> FloatArray:
    """diag(q) - q q^T for the softmax q of each row, shape (N, n_L, n_L)."""
    q = softmax(outputs)
    C: FloatArray = -q[:, :, np.newaxis] * q[:, np.newaxis]
    # 1 - q would cancel where q is near 1: the sum of the others does not.
    diagonal = np.arange(q.shape[1])
    C[:, diagonal, diagonal] = q * (q @ (1.0 - np.eye(q.shape[1])))
    return C


def softmax(outputs: AnyArray) -> AnyArray:
    """Softmax of each row, shape (N, n_L), in its precision."""
    q = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    found: AnyArray = q / q.sum(axis=1, keepdims=True)
    return found
