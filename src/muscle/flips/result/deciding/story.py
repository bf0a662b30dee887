"""What a recommendation rests on, in half a sentence: what breaks, what is mended, and the level before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from muscle.flips.measuring.side_numbers import SideNumbers, counted_unit
from muscle.flips.pairing.pair import WithOld
from muscle.flips.result.headline import balance
from muscle.flips.result.report import Report, TaskResult
from muscle.flips.wording import percent
from muscle.foreign_text import first_few, middle_cut, visible

MAX_NAMED = 3


def story_of(report: Report, names: Sequence[str] | None = None, *, subject: str = "it") -> str:
    """Say what the judged version breaks and mends, beside the plain update where it is a candidate.

    Args:
        report: the report.
        names: tasks that are told of; None tells of all.
        subject: what the judged version is called.
    """
    tasks = {name: task for name, task in report.tasks.items() if names is None or name in names}
    side, parts = report.judged_side, []
    binary = {name: task for name, task in tasks.items() if task.kind == "binary"}
    scored = {name: task for name, task in tasks.items() if task.kind == "continuous"}
    if binary and balance(binary, side).total:
        parts.append(_of_answers(binary, side, subject))
    if scored and balance(scored, side).total:
        parts.append(_of_scores(scored, side))
    if not parts:
        return "no item is scored in both versions"
    where = "" if names is None else f"on {first_few([middle_cut(name, 40) for name in names], MAX_NAMED)} "
    return f"{where}{'; '.join(parts)}"


def _of_answers(tasks: Mapping[str, TaskResult], side: WithOld, subject: str) -> str:
    """Tell of tasks of right and wrong."""
    found, over = balance(tasks, side), "" if len(tasks) == 1 else f" over {len(tasks)} tasks"
    unit = counted_unit(_numbers(tasks, side)).replace("items", "answers")
    levels = _before_and_after(tasks, side, percent)
    level = f", accuracy {levels}" if levels else ""
    beside = _flips_of_both(tasks) if side == "old_vs_candidate" else None
    if beside is None:
        rate, of_all = percent(found.lost / found.total), f"of {found.total:,} {unit}{over}"
        return f"{subject} breaks {found.lost:,} {of_all} ({rate}) and mends {found.gained:,}{level}"
    candidate, plain, total = beside
    of_all = f"of {total:,} {unit}{over}"
    if candidate < plain:
        return f"{subject} breaks {candidate:,} {of_all} instead of {plain:,}{level}"
    as_many = "as many as the plain update" if candidate == plain else f"the plain update {plain:,}"
    return f"{subject} breaks {candidate:,} {of_all}, {as_many}{level}"


def _of_scores(tasks: Mapping[str, TaskResult], side: WithOld) -> str:
    """Tell of tasks that have a score alone."""
    found, over = balance(tasks, side), "" if len(tasks) == 1 else f" over {len(tasks)} tasks"
    unit = counted_unit(_numbers(tasks, side)).replace("items", "answers")
    beside = _flips_of_both(tasks) if side == "old_vs_candidate" else None
    counted = f"{found.lost:,} of {found.total:,} {unit}{over} score lower and {found.gained:,} higher"
    if beside is not None:
        candidate, plain, total = beside
        told = f"instead of {plain:,}" if candidate < plain else f"with the plain update {plain:,}"
        counted = f"{candidate:,} of {total:,} {unit}{over} score lower {told}"
    level = _before_and_after(tasks, side, lambda value: f"{value:.4g}") if len(tasks) == 1 else ""
    name = visible(next(iter(tasks.values())).score or "score")
    return counted + (f", mean {name} {level}" if level else "")


def _numbers(tasks: Mapping[str, TaskResult], side: WithOld) -> list[SideNumbers]:
    return [numbers for task in tasks.values() if (numbers := task.numbers(side)) is not None]


def _flips_of_both(tasks: Mapping[str, TaskResult]) -> tuple[int, int, int] | None:
    """Return what candidate and plain update break, and of how many that both have; None where a task lacks one."""
    effects = [task.candidate_effect for task in tasks.values() if task.candidate_effect is not None]
    if len(effects) < len(tasks) or not effects:
        return None
    return (
        sum(effect.negative_flips_candidate for effect in effects),
        sum(effect.negative_flips_plain for effect in effects),
        sum(effect.n for effect in effects),
    )


def pooled_level(numbers: Sequence[SideNumbers], name: str) -> float | None:
    """Return accuracy over all items of some tasks; None where a task's is not known.

    Args:
        numbers: the tasks', of one side.
        name: `accuracy_old` or `accuracy_new`.
    """
    known = [(value, each.n) for each in numbers if (value := each.metric(name).value) is not None and each.n]
    if len(known) < len(numbers) or not known:
        return None
    return sum(value * n for value, n in known) / sum(n for _, n in known)


def _before_and_after(tasks: Mapping[str, TaskResult], side: WithOld, written: Callable[[float], str]) -> str:
    found = _numbers(tasks, side)
    new, old = (pooled_level(found, name) for name in ("accuracy_new", "accuracy_old"))
    return "" if new is None or old is None else f"{written(new)} against the old model's {written(old)}"
