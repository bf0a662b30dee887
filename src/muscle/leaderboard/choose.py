"""The chosen point: the fewest negative flips, at an accuracy of the plain update's or better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muscle.leaderboard.result import Row

RULE = "fewest negative flips among the rows at least as accurate as the plain update"


def plain_of(rows: Sequence[Row], row: Row) -> Row | None:
    """Return the plain update of a row's group."""
    return next((each for each in rows if each.role == "plain" and each.group == row.group), None)


@dataclass(frozen=True)
class Candidate:
    """A row that may be chosen.

    Attributes:
        name: of the row.
        flips: its negative flip rate.
        level: its accuracy, or its mean score.
        plain_level: the plain update's.
    """

    name: str
    flips: float
    level: float
    plain_level: float


def best_of(candidates: Sequence[Candidate]) -> str | None:
    """Return who is chosen by the rule; of equals the more accurate, then the first. None where nobody can be."""
    found = [
        (each.flips, -each.level, place, each.name)
        for place, each in enumerate(candidates)
        if each.level >= each.plain_level
    ]
    return min(found)[-1] if found else None


def chosen_row(rows: Sequence[Row], task: str) -> Row | None:
    """Return the row to take on one task, by means over seeds: a method, or a control that is an update of its own.

    Rows that some seeds lack are left out, and so are those that serve two models.

    Returns:
        The row; None where none is as accurate as the plain update.
    """
    candidates = []
    for row in rows:
        plain = plain_of(rows, row)
        if not row.eligible or row.failed or task not in row.tasks or plain is None or task not in plain.tasks:
            continue
        flips, level = (row.tasks[task].mean(name) for name in ("negative_flip_rate", "accuracy"))
        plain_level = plain.tasks[task].mean("accuracy")
        if flips is not None and level is not None and plain_level is not None:
            candidates.append(Candidate(row.name, flips, level, plain_level))
    chosen = best_of(candidates)
    return next((row for row in rows if row.name == chosen), None)
