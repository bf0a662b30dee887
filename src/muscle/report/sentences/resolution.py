"""How much a test set can show: the smallest change that it would have found, and the items that it would take."""

from __future__ import annotations

import math

from muscle.flips.measuring.counting import BinaryCounts, ScoreCounts
from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.result.report import Report
from muscle.report.entries import shown_tasks
from muscle.report.numbers import Form, count, format_number

FEW_FLIPS = 25
"""Up to so many flips the chance that more breaks than is gained says more than a p-value."""

CLEAR = 0.05
"""A p-value that leaves no question."""

MAX_ITEMS = 10_000_000
"""A change that would take more items is as good as none."""


def resolution_lines(report: Report, *, max_tasks: int) -> list[str]:
    """Return a line a task that shows no clear change: the smallest that its items would show, and what it takes.

    The smallest is found with a power of 80 %.

    Args:
        report: of a comparison or of the gate.
        max_tasks: of more tasks, those with the highest negative flip rate are told.
    """
    side = report.judged_side
    lines = []
    for name in shown_tasks(report, max_tasks):
        task = report.tasks[name]
        numbers, counts = task.numbers(side), task.quadrants.get(side)
        if numbers is not None and counts is not None:
            smallest = _smallest_change(numbers, binary=task.kind == "binary")
            parts = [part for part in (smallest, _chance_of_harm(numbers, counts)) if part]
            lines += [f"{name}: {'; '.join(parts)}"] if parts else []
    return lines


def _smallest_change(numbers: SideNumbers, *, binary: bool) -> str | None:
    smallest, seen = numbers.minimum_detectable_difference, numbers.accuracy_difference.value
    if not smallest or seen is None or abs(seen) >= smallest:
        return None
    form: Form = "points" if binary else "score"
    unit = " points" if binary else ""

    def written(value: float) -> str:
        return format_number(value, form).lstrip("+") + unit

    told = f"{count(numbers.n)} items would show a change of {written(smallest)} or more in 4 cases of 5"
    if seen:
        # The smallest change falls with the root of the number of items.
        needed = math.ceil(numbers.n * (smallest / abs(seen)) ** 2)
        if needed <= MAX_ITEMS:
            told += f"; to show the {written(abs(seen))} seen it takes {count(needed)} items"
    return told


def _chance_of_harm(numbers: SideNumbers, counts: BinaryCounts | ScoreCounts) -> str | None:
    chance = numbers.probability_worse
    # Several answers to one item are not so many flips.
    if chance is None or numbers.clustered_p is not None or numbers.mcnemar_exact_p < CLEAR:
        return None
    if not 0 < counts.lost + counts.gained <= FEW_FLIPS:
        return None
    return f"with so few flips, the chance that it breaks more than it gains is {format_number(chance, 'rate')}"
