"""What the page's pictures of each task show: its numbers turned into marks of `charts` and `plots`, with legends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from markupsafe import Markup

from muscle.flips.measuring.counting import BinaryCounts, ScoreCounts
from muscle.flips.result.headline import balance
from muscle.flips.result.report import Report, TaskResult
from muscle.foreign_text import visible
from muscle.report.entries import TaskSide, sides, unit_of, value_of
from muscle.report.numbers import count, format_number
from muscle.report.page import charts, plots
from muscle.report.page.charts import Part, Quadrants
from muscle.report.page.data_elements import ABSENT, cell, change, figure, integer, pointer
from muscle.report.page.plots import Axis, EstimateMark

Cells = Mapping[str, int | None]
"""A task's items by what became of them, with the names of `BinaryCounts` or `ScoreCounts`."""


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
    """One rate of one task before and after: picture and figures.

    Attributes:
        task: the task.
        span: how many rows are the task's, in its first one; 0 in the others.
        name: the rate's name.
        picture: both estimates on the table's axis.
        plain: the plain update's figure.
        candidate: the candidate's; None without one.
        change: candidate less plain update; None without one.
    """

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


def fate_of_negative_flips(report: Report) -> Markup | None:
    """Draw what the candidate made of the plain update's negative flips; None where not all of them are listed."""
    negative = [flip for flip in report.flips if flip.kind == "negative_flip"]
    fixed = sum(flip.fixed is True for flip in negative)
    kept = sum(flip.fixed is False for flip in negative)
    introduced = sum(flip.introduced is True for flip in report.flips)
    # A sampled list, or items that the candidate did not answer, would make the parts differ from the totals.
    totals = (balance(report.tasks, "old_vs_new").lost, balance(report.tasks, "old_vs_candidate").lost)
    if not report.candidate or (fixed + kept, kept + introduced) != totals or totals == (0, 0):
        return None
    parts = [
        Part(fixed, "gain", "given back by the candidate"),
        Part(kept, "loss", "still broken"),
        Part(introduced, "introduced", "newly broken by the candidate"),
    ]
    rows = [
        Markup('<li><span class="swatch {}"></span>{} {}</li>').format(p.style, integer(int(p.number)), p.name)
        for p in parts
    ]
    picture = charts.strip(parts, title="What the candidate made of the negative flips")
    return picture + Markup('<ul class="legend">{}</ul>').format(Markup("").join(rows))


def quadrant_cards(report: Report) -> list[QuadrantCard]:
    """Return each task's quadrant picture, or its bar of better, equal and worse where scores are continuous."""
    return [_quadrant_card(name, task) for name, task in report.tasks.items()]


def _quadrant_card(name: str, task: TaskResult) -> QuadrantCard:
    present = [side for side in sides(task) if side.key in task.quadrants]
    counts = [task.quadrants[side.key] for side in present]
    pictures = tuple(
        (side.head, _counts_picture(each, f"{visible(name)}, {side.title}"))
        for side, each in zip(present, counts, strict=True)
    )
    cells: list[Cells] = [asdict(each) for each in counts]
    rows = [
        LegendRow(
            style,
            text,
            tuple(_count_and_share(name, side, field, each[field]) for side, each in zip(present, cells, strict=True)),
        )
        for field, style, text in (_BINARY if task.kind == "binary" else _CONTINUOUS)
        if _is_shown(field, cells)
    ]
    unit = unit_of(task)
    scored = "" if task.kind == "binary" else f", score {visible(task.score)}"
    return QuadrantCard(name, unit.capitalize(), f"{count(task.n)} {unit}{scored}", pictures, tuple(rows))


def _counts_picture(counts: BinaryCounts | ScoreCounts, title: str) -> Markup:
    """Draw the quadrants, or the parts of a score that moved.

    Both wrong is one tile where the answers, and so a change among wrong ones, are not known.
    """
    if isinstance(counts, ScoreCounts):
        cells = asdict(counts)
        parts = [Part(cells[field], style, name) for field, style, name in _CONTINUOUS]
        return charts.strip(parts, title=title, height=44)
    same, different = counts.both_wrong_same, counts.both_wrong_different
    if same is None or different is None:
        same, different = counts.both_wrong, 0
    drawn = Quadrants(counts.both_right, counts.negative_flips, counts.positive_flips, same, different)
    return charts.mosaic(drawn, title=title)


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


def _is_shown(field: str, cells: Sequence[Cells]) -> bool:
    """Both wrong in two parts where the answers are known on every side, else as one; no row for a rare nothing."""
    known = all(c.get("both_wrong_same") is not None for c in cells)
    if field in ("both_wrong_same", "both_wrong_different"):
        return known
    if field == "both_right_changed":
        return any(c.get(field) for c in cells)
    return field != "both_wrong" or not known


def _count_and_share(name: str, side: TaskSide, field: str, number: int | None) -> Markup:
    total = side.numbers.n
    if number is None:
        return ABSENT
    written = integer(number, pointer("tasks", name, "quadrants", side.key, field))
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
            (name, task, metric, word)
            for name, task in report.tasks.items()
            for metric, word in (("negative_flip_rate", "NFR"), ("inconsistency_rate", "NFR_mc"))
            if task.kind == kind and value_of(task.old_vs_new, metric) is not None
        ]
        if found:
            axis = plots.make_axis(_ends_to_cover(found), percent=True)
            rows = [_estimate_row(*each, axis) for each in found]
            # The first row of a task takes the whole span; its others find none left.
            spans = Counter(row.task for row in rows)
            spanned = [replace(row, span=spans.pop(row.task, 0)) for row in rows]
            groups.append(EstimateTable(tuple(spanned), plots.ruler(axis)))
    return groups


def _ends_to_cover(found: Sequence[tuple[str, TaskResult, str, str]]) -> list[float]:
    """Return all values and ends of intervals that an axis must cover."""
    estimates = [side.numbers.metric(metric) for _, task, metric, _ in found for side in sides(task)]
    ends = [end for each in estimates for end in (each.value, each.low, each.high)]
    return [end for end in ends if end is not None]


def _estimate_row(name: str, task: TaskResult, metric: str, word: str, axis: Axis) -> EstimateRow:
    marks = []
    present = sides(task)
    for side in present:
        found = side.numbers.metric(metric)
        if found.value is not None:
            text = f"{side.title}: {format_number(found.value, 'rate')}"
            if found.low is not None and found.high is not None:
                text += f" ({format_number(found.low, 'rate')} to {format_number(found.high, 'rate')})"
            marks.append(EstimateMark(found.value, found.low, found.high, side.role, text))
    paths = [pointer("tasks", name, side.key, metric) for side in present]
    entries = [side.numbers.metric(metric) for side in present]
    cells = [cell(entry, path, "rate") for entry, path in zip(entries, paths, strict=True)]
    with_candidate = len(present) > 1
    return EstimateRow(
        name,
        1,
        word,
        plots.estimates(marks, axis, title=f"{visible(name)}, {word}"),
        cells[0],
        cells[1] if with_candidate else None,
        change(entries[0], entries[1], (paths[0], paths[1]), "rate") if with_candidate else None,
    )
