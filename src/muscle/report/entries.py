"""What all forms read of a report: its versions and sides, which tasks are shown, what numbers count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from muscle.flips.measuring.side_numbers import SideNumbers, counted_unit
from muscle.flips.pairing.pair import WithOld
from muscle.flips.result.report import Report, TaskResult
from muscle.flips.slices.slice_numbers import TaskSlices

Role = Literal["plain", "candidate", "other"]
"""Who is held against the old version: the plain update, the candidate, a further run."""

SIDES: tuple[tuple[WithOld, Role, str], ...] = (
    ("old_vs_new", "plain", "plain update"),
    ("old_vs_candidate", "candidate", "candidate"),
)
"""The comparisons with the old version, who each is of, and what that is called."""


@dataclass(frozen=True)
class TaskSide:
    """A task's numbers in one comparison with the old version.

    Attributes:
        key: which comparison.
        role: who is held against the old version.
        title: what that is called.
        numbers: the numbers.
    """

    key: WithOld
    role: Role
    title: str
    numbers: SideNumbers

    @property
    def head(self) -> str:
        """The title as it stands above a column."""
        return f"{self.title[0].upper()}{self.title[1:]}"


def sides(task: TaskResult) -> list[TaskSide]:
    """Return the comparisons with the old version that a task has."""
    found = ((key, role, title, task.numbers(key)) for key, role, title in SIDES)
    return [TaskSide(key, role, title, numbers) for key, role, title, numbers in found if numbers is not None]


def unit_of(*tasks: TaskResult) -> str:
    """Return what the tasks' numbers count: answers where items were asked several times, else items."""
    return counted_unit(side.numbers for task in tasks for side in sides(task))


def value_of(numbers: SideNumbers | None, name: str) -> float | None:
    """Return a metric's value; None where it is undefined or there is no such side."""
    return None if numbers is None else numbers.metric(name).value


def updates(report: Report) -> list[tuple[WithOld, str]]:
    """Return the comparisons with the old version, each with the name of what is held against it."""
    plain: list[tuple[WithOld, str]] = [("old_vs_new", report.new)]
    return plain if report.candidate is None else [*plain, ("old_vs_candidate", report.candidate)]


def shown_tasks(report: Report, max_tasks: int) -> list[str]:
    """Return the tasks' names; of too many, those with the highest negative flip rate first."""
    names = list(report.tasks)
    if len(names) <= max_tasks:
        return names

    def broken(name: str) -> float:
        numbers = report.tasks[name].old_vs_new
        return 0.0 if numbers is None else numbers.negative_flip_rate.value or 0.0

    return sorted(names, key=broken, reverse=True)[:max_tasks]


def slices_of(report: Report, name: str) -> TaskSlices | None:
    """Return a task's slices of the comparison that is judged; None without any."""
    return report.tasks[name].slices.get(report.judged_side)


def slices_named(report: Report) -> bool:
    """Whether the user named what to slice by."""
    return bool(report.settings.slices)
