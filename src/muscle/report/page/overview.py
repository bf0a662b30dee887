"""The table of all tasks: level, difference, flips and test of each, for the plain update and the candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from muscle.report.numbers import Form, format_number
from muscle.report.page.data_elements import ABSENT, cell, figure, integer, number, pointer
from muscle.report.page.figures import Report, num_items, sides
from muscle.report.page.table import examples_link

SHOWN_TASKS = 25
"""Tasks that stand open; the rest is folded away."""


@dataclass(frozen=True)
class OverviewRow:
    """A task under one update; `span` rows from the task's first one on are its own, 0 for the others."""

    task: str
    span: int
    side: str
    link: str | None
    cells: tuple[Markup, ...]


HEAD = ("Items", "Before → after", "Difference", "Broke, NFR", "Gained, PFR", "p, over tasks")


def overview_rows(report: Report) -> list[list[OverviewRow]]:
    """Return the rows of each task; empty where there is one task, whose metrics say it all."""
    if len(report["tasks"]) < 2:
        return []
    listed = {flip["task"] for flip in report["flips"]}
    return [_rows(name, task, name in listed) for name, task in report["tasks"].items()]


def _rows(name: str, task: Mapping[str, Any], is_listed: bool) -> list[OverviewRow]:
    present = sides(task)
    return [
        OverviewRow(
            name,
            len(present) if position == 0 else 0,
            title,
            examples_link(listed=is_listed, task=name),
            _cells(name, task, key),
        )
        for position, (key, _, title) in enumerate(present)
    ]


def _cells(name: str, task: Mapping[str, Any], side: str) -> tuple[Markup, ...]:
    metrics, binary = task[side], task["kind"] == "binary"
    level: Form = "rate" if binary else "score"
    old, new = (
        number(metrics[key], pointer("tasks", name, side, key), level) for key in ("accuracy_old", "accuracy_new")
    )  # fmt: skip
    # Corrected over the tasks where the report has that; the plain test's p in older reports.
    test = next((t for t in ("mcnemar_bh_p", "mcnemar_exact_p") if metrics.get(t) is not None), None)
    p_value = ABSENT
    if test:
        p_value = figure(
            metrics[test], format_number(metrics[test], "probability"), pointer("tasks", name, side, test)
        )
    return (
        integer(num_items(task, side), pointer("tasks", name, side, "n")),
        Markup('<span class="together">{} → {}</span>').format(old, new),
        cell(metrics["accuracy_difference"], pointer("tasks", name, side, "accuracy_difference"), "points" if binary else "signed"),
        cell(metrics["negative_flip_rate"], pointer("tasks", name, side, "negative_flip_rate"), "rate"),
        cell(metrics["positive_flip_rate"], pointer("tasks", name, side, "positive_flip_rate"), "rate"),
        p_value,
    )  # fmt: skip
