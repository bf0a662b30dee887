"""The chosen point: the fewest negative flips, at an accuracy of the plain update's or better."""

from __future__ import annotations

from collections.abc import Sequence

from muscle.leaderboard.result import Row

RULE = "fewest negative flips among the rows at least as accurate as the plain update"


def plain_of(rows: Sequence[Row], row: Row) -> Row | None:
    """Return the plain update of a row's group."""
    return next((each for each in rows if each.role == "plain" and each.group == row.group), None)


def chosen_row(rows: Sequence[Row], task: str) -> Row | None:
    """Return the row to take on one task, by means over seeds: a method, or a control that is an update of its own.

    Rows that some seeds lack are left out, and so are those that serve two models.

    Returns:
        The row; None where none is as accurate as the plain update.
    """
    found: list[tuple[float, float, int, Row]] = []
    for place, row in enumerate(rows):
        plain = plain_of(rows, row)
        if not row.eligible or row.failed or task not in row.tasks or plain is None or task not in plain.tasks:
            continue
        flips, accuracy, floor = (
            row.tasks[task].mean("negative_flip_rate"),
            row.tasks[task].mean("accuracy"),
            plain.tasks[task].mean("accuracy"),
        )
        if flips is not None and accuracy is not None and floor is not None and accuracy >= floor:
            found.append((flips, -accuracy, place, row))
    return min(found)[-1] if found else None
