"""Every way out of an update, with what it breaks, what it mends and what it costs.

Shares are over the tasks of right and wrong where there are some, else over those of a score; every answer counts
alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from muscle.flips.pairing.pair import WithOld
from muscle.flips.result.deciding.decision import WayOut
from muscle.flips.result.deciding.judgement import rounded_up
from muscle.flips.result.deciding.story import pooled_level
from muscle.flips.result.headline import balance
from muscle.flips.result.report import Report, TaskResult
from muscle.flips.statistics.intervals import Estimate

Tasks = Mapping[str, TaskResult]


def ways_out(report: Report, more_items: int | None) -> list[WayOut]:
    """Return what can be done: keep the old one, ship the plain update or the candidate, serve both, label more.

    Args:
        report: of a comparison or of a gate.
        more_items: further items that would tell; None where more items are not what lacks.
    """
    binary = {name: task for name, task in report.tasks.items() if task.kind == "binary"}
    tasks = binary or dict(report.tasks)
    if not balance(tasks, "old_vs_new").total:
        return []
    return list(_each_way(report, tasks, more_items))


def _each_way(report: Report, tasks: Tasks, more_items: int | None) -> Iterator[WayOut]:
    nothing, plain = Estimate(0.0), balance(tasks, "old_vs_new")
    yield WayOut(
        "keep_old", nothing, False, nothing, _level_of(tasks, "old_vs_new", "accuracy_old"), "Nothing is gained either."
    )
    yield _shipping(report, tasks, "old_vs_new", "One model to serve, nothing more to make.")
    if report.candidate is not None and all(task.old_vs_candidate is not None for task in tasks.values()):
        yield _shipping(report, tasks, "old_vs_candidate", "One model to serve, as with the plain update.")
    if plain.lost or plain.gained:
        most = _flip_rate(report, tasks, "old_vs_new", "negative_flip_rate")
        gain = _flip_rate(report, tasks, "old_vs_new", "positive_flip_rate")
        costs = "Two models, up to two calls a request; muscle route fit OLD NEW says how few it can break."
        yield WayOut("serve_both", most, True, gain, None, costs)
    if more_items is not None:
        costs = f"About {rounded_up(more_items):,} more questions to both models, and their right answers."
        yield WayOut("label_more", None, False, None, None, costs)


def _shipping(report: Report, tasks: Tasks, side: WithOld, costs: str) -> WayOut:
    return WayOut(
        "ship_new" if side == "old_vs_new" else "ship_candidate",
        _flip_rate(report, tasks, side, "negative_flip_rate"),
        False,
        _flip_rate(report, tasks, side, "positive_flip_rate"),
        _level_of(tasks, side, "accuracy_new"),
        costs,
    )


def _flip_rate(report: Report, tasks: Tasks, side: WithOld, name: str) -> Estimate:
    """Return a flip rate over all answers: the task's own where there is one, the pooled one where it is known."""
    if len(tasks) == 1:
        numbers = next(iter(tasks.values())).numbers(side)
        return Estimate.undefined("not measured") if numbers is None else numbers.metric(name)
    pooled = report.pooled.get(side)
    if pooled is not None and all(task.kind == "binary" for task in tasks.values()):
        return pooled.negative_flip_rate if name == "negative_flip_rate" else pooled.positive_flip_rate
    found = balance(tasks, side)
    if not found.total:
        return Estimate.undefined("no item is scored in both versions")
    return Estimate((found.lost if name == "negative_flip_rate" else found.gained) / found.total)


def _level_of(tasks: Tasks, side: WithOld, name: str) -> Estimate | None:
    """Return accuracy, or of a single task with a score its mean; None where scores of several tasks differ in unit."""
    numbers = [found for task in tasks.values() if (found := task.numbers(side)) is not None]
    if len(numbers) == 1:
        return numbers[0].metric(name)
    if any(task.kind == "continuous" for task in tasks.values()):
        return None
    value = pooled_level(numbers, name)
    return None if value is None else Estimate(value)
