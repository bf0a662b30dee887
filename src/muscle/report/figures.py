"""What the report's charts show: report.json's entries turned into the marks of `charts`, with legends and captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from muscle.report import charts, plots
from muscle.report.charts import Part, Quadrants
from muscle.report.numbers import (
    ABSENT,
    Form,
    cell,
    change,
    count,
    figure,
    format_number,
    integer,
    pointer,
    visible,
)
from muscle.report.plots import Axis, Estimate, Point, Role

Report = Mapping[str, Any]
SIDES: tuple[tuple[str, Role, str], ...] = (
    ("old_vs_new", "plain", "plain update"),
    ("old_vs_candidate", "candidate", "candidate"),
)

_ROOM = 1.05
"""Axes of scatter plots reach this much further than the points, so that labels find room."""


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


@dataclass(frozen=True)
class Plot:
    """A scatter plot or histogram with what its axes are."""

    title: str
    x_name: str
    y_name: str
    picture: Markup
    notes: tuple[str, ...] = ()
    roles: frozenset[Role] = frozenset()


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
    metrics = [task[side] for task in tasks for side, _, _ in SIDES if task.get(side)]
    return "answers" if any("all_answers" in found for found in metrics) else "items"


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


def flips_against_gap(report: Report) -> Plot | None:
    """Plot NFR against the performance gap, a pair of points a task (MUSCLE, 2024, Fig. 4); None without a flip.

    Both are rates, so tasks whose mean score does not lie in [0, 1] are left out, and the caption says so.
    """
    points, left_out = [], []
    for name, task in report["tasks"].items():
        old, new = (value_of(task["old_vs_new"], f"accuracy_{side}") for side in ("old", "new"))
        gap, label = value_of(task["old_vs_new"], "accuracy_difference"), visible(name)
        if gap is None or old is None or new is None or not (0 <= old <= 1 and 0 <= new <= 1):
            left_out.append(label)
            continue
        for key, role, title in sides(task):
            rate = value_of(task[key], "negative_flip_rate")
            if rate is not None:
                text = f"{label}, {title}: gap {format_number(gap, 'points')} points, NFR {format_number(rate, 'rate')}"
                points.append(Point(gap, rate, role, label if role == "plain" else "", text, name))
    if not any(point.y for point in points):
        return None
    x_axis = plots.make_axis([_ROOM * p.x for p in points], percent=True, signed=True)
    y_axis = plots.make_axis([_ROOM * p.y for p in points], percent=True)
    # An update that loses g points of accuracy has at least that many negative flips.
    corner = max(x_axis.low, -y_axis.high)
    lines = [((corner, -corner), (0.0, 0.0))] if corner < 0 else []
    picture = plots.scatter(
        points, x_axis, y_axis, title="Negative flips against the performance gap", lines=lines
    )
    notes: tuple[str, ...] = (
        ("Below the dashed line no update can lie: accuracy lost is flips.",) if lines else ()
    )
    if left_out:
        notes += (f"Not shown, as their scores are not rates: {', '.join(left_out)}.",)
    return Plot(
        "Flips against the performance gap",
        "gap in accuracy or mean score, old to new",
        "negative flip rate",
        picture,
        notes,
        frozenset(point.role for point in points),
    )


def gain_against_regression(report: Report) -> list[Plot]:
    """Plot what was gained against what was lost: PFR against NFR for binary tasks, mean gain against mean regression else."""
    found: list[Plot | None] = []
    binary = [name for name, task in report["tasks"].items() if task["kind"] == "binary"]
    if binary:
        points = [
            point
            for name in binary
            for point in _trade(
                report, name, "negative_flip_rate", "positive_flip_rate", "rate", len(binary) > 1
            )
        ]
        found.append(
            _trade_plot(
                points,
                "Gain against regression",
                ("negative flip rate", "positive flip rate"),
                "On the dashed line accuracy stays as it was; above it the update gains more than it loses.",
                percent=True,
            )
        )
    for name, task in report["tasks"].items():
        if task["kind"] == "continuous":
            points = _trade(report, name, "mean_regression", "mean_gain", "score", False)
            title, score = f"Gain against regression, {visible(name)}", visible(task["score"])
            found.append(
                _trade_plot(
                    points,
                    title,
                    (f"mean regression of {score}", f"mean gain of {score}"),
                    "Over the items that changed; on the dashed line the average gain is as large as the average loss.",
                    percent=False,
                )
            )
    return [plot for plot in found if plot is not None]


def _trade(report: Report, task: str, lost: str, gained: str, form: Form, many: bool) -> list[Point]:
    points = []
    for role, name, metrics in _runs(report, task):
        x, y = value_of(metrics, lost), value_of(metrics, gained)
        if x is None or y is None:
            continue
        label = name if not many else visible(task) if role == "plain" else ""
        text = f"{visible(task)}, {name}: lost {format_number(x, form)}, gained {format_number(y, form)}"
        points.append(Point(x, y, role, label, text, "" if role == "other" else task))
    return points


def _runs(report: Report, task: str) -> Iterator[tuple[Role, str, Mapping[str, Any]]]:
    data = report["tasks"][task]
    for key, role, title in sides(data):
        yield role, title, data[key]
    for other in report["others"]:
        if task in other["tasks"]:
            yield "other", visible(other["name"]), other["tasks"][task]


def _trade_plot(
    points: Sequence[Point], title: str, names: tuple[str, str], note: str, *, percent: bool
) -> Plot | None:
    if not any(point.x or point.y for point in points):
        return None
    x_axis = plots.make_axis([_ROOM * p.x for p in points], percent=percent)
    y_axis = plots.make_axis([_ROOM * p.y for p in points], percent=percent)
    end = min(x_axis.high, y_axis.high)
    picture = plots.scatter(points, x_axis, y_axis, title=title, lines=[((0.0, 0.0), (end, end))])
    return Plot(title, *names, picture, (note,), frozenset(point.role for point in points))


def difference_histograms(report: Report) -> list[Plot]:
    """Return the distribution of D, new score minus old, of each continuous task."""
    found: list[Plot] = []
    for name, task in report["tasks"].items():
        data, score = task.get("difference_histogram"), visible(task["score"])
        if task["kind"] == "continuous" and data:
            title = f"Distribution of D, {visible(name)}"
            above, below = data["old_vs_new"], data.get("old_vs_candidate")
            picture = plots.histogram(data["edges"], above, below, title=title, unit=score)
            found.append(Plot(title, f"D: change of {score} per item", "number of items", picture))
    return found
