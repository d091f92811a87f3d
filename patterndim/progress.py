"""Progress for people who watch a terminal."""

from typing import TextIO


class ProgressLine:
    """One line on a terminal that rewrites itself and leaves nothing behind."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream if stream.isatty() else None
        self.length = 0

    def __call__(self, rank: int, upper: int) -> None:
        """Show the rank so far."""
        self.show(f"rank {rank:,} of at most {upper:,}")

    def show(self, text: str) -> None:
        """Replace the line."""
        if self.stream is not None:
            self.stream.write("\r" + text.ljust(self.length) + ("\r" if not text else ""))
            self.stream.flush()
            self.length = len(text)

    def clear(self) -> None:
        """Remove the line."""
        if self.length:
            self.show("")
