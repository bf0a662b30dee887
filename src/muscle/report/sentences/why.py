"""Why answers flipped, in a few lines for terminal and Markdown; nothing where there is nothing to say."""

from __future__ import annotations

from collections.abc import Sequence

from muscle.flips.explaining.cause_report import TaskCauses
from muscle.flips.explaining.closeness import TaskCloseness
from muscle.flips.explaining.judges import ByErrors, ByLabels
from muscle.flips.explaining.what_changed import ChangedFeature
from muscle.flips.pairing.pair import WithOld
from muscle.flips.result.report import Report, TaskResult
from muscle.flips.statistics.intervals import Estimate
from muscle.flips.wording import percent
from muscle.report.entries import shown_tasks
from muscle.report.numbers import count

MAX_CHANGES = 3

ERROR = "error"
"""The cause of answers that did not come back."""


def why_lines(report: Report, *, max_tasks: int) -> list[str]:
    """Return lines on causes, what changed, closeness and corrected judges, task by task."""
    side = report.judged_side
    # What changed is told of the plain update, also where a candidate is judged.
    who = f" in {report.new}" if report.candidate else ""
    lines = []
    for name in shown_tasks(report, max_tasks):
        task = report.tasks[name]
        told = [] if task.causes is None else _cause_lines(task.causes, side)
        told += [_changed_line(task.what_changed, who)] if task.what_changed else []
        told += [] if task.closeness is None else [_closeness_line(task.closeness, side)]
        told += _judge_lines(task, side)
        lines += [line if len(report.tasks) == 1 else f"{name}: {line}" for line in told]
    return lines


def _cause_lines(causes: TaskCauses, side: WithOld) -> list[str]:
    counts = causes.old_vs_candidate if side == "old_vs_candidate" else causes.old_vs_new
    lost = {} if counts is None else counts.negative_flip
    if not lost or (set(lost) == {"knowledge"} and not causes.sentence):
        return []
    flips = {cause: number for cause, number in lost.items() if cause != ERROR}
    ordered = sorted(flips.items(), key=lambda entry: (-entry[1], entry[0]))
    named = ", ".join(f"{count(number)} {cause.replace('_', ' ')}" for cause, number in ordered) or "none"
    sentence = f"{causes.sentence}; " if causes.sentence else ""
    told = f"why: {sentence}the {count(sum(flips.values()))} that broke, by cause: {named}"
    # What did not come back is missing, not wrong: it is no flip.
    errors = f"; {count(lost[ERROR])} more were right and are missing now (error)" if ERROR in lost else ""
    return [f"{told}{errors}{_loose_gap(causes, side)}"]


def _loose_gap(causes: TaskCauses, side: WithOld) -> str:
    """Say what a loose scorer sees; empty where it sees what the strict one does."""
    gaps = causes.strict_loose
    if gaps is None:
        return ""
    old, new = gaps.old, gaps.candidate if side == "old_vs_candidate" else gaps.new
    if old is None or new is None or not (old.gap or new.gap):
        return ""
    return f"; strict {percent(old.strict)} → {percent(new.strict)}, loose {percent(old.loose)} → {percent(new.loose)}"


def _changed_line(features: Sequence[ChangedFeature], who: str) -> str:
    told = [
        f"{each.what} {each.flipped:.2f} (others {each.others:.2f})"
        if each.kind == "length"
        else f"{_feature_name(each)} {each.flipped:.0%} (others {each.others:.0%})"
        for each in features[:MAX_CHANGES]
    ]
    return f"answers that broke{who}, against the others: {'; '.join(told)}"


def _feature_name(feature: ChangedFeature) -> str:
    return f'new words "{feature.what}"' if feature.kind == "ngram" else feature.what


def _closeness_line(close: TaskCloseness, side: WithOld) -> str:
    new = (close.old_vs_candidate if side == "old_vs_candidate" else None) or close.old_vs_new
    own = close.old_vs_rerun
    beside = str(close.why) if own is None else f"against itself {own.kl.mean:.2g} and {_percent_of(own.same_top)}"
    line = f"likelihoods: mean KL {new.kl.mean:.2g}, same top choice {_percent_of(new.same_top)} ({beside})"
    # Without a second run of the old version the tails say nothing sure.
    return f"{line}; {close.sentence}" if own is not None and close.sentence else line


def _percent_of(share: Estimate) -> str:
    return "undefined" if share.value is None else percent(share.value)


def _judge_lines(task: TaskResult, side: WithOld) -> list[str]:
    if task.judge is None:
        return []
    judged, plain = task.judge.get(side), task.judge.get("old_vs_new")
    labels = (judged and judged.labels) or (plain and plain.labels)
    errors = (judged and judged.errors) or (plain and plain.errors)
    lines = []
    if labels:
        lines += _corrected_line(labels, f"by people's labels of {count(labels.labelled)} items")
    if errors:
        lines += _corrected_line(errors, "by the judge's known errors")
    return lines


def _corrected_line(found: ByLabels | ByErrors, how: str) -> list[str]:
    value, low, high = found.difference.value, found.difference.low, found.difference.high
    if value is None or found.difference_judge is None:
        return []
    interval = ", without an interval" if low is None or high is None else f" ({low:+.3f} to {high:+.3f})"
    return [
        f"difference by the judge {found.difference_judge:+.3f}, corrected {how} {value:+.3f}{interval}; {found.note}"
    ]
