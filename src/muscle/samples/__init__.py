"""Two pairs of files to try a comparison on, before there are any of one's own.

Two versions that never were, their answers written by hand: capitals (a table with answers and what was expected) and
tickets (lines with a verdict in words). They show the forms of files, and say nothing of any model.
"""

from __future__ import annotations

import shlex
from pathlib import Path

_FOLDER = Path(__file__).parent


def capitals() -> tuple[str, str]:
    """Return the old and the new version's file of the pair with `question`, `expected` and `prediction`."""
    return str(_FOLDER / "capitals_old.csv"), str(_FOLDER / "capitals_new.csv")


def tickets() -> tuple[str, str]:
    """Return the old and the new version's file of the pair with `prompt`, `response` and `passed`."""
    return str(_FOLDER / "tickets_old.jsonl"), str(_FOLDER / "tickets_new.jsonl")


def what_next() -> str:
    """Return what stands below the example's report: which files they were, and what to try now."""
    return (
        f"\nTwo sample files, their answers made up: {' and '.join(capitals())}\n"
        f"Another pair, with verdicts in words:\n  muscle compare {shlex.join(tickets())}\n"
        "Your own files, with columns such as question, expected and prediction:\n  muscle compare old.csv new.csv"
    )
