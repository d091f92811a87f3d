"""
The one check command: ``python -m tests``.

Formatting, lint, import contracts, types, tests compiled, tests interpreted with branch
coverage, and the benchmarks at their smallest size, each with a fresh numba cache.  Arguments
are names of steps to run; the default is all of them.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
COVERAGE = 90  # percent of branches that the interpreted tests alone must reach
COVERED = [
    "--cov=patterndim",
    "--cov-report=term-missing:skip-covered",
    f"--cov-fail-under={COVERAGE}",
]

LINT = "from importlinter.cli import lint_imports"

STEPS = {
    "format": [[PYTHON, "-m", "ruff", "format", "--check", "."]],
    "lint": [[PYTHON, "-m", "ruff", "check", "."]],
    "contracts": [[PYTHON, "-c", f"{LINT}; raise SystemExit(lint_imports())"]],
    "types": [[PYTHON, "-m", "mypy"]],
    "compiled": [[PYTHON, "-m", "pytest", "-q", "-n", "2", "--durations=5"]],
    "interpreted": [[PYTHON, "-m", "pytest", "-q", "-m", "not compiled", "-n", "2", *COVERED]],
    "bench": [
        [PYTHON, "-m", "bench", "--smoke", "--out", os.devnull],
        [PYTHON, "-m", "bench.reference", "--smoke"],
    ],
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        print(f"tests: error: steps are {', '.join(STEPS)}, got {unknown[0]}", file=sys.stderr)
        return 2
    results = []
    for name in names or STEPS:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONDONTWRITEBYTECODE": "1"}
            if name in ("compiled", "interpreted"):
                environment["OPENBLAS_NUM_THREADS"] = "1"  # two processes share the cores
            if name == "interpreted":
                environment["NUMBA_DISABLE_JIT"] = "1"
            good = True
            for command in STEPS[name]:
                print(f"\n== {name}: {' '.join(command[1:])}", flush=True)
                good = good and subprocess.run(command, cwd=ROOT, env=environment).returncode == 0
        results.append((name, good, time.perf_counter() - start))
    print()
    for name, good, seconds in results:
        print(f"{name:12} {'passed' if good else 'FAILED':7} {seconds:7.1f} s")
    return 0 if all(good for _, good, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
