"""How far a sweep is, for people who watch a terminal."""

from importlib import import_module
from time import perf_counter
from typing import Any, TextIO

from patterndim.progress import ProgressLine


class Bar:
    """
    Tasks finished and failed, rate and time left; tqdm's bar if it is installed, else one line.

    Nothing is shown where the stream is no terminal, and nothing stays when it is closed.
    """

    def __init__(self, stream: TextIO) -> None:
        self.line = ProgressLine(stream)
        self.stream = stream
        self.bar: Any = None
        self.start: tuple[float, int] | None = None

    def __call__(self, finished: int, failed: int, total: int) -> None:
        """Show how far it is."""
        if self.start is None:
            self.start = perf_counter(), finished
            if self.stream.isatty():
                self.bar = _tqdm(total=total, initial=finished, file=self.stream)
        if self.bar is not None:
            self.bar.set_postfix_str(f"{failed} failed" if failed else "", refresh=False)
            self.bar.update(finished - self.bar.n)
            return
        self.line.show(describe(finished, failed, total, self.start, perf_counter()))

    def close(self) -> None:
        """Remove it from the terminal."""
        self.line.clear()
        if self.bar is not None:
            self.bar.close()


def describe(finished: int, failed: int, total: int, start: tuple[float, int], now: float) -> str:
    """One line; ``start`` is when the sweep began and how many tasks were finished then."""
    text = f"{finished:,} of {total:,} tasks"
    text += f", {failed:,} failed" if failed else ""
    done, seconds = finished - start[1], now - start[0]
    if done and seconds:
        rate = done / seconds
        pace = f"{rate:.1f} a second" if rate >= 1 else f"{1 / rate:.1f} s each"
        minutes, rest = divmod(round((total - finished) / rate), 60)
        hours, minutes = divmod(minutes, 60)
        left = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
        text += f", {pace}, {left} left"
    return text


def _tqdm(**options: Any) -> Any:
    try:
        tqdm = import_module("tqdm").tqdm
    except ImportError:
        return None
    return tqdm(unit="task", leave=False, dynamic_ncols=True, **options)
