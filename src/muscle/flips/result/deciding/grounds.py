"""From what was measured to the verdict, and to what a recommendation rests on: what is missing betters neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from muscle.flips.options import CompareOptions
from muscle.flips.pairing.pair import WithOld
from muscle.flips.result.deciding.beside import against_plain, plain_judgement
from muscle.flips.result.deciding.decide import Grounds, better_than_plain, gains
from muscle.flips.result.deciding.judgement import Judgement
from muscle.flips.result.measured import MeasuredPair
from muscle.flips.result.report import TaskResult
from muscle.flips.result.verdict import Verdict, cannot_tell_for, careful, judge


def verdict_of(measured: MeasuredPair, tasks: Mapping[str, TaskResult], options: CompareOptions) -> Verdict:
    """Judge what was measured, and hold the verdict against the worst that is missing.

    Args:
        measured: the two versions that are judged.
        tasks: the report's tasks.
        options: how the runs were compared.
    """
    effects = {name: task.candidate_effect for name, task in tasks.items()}
    floors = {name: task.floor_effect for name, task in tasks.items() if task.floor_effect is not None}
    side: WithOld = "old_vs_candidate" if measured.side == "old_vs_candidate" else "old_vs_new"
    judged = {
        name: replace(task, judge=(tasks[name].judge or {}).get(side))
        for name, task in measured.judged(effects, floors).items()
        if name in tasks
    }
    verdict = judge(judged, tolerance=options.tolerance)
    if verdict.word not in ("pass", "warn"):
        return verdict
    told = [f"not read: {each}" for each in measured.lost_in_reading]
    told += [f"{name}: no item of this task is scored in both runs" for name in measured.pair.unseen_tasks]
    if told:
        return cannot_tell_for({each: each for each in told}, verdict)
    if not measured.missing:
        return verdict
    lacking = measured.pair.missing.num
    at_worst = {name: effect and effect.with_missing(lacking) for name, effect in effects.items()}
    worst = judge(measured.worst.judged(at_worst, {}), tolerance=options.tolerance)
    return careful(verdict, worst, measured.missing)


def grounds_of(
    measured: MeasuredPair, verdict: Verdict, tasks: Mapping[str, TaskResult], options: CompareOptions
) -> Grounds:
    """Return what a recommendation rests on: how a warning may be read holds with the missing answers at their worst.

    Args:
        measured: the two versions that are judged.
        verdict: on them.
        tasks: the report's tasks.
        options: how the runs were compared.
    """
    is_open = verdict.word in ("warn", "cannot_tell")
    return Grounds(verdict.judgements, *(_at_worst(measured, tasks, options) if is_open else (False, False)))


def if_better_than_plain(
    measured: MeasuredPair, tasks: Mapping[str, TaskResult], options: CompareOptions
) -> list[Judgement]:
    """Say how a candidate stands to the plain update where it is proven to be the better one, whatever is missing.

    Args:
        measured: the two versions that are judged.
        tasks: the report's tasks.
        options: how the runs were compared.

    Returns:
        A judgement a task; empty where that is not proven.
    """
    if not _at_worst(measured, tasks, options)[0]:
        return []
    judged = measured.judged({name: task.candidate_effect for name, task in tasks.items()}, {})
    standings = against_plain(judged, tolerance=options.tolerance)
    return [plain_judgement(name, judged[name], each, options.tolerance) for name, each in standings.items()]


def _at_worst(measured: MeasuredPair, tasks: Mapping[str, TaskResult], options: CompareOptions) -> tuple[bool, bool]:
    """Say whether a candidate is better than the plain update, and whether it gains, the missing at their worst."""
    if measured.lost_in_reading or measured.pair.unseen_tasks:
        return False, False
    lacking = measured.pair.missing.num
    effects = {name: task.candidate_effect for name, task in tasks.items()}
    at_worst = {name: effect and effect.with_missing(lacking) for name, effect in effects.items()}
    worst = (measured.worst if measured.missing else measured).judged(at_worst, {})
    standings = against_plain(worst, tolerance=options.tolerance)
    return better_than_plain(standings, worst), gains(worst)
