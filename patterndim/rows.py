"""Random combinations of the rows of a frozen Jacobian, as vectors of parameter space."""

import numpy as np

from patterndim.arithmetic import Modular
from patterndim.factors import Factors, factor
from patterndim.frozen import FrozenJacobian
from patterndim.heads import at
from patterndim.typing import FloatArray

#: Inputs that are propagated at a time, and combinations that are formed at a time.
CHUNK, BATCH = 1024, 32


def combine_rows(
    frozen: FrozenJacobian,
    theta: FloatArray,
    arithmetic: Modular,
    rng: np.random.Generator,
    count: int,
) -> FloatArray:
    """Uniform random combinations of the rows of C J at residues ``theta``, shape (count, P)."""
    out = np.zeros((count, theta.size))
    for start in range(0, len(frozen.X), CHUNK):
        inputs = slice(start, start + CHUNK)
        gate = [values[inputs] for values in frozen.gate]
        X = frozen.X[inputs]
        C = at(frozen.head.C, inputs)
        factors = factor(frozen.architecture, theta, X, gate, arithmetic, C)
        for first in range(0, count, BATCH):
            part = out[first : first + BATCH]
            covectors = arithmetic.random(rng, (len(part), factors.count, len(X)))
            part += pullback(factors, covectors, arithmetic)
            arithmetic.reduce(part)
    return out


def pullback(factors: Factors, covectors: FloatArray, arithmetic: Modular) -> FloatArray:
    """Combinations (k, outputs, N) of the rows of J, shape (k, P), modulo a prime."""
    architecture = factors.architecture
    found = np.empty((len(covectors), architecture.parameter_count))
    for v in range(1, len(architecture.layers)):
        B = factors.sensitivity(v)
        change = np.zeros((len(covectors), *B.shape[1:]))
        for c in range(len(B)):
            # One product of residues and one residue: below 2**46 + 2**23.
            change += covectors[:, c, :, np.newaxis] * B[c]
            arithmetic.reduce(change)
        for e in architecture.incoming[v]:
            if (where := architecture.weight_slices[e]) is not None:
                h = factors.activations[architecture.connections[e].source]
                flat = np.ascontiguousarray(change.transpose(0, 2, 1)).reshape(-1, len(h))
                found[:, where] = arithmetic.product(flat, h).reshape(len(found), -1)
        if (where := architecture.bias_slices[v]) is not None:
            # Sums of fewer than 2**20 residues stay below 2**44.
            found[:, where] = arithmetic.reduce(change.sum(axis=1))
    return found
