"""How much a test set can show: the smallest change that it would have found, and the items that it would take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from muscle.flips.result.verdict import lost_and_gained
from muscle.report.numbers import Form, count, format_number
from muscle.report.rows import Report, judged_side, shown_tasks

FEW_FLIPS = 25
"""Up to so many flips the chance that more breaks than is gained says more than a p-value."""

CLEAR = 0.05
"""A p-value that leaves no question."""

MAX_ITEMS = 10_000_000
"""A change that would take more items is as good as none."""


def resolution_lines(report: Report, *, max_tasks: int) -> list[str]:
    """Return a line a task that shows no clear change: the smallest that its items show with a power of 80 %, and what it takes.

    Args:
        report: the result object.
        max_tasks: of more tasks, those with the highest negative flip rate are told.
    """
    side = judged_side(report)
    lines = []
    for name in shown_tasks(report, max_tasks):
        task = report["tasks"][name]
        if task.get(side) and task["quadrants"].get(side):
            parts = [part for part in (_detectable(task, side), _chance(task, side)) if part]
            lines += [f"{name}: {'; '.join(parts)}"] if parts else []
    return lines


def _detectable(task: Mapping[str, Any], side: str) -> str | None:
    metrics = task[side]
    smallest, seen = metrics.get("minimum_detectable_difference"), metrics["accuracy_difference"]["value"]
    if not smallest or seen is None or abs(seen) >= smallest:
        return None
    form: Form = "points" if task["kind"] == "binary" else "score"
    unit = " points" if task["kind"] == "binary" else ""

    def written(value: float) -> str:
        return format_number(value, form).lstrip("+") + unit

    told = f"{count(metrics['n'])} items would show a change of {written(smallest)} or more in 4 cases of 5"
    if seen:
        # The smallest change falls with the root of the number of items.
        needed = math.ceil(metrics["n"] * (smallest / abs(seen)) ** 2)
        if needed <= MAX_ITEMS:
            told += f"; to show the {written(abs(seen))} seen it takes {count(needed)} items"
    return told


def _chance(task: Mapping[str, Any], side: str) -> str | None:
    lost, gained = lost_and_gained(task["quadrants"][side])
    chance = task[side].get("probability_worse")
    # Several answers to one item are not so many flips.
    if chance is None or "clustered_p" in task[side] or task[side]["mcnemar_exact_p"] < CLEAR:
        return None
    if not 0 < lost + gained <= FEW_FLIPS:
        return None
    return (
        f"with so few flips, the chance that it breaks more than it gains is {format_number(chance, 'rate')}"
    )
