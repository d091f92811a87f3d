"""Who computes it: for each task, patterndim and its peers, and what each of them does not do."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

import patterndim
from bench import many
from bench.autodiff import jax_run, torch_run
from bench.cases import Residues, Sample
from bench.keras import keras_run
from bench.processes import imports, process
from patterndim.arithmetic import Modular
from patterndim.factors import factor, gates
from patterndim.heads import output_map
from patterndim.jacobian import dense
from patterndim.kernels import thread_count
from patterndim.typing import FloatArray

Run = Callable[[], Any]


@dataclass(frozen=True)
class Peer:
    """
    One way to do a task.

    Attributes
    ----------
    name : str
        Usually the library.
    description : str
        One line: what it does within the clock, and what it does not do.
    prepare : callable
        Takes the problem and returns what is timed.  It converts and compiles, outside the clock.
    module : str
        What must be installed.
    answers : bool
        Whether it computes the answer, which is then compared with that of patterndim.
    """

    name: str
    description: str
    prepare: Callable[[Any], Run]
    module: str = "numpy"
    answers: bool = True

    def available(self) -> bool:
        """Whether it is installed."""
        return find_spec(self.module) is not None


def _local_dimension(sample: Sample) -> Run:
    return lambda: patterndim.local_dimension(sample.network, sample.X)


def _modular_rank(residues: Residues) -> Run:
    return lambda: patterndim.rank.modular_rank(residues.matrix, residues.modulus)


def _jacobian(sample: Sample) -> Run:
    return lambda: patterndim.parameter_jacobian(sample.network, sample.X)


def _ntk(sample: Sample) -> Run:
    return lambda: patterndim.ntk(sample.network, sample.X)


def _numpy_rank(sample: Sample) -> Run:
    def run() -> int:
        J = patterndim.parameter_jacobian(sample.network, sample.X)
        sigma = np.linalg.svd(J, compute_uv=False)
        tolerance = max(J.shape) * np.finfo(np.float64).eps
        return int(np.count_nonzero(sigma > tolerance * sigma[0]))

    return run


def _sketched(sample: Sample) -> Run:
    return lambda: patterndim.local_dimension(sample.network, sample.X, method="sketched")


def _operator_rank(sample: Sample) -> Run:
    return lambda: patterndim.rank.sketched_rank(
        patterndim.jacobian_operator(sample.network, sample.X)
    )


def _numpy_gram(sample: Sample) -> Run:
    J = patterndim.parameter_jacobian(sample.network, sample.X)
    return lambda: J @ J.T


def _fill(sample: Sample) -> Run:
    shape = len(sample.X) * sample.network.widths[-1], sample.network.parameter_count

    def run() -> FloatArray:
        J = np.empty(shape)
        J.fill(1.0)
        return J

    return run


def _product(residues: Residues) -> Run:
    A = residues.matrix.astype(np.float64)
    B = A.T.copy()
    return lambda: A @ B


def _flint_rank(residues: Residues) -> Run:
    import flint

    if hasattr(flint.ctx, "threads"):
        flint.ctx.threads = thread_count()
    rows, columns = residues.matrix.shape
    matrix = flint.nmod_mat(rows, columns, residues.matrix.reshape(-1).tolist(), residues.modulus)
    return lambda: int(matrix.rank())


def _flint_rank_of_jacobian(sample: Sample) -> Run:
    return _flint_rank(jacobian_residues(sample))


def jacobian_residues(sample: Sample) -> Residues:
    """J modulo the prime that `patterndim.local_dimension` draws."""
    network, X = sample.network, sample.X
    modulus = patterndim.local_dimension(network, X).modulus
    if modulus is None:
        raise ValueError("a modular rank must come with its modulus")
    gate = gates(network.architecture, patterndim.activation_pattern(network, X).masks)
    C = output_map(network.widths[-1], "affine")
    factors = factor(network.architecture, network.theta, X, gate, Modular(modulus), C)
    # Every entry of J is one product of two residues, an integer below 2**53.
    return Residues(dense(factors).astype(np.int64) % modulus, modulus)


#: For each task patterndim first, then its peers.
TASKS: dict[str, tuple[Peer, ...]] = {
    "local dimension": (
        Peer(
            "patterndim",
            "certified activation pattern, sketch and elimination modulo a random prime; does not "
            "form J; says whether the answer is proved",
            _local_dimension,
        ),
        Peer(
            "numpy",
            "explicit J by patterndim, then all singular values; does not differentiate; counts "
            "those above a tolerance, which proves nothing",
            _numpy_rank,
        ),
        Peer(
            "jax",
            "jit of vmap(jacrev) and matrix_rank in float64; compilation not timed; does not "
            "certify the activation pattern; counts above a tolerance",
            partial(jax_run, rank=True),
            module="jax",
        ),
        Peer(
            "torch",
            "vmap(jacrev) and matrix_rank in float64; does not certify the activation pattern; "
            "counts above a tolerance",
            partial(torch_run, rank=True),
            module="torch",
        ),
        Peer(
            "tensorflow",
            "the published recipe: a Keras model in float64, compiled tape.jacobian in batches, "
            "all singular values by numpy; tracing not timed; does not certify the activation "
            "pattern; counts above a tolerance",
            keras_run,
            module="tensorflow",
        ),
        Peer(
            "flint",
            "rank of J modulo the same prime; does not compute J: it and its conversion are given",
            _flint_rank_of_jacobian,
            module="flint",
        ),
    ),
    "numerical dimension": (
        Peer(
            "patterndim",
            "certified activation pattern, structured sketch of J, QR, singular values at the cut",
            _sketched,
        ),
        Peer(
            "operator",
            "patterndim too: dense Gaussian sketch through the operator, then the same",
            _operator_rank,
        ),
        Peer(
            "numpy",
            "explicit J by patterndim, then all singular values",
            _numpy_rank,
        ),
    ),
    "modular rank": (
        Peer(
            "patterndim",
            "elimination modulo a prime from an int64 array; also finds the pivots",
            _modular_rank,
        ),
        Peer(
            "flint",
            "nmod_mat.rank; conversion not timed; does not tell the pivots",
            _flint_rank,
            module="flint",
        ),
        Peer(
            "product",
            "float64 matrix product of this size by numpy; computes no rank, and takes three times "
            "as many operations: at the same rate the ratio is 3",
            _product,
            answers=False,
        ),
    ),
    "parameter Jacobian": (
        Peer("patterndim", "certified activation pattern, then J from its factors", _jacobian),
        Peer(
            "jax",
            "jit of vmap(jacrev) in float64, joined to one matrix; compilation not timed; does not "
            "certify the activation pattern",
            partial(jax_run, rank=False),
            module="jax",
        ),
        Peer(
            "torch",
            "vmap(jacrev) in float64, joined to one matrix; does not certify the activation "
            "pattern",
            partial(torch_run, rank=False),
            module="torch",
        ),
        Peer(
            "fill",
            "allocates an array of the size of J and fills it with ones; computes nothing",
            _fill,
            answers=False,
        ),
    ),
    "Gram matrix": (
        Peer("patterndim", "certified activation pattern, J J^T from the factors of J", _ntk),
        Peer("numpy", "J @ J.T; does not compute J, which is given", _numpy_gram),
    ),
    "process": (
        Peer("patterndim", "import, load, exact local dimension", partial(process, "patterndim")),
        Peer(
            "jax",
            "import, load, vmap(jacrev) and matrix_rank in float64; counts above a tolerance",
            partial(process, "jax"),
            module="jax",
        ),
        Peer(
            "torch",
            "import, load, vmap(jacrev) and matrix_rank in float64; counts above a tolerance",
            partial(process, "torch"),
            module="torch",
        ),
    ),
    "import": (
        Peer(
            "patterndim",
            "import patterndim and what a local dimension needs, which comes when it is used",
            partial(imports, "from patterndim import Network, local_dimension"),
        ),
        Peer(
            "numba",
            "import numba, which patterndim does too",
            partial(imports, "import numba"),
            answers=False,
        ),
    ),
    "local dimensions": (
        Peer(
            "patterndim",
            "one call: certified activation patterns, certain bounds, elimination modulo a random "
            "prime; says which answers are proved",
            many.patterndim_run,
        ),
        Peer(
            "jax",
            "jit of vmap(jacrev) and batched matrix_rank in float64, chunks of networks at a time; "
            "compilation not timed; certifies no pattern; counts above a tolerance",
            many.jax_run,
            module="jax",
        ),
        Peer(
            "torch",
            "a loop over the networks: vmap(jacrev) and matrix_rank in float64; certifies no "
            "pattern; counts above a tolerance",
            many.torch_run,
            module="torch",
        ),
    ),
}
