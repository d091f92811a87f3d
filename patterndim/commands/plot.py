"""``patterndim plot``: one column of a results file against another."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patterndim import plot, summary
from patterndim.errors import ArgumentError
from patterndim.plot.lines import SPREADS, certainty, log_axis
from patterndim.plot.style import STYLES
from patterndim.progress import ProgressLine
from patterndim.summary import Row
from patterndim.sweeps import Results, read_records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What is drawn by default.
DIMENSION = "local_dimension"
#: Columns that say how far training is.
TIMES = ("epoch", "step")
#: Columns that never tell lines apart by default: repetitions and times.
INNER = (*summary.REPETITIONS, *TIMES)
KINDS = ("sample", "output")


def add(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("plot", help="a picture of a results file")
    parser.set_defaults(run=run)
    parser.add_argument("results", type=Path, metavar="RESULTS.jsonl", help="written by sweep")
    parser.add_argument(
        "--x", metavar="COLUMN", help="by default what the sweep varies, or the epochs"
    )
    parser.add_argument("--y", metavar="COLUMN", help=f"what was found (default {DIMENSION})")
    parser.add_argument(
        "--by",
        metavar="COLUMN",
        nargs="*",
        help="a line for each value of these (default sample, output and what else varies)",
    )
    parser.add_argument(
        "--heat",
        metavar="COLUMN",
        help="a heat map instead: x across, this column up; without --by, --spread and --log",
    )
    parser.add_argument("--spread", choices=SPREADS, help="band over seeds (default range)")
    parser.add_argument("--log", action="store_true", help="logarithmic x axis")
    parser.add_argument("--title", help="above the picture")
    parser.add_argument(
        "--out", type=Path, metavar="PICTURE", help=".png, .pdf or .svg (default RESULTS.png)"
    )


def run(options: argparse.Namespace, progress: ProgressLine) -> int:
    """Run the command and return its exit status."""
    if not plot.available():
        raise ArgumentError('plot needs matplotlib: pip install "patterndim[plot]"')
    _check_heat(options)
    rows = _rows(options.results)
    x, y = options.x or default_x(rows), options.y or default_y(rows)
    summary.check_columns(rows, [y])
    if options.heat is not None:
        by = [options.heat]
        _check_different(x, y, *by)
        ax = plot.heat_map(rows, x, options.heat, y)
        drawn = summary.with_numbers(rows, [x, options.heat, y])
    else:
        by = default_by(rows, x) if options.by is None else options.by
        _check_different(x, y, *by)
        ax = plot.curves(rows, x, y, by=by, spread=options.spread or SPREADS[0])
        drawn = summary.with_numbers(rows, [x, y])
        if options.log:
            log_axis(ax, [row[x] for row in drawn])
        _legend(ax, known=any(row.get(f"{y}_kind") for row in drawn))
    if options.title:
        ax.set_title(options.title)
    out = options.out or options.results.with_suffix(".png")
    plot.save(ax.figure, out)
    if over := summary.averaged(drawn, [x, *by], _identity(rows)):
        print(f"Averaged over {', '.join(over)}.")
    lines = {tuple(summary.hashable(row.get(name)) for name in by) for row in drawn}
    if options.heat is None and len(lines) > len(STYLES):
        print(
            f"{len(lines)} lines share {len(STYLES)} styles: --by fewer columns makes fewer lines."
        )
    print(f"The picture is in {out}.")
    return 0


def _rows(path: Path) -> list[Row]:
    results = Results(read_records(path))
    failed = f"{len(results.failures):,} of {len(results.records):,} tasks failed"
    if not results.rows:
        why = f": {failed}" if results.failures else ""
        raise ArgumentError(f"results must have rows to draw, got none in {str(path)!r}{why}")
    if results.failures:
        print(f"Not in the picture: {failed}.")
    return summary.rows_of(results)


def _check_heat(options: argparse.Namespace) -> None:
    """Raise if a heat map is to have what only lines have."""
    given = {"--by": options.by is not None, "--spread": options.spread, "--log": options.log}
    of_lines = [name for name, wanted in given.items() if wanted]
    if options.heat is not None and of_lines:
        raise ArgumentError(
            "--heat must be given without --by, --spread and --log, which are about lines, "
            f"got --heat {options.heat} with {' and '.join(of_lines)}"
        )


def _check_different(*names: str) -> None:
    """Raise if one column is to be drawn in two places."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ArgumentError(
            f"--x, --y, --by and --heat must be different columns, got {twice!r} twice"
        )


def _legend(ax: "Axes", *, known: bool) -> None:
    """Legend below the axes, with what the markers mean if something is known of proofs."""
    if own := ax.get_legend():
        own.remove()
    handles = [*ax.get_legend_handles_labels()[0], *(certainty() if known else [])]
    if handles:
        lines = -(-len(handles) // 2)
        ax.figure.set_figheight(max(4.4, 3.4 + 0.22 * lines))  # type: ignore[union-attr]
        ax.figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)


def _settings(rows: list[Row]) -> list[str]:
    """Settings of the sweep that vary, with width and depth in the place of the widths."""
    names = [name for name in summary.columns(rows) if "." in name and name != "network.widths"]
    return summary.varied(rows, ["width", "depth", *names])


def _identity(rows: list[Row]) -> list[str]:
    """Columns that say which measurement a row is."""
    settings = [name for name in summary.columns(rows) if "." in name]
    return [*INNER, *KINDS, *settings]


def default_y(rows: list[Row]) -> str:
    """Local dimension, if that was measured."""
    names = summary.columns(rows)
    if DIMENSION in names:
        return DIMENSION
    found = [name for name in names if any(summary.is_number(row.get(name)) for row in rows)]
    several = ", ".join(found)
    raise ArgumentError(f"--y must be given: no {DIMENSION} was measured, there are {several}")


def default_x(rows: list[Row]) -> str:
    """Time, if there is a time; otherwise the first number that the sweep varies."""
    candidates = [*summary.varied(rows, TIMES), *_settings(rows)]
    for name in candidates:
        if all(summary.is_number(row.get(name)) for row in rows):
            return name
    raise ArgumentError("--x must be given: no column of numbers varies but those that were found")


def default_by(rows: list[Row], x: str) -> list[str]:
    """What else varies: kinds of measurement and settings."""
    times = [] if x in TIMES else summary.varied(rows, TIMES[:1])
    return [name for name in [*summary.varied(rows, KINDS), *times, *_settings(rows)] if name != x]
