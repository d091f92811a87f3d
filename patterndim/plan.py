"""How much memory a sketch and its elimination take, and how to make do with less."""

from dataclasses import dataclass

from patterndim.errors import MemoryLimitError
from patterndim.frozen import FrozenJacobian
from patterndim.pattern import CHUNK as PATTERN_CHUNK
from patterndim.sketch import COLUMN_BLOCK, Compression

#: Random columns, and random rows, that must add nothing before a sketch counts as large enough.
SPARE = 8
#: Columns of one structured product.
COLUMNS = 256
#: Inputs that are propagated, and columns that are sketched, at a time; from the most downwards.
SHAPES = ((1024, 2048), (512, 1024), (256, 512), (64, 256), (32, 128), (16, 64), (4, 64), (1, 64))
#: Most tasks, and most columns of a task, that are on their way to an executor.
WINDOW, TASK = 32, 512
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
    Plan for a stage within so many bytes of memory.

    Raises
    ------
    MemoryLimitError
        If even the smallest steps need more.
    """
    for chunk, block in SHAPES:
        window = WINDOW if executor else 0
        while (
            window > 1
            and limit is not None
            and need(frozen, stage, Plan(chunk, block, window)) > limit
        ):
            window //= 2
        plan = Plan(chunk, block, window)
        if limit is None or need(frozen, stage, plan) <= limit:
            return plan
    least = need(frozen, stage, plan)
    raise MemoryLimitError(f"memory must be at least {least} bytes here, got {limit}")


def need(frozen: FrozenJacobian, stage: Stage, plan: Plan) -> int:
    """Bytes that a stage takes: the echelon form, a block of columns, a chunk of factors."""
    length = stage.length(frozen)
    block = min(plan.block, stage.target + SPARE)
    echelon = (stage.target + SPARE) * length
    # The columns, their permutation, the buffers of products.
    columns = 3 * block * length
    tasks = (
        max(plan.window, 1) * _task(frozen, stage, plan) + plan.window * min(block, TASK) * length
    )
    return BYTES * (_before(frozen) + echelon + columns + tasks)


def _task(frozen: FrozenJacobian, stage: Stage, plan: Plan) -> int:
    """Numbers that the sketch of one block at one chunk takes."""
    architecture, outputs = frozen.architecture, len(frozen.C)
    inputs = min(plan.chunk, len(frozen.X))
    widths = [
        architecture.widths[c.source] + architecture.widths[c.target] + 1
        for c in architecture.connections
    ]
    columns = min(plan.block, COLUMNS)
    directions = 2 * (plan.block + 2 * COLUMN_BLOCK) * (sum(widths) + sum(architecture.widths))
    factors = 3 * inputs * (outputs + 1) * sum(architecture.widths[1:])
    factors += 3 * inputs * architecture.widths[0]
    biases = len(architecture.layers)
    products = columns * inputs * (outputs + 1) * (len(widths) + biases + 2)
    rows = (2 * Compression.COPIES + SPARE) * (2 * stage.width + 3 * inputs * outputs)
    return directions + factors + products + (rows if stage.width else 0)


def _before(frozen: FrozenJacobian) -> int:
    """Numbers that pattern, bounds and copies of the parameters take."""
    architecture = frozen.architecture
    inputs = min(PATTERN_CHUNK, len(frozen.X))
    work = inputs * (3 * architecture.widths[0] + 8 * sum(architecture.widths[1:]))
    return work + 6 * architecture.parameter_count
