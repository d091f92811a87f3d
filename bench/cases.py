"""What is computed: the cases, each at its full size and at a smallest one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from patterndim import Architecture, Network, data
from patterndim.typing import FloatArray, IntArray

#: The largest prime below 2**23.
MODULUS = 8_388_593


@dataclass(frozen=True, eq=False)
class Sample:
    """A network and inputs of shape (N, n_0)."""

    network: Network
    X: FloatArray


@dataclass(frozen=True, eq=False)
class Residues:
    """A matrix of residues in 0..modulus-1."""

    matrix: IntArray
    modulus: int


@dataclass(frozen=True, eq=False)
class Many:
    """A multilayer perceptron, parameter vectors (K, P), and one sample (N, n_0)."""

    architecture: Architecture
    thetas: FloatArray
    X: FloatArray


@dataclass(frozen=True)
class Size:
    """
    One size of a case.

    Attributes
    ----------
    label : str
        For people.
    build : callable
        Makes the problem, the same every time.
    once : tuple of str
        Peers that take minutes: the run that checks their answer is the one that is timed.
    slow : tuple of str
        Peers that are left out unless they are asked for.
    """

    label: str
    build: Callable[[], Sample | Residues | Many | tuple[()]]
    once: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """
    A task of `peers.TASKS`, the peers that take part, and the sizes.

    Peers that count singular values above a tolerance only take part where the cut is clear: the
    next singular value is smaller by a factor above 1e9 or, at full rank, the smallest one is
    above the tolerance by a factor above 1e6.  A case that takes long only runs at full size when
    it is ``named``.
    """

    name: str
    summary: str
    task: str
    peers: tuple[str, ...]
    sizes: tuple[Size, ...]
    smoke: tuple[Size, ...]
    named: bool = False


def mnist(widths: tuple[int, ...], count: int) -> Sample:
    """The first digits of MNIST, 784 pixels from 0 to 1."""
    with np.load(Path(__file__).parent / "data" / "mnist10k.npz") as archive:
        X = archive["X"][:count] / 255.0
    return Sample(Network.random(widths, init="torch", rng=0), X)


def deficient(widths: tuple[int, ...], count: int) -> Sample:
    """
    The same with the first hidden layer half copies of one neuron, half dead.

    The rank is about the number of inputs on which the one neuron is active, and much less than
    any certain bound.
    """
    source = mnist if widths[0] == 784 else digits
    problem = source(widths, count)
    network = Network.random(widths, init="torch", rng=1)
    W, b = [w.copy() for w in network.weights], [np.array(v) for v in network.biases]
    half = widths[1] // 2
    W[0][:half], b[0][:half], W[1][:, :half] = W[0][3], b[0][3], W[1][:, :1]
    b[0][half:] = -100.0
    return Sample(Network.from_layers(W, b), problem.X)


def digits(widths: tuple[int, ...], count: int) -> Sample:
    """The first digits of the small set that comes with the package, 64 pixels from 0 to 1."""
    return Sample(Network.random(widths, init="torch", rng=0), data.digits()[0][:count])


def gaussian(widths: tuple[int, ...], count: int) -> Sample:
    """Independent standard normal inputs."""
    X = np.random.default_rng(1).standard_normal((count, widths[0]))
    return Sample(Network.random(widths, init="glorot", bias_std=0.05, rng=0), X)


def residues(size: int, rank: int) -> Residues:
    """Square matrix of at most the given rank, uniform if that is its size."""
    rng = np.random.default_rng(0)
    if rank == size:
        return Residues(rng.integers(0, MODULUS, (size, size)), MODULUS)
    left, right = rng.integers(0, MODULUS, (size, rank)), rng.integers(0, MODULUS, (rank, size))
    # A sum of fewer than 2**17 products below 2**46 fits in int64.
    return Residues(left @ right % MODULUS, MODULUS)


def many(widths: tuple[int, ...], networks: int, inputs: int) -> Many:
    """Networks as torch initialises them, Gaussian inputs."""
    architecture = Architecture.from_widths(widths)
    drawn = [Network.random(architecture, rng=k, init="torch") for k in range(networks)]
    X = np.random.default_rng(1).standard_normal((inputs, widths[0]))
    return Many(architecture, np.array([network.theta for network in drawn]), X)


def _digits_size(widths: tuple[int, ...], count: int, **peers: tuple[str, ...]) -> Size:
    source = mnist if widths[0] == 784 else digits
    return Size(f"{_dashes(widths)}, {count} digits", partial(source, widths, count), **peers)


def _deficient_size(widths: tuple[int, ...], count: int, **peers: tuple[str, ...]) -> Size:
    label = f"{_dashes(widths)} with copied and dead neurons, {count} digits"
    return Size(label, partial(deficient, widths, count), **peers)


def _gaussian_size(widths: tuple[int, ...], count: int) -> Size:
    return Size(f"{_dashes(widths)}, {count} Gaussian inputs", partial(gaussian, widths, count))


def _residues_size(size: int, rank: int) -> Size:
    label = f"{size} x {size}, " + ("uniform" if rank == size else f"product through {rank}")
    return Size(label, partial(residues, size, rank))


def _many_size(
    widths: tuple[int, ...], networks: int, inputs: int, **peers: tuple[str, ...]
) -> Size:
    label = f"{networks} networks {_dashes(widths)}, {inputs} Gaussian inputs"
    return Size(label, partial(many, widths, networks, inputs), **peers)


def _dashes(widths: tuple[int, ...]) -> str:
    return "-".join(str(width) for width in widths)


MINUTES = ("numpy", "jax", "torch", "tensorflow")
DEEP = (784, 30, 30, 30, 10)
SMALL = (64, 8, 8, 10)

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case(
            "digits600",
            "local dimension of 784-30-30-30-10 at 600 MNIST digits",
            task="local dimension",
            peers=("numpy", "jax", "torch", "tensorflow"),
            sizes=(_digits_size(DEEP, 600, once=MINUTES, slow=("jax", "torch", "tensorflow")),),
            smoke=(_digits_size(SMALL, 20),),
        ),
        Case(
            "sketched",
            "numerical dimension of 784-30-30-30-10 at 600 MNIST digits by a random sketch",
            task="numerical dimension",
            peers=("operator", "numpy"),
            sizes=(_digits_size(DEEP, 600, once=("numpy",)),),
            smoke=(_digits_size(SMALL, 20),),
        ),
        Case(
            "deficient600",
            "local dimension of a 784-30-30-30-10 of low rank at 600 MNIST digits",
            task="local dimension",
            peers=("numpy",),
            sizes=(_deficient_size(DEEP, 600, once=("numpy",)),),
            smoke=(_deficient_size(SMALL, 20),),
        ),
        Case(
            "digits2000",
            "local dimension of 784-30-30-30-10 at 2,000 MNIST digits, in minutes",
            task="local dimension",
            peers=(),
            sizes=(_digits_size(DEEP, 2000),),
            smoke=(_digits_size(SMALL, 40),),
            named=True,
        ),
        Case(
            "digits10000",
            "local dimension of 784-30-30-30-10 at 10,000 MNIST digits, in many minutes",
            task="local dimension",
            peers=(),
            sizes=(_digits_size(DEEP, 10000),),
            smoke=(_digits_size(SMALL, 60),),
            named=True,
        ),
        Case(
            "gaussian300",
            "local dimension of 50-20-20-10 at 300 Gaussian inputs",
            task="local dimension",
            peers=("numpy", "jax", "torch", "flint"),
            sizes=(_gaussian_size((50, 20, 20, 10), 300),),
            smoke=(_gaussian_size((10, 6, 6, 3), 60),),
        ),
        Case(
            "modular_rank",
            "rank of residues modulo a prime, uniform and of low rank",
            task="modular rank",
            peers=("flint",),
            sizes=(_residues_size(1000, 1000), _residues_size(1000, 600)),
            smoke=(_residues_size(60, 60), _residues_size(60, 40)),
        ),
        Case(
            "rank4000",
            "rank of 4000 x 4000 residues modulo a prime",
            task="modular rank",
            peers=("flint", "product"),
            sizes=(_residues_size(4000, 4000),),
            smoke=(_residues_size(70, 70),),
        ),
        Case(
            "rank8000",
            "rank of 8000 x 8000 residues modulo a prime, beside a matrix product",
            task="modular rank",
            peers=("product",),
            sizes=(_residues_size(8000, 8000),),
            smoke=(_residues_size(80, 80),),
        ),
        Case(
            "jacobian",
            "dense parameter Jacobian of 784-30-30-30-10 at 600 MNIST digits",
            task="parameter Jacobian",
            peers=("jax", "torch", "fill"),
            sizes=(_digits_size(DEEP, 600),),
            smoke=(_digits_size(SMALL, 20),),
        ),
        Case(
            "ntk",
            "full Gram matrix J J^T of 784-30-30-30-10 at 600 MNIST digits",
            task="Gram matrix",
            peers=("numpy",),
            sizes=(_digits_size(DEEP, 600),),
            smoke=(_digits_size(SMALL, 20),),
        ),
        Case(
            "warm",
            "a new process: import, load and local dimension of 64-16-16-10 at 100 digits",
            task="process",
            peers=("jax", "torch"),
            sizes=(_digits_size((64, 16, 16, 10), 100),),
            smoke=(_digits_size(SMALL, 20),),
        ),
        Case(
            "import",
            "a new process that only imports",
            task="import",
            peers=("numba",),
            sizes=(Size("import", tuple),),
            smoke=(Size("import", tuple),),
        ),
        Case(
            "bulk",
            "local dimensions of many networks 5-5-5-5-1 at 500 Gaussian inputs",
            task="local dimensions",
            peers=("jax", "torch"),
            sizes=(
                _many_size((5, 5, 5, 5, 1), 200, 500),
                _many_size(
                    (5, 5, 5, 5, 1), 10_000, 500, once=("jax", "torch"), slow=("jax", "torch")
                ),
            ),
            smoke=(_many_size((3, 3, 3, 1), 4, 20),),
        ),
    )
}
