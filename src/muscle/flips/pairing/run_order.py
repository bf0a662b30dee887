"""Whether the old run is the later one, by what the runs say of when they were made.

Two runs that are given in swapped order turn every loss into a gain, so that a gate passes what it should block. A
later old run may also be right (the old version was asked anew): so it is told, and refuses nothing. Where both
versions were run within a day, one session made both, and which came first says nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from muscle.predictions.run import Run

_MILLISECONDS = 1e11
"""From here on a number of seconds would be of the year 5138: it counts milliseconds."""

_ONE_SESSION = timedelta(days=1)
"""Runs that lie less apart may be of one job, which runs both versions in whichever order."""

_DASHED_TIME = re.compile(r"(T\d\d)-(\d\d)-(\d\d)")
"""As lighteval writes times, for names of files."""


def told_order(old: Run, new: Run) -> str | None:
    """Say that the old run was made a day or more after the new one; None where not, or where one does not say when."""
    dates = [_moment(run.metadata.get("created")) for run in (old, new)]
    if dates[0] is None or dates[1] is None or dates[0] - dates[1] < _ONE_SESSION:
        return None
    written = " against ".join(f"{date:%Y-%m-%d %H:%M}" for date in dates if date is not None)
    return f"{old.name} was run after {new.name} ({written}): expected the old version first, is the order right?"


def _moment(value: object) -> datetime | None:
    """Return a date as harnesses write it: ISO 8601, or seconds or milliseconds since 1970; None where it is none.

    >>> _moment("2026-01-05T10-20-30.5"), _moment(1767225600.0) == _moment("2026-01-01T00:00:00Z")
    (datetime.datetime(2026, 1, 5, 10, 20, 30, 500000, tzinfo=datetime.timezone.utc), True)
    """
    try:
        if isinstance(value, str) and not _counts_seconds(value):
            found = datetime.fromisoformat(_DASHED_TIME.sub(r"\1:\2:\3", value.strip()))
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        seconds = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
        return datetime.fromtimestamp(seconds / (1000 if seconds > _MILLISECONDS else 1), UTC) if seconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None


def _counts_seconds(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
