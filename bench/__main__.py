"""The command: ``python -m bench``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cases import CASES
from bench.compare import Choice, DisagreementError, measure
from bench.memory import peak_memory
from bench.peers import TASKS
from bench.report import environment, table

PEERS = sorted({peer.name for peers in TASKS.values() for peer in peers} - {"patterndim"})

DESCRIPTION = """\
Time patterndim against its peers: numpy, and jax, torch, tensorflow and flint where they are
installed.

All peers get the same inputs in one process; building, converting and compiling is not timed.
First everyone runs once and the answers are compared: if they do not agree, the command says who
answers what and exits with status 1.  Then they run in turn, round after round, and the result is
the median of the ratios (peer / patterndim) of the rounds: above 1, patterndim is faster.
"""

EPILOG = """\
examples:
  python -m bench --smoke                    does it all still work?
  python -m bench --out results.json         everything but the slowest peers
  python -m bench digits600 --peer numpy     one case against one peer
  python -m bench jacobian ntk --table       a table for the README
  python -m bench.scaling --figure FILE.png  times against inputs, width, depth and rank
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="cases to run (default: all)")
    parser.add_argument("--list", action="store_true", help="list the cases and exit")
    parser.add_argument("--smoke", action="store_true", help="the smallest size of every case")
    parser.add_argument(
        "--peer",
        action="append",
        choices=PEERS,
        default=[],
        help="only this peer; may be repeated (default: all that are installed)",
    )
    parser.add_argument(
        "--slow",
        action="store_true",
        help="also peers that take many minutes; implied by naming cases",
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="how often each runs (default: 3, with --smoke 1)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON to a file")
    parser.add_argument(
        "--table", action="store_true", help="print a Markdown table of the ratios, not the JSON"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    options = parser().parse_args(arguments)
    if unknown := [name for name in options.cases if name not in CASES]:
        parser().error(f"no case {unknown[0]!r}; the cases are {', '.join(CASES)}")
    rounds = (1 if options.smoke else 3) if options.rounds is None else options.rounds
    if rounds < 1:
        parser().error(f"--rounds must be at least 1, got {rounds}")
    if options.list:
        for case in CASES.values():
            print(f"{case.name:14}{case.summary}; peers: {', '.join(case.peers)}")
        return 0
    choice = Choice(options.peer, slow=options.slow or bool(options.cases))
    results = []
    for name in options.cases or [n for n, c in CASES.items() if options.smoke or not c.named]:
        case = CASES[name]
        for index, size in enumerate(case.smoke if options.smoke else case.sizes):
            _say(f"{name}: {size.label}")
            try:
                result = measure(case, size, choice, rounds, _say_more)
            except DisagreementError as error:
                _say(f"no agreement on {name} ({size.label}): {error}")
                return 1
            result |= peak_memory(name, index, options.smoke)
            _say_times(result)
            results.append(result)
    command = " ".join(["python -m bench", *arguments])
    document = {"environment": environment(command), "cases": results}
    text = json.dumps(document, indent=2)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    if options.table:
        print(table(document))
    elif options.out is None:
        print(text)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _say_more(text: str) -> None:
    _say(f"  {text}")


def _say_times(result: dict[str, Any]) -> None:
    for peer in result["peers"]:
        if peer["status"] == "measured":
            text = f"{peer['median_seconds']:.3g} s, ratio {peer['median_ratio']:.3g}"
        else:
            text = peer["status"]
        _say_more(f"{peer['name']}: {text}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
