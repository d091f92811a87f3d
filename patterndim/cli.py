"""The command line: ``patterndim COMMAND``, one file of `patterndim.commands` each."""

import argparse
import os
import sys
from collections.abc import Sequence

import patterndim
from patterndim.commands import crosscheck, demo, dimension, explain, functional
from patterndim.errors import PatterndimError
from patterndim.progress import ProgressLine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help()
        return 0
    progress = ProgressLine(sys.stderr)
    try:
        status: int = options.run(options, progress)
        sys.stdout.flush()
        return status
    except PatterndimError as error:
        progress.clear()
        print(f"patterndim: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        progress.clear()
        return 130
    except BrokenPipeError:
        # The reader has gone: what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="patterndim",
        description="Exact local dimension of ReLU networks from their activation patterns.",
    )
    parser.set_defaults(run=None)
    parser.add_argument(
        "--version", action="version", version=f"patterndim {patterndim.__version__}"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (demo, dimension, functional, explain, crosscheck):
        command.add(commands)
    return parser
