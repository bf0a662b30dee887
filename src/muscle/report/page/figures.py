"""What the report's pictures of each task show: its entries turned into marks of `charts` and `plots`, with legends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from muscle.flips.result.verdict import counted_unit
from muscle.outgoing import visible
from muscle.report.numbers import count, format_number
from muscle.report.page import charts, plots
from muscle.report.page.charts import Part, Quadrants
from muscle.report.page.data_elements import ABSENT, cell, change, figure, integer, pointer
from muscle.report.page.plots import Axis, Estimate, Role

Report = Mapping[str, Any]
SIDES: tuple[tuple[str, Role, str], ...] = (
    ("old_vs_new", "plain", "plain update"),
    ("old_vs_candidate", "candidate", "candidate"),
)


@dataclass(frozen=True)
class LegendRow:
    """A part of the items on both sides: swatch's style, name, and a figure with its share per side."""

    style: str
    name: str
    numbers: tuple[Markup, ...]


@dataclass(frozen=True)
class QuadrantCard:
    """One task's items (or answers, where it has repeats) before and after, one picture a side."""

    task: str
    unit: str
    caption: str
    pictures: tuple[tuple[str, Markup], ...]
    legend: tuple[LegendRow, ...]


@dataclass(frozen=True)
class EstimateRow:
    """One rate of one task before and after: picture and figures; `span` rows from the task's first one on are its own."""

    task: str
    span: int
    name: str
    picture: Markup
    plain: Markup
    candidate: Markup | None
    change: Markup | None


@dataclass(frozen=True)
class EstimateTable:
    """Rates on one axis."""

    rows: tuple[EstimateRow, ...]
    ruler: Markup


def value_of(metrics: Mapping[str, Any] | None, name: str) -> float | None:
    """Return a metric's value, None where it is undefined or missing."""
    entry = (metrics or {}).get(name)
    return None if entry is None else entry["value"]


def sides(task: Mapping[str, Any]) -> list[tuple[str, Role, str]]:
    """Return the comparisons with the old model that this task has."""
    return [side for side in SIDES if task.get(side[0])]


def fate_of_negative_flips(report: Report) -> Markup | None:
    """Draw what the candidate made of the plain update's negative flips; None where not all of them are listed."""
    negative = [flip for flip in report["flips"] if flip["kind"] == "negative_flip"]
    fixed = sum(flip["fixed"] is True for flip in negative)
    kept = sum(flip["fixed"] is False for flip in negative)
    introduced = sum(flip["introduced"] is True for flip in report["flips"])
    # A sampled list, or items that the candidate did not answer, would make the parts differ from the totals.
    totals = (pooled(report, "old_vs_new")[0], pooled(report, "old_vs_candidate")[0])
    if not report["candidate"] or (fixed + kept, kept + introduced) != totals or totals == (0, 0):
        return None
    parts = [
        Part(fixed, "gain", "given back by the candidate"),
        Part(kept, "loss", "still broken"),
        Part(introduced, "introduced", "newly broken by the candidate"),
    ]
    rows = [
        Markup('<li><span class="swatch {}"></span>{} {}</li>').format(
            p.style, integer(int(p.number)), p.name
        )
        for p in parts
    ]
    picture = charts.strip(parts, title="What the candidate made of the negative flips")
    return picture + Markup('<ul class="legend">{}</ul>').format(Markup("").join(rows))


def unit(*tasks: Mapping[str, Any]) -> str:
    """Return what a task's numbers count: answers where its items were asked several times, else items."""
    return counted_unit(task[side] for task in tasks for side, _, _ in SIDES if task.get(side))


def num_items(task: Mapping[str, Any], side: str) -> int:
    """Return how many items a side compares: a candidate may have answered fewer than the plain update."""
    return int(task[side]["n"])


def pooled(report: Report, side: str, kind: str | None = None) -> tuple[int, int]:
    """Return lost and gained items over all tasks, or those of one kind; tasks without this side count nothing."""
    tasks = [task for task in report["tasks"].values() if kind in (None, task["kind"])]
    cells = [task["quadrants"].get(side) or {} for task in tasks]
    lost = sum(c.get("negative_flips", 0) + c.get("worse", 0) for c in cells)
    return lost, sum(c.get("positive_flips", 0) + c.get("better", 0) for c in cells)


def quadrant_cards(report: Report) -> list[QuadrantCard]:
    """Return each task's quadrant picture, or its bar of better, equal and worse where scores are continuous."""
    return [_quadrant_card(name, task) for name, task in report["tasks"].items()]


def _quadrant_card(name: str, task: Mapping[str, Any]) -> QuadrantCard:
    present = [side for side in SIDES if task["quadrants"].get(side[0])]
    cells = [task["quadrants"][key] for key, _, _ in present]
    draw = _mosaic if task["kind"] == "binary" else _bar
    pictures = tuple(
        (f"{title[0].upper()}{title[1:]}", draw(numbers, f"{visible(name)}, {title}"))
        for (_, _, title), numbers in zip(present, cells, strict=True)
    )
    rows = [
        LegendRow(style, text, tuple(_count_and_share(name, task, key, field) for key, _, _ in present))
        for field, style, text in (_BINARY if task["kind"] == "binary" else _CONTINUOUS)
        if _is_shown(field, cells)
    ]
    scored = "" if task["kind"] == "binary" else f", score {visible(task['score'])}"
    caption = f"{count(task['n'])} {unit(task)}{scored}"
    return QuadrantCard(name, unit(task).capitalize(), caption, pictures, tuple(rows))


