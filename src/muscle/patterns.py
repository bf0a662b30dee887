"""Regular expressions of the user's in Python's syntax, which can take for ever on a text (`(a+)+$` on many a's).

Where polars runs them (slices, causes) their time is linear in the text; these have a limit of time instead.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from muscle.errors import ConfigError

SECONDS = 10.0


@contextmanager
def time_limit(what: str, *, seconds: float | None = None) -> Iterator[None]:
    """Stop a block that matches regular expressions once it took too long; `re` looks for signals while it matches.

    Signals come to the main thread, and not on Windows; elsewhere there is no limit.

    Args:
        what: the setting that holds the expression, for the message.
        seconds: how long the block may take; None takes `SECONDS`.

    Raises:
        ConfigError: it took longer.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    limit = SECONDS if seconds is None else seconds

    def stop(*_: object) -> None:
        raise ConfigError(
            f"{what}: expected a regular expression that is found or not within {limit:g} s, found one that "
            "takes longer: nested repeats such as (a+)+ try every way to split a text"
        )

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
