"""One task of a leaderboard as rows of text, which terminal and page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from muscle.leaderboard.choose import RULE
from muscle.leaderboard.entries import Control
from muscle.leaderboard.result import Leaderboard, Row, RowNumbers, Spread, TaskBoard
from muscle.report.numbers import DASH, Form, format_number

CONTROL_NAMES: Mapping[Control, str] = {
    "plain": "plain",
    "floor": "floor",
    "twin": "twin",
    "third": "third",
    "longer": "longer",
    "no_teacher": "no teacher",
    "twin_as_old": "twin as old",
    "third_as_old": "third as old",
}


@dataclass(frozen=True)
class NumberColumn:
    """A column of figures.

    Attributes:
        title: at its head.
        number: the field of `SeedNumbers`.
        form: how it is written.
    """

    title: str
    number: str
    form: Form


def columns_of(board: TaskBoard) -> list[NumberColumn]:
    """Return the figures that a task's table has."""
    binary = board.kind == "binary"
    found = [
        NumberColumn("accuracy" if binary else "score", "accuracy", "rate" if binary else "score"),
        NumberColumn("NFR", "negative_flip_rate", "rate"),
        NumberColumn("vs plain", "negative_flip_rate_change_percent", "percent"),
        NumberColumn("PFR", "positive_flip_rate", "rate"),
    ]
    if binary:
        return [*found, NumberColumn("NFR_mc", "inconsistency_rate", "rate")]
    return [*found, NumberColumn("m_g", "mean_gain", "score"), NumberColumn("m_r", "mean_regression", "score")]


def shown_rows(leaderboard: Leaderboard, task: str) -> list[Row]:
    """Return the rows of a task's table; one that is nowhere scored stands in each."""
    return [row for row in leaderboard.rows if task in row.tasks or not row.tasks]


def spread_text(spread: Spread | None, form: Form) -> str:
    """Write a mean and its spread.

    >>> spread_text(Spread(0.0278, 0.0012, 3), "rate"), spread_text(Spread(0.5, None, 1), "rate")
    ('2.8% ± 0.1', '50.0%')
    """
    if spread is None:
        return DASH
    mean = format_number(spread.mean, form)
    if spread.sd is None:
        return mean
    return f"{mean} ± {format_number(spread.sd, form).lstrip('+').removesuffix('%')}"


def short_spread(spread: Spread | None, form: Form) -> str:
    """Write a mean and its spread without their unit.

    >>> short_spread(Spread(0.0278, 0.0012, 3), "rate")
    '2.8 ± 0.1'
    """
    return spread_text(spread, form).replace("%", "")


def beats_text(numbers: RowNumbers) -> str:
    """Say which controls a row beats, and which not."""
    held = numbers.comparisons
    beaten = [CONTROL_NAMES[each.control] for each in held if each.beats]
    others = [CONTROL_NAMES[each.control] for each in held if not each.beats]
    if not held:
        return ""
    parts = [", ".join(beaten) or "none"]
    if others:
        parts.append(f"not {', '.join(others)}")
    return "; ".join(parts)


def failure_text(row: Row) -> str:
    """Say which seeds are missing and why; empty where none is."""
    return "; ".join(f"seed {seed}: {why}" for seed, why in row.failed.items())


def mark_of(row: Row, board: TaskBoard) -> str:
    """Return the sign before a row's name: the chosen row has one."""
    return "→ " if row.name == board.chosen else ""


def chosen_text(board: TaskBoard) -> str:
    """Say by which rule a row was chosen and on which items, and what comes of choosing on half of them."""
    found = f"{RULE}; chosen on {board.chosen_on}."
    if board.held_out is None:
        return found
    half = board.held_out
    form: Form = "rate" if board.kind == "binary" else "score"
    broke, plain = (format_number(value, "rate") for value in (half.negative_flip_rate, half.plain_negative_flip_rate))
    levels = [format_number(value, form) for value in (half.accuracy, half.plain_accuracy)]
    return (
        f"{found} Chosen on {half.chosen_on:,} of them alone, {half.row} breaks {broke} of the {half.n:,} others "
        f"(plain update {plain}) at {levels[0]} ({levels[1]})."
    )


def failed_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of which something is missing."""
    return [row for row in rows if row.failed]
