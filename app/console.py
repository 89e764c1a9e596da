"""What the terminal shows: progress while work goes on, then a summary."""

import logging
import time

from rich.console import Console
from rich.markup import escape

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


class Progress(logging.Handler):
    """Prints what the rooms report while they work, with the seconds since the start, to standard error."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._start = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        elapsed = time.monotonic() - self._start
        errors.print(f"[dim]{elapsed:6.1f} s[/dim]  {escape(record.getMessage())}", soft_wrap=True)


def show_progress() -> None:
    """Send the rooms' progress to the terminal for the rest of the process."""
    logger = logging.getLogger("rwcm")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [Progress()]


def table(rows: list[tuple[str, ...]], *, indent: str = "  ") -> str:
    """Return rows as aligned text: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        indent
        + "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
