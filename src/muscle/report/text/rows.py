"""The table of tasks that Markdown and terminal show alike: a row for each comparison with the old version.

The texts hold names from files; each form escapes them in its own way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.result.report import Report
from muscle.flips.statistics.intervals import Estimate
from muscle.report.entries import shown_tasks, updates
from muscle.report.numbers import (
    Form,
    count,
    estimate,
    format_number,
    interval_alone,
    probability,
    value_alone,
)


@dataclass(frozen=True)
class TaskRow:
    """One comparison with the old version on one task, written out.

    Attributes:
        task: the task's name, as it stands in the report.
        version: the name of what is compared with the old version.
        items: how many items.
        level: accuracy (or mean score) of old and of this version.
        difference: of the two, with its interval.
        lost: negative flips: count and rate.
        lost_interval: its 95 % interval, in brackets.
        gained: positive flips: count and rate.
        gained_interval: its 95 % interval, in brackets.
        p_value: exact McNemar; over the groups where items are grouped.
    """

    task: str
    version: str
    items: str
    level: str
    difference: str
    lost: str
    lost_interval: str
    gained: str
    gained_interval: str
    p_value: str


def task_rows(report: Report, *, max_tasks: int) -> Iterator[TaskRow]:
    """Write each task's comparisons with the old version: plain update, candidate, others.

    Args:
        report: of a comparison or of the gate.
        max_tasks: of more tasks, those with the highest negative flip rate are shown.
    """
    for name in shown_tasks(report, max_tasks):
        task = report.tasks[name]
        found = [(version, task.numbers(side)) for side, version in updates(report)]
        found += [(other.name, other.tasks.get(name)) for other in report.others]
        for version, numbers in found:
            if numbers is not None:
                yield _task_row(name, version, numbers, binary=task.kind == "binary")


def _task_row(task: str, version: str, numbers: SideNumbers, *, binary: bool) -> TaskRow:
    level: Form = "rate" if binary else "score"
    old, new = (value_alone(each, level) for each in (numbers.accuracy_old, numbers.accuracy_new))
    return TaskRow(
        task,
        version,
        count(numbers.n),
        f"{old} \N{RIGHTWARDS ARROW} {new}",
        estimate(numbers.accuracy_difference, "points" if binary else "signed"),
        _count_and_rate(numbers.negative_flip_rate, numbers.n),
        interval_alone(numbers.negative_flip_rate, "rate"),
        _count_and_rate(numbers.positive_flip_rate, numbers.n),
        interval_alone(numbers.positive_flip_rate, "rate"),
        # Answers to one item are no independent pairs: their exact test would be too sure.
        probability(numbers.two_sided_p),
    )


def _count_and_rate(rate: Estimate, total: int) -> str:
    if rate.value is None:
        return "undefined"
    return f"{count(round(rate.value * total))}: {format_number(rate.value, 'rate')}"


def p_title(report: Report) -> str:
    """Return what heads the column of p-values: which test they are of."""
    grouped = {
        numbers.clustered_p is not None
        for task in report.tasks.values()
        for numbers in (task.old_vs_new, task.old_vs_candidate)
        if numbers is not None
    }
    return {True: "p by groups", False: "McNemar p"}[grouped.pop()] if len(grouped) == 1 else "p"
