"""The page's tables of all metrics of a task, and how the runs were joined and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from muscle.flips.measuring.candidate_effect import CandidateEffect
from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.result.report import Report, TaskResult
from muscle.foreign_text import visible
from muscle.report.entries import TaskSide, sides, unit_of
from muscle.report.metric_names import METRICS, MetricName
from muscle.report.numbers import Form, count
from muscle.report.page.data_elements import (
    ABSENT,
    cell,
    change,
    figure,
    integer,
    interval,
    lone_number,
    number,
    pointer,
)
from muscle.report.page.table import Row


@dataclass(frozen=True)
class TaskTable:
    """A task's metrics side by side, and the further runs against the old one."""

    task: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    others_head: tuple[str, ...]
    others: tuple[Row, ...]
    tests: tuple[Markup, ...]


def task_table(report: Report, name: str) -> TaskTable:
    """Return a task's metrics: plain update, candidate, change, and the further runs against the old model."""
    task = report.tasks[name]
    present, unit, binary = sides(task), unit_of(task), task.kind == "binary"
    rows = [_metric_row(metric, name, task, present) for metric in METRICS] if present else []
    head = [side.head for side in present] + (["Change"] if len(present) > 1 else [])
    kind = "right or wrong" if binary else f"score {visible(task.score)}"
    others_head, others = _rows_of_others(report, name)
    caption = f"{count(task.n)} {unit}, {kind}"
    return TaskTable(name, caption, tuple(head), tuple(rows), others_head, others, _test_lines(name, task, present))


def _metric_row(metric: MetricName, name: str, task: TaskResult, present: list[TaskSide]) -> Row:
    """Write a metric of all sides; one cell where it is undefined on all for the same reason."""
    binary = task.kind == "binary"
    form = metric.form_for(binary=binary)
    entries = [side.numbers.metric(metric.key) for side in present]
    paths = [pointer("tasks", name, side.key, metric.key) for side in present]
    cells = [cell(entry, path, form) for entry, path in zip(entries, paths, strict=True)]
    whys = {entry.why if entry.value is None else None for entry in entries}
    if len(whys) == 1 and whys != {None}:
        cells = cells[:1]
    elif len(present) > 1:
        shown = _effect_cell(name, task, metric, form)
        cells.append(change(entries[0], entries[1], (paths[0], paths[1]), form) if shown is None else shown)
    meaning = metric.meaning_for(binary=binary).replace("items", unit_of(task))
    return Row(metric.name_for(binary=binary), meaning, tuple(cells))


def _effect_cell(name: str, task: TaskResult, metric: MetricName, form: Form) -> Markup | None:
    """Write the candidate's change of a metric with its interval; None where the report has none of its own."""
    effect = task.candidate_effect
    if metric.key == "accuracy_old":
        return ABSENT
    if effect is None or not metric.effect:
        return None
    path = pointer("tasks", name, "candidate_effect", metric.effect)
    written = cell(effect.change(metric.effect), path, "points" if form == "rate" else "signed")
    relative = effect.negative_flip_rate_change_percent
    if metric.key == "negative_flip_rate" and relative.value is not None:
        where = pointer("tasks", name, "candidate_effect", "negative_flip_rate_change_percent")
        extra = number(relative, where, "percent") + Markup(" ") + interval(relative, where, "percent")
        written += Markup('<span class="second">{}</span>').format(extra)
    return written


def _test_lines(name: str, task: TaskResult, present: list[TaskSide]) -> tuple[Markup, ...]:
    """Write the tests' p-values, and what else has no interval, in a line a side."""
    lines = []
    for side in present:
        found = [
            Markup("{} p = {}").format(words, lone_number(p, pointer("tasks", name, side.key, key), "probability"))
            for key, words, p in _tests_of(side.numbers)
            if p is not None
        ]
        found += [
            Markup("{} {}").format(words, lone_number(value, pointer("tasks", name, side.key, key), form))
            for key, words, value, form in _numbers_without_interval(side.numbers, binary=task.kind == "binary")
            if value is not None
        ]
        if found:
            lines.append(Markup("Old against {}: {}").format(side.title, Markup(", ").join(found)))
    lines += [
        _effect_line(name, task, key, effect, words)
        for key, effect, words in (
            ("candidate_effect", task.candidate_effect, ("candidate", "plain update")),
            ("floor_effect", task.floor_effect, ("what is judged", "the old recipe trained again")),
        )
        if effect is not None
    ]
    return tuple(lines)


def _effect_line(name: str, task: TaskResult, key: str, effect: CandidateEffect, words: tuple[str, str]) -> Markup:
    """Write whose negative flips are whose, and the paired tests of them."""
    grouped = task.old_vs_new is not None and task.old_vs_new.clustered_p is not None

    def told(field: str) -> Markup:
        value, path = getattr(effect, field), pointer("tasks", name, key, field)
        return integer(value, path) if isinstance(value, int) else lone_number(value, path, "probability")

    return Markup(
        "Negative flips, {one} against {other}: {test} p = {p}, one-sided for more p = {more}; "
        "{shared} by both, {avoided} by {other} alone, {alone} by {one} alone"
    ).format(
        one=words[0],
        other=words[1],
        test="over groups of items" if grouped else "exact McNemar",
        p=told("negative_flips_mcnemar_exact_p"),
        more=told("more_negative_flips_p"),
        shared=told("negative_flips_shared"),
        avoided=told("negative_flips_avoided"),
        alone=told("negative_flips_alone"),
    )


