"""The report's tables, taken from report.json's entries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from muscle.outgoing import visible
from muscle.report.metric_names import METRICS, MetricName
from muscle.report.numbers import Form, count, format_number
from muscle.report.page.data_elements import ABSENT, cell, change, figure, integer, interval, number, pointer
from muscle.report.page.figures import Report, sides, unit
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
    task = report["tasks"][name]
    present = sides(task)
    with_candidate = len(present) > 1
    continuous = task["kind"] == "continuous"
    rows = []
    for metric in METRICS:
        form = metric.form_for(binary=not continuous)
        entries = [
            (task[key].get(metric.key), pointer("tasks", name, key, metric.key)) for key, _, _ in present
        ]
        if all(entry is None for entry, _ in entries):
            continue
        cells = [cell(entry, path, form) for entry, path in entries]
        whys = {entry.get("why") if entry and entry.get("value") is None else None for entry, _ in entries}
        if len(whys) == 1 and whys != {None}:
            cells = cells[:1]
        elif with_candidate:
            cells.append(_effect(task, name, metric, entries, form))
        meaning = metric.meaning_for(binary=not continuous).replace("items", unit(task))
        rows.append(Row(metric.name_for(binary=not continuous), meaning, tuple(cells)))
    head = tuple(title[0].upper() + title[1:] for _, _, title in present) + (
        ("Change",) if with_candidate else ()
    )
    kind = f"score {visible(task['score'])}" if continuous else "right or wrong"
    others_head, others = _others(report, name, continuous)
    return TaskTable(
        name,
        f"{count(task['n'])} {unit(task)}, {kind}",
        head,
        tuple(rows),
        others_head,
        others,
        _tests(name, task),
    )


def _effect(
    task: Mapping[str, Any], name: str, metric: MetricName, entries: list[tuple[Any, str]], form: Form
) -> Markup:
    """Return the candidate's change of a metric: the file's own with its interval, else the difference of the two."""
    effects = task.get("candidate_effect") or {}
    if metric.key == "accuracy_old":
        return ABSENT
    if metric.effect in effects:
        path = pointer("tasks", name, "candidate_effect", metric.effect)
        signed: Form = "points" if form == "rate" else "signed"
        written = cell(effects[metric.effect], path, signed)
        relative = effects.get("negative_flip_rate_change_percent")
        if metric.key == "negative_flip_rate" and relative and relative.get("value") is not None:
            where = pointer("tasks", name, "candidate_effect", "negative_flip_rate_change_percent")
            extra = number(relative, where, "percent") + Markup(" ") + interval(relative, where, "percent")
            written += Markup('<span class="second">{}</span>').format(extra)
        return written
    return change(entries[0][0], entries[1][0], (entries[0][1], entries[1][1]), form)


def _tests(name: str, task: Mapping[str, Any]) -> tuple[Markup, ...]:
    """Return the tests' p-values in words."""
    lines = []
    for key, _, title in sides(task):
        found = [
            Markup("{} p = {}").format(
                _test_words(test, words, task[key]),
                _p_value(task[key][test], pointer("tasks", name, key, test)),
            )
            for test, words in _MCNEMAR.items()
            if task[key].get(test) is not None
        ]
        found += _further(name, key, task)
        if found:
            lines.append(Markup("Old against {}: {}").format(title, Markup(", ").join(found)))
    test = "negative_flips_mcnemar_exact_p"
    effect = (task.get("candidate_effect") or {}).get(test)
    if effect is not None:
        written = _p_value(effect, pointer("tasks", name, "candidate_effect", test))
        grouped = task["old_vs_new"].get("clustered_p") is not None
        lines.append(
            Markup("Negative flips, candidate against plain update: {} p = {}").format(
                "over groups of items" if grouped else "exact McNemar", written
            )
        )
    return tuple(lines)


def _further(name: str, key: str, task: Mapping[str, Any]) -> list[Markup]:
    """Write the figures without an interval of their own; the smallest difference of a score is in the score's unit."""
    found = []
    for name_, (words, form) in _FURTHER.items():
        value = task[key].get(name_)
        if value is None:
            continue
        shown: Form = (
            "score" if name_ == "minimum_detectable_difference" and task["kind"] != "binary" else form
        )
        path = pointer("tasks", name, key, name_)
        found.append(Markup("{} {}").format(words, figure(value, format_number(value, shown), path)))
    return found


