"""Progress with the time left, on standard error, for anything that may last longer than two seconds.

A terminal gets a bar; a log file gets a line a minute.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from muscle.foreign_text import message_line, middle_cut

logger = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 60.0
_SECONDS_BEFORE_BAR = 2.0
_SECONDS_BETWEEN_FRAMES = 0.2
_NAME = 40
"""Characters of a step's name: a longer one would push what changes out of a line of 80."""
_MAX_SHARE_OF_STEP = 0.95
"""A step that takes longer than was thought stays here until it is done."""

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Switch all progress bars off (or on again)."""
    global _quiet
    _quiet = quiet


class _Line(logging.Formatter):
    """One line a message, in which nothing acts."""

    def format(self, record: logging.LogRecord) -> str:
        return message_line(super().format(record))


def show_log(level: int) -> None:
    """Show the log from a level on, on standard error; no library's warnings, which are for their developers."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line("%(message)s"))
    ours = logging.getLogger("muscle")
    ours.handlers = [handler]
    ours.setLevel(level)
    warnings.simplefilter("ignore")


@contextmanager
def told_once(*names: str) -> Iterator[None]:
    """Let loggers tell each message once while the block runs: what many jobs find of the same data is one thing.

    Args:
        names: of the loggers.
    """
    told: set[str] = set()

    def is_first(record: logging.LogRecord) -> bool:
        known = len(told)
        told.add(record.getMessage())
        return len(told) > known

    loggers = [logging.getLogger(name) for name in names]
    for each in loggers:
        each.addFilter(is_first)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(is_first)


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
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}", markup=False),
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
            logger.info("%s: %d of %d, about %.0f min left %s", description, completed, total, left / 60, remark)

    return show


class _Clock:
    """How far a row of steps is, guessed from the time that the steps before took."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self._guesses = dict(seconds)
        self._done = 0.0
        self._begun = self._step_begun = time.monotonic()
        self.step: str | None = None

    def begin(self, step: str) -> None:
        """End the step before and begin the next one."""
        now = time.monotonic()
        if self.step is not None:
            self._done += self._guesses.pop(self.step)
        self.step, self._step_begun = step, now

    def share(self) -> float:
        """Return the share of the work that is done, in [0, 1]."""
        if self.step is None:
            return 0.0
        guess = self._guesses[self.step]
        ahead = sum(self._guesses.values())
        spent = time.monotonic() - self._step_begun
        # The steps before tell how fast this machine is; the first step has only the guess.
        pace = (self._step_begun - self._begun) / self._done if self._done > 0 else 1.0
        running = min(_MAX_SHARE_OF_STEP * guess, spent / max(pace, 1e-6))
        return (self._done + running) / max(self._done + ahead, 1e-6)

    def seconds_left(self) -> float:
        """Return the seconds that are left, by the time that the share took."""
        share = self.share()
        return (time.monotonic() - self._begun) * (1 - share) / max(share, 1e-6)


@contextmanager
def step_bar(seconds: Mapping[str, float]) -> Iterator[Callable[[str], None]]:
    """Show how far a row of steps is that cannot be counted while they run; nothing for two seconds.

    Reading a file is such a step.

    Args:
        seconds: the steps by name, in their order, with a guess of the seconds that each takes. Only their relation
            counts once the first is done.

    Yields:
        A function to call with a step's name when it begins.

    Example:
        >>> set_quiet(True)
        >>> with step_bar({"reading": 1.0, "comparing": 2.0}) as begin:
        ...     begin("reading")
        ...     begin("comparing")
    """
    clock, over = _Clock(seconds), threading.Event()
    watcher = threading.Thread(target=_watch, args=(clock, over), daemon=True)
    if not _quiet:
        watcher.start()
    try:
        yield clock.begin
    finally:
        over.set()
        if watcher.ident is not None:
            watcher.join()


def _watch(clock: _Clock, over: threading.Event) -> None:
    """Show a clock until the work is over."""
    if over.wait(_SECONDS_BEFORE_BAR):
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    console = Console(stderr=True)
    if not console.is_terminal:
        while not over.wait(_SECONDS_BETWEEN_LINES):
            logger.info("%s: %.0f%% done, about %.0f s left", clock.step, 100 * clock.share(), clock.seconds_left())
        return
    columns = (
        # What changes stands first: a long name would push it out of sight.
        TextColumn("{task.percentage:>3.0f}%"),
        BarColumn(bar_width=12),
        TextColumn("about {task.fields[left]:.0f} s left", table_column=Column(no_wrap=True)),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(middle_cut(clock.step or "", _NAME), total=1.0, left=clock.seconds_left())
        while not over.wait(_SECONDS_BETWEEN_FRAMES):
            bar.update(
                task,
                description=middle_cut(clock.step or "", _NAME),
                completed=clock.share(),
                left=clock.seconds_left(),
            )