def _tests_of(numbers: SideNumbers) -> list[tuple[str, str, float | None]]:
    """Return the tests: field, name, p-value. Where items are grouped, McNemar's is said to pass that over."""
    single = "" if numbers.clustered_p is None else " (as if items were independent)"
    return [
        ("mcnemar_exact_p", f"exact McNemar{single}", numbers.mcnemar_exact_p),
        ("mcnemar_mid_p", f"mid-p{single}", numbers.mcnemar_mid_p),
        ("mcnemar_harm_p", f"one-sided for harm{single}", numbers.mcnemar_harm_p),
        ("mcnemar_holm_p", "Holm over tasks", numbers.mcnemar_holm_p),
        ("mcnemar_bh_p", "Benjamini-Hochberg over tasks", numbers.mcnemar_bh_p),
        ("clustered_p", "over groups of items", numbers.clustered_p),
        ("clustered_harm_p", "over groups, one-sided for harm", numbers.clustered_harm_p),
    ]


def _numbers_without_interval(numbers: SideNumbers, *, binary: bool) -> list[tuple[str, str, float | None, Form]]:
    """Return one-sided 95 % bounds, a posterior, and the resolution of the test set: field, name, value, form."""
    return [
        (
            "negative_flip_rate_lower_bound",
            "negative flips at least",
            numbers.negative_flip_rate_lower_bound,
            "rate",
        ),
        ("negative_flip_rate_upper_bound", "at most", numbers.negative_flip_rate_upper_bound, "rate"),
        (
            "probability_worse",
            "probability that more breaks than is gained",
            numbers.probability_worse,
            "probability",
        ),
        (
            "minimum_detectable_difference",
            "smallest detectable difference",
            numbers.minimum_detectable_difference,
            # That of a score is in the score's unit.
            "rate" if binary else "score",
        ),
    ]


_MAIN_OF_OTHERS = ("accuracy_new", "accuracy_difference", "negative_flip_rate", "positive_flip_rate")


def _rows_of_others(report: Report, name: str) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Return plain update, candidate and the further runs as rows, where there are further runs."""
    task = report.tasks[name]
    binary = task.kind == "binary"
    last = ("inconsistency_rate",) if binary else ("mean_gain", "mean_regression")
    chosen = [metric for metric in METRICS if metric.key in (*_MAIN_OF_OTHERS, *last)]
    head = tuple(metric.name_for(binary=binary).split(", ")[-1] for metric in chosen)
    runs: list[tuple[str, SideNumbers, tuple[object, ...]]] = [
        (side.title, side.numbers, ("tasks", name, side.key)) for side in sides(task)
    ]
    further = [
        (visible(other.name), other.tasks[name], ("others", position, "tasks", name))
        for position, other in enumerate(report.others)
        if name in other.tasks
    ]
    if not further:
        return head, ()
    rows = []
    for title, numbers, where in [*runs, *further]:
        cells = tuple(cell(numbers.metric(m.key), pointer(*where, m.key), m.form_for(binary=binary)) for m in chosen)
        rows.append(Row(title, "", cells))
    return head, tuple(rows)


def join_lines(report: Report) -> list[tuple[str, Markup, bool]]:
    """Return how the runs were joined: name, figure, and whether a reader should look."""
    join = report.join
    lines = [("predictions in both runs", integer(join.paired, pointer("join", "paired")), False)]
    lines += [
        (text, integer(found, pointer("join", key)), found > 0)
        for key, text, found in (
            ("only_old", "only in the old run", join.only_old),
            ("only_new", "only in the new run", join.only_new),
            ("duplicates", "listed more than once", join.duplicates),
            ("changed", "with another reference or prompt", join.changed),
        )
    ]
    missing = report.missing.get("old_vs_new")
    if missing is None:
        return lines
    return lines + [
        (text, integer(found, pointer("missing", "old_vs_new", key)), found > 0)
        for key, text, found in (
            ("errors", "without an answer (error)", missing.errors),
            ("unscored", "without a verdict", missing.unscored),
            ("unread", "not read", missing.unread),
        )
        if found is not None
    ]


def source_rows(report: Report) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return each run's role, name and metadata as text."""
    versions = {"old": report.old, "new": report.new, "candidate": report.candidate}
    rows = [
        (role, name, _metadata_as_text(report.sources.get(role, {})))
        for role, name in versions.items()
        if name is not None
    ]
    rows += [
        ("other", role, _metadata_as_text(found)) for role, found in report.sources.items() if role not in versions
    ]
    return rows


def _metadata_as_text(source: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(k, v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)) for k, v in source.items()]


def flips_note(report: Report, *, held: int) -> Markup:
    """Say how many flips there are and how many of them the page holds.

    Args:
        report: the report.
        held: how many the page holds.
    """
    total, shown = report.flips_total.total, report.flips_shown
    if total == shown == held:
        return Markup("All {} examples whose answer changed.").format(figure(total, count(total)))
    if shown == held:
        return Markup(
            "{} of {} examples whose answer changed: a sample, negative flips first. report.json says how many of each "
            "kind there are."
        ).format(integer(shown, pointer("flips_shown")), figure(total, count(total)))
    return Markup(
        "{} of {} examples whose answer changed: negative flips first, the largest drops first. report.json lists {}."
    ).format(figure(held, count(held)), figure(total, count(total)), integer(shown, pointer("flips_shown")))