def _mosaic(cells: Mapping[str, int | None], title: str) -> Markup:
    """Draw the quadrants; "both wrong" as one where the answers, and so a change among wrong ones, are not known."""
    right, lost, gained = (cells[k] or 0 for k in ("both_right", "negative_flips", "positive_flips"))
    same, different = cells["both_wrong_same"], cells["both_wrong_different"]
    if same is None or different is None:
        same, different = cells["both_wrong"] or 0, 0
    return charts.mosaic(Quadrants(right, lost, gained, same, different), title=title)


def _bar(cells: Mapping[str, int | None], title: str) -> Markup:
    parts = [Part(cells[field] or 0, style, name) for field, style, name in _CONTINUOUS]
    return charts.strip(parts, title=title, height=44)


_BINARY = [
    ("both_right", "right", "both right"),
    ("both_right_changed", "inset", "of them another accepted answer"),
    ("negative_flips", "loss", "lost: right to wrong"),
    ("positive_flips", "gain", "gained: wrong to right"),
    ("both_wrong", "wrong", "both wrong"),
    ("both_wrong_same", "wrong", "both wrong, same answer"),
    ("both_wrong_different", "hatch", "both wrong, another answer"),
]
_CONTINUOUS = [
    ("worse", "loss", "score worse"),
    ("equal", "wrong", "same score"),
    ("better", "gain", "score better"),
]


def _is_shown(field: str, cells: Sequence[Mapping[str, int | None]]) -> bool:
    """Both wrong in two parts where the answers are known on every side, else as one; no row for a rare nothing."""
    known = all(c.get("both_wrong_same") is not None for c in cells)
    if field in ("both_wrong_same", "both_wrong_different"):
        return known
    if field == "both_right_changed":
        return any(c.get(field) for c in cells)
    return field != "both_wrong" or not known


def _count_and_share(name: str, task: Mapping[str, Any], side: str, field: str) -> Markup:
    number, total = task["quadrants"][side].get(field), num_items(task, side)
    if number is None:
        return ABSENT
    written = integer(number, pointer("tasks", name, "quadrants", side, field))
    if not total:
        return written
    share = figure(number / total, format_number(number / total, "rate"))
    return written + Markup(' <span class="share">{}</span>').format(share)


def before_and_after(report: Report) -> list[EstimateTable]:
    """Return NFR and NFR_mc before and after (MUSCLE, 2024, Fig. 5), one group for each kind of task.

    Continuous scores have an axis of their own: any change of a score is a flip there, so their rates are far larger.
    """
    groups = []
    for kind in ("binary", "continuous"):
        found = [
            (task, data, metric, name)
            for task, data in report["tasks"].items()
            for metric, name in (("negative_flip_rate", "NFR"), ("inconsistency_rate", "NFR_mc"))
            if data["kind"] == kind and value_of(data.get("old_vs_new"), metric) is not None
        ]
        if found:
            axis = plots.make_axis(_ends(found), percent=True)
            rows = [_estimate_row(*item, axis) for item in found]
            spans = Counter(row.task for row in rows)
            spanned = [replace(row, span=spans.pop(row.task, 0)) for row in rows]
            groups.append(EstimateTable(tuple(spanned), plots.ruler(axis)))
    return groups


def _ends(found: Sequence[tuple[str, Mapping[str, Any], str, str]]) -> list[float]:
    """Return all values and ends of intervals that an axis must cover."""
    entries = [data[key].get(metric) or {} for _, data, metric, _ in found for key, _, _ in sides(data)]
    return [e[end] for e in entries for end in ("value", "low", "high") if e.get(end) is not None]


def _estimate_row(task: str, data: Mapping[str, Any], metric: str, name: str, axis: Axis) -> EstimateRow:
    marks = []
    for key, role, title in sides(data):
        entry = data[key].get(metric) or {}
        if entry.get("value") is not None:
            text = f"{title}: {format_number(entry['value'], 'rate')}"
            if entry.get("low") is not None and entry.get("high") is not None:
                text += f" ({format_number(entry['low'], 'rate')} to {format_number(entry['high'], 'rate')})"
            marks.append(Estimate(entry["value"], entry.get("low"), entry.get("high"), role, text))
    paths = (pointer("tasks", task, "old_vs_new", metric), pointer("tasks", task, "old_vs_candidate", metric))
    plain, candidate = data["old_vs_new"][metric], (data.get("old_vs_candidate") or {}).get(metric)
    return EstimateRow(
        task,
        1,
        name,
        plots.estimates(marks, axis, title=f"{visible(task)}, {name}"),
        cell(plain, paths[0], "rate"),
        cell(candidate, paths[1], "rate") if candidate else None,
        change(plain, candidate, paths, "rate") if candidate else None,
    )
