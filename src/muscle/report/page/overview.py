"""The table of all tasks: level, difference, flips and test of each, for the plain update and the candidate."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from muscle.flips.pairing.flip_sign import Kind
from muscle.flips.result.report import Report, TaskResult
from muscle.report.entries import TaskSide, sides
from muscle.report.numbers import Form
from muscle.report.page.data_elements import cell, integer, lone_number, number, pointer
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


HEAD = ("Before → after", "Difference", "Broke, NFR", "Gained, PFR", "p, over tasks")


def overview_rows(report: Report) -> list[list[OverviewRow]]:
    """Return the rows of each task; empty where there is one task, whose metrics say it all."""
    if len(report.tasks) < 2:
        return []
    listed = {flip.task for flip in report.flips}
    return [_rows_of_task(name, task, name in listed) for name, task in report.tasks.items()]


def _rows_of_task(name: str, task: TaskResult, is_listed: bool) -> list[OverviewRow]:
    present = sides(task)
    link = examples_link(listed=is_listed, task=name)
    return [
        OverviewRow(name, 0 if position else len(present), side.title, link, _row_cells(name, task.kind, side))
        for position, side in enumerate(present)
    ]


def _row_cells(name: str, kind: Kind, side: TaskSide) -> tuple[Markup, ...]:
    numbers, binary = side.numbers, kind == "binary"
    level: Form = "rate" if binary else "score"
    change: Form = "points" if binary else "signed"

    def where(key: str) -> str:
        return pointer("tasks", name, side.key, key)

    old = number(numbers.accuracy_old, where("accuracy_old"), level)
    new = number(numbers.accuracy_new, where("accuracy_new"), level)
    # Corrected over the tasks once all of them are measured; the numbers of a single task have the plain test alone.
    test, p_value = "mcnemar_bh_p", numbers.mcnemar_bh_p
    if p_value is None:
        test, p_value = "mcnemar_exact_p", numbers.mcnemar_exact_p
    return (
        integer(numbers.n, where("n")),
        Markup('<span class="together">{} → {}</span>').format(old, new),
        cell(numbers.accuracy_difference, where("accuracy_difference"), change),
        cell(numbers.negative_flip_rate, where("negative_flip_rate"), "rate"),
        cell(numbers.positive_flip_rate, where("positive_flip_rate"), "rate"),
        lone_number(p_value, where(test), "probability"),
    )
