"""The paper's Fig. 4 and 5 of one's own updates: flips avoided against the gap, and NFR_mc with NFR."""

from __future__ import annotations

from collections.abc import Sequence

from muscle.foreign_text import visible
from muscle.report.collection.rows import CollectedTask, Collection
from muscle.report.entries import Role
from muscle.report.numbers import format_number
from muscle.report.page import plots
from muscle.report.page.plots import Point
from muscle.report.page.trade_offs import Plot

_ROOM = 1.05
"""Axes reach this much further than the points, so that labels find room."""


def avoided_against_gap(collection: Collection) -> Plot | None:
    """Plot the negative flips that compatible updates avoid against the gap acc_v2 - acc_v1 (MUSCLE, 2024, Fig. 4).

    One point an update and task, the paper's too. None where no update has a compatible one.
    """
    points, left_out = [], []
    for row in collection.rows:
        fallen = None if row.changes is None else row.changes.negative_flip_rate
        if fallen is None or row.gap is None:
            continue
        if not _is_rate(row):
            left_out.append(f"{visible(row.update)}, {visible(row.task)}")
            continue
        role: Role = "other" if row.origin == "paper" else "candidate"
        told = f"gap {format_number(row.gap, 'points')} points, {format_number(-fallen, 'points')} points avoided"
        origin = " (paper)" if row.origin == "paper" else ""
        title = f"{visible(row.update)}, {visible(row.task)}{origin}: {told}"
        points.append(Point(row.gap, -fallen, role, visible(row.task), title))
    if not points:
        return None
    notes = ["Above the line at zero the compatible update breaks less than the plain one."]
    if left_out:
        notes.append(f"Not shown, as their scores are not from 0 to 1: {'; '.join(left_out)}.")
    return Plot(
        "Flips avoided against the performance gap",
        "gap in accuracy or mean score, old to new",
        "NFR less NFR_c, in points of all items",
        plots.scatter(
            points,
            plots.make_axis([_ROOM * point.x for point in points], percent=True, signed=True),
            plots.make_axis([_ROOM * point.y for point in points], percent=True, signed=True),
            title="Flips avoided against the performance gap",
        ),
        tuple(notes),
        frozenset(point.role for point in points),
    )


def inconsistency_with_flips(collection: Collection) -> Plot | None:
    """Plot NFR_mc with NFR, the plain update joined to the compatible one (MUSCLE, 2024, Fig. 5).

    None where none has right and wrong answers. The paper prints no NFR_mc, so its rows have no points.
    """
    points: list[Point] = []
    for number, row in enumerate(collection.rows):
        points += _both_updates(row, str(number))
    if not any(point.y for point in points):
        return None
    x_axis = plots.make_axis([_ROOM * point.x for point in points], percent=True)
    y_axis = plots.make_axis([_ROOM * point.y for point in points], percent=True)
    end = min(x_axis.high, y_axis.high)
    title = "Inconsistent answers with negative flips"
    picture = plots.scatter(points, x_axis, y_axis, title=title, lines=[((0.0, 0.0), (end, end))])
    note = "No update can lie below the dashed line: NFR_mc adds wrong answers that became other wrong ones to NFR."
    roles = frozenset(point.role for point in points)
    return Plot(title, "negative flip rate, NFR", "inconsistency rate, NFR_mc", picture, (note,), roles)


def _both_updates(row: CollectedTask, series: str) -> Sequence[Point]:
    found = []
    sides: tuple[tuple[Role, str], ...] = (("plain", "plain update"), ("candidate", "compatible"))
    for (role, name), side in zip(sides, (row.plain, row.compatible), strict=True):
        x = None if side is None else side.negative_flip_rate.value
        y = None if side is None else side.inconsistency_rate.value
        if x is None or y is None:
            continue
        told = f"NFR {format_number(x, 'rate')}, NFR_mc {format_number(y, 'rate')}"
        title = f"{visible(row.update)}, {visible(row.task)}, {name}: {told}"
        found.append(Point(x, y, role, visible(row.task) if role == "plain" else "", title, series))
    return found


def _is_rate(row: CollectedTask) -> bool:
    levels = (row.plain.old.value, row.plain.new.value)
    return all(level is not None and 0 <= level <= 1 for level in levels)
