"""Where and when it was measured, and the table for the README."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import patterndim
from patterndim.kernels import thread_count

PACKAGES = ("numpy", "scipy", "numba", "jax", "torch", "tensorflow", "python-flint")


def environment(command: str) -> dict[str, Any]:
    """Machine, versions and threads; call it last, when every library has been loaded."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": _memory(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "patterndim": patterndim.__version__,
        **{package: _version(package) for package in PACKAGES},
        "NUMBA_NUM_THREADS": thread_count(),
        "threadpools": _threadpools(),
    }


def table(document: Mapping[str, Any]) -> str:
    """Ratios of all cases in Markdown, with the date and the command."""
    environment = document["environment"]
    lines = [
        "| case | size | answer | patterndim, seconds | peer | ratio |",
        "|---|---|---|---:|---|---:|",
    ]
    for result in document["cases"]:
        own, *others = (peer for peer in result["peers"] if peer["status"] == "measured")
        start = (result["case"], result["size"], _answer(result["answer"]))
        for peer in others or [None]:
            end = (peer["name"], _figure(peer["median_ratio"])) if peer else ("none", "")
            cells = (*start, _figure(own["median_seconds"]), *end)
            lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Ratio: time of the peer over that of patterndim.  `{environment['command']}`, "
        f"{environment['date'][:10]}, {environment['cpu_count']} cores ({environment['cpu']}).",
    ]
    return "\n".join(lines)


def _answer(answer: Mapping[str, Any]) -> str:
    if "shape" in answer:
        return " x ".join(str(length) for length in answer["shape"])
    if "kind" not in answer:
        return str(answer["value"])
    # With a modulus that was given, the answer is the rank modulo it and nothing else is claimed.
    kind = "modulo p" if answer["failure_probability"] == 1.0 else answer["kind"]
    return f"{answer['value']} ({kind})"


def _figure(number: float) -> str:
    """Three significant digits, without exponent for large numbers."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # not everywhere
        return None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _threadpools() -> list[dict[str, Any]] | str:
    if find_spec("threadpoolctl") is None:
        return "threadpoolctl is not installed"
    from threadpoolctl import threadpool_info

    # Where the libraries lie is nobody's business.
    return [{k: v for k, v in pool.items() if k != "filepath"} for pool in threadpool_info()]