def _test_words(test: str, words: str, metrics: Mapping[str, Any]) -> str:
    """Name a test; where items are grouped, McNemar's is said to pass that over."""
    if metrics.get("clustered_p") is None or test not in _OF_SINGLE_ITEMS:
        return words
    return f"{words} (as if items were independent)"


_OF_SINGLE_ITEMS = ("mcnemar_exact_p", "mcnemar_mid_p", "mcnemar_harm_p")
_MCNEMAR = {
    "mcnemar_exact_p": "exact McNemar",
    "mcnemar_mid_p": "mid-p",
    "mcnemar_harm_p": "one-sided for harm",
    "mcnemar_holm_p": "Holm over tasks",
    "mcnemar_bh_p": "Benjamini-Hochberg over tasks",
    "clustered_p": "over groups of items",
    "clustered_harm_p": "over groups, one-sided for harm",
}

# Figures without an interval of their own: one-sided 95 % bounds, a posterior, the resolution of the test set.
_FURTHER: dict[str, tuple[str, Form]] = {
    "negative_flip_rate_lower_bound": ("negative flips at least", "rate"),
    "negative_flip_rate_upper_bound": ("at most", "rate"),
    "probability_worse": ("probability that more breaks than is gained", "probability"),
    "minimum_detectable_difference": ("smallest detectable difference", "rate"),
}


def _p_value(value: float, path: str) -> Markup:
    return figure(value, format_number(value, "probability"), path)


def _others(report: Report, name: str, continuous: bool) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Return plain update, candidate and the further runs as rows, where there are further runs."""
    chosen = [m for m in METRICS if m.key in _OTHERS_METRICS[continuous]]
    head = tuple(m.name_for(binary=not continuous).split(", ")[-1] for m in chosen)
    runs: list[tuple[str, Mapping[str, Any], tuple[object, ...]]] = [
        (title, report["tasks"][name][key], ("tasks", name, key))
        for key, _, title in sides(report["tasks"][name])
    ]
    further = [
        (visible(other["name"]), other["tasks"][name], ("others", position, "tasks", name))
        for position, other in enumerate(report["others"])
        if name in other["tasks"]
    ]
    if not further:
        return head, ()
    rows = []
    for title, metrics, where in [*runs, *further]:
        forms = [m.form_for(binary=not continuous) for m in chosen]
        cells = [
            cell(metrics.get(m.key), pointer(*where, m.key), f) for m, f in zip(chosen, forms, strict=True)
        ]
        rows.append(Row(title, "", tuple(cells)))
    return head, tuple(rows)


_OTHERS_METRICS = {
    False: (
        "accuracy_new",
        "accuracy_difference",
        "negative_flip_rate",
        "positive_flip_rate",
        "inconsistency_rate",
    ),
    True: (
        "accuracy_new",
        "accuracy_difference",
        "negative_flip_rate",
        "positive_flip_rate",
        "mean_gain",
        "mean_regression",
    ),
}


def join_lines(report: Report) -> list[tuple[str, Markup, bool]]:
    """Return how the runs were joined: name, figure, and whether a reader should look."""
    names = {
        "paired": "predictions in both runs",
        "only_old": "only in the old run",
        "only_new": "only in the new run",
        "duplicates": "listed more than once",
        "changed": "with another reference or prompt",
    }
    lines = [
        (
            text,
            integer(report["join"][key], pointer("join", key)),
            key != "paired" and report["join"][key] > 0,
        )
        for key, text in names.items()
        if key in report["join"]
    ]
    missing = (report.get("missing") or {}).get("old_vs_new", {})
    names = {"errors": "without an answer (error)", "unscored": "without a verdict", "unread": "not read"}
    return lines + [
        (text, integer(missing[key], pointer("missing", "old_vs_new", key)), missing[key] > 0)
        for key, text in names.items()
        if missing.get(key) is not None
    ]


def source_rows(report: Report) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return each run's role, name and metadata as text."""
    rows = []
    for side in ("old", "new", "candidate"):
        if report.get(side) is not None:
            rows.append((side, str(report[side]), _metadata(report["sources"].get(side) or {})))
    known = {"old", "new", "candidate"}
    rows.extend(("other", str(k), _metadata(v or {})) for k, v in report["sources"].items() if k not in known)
    return rows


def _metadata(source: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (str(k), v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)) for k, v in source.items()
    ]


def flips_note(report: Report, *, held: int) -> Markup:
    """Say how many flips there are and how many of them the page holds.

    Args:
        report: the report.
        held: how many the page holds.
    """
    total, shown = sum(report["flips_total"].values()), report["flips_shown"]
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
