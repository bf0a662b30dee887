"""Two versions' verdicts as tables: so many items right in both, lost, gained, and wrong in both."""

from __future__ import annotations

from typing import Any

import polars as pl


def table(correct: list[Any], **columns: list[Any]) -> pl.DataFrame:
    """Return a run: a row a verdict, with ids that count, and further columns."""
    return pl.DataFrame({"id": [str(i) for i in range(len(correct))], "correct": correct, **columns})


def verdicts(both: int, lost: int, gained: int, neither: int) -> tuple[list[bool], list[bool]]:
    """Return the old and the new version's verdicts."""
    old = [True] * (both + lost) + [False] * (gained + neither)
    new = [True] * both + [False] * lost + [True] * gained + [False] * neither
    return old, new


def versions(
    both: int, lost: int, gained: int, neither: int, **columns: list[Any]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the old and the new version as runs, with further columns that both have."""
    old, new = verdicts(both, lost, gained, neither)
    return table(old, **columns), table(new, **columns)
