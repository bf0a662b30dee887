"""What is said of all tasks together: their pooled numbers, how the runs fitted, which scores are not compared."""

from __future__ import annotations

from muscle.flips.result.report import Report
from muscle.foreign_text import one_line
from muscle.report.entries import unit_of, updates
from muscle.report.numbers import count, estimate, probability, value_alone

MAX_SCORES = 6
"""Scores that are named of those that are not compared."""


def pooled_lines(report: Report) -> list[str]:
    """Write the numbers over all tasks that are right or wrong, for the plain update and the candidate."""
    lines = []
    for side, version in updates(report):
        pooled = report.pooled.get(side)
        if pooled is None:
            continue
        unit = unit_of(*report.tasks.values())
        p_value = pooled.clustered_p if pooled.sign_flip_p is None else pooled.sign_flip_p
        lines.append(
            f"{version} over {count(pooled.tasks)} tasks: "
            f"broke {value_alone(pooled.negative_flip_rate, 'rate')}, "
            f"gained {value_alone(pooled.positive_flip_rate, 'rate')} of {count(pooled.n)} {unit}; "
            f"accuracy, each task alike, {estimate(pooled.macro_accuracy_difference, 'points')} points, "
            f"p {probability(p_value)}"
        )
    return lines


def join_line(report: Report) -> str:
    """Say how the runs fitted together."""
    join, missing = report.join, report.missing.get("old_vs_new")
    numbers = {
        "only in the old run": join.only_old if missing is None else missing.only_old,
        "only in the new run": join.only_new if missing is None else missing.only_new,
        "doubled": join.duplicates,
        "with another prompt or reference": join.changed,
        "errors in the old run": join.errors_old,
        "errors in the new run": join.errors_new,
        "without a verdict": 0 if missing is None else missing.unscored,
        "not read": 0 if missing is None else missing.unread,
    }
    odd = [
        f"{count(number)} {words.replace('errors', 'error', 1) if number == 1 else words}"
        for words, number in numbers.items()
        if number
    ]
    return f"{count(join.paired)} predictions paired" + (f"; {', '.join(odd)}" if odd else "")


def not_compared(report: Report) -> str:
    """Name the scores of the runs that nothing is measured in; empty where there are none. Not escaped."""
    named = list(dict.fromkeys(name for task in report.tasks.values() for name in task.scores_not_compared))
    if not named:
        return ""
    more = f" and {count(len(named) - MAX_SCORES)} more" if len(named) > MAX_SCORES else ""
    return one_line(f"Scores that are not compared: {', '.join(named[:MAX_SCORES])}{more}.", 300)
