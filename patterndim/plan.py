"""How much memory a sketch and its elimination take, and how to make do with less."""

from dataclasses import dataclass

from patterndim.errors import MemoryLimitError
from patterndim.frozen import FrozenJacobian
from patterndim.kernels import thread_count
from patterndim.pattern import CHUNK as PATTERN_CHUNK
from patterndim.redundancy import symmetry_size
from patterndim.sketch import COLUMN_BLOCK, TILE_ROWS, TILE_WIDTHS, Compression

#: Random columns, and random rows, that must add nothing before a sketch counts as large enough.
SPARE = 8
#: Inputs that are propagated, and columns that are sketched, at a time; from the most downwards.
SHAPES = ((1024, 1024), (512, 512), (256, 256), (128, 128), (64, 64), (32, 64), (8, 64), (1, 64))
#: Most tasks, and most columns of a task, that are on their way to an executor.
WINDOW, TASK = 32, 512
#: Most numbers with which the symmetries of an unproved rank are counted.
SYMMETRIES = 2**22
BYTES = 8


@dataclass(frozen=True)
class Stage:
    """
    An elimination that is meant for ranks up to ``target``.

    Its columns have ``width`` coordinates and a few spare ones; 0 if they are not compressed.
    """

    target: int
    width: int

    def length(self, frozen: FrozenJacobian) -> int:
        """Coordinates of a column."""
        return self.width + SPARE if self.width else frozen.rows


@dataclass(frozen=True)
class Plan:
    """
    How to go through a stage.

    ``chunk`` inputs are propagated at a time, ``block`` columns are sketched and eliminated at a
    time, and an executor gets at most ``window`` tasks at a time.
    """

    chunk: int
    block: int
    window: int = 0


def make_plan(frozen: FrozenJacobian, stage: Stage, limit: int | None, executor: bool) -> Plan:
    """
    Largest steps for a stage within so many bytes of memory.

    Raises
    ------
    MemoryLimitError
        If even the smallest steps need more.
    """
    windows = [WINDOW >> shift for shift in range(WINDOW.bit_length())] if executor else [0]
    needs = []
    for chunk, block in SHAPES:
        for window in windows:
            plan = Plan(chunk, block, window)
            needs.append(need(frozen, stage, plan))
            if limit is None or needs[-1] <= limit:
                return plan
    raise MemoryLimitError(f"memory must be at least {min(needs)} bytes here, got {limit}")


def need(frozen: FrozenJacobian, stage: Stage, plan: Plan) -> int:
    """Bytes that a stage takes at most."""
    length = stage.length(frozen)
    block = min(plan.block, stage.target + SPARE)
    echelon = (stage.target + SPARE) * length
    # A block of columns, its permutation, and the buffers of products.
    columns = 3 * block * length
    tasks = max(plan.window, 1) * _task(frozen, stage, plan)
    results = plan.window * min(block, TASK) * length
    return BYTES * (_before(frozen) + echelon + columns + tasks + results)


def _task(frozen: FrozenJacobian, stage: Stage, plan: Plan) -> int:
    """Numbers that the sketch of one block of columns at one chunk of inputs takes."""
    architecture, outputs = frozen.architecture, frozen.head.count
    widths, connections = architecture.widths, architecture.connections
    inputs = min(plan.chunk, len(frozen.X))
    # Tiles are padded.
    rows = inputs * outputs + TILE_WIDTHS[0]
    # Factors and their tiles, each with a copy on the way.
    factors = 4 * (rows + inputs) * sum(widths[1:]) + (4 * inputs + 2 * TILE_WIDTHS[0]) * widths[0]
    # u, v and v_0 in blocks, and joined.
    numbers = sum(widths[c.source] + widths[c.target] + 1 for c in connections) + sum(widths[1:])
    directions = 2 * (min(plan.block, stage.target + SPARE) + 2 * COLUMN_BLOCK) * numbers
    # Products of one tile of columns, in every thread.
    products = TILE_ROWS * (rows + inputs) * (len(connections) + len(widths) + 2) * thread_count()
    compression = 3 * (2 * Compression.COPIES + SPARE) * (2 * stage.width + rows)
    return factors + directions + products + (compression if stage.width else 0)


def _before(frozen: FrozenJacobian) -> int:
    """Numbers that pattern, bounds and copies of the parameters take."""
    architecture = frozen.architecture
    inputs = min(PATTERN_CHUNK, len(frozen.X))
    work = inputs * (3 * architecture.widths[0] + 8 * sum(architecture.widths[1:]))
    symmetries = symmetry_size(frozen)
    # Vectors of live parameters, with a copy on the way, and their echelon form.
    counted = 3 * symmetries if symmetries <= SYMMETRIES else 0
    # Residues of a head for each input.
    maps = frozen.head.C.size if frozen.head.C.ndim == 3 else 0
    return work + 6 * architecture.parameter_count + counted + maps
