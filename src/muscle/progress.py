"""Progress with the time left, on standard error, for anything that may last longer than two seconds.

A terminal gets a bar; a log file gets a line a minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

logger = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 60.0
_quiet = False


def set_quiet(quiet: bool) -> None:
    """Switch all progress bars off (or on again)."""
    global _quiet
    _quiet = quiet


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Show a bar while the block runs.

    Args:
        description: what is being done.
        total: steps until the end.

    Yields:
        A function of (steps done so far, a short remark shown behind the bar).

    Example:
        >>> set_quiet(True)
        >>> with progress_bar("counting", 3) as show:
        ...     show(3, "")
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_a_minute(description, total)
        return
    with Progress(*columns, console=console, disable=_quiet, transient=True) as bar:
        task = bar.add_task(description, total=total, remark="")

        def show(completed: int, remark: str) -> None:
            bar.update(task, completed=completed, remark=remark)

        yield show


def _line_a_minute(description: str, total: int) -> Callable[[int, str], None]:
    start = last = time.monotonic()

    def show(completed: int, remark: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES and 0 < completed < total:
            last = now
            left = (now - start) / completed * (total - completed)
            logger.info(
                "%s: %d of %d, about %.0f min left %s", description, completed, total, left / 60, remark
            )

    return show
