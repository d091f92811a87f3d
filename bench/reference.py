"""
Reference numbers of the theory, computed again: ``python -m bench.reference``.

Every row has the number of draws of the reference, and its error is the binomial one of both.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from patterndim import Network, functional_dimension, local_dimension, parameter_jacobian, regions
from patterndim.functional import FunctionalDimension
from patterndim.rank import modular_rank
from patterndim.typing import FloatArray

#: Standard errors by which a fraction or mean may differ from its reference.
ERRORS = 4.0
#: Ratio of neighbouring singular values above which a float rank counts as clear.
CLEAR = 1e3


@dataclass(frozen=True)
class Row:
    """One line of the table of functional dimensions at random initialisation."""

    widths: tuple[int, ...]
    draws: int
    mean: float
    least: int
    fraction: float
    regions: float
    side: float | None = None


ROWS = (
    Row((1, 2, 1), 500, mean=5.00, least=5, fraction=1.000, regions=3.00),
    Row((1, 1, 1, 1), 500, mean=2.79, least=1, fraction=0.274, regions=2.49),
    Row((2, 5, 1), 200, mean=16.00, least=16, fraction=1.000, regions=16.00),
    Row((2, 2, 2, 1), 300, mean=9.81, least=1, fraction=0.510, regions=7.65, side=1000.0),
)
#: Probability of full rank n = 10 for shallow networks on the line: width, reference.
FULL_RANK = ((30, 0.10), (90, 0.49), (150, 0.71), (300, 0.90))
DEEP = (10, 10, 10, 10, 1)
#: Inputs at which the float rank is compared with the modular one.
FLOAT_INPUTS = 1000


def main(arguments: Sequence[str]) -> int:
    """Print the tables; status 1 if a number is off by more than `ERRORS` standard errors."""
    parser = argparse.ArgumentParser(prog="python -m bench.reference", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="only a few draws of everything")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    options = parser.parse_args(arguments)
    divisor = 50 if options.smoke else 1
    good = True
    for part in (_table, _wide, _full_rank):
        for line, agrees in part(options.seed, divisor):
            print(line if agrees else f"{line}   DISAGREES", flush=True)
            good = good and agrees
        print()
    return 0 if good else 1


def draw(widths: tuple[int, ...], rng: np.random.Generator) -> Network:
    """Weights N(0, 2 / fan_in), all biases N(0, 0.1**2)."""
    return Network.random(widths, rng=rng, init="he", bias_std=0.1)


def error(fraction: float, draws: int, others: float = np.inf) -> float:
    """Standard error of the difference of two fractions; with one success more, never zero."""
    p = (fraction * draws + 1) / (draws + 2)
    return float(np.sqrt(p * (1 - p) * (1 / draws + 1 / others)))


def exact(network: Network, side: float | None) -> FunctionalDimension:
    """Functional dimension by all regions, of the whole space or of a box around 0."""
    if side is None:
        return functional_dimension(network, method="exact")
    corner = np.full(network.widths[0], side)
    pattern = regions.box(network, -corner, corner).pattern
    return functional_dimension(network, method="patterns", patterns=pattern)


def _table(seed: int, divisor: int) -> Iterator[tuple[str, bool]]:
    yield "Functional dimension by exact enumeration (reference in brackets)", True
    header = f"{'widths':10}{'P':>4}{'P-H':>5}{'draws':>7}{'mean':>16}{'min':>9}"
    yield f"{header}{'fraction at P-H':>26}{'regions':>18}{'seconds':>9}", True
    for row in ROWS:
        rng, start = np.random.default_rng(seed), perf_counter()
        draws = max(8, row.draws // divisor)
        networks = [draw(row.widths, rng) for _ in range(draws)]
        found = [exact(network, row.side) for network in networks]
        top = networks[0].parameter_count - networks[0].hidden_neurons
        values = np.array([dimension.value for dimension in found])
        counts = np.array([dimension.regions for dimension in found])
        fraction = float(np.mean(values == top))
        spread = error(row.fraction, draws, row.draws)
        agrees = abs(fraction - row.fraction) <= ERRORS * spread
        agrees = agrees and _near(values, row.mean, row.draws)
        agrees = agrees and _near(counts, row.regions, row.draws) and values.min() >= row.least
        yield (
            f"{_dashes(row.widths):10}{networks[0].parameter_count:4}{top:5}{draws:7}"
            f"{values.mean():8.2f} ({row.mean:5.2f}){values.min():4} ({row.least:2})"
            f"{fraction:9.3f} ({row.fraction:.3f}) +- {spread:.3f}"
            f"{counts.mean():10.2f} ({row.regions:5.2f}){perf_counter() - start:9.1f}",
            bool(agrees),
        )
        if row.widths == (1, 1, 1, 1):
            yield _law(values)


def _near(values: FloatArray, mean: float, others: int) -> bool:
    """Whether a mean agrees with one of so many other draws, which was rounded to 0.01."""
    spread = np.sqrt(values.var() * (1 / len(values) + 1 / others))
    return bool(abs(values.mean() - mean) <= ERRORS * spread + 0.005)


def _law(values: FloatArray) -> tuple[str, bool]:
    """1, 3 and 4 of 1-1-1-1 against their probabilities 1/4, 1/2 and 1/4."""
    law, draws = {1: 0.25, 3: 0.5, 4: 0.25}, len(values)
    counts = Counter(values.tolist())
    text = ", ".join(f"{value}: {counts[value] / draws:.3f} ({p})" for value, p in law.items())
    close = [abs(counts[v] / draws - p) <= ERRORS * error(p, draws) for v, p in law.items()]
    return f"{'':10}values {text}", all(close) and set(counts) <= set(law)


def _wide(seed: int, divisor: int) -> Iterator[tuple[str, bool]]:
    """Distribution for a network with too many regions to enumerate, by growing samples."""
    draws = max(4, 200 // divisor)
    rng, values, seconds, clear, equal, inputs = np.random.default_rng(seed), [], [], 0, 0, []
    top = 0
    for number in range(draws):
        network = draw(DEEP, rng)
        top = network.parameter_count - network.hidden_neurons
        start = perf_counter()
        found = functional_dimension(network, rng=number)
        seconds.append(perf_counter() - start)
        values.append(found.value)
        inputs.append(found.inputs)
        X = rng.standard_normal((FLOAT_INPUTS, DEEP[0]))
        rank = local_dimension(network, X, method="numerical")
        if rank.gap is None or rank.gap > CLEAR:
            clear += 1
            equal += rank.value == local_dimension(network, X).value
    fraction = float(np.mean(np.array(values) == top))
    yield (
        f"Functional dimension of {_dashes(DEEP)} (P - H = {top}) by Gaussian samples, "
        f"{draws} initialisations",
        True,
    )
    quartiles = np.percentile(values, [0, 25, 50, 75, 100]).astype(int).tolist()
    yield f"  at P - H     {fraction:.3f} +- {error(fraction, draws):.3f}", True
    yield f"  min, quartiles, max {quartiles}; mean {np.mean(values):.2f}", max(values) <= top
    yield f"  inputs       median {np.median(inputs):.0f}, most {max(inputs)}", True
    yield f"  seconds      median {np.median(seconds):.3f}, most {max(seconds):.3f}", True
    text = (
        f"  float ranks  {equal} of {clear} with a gap above {CLEAR:.0e} equal the modular ranks "
        f"at {FLOAT_INPUTS} inputs"
    )
    yield text, equal == clear


def _full_rank(seed: int, divisor: int) -> Iterator[tuple[str, bool]]:
    """
    Full rank of the first layer's columns, n = 10 inputs U[0, 1], output weights frozen.

    Nonzero output weights scale columns and change no rank, so here they are 1 and the entries
    of J exact.
    """
    yield "Probability that J of a shallow network on the line has full rank n = 10", True
    for width, reference in FULL_RANK:
        draws = max(20, 400 // divisor)
        rng = np.random.default_rng(seed)
        stack = np.array([_first_layer(width, rng) for _ in range(draws)])
        ranks = modular_rank(stack, rng=seed)
        fraction = sum(rank.value == 10 for rank in ranks) / draws
        spread = error(reference, draws, 100)
        yield (
            f"  width {width:4}  {fraction:.3f} ({reference:.2f}) +- {spread:.3f}, {draws} draws",
            abs(fraction - reference) <= ERRORS * spread,
        )


def _first_layer(width: int, rng: np.random.Generator) -> FloatArray:
    """Columns of J of W_1 and b_1, shape (10, 2 * width), for the default layers of torch."""
    W, b = rng.uniform(-1.0, 1.0, (2, width))
    network = Network.from_layers([W[:, np.newaxis], np.ones((1, width))], [b, None])
    return parameter_jacobian(network, rng.uniform(0.0, 1.0, (10, 1)))[:, : 2 * width]


def _dashes(widths: tuple[int, ...]) -> str:
    return "-".join(str(width) for width in widths)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
