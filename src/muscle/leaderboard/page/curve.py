"""The accuracy-flips curve: a point a row, the chosen one marked."""

from __future__ import annotations

from muscle.foreign_text import visible
from muscle.leaderboard.result import Leaderboard, Row, TaskBoard
from muscle.report.entries import Role
from muscle.report.numbers import Form, format_number
from muscle.report.page import plots
from muscle.report.page.plots import Point
from muscle.report.page.trade_offs import Plot

_ROOM = 0.08
"""Share of the points' range by which the axis of accuracies reaches further."""


def accuracy_flips_curve(board: Leaderboard, task: TaskBoard) -> Plot | None:
    """Plot each row's negative flips against its accuracy; None without a flip.

    The bare base is left out: it lies so far off that the others would be one spot.
    """
    points = [point for row in board.rows if (point := _row_point(row, task)) is not None]
    if not any(point.y for point in points):
        return None
    levels = [point.x for point in points]
    reach = _ROOM * (max(levels) - min(levels) or 0.01)
    binary = task.kind == "binary"
    x_axis = plots.make_axis([min(levels) - reach, max(levels) + reach], percent=binary, zero=False)
    y_axis = plots.make_axis([1.05 * point.y for point in points], percent=True)
    plain = next((point for point in points if point.role == "plain"), None)
    lines = [((plain.x, 0.0), (plain.x, y_axis.high))] if plain else []
    notes = ("Right of the dashed line a row is at least as accurate as the plain update; lower is better.",)
    return Plot(
        "Negative flips and accuracy",
        "accuracy" if binary else "mean score",
        "negative flip rate",
        plots.scatter(points, x_axis, y_axis, title="Negative flips against accuracy", lines=lines),
        notes if plain else (),
        frozenset(point.role for point in points),
    )


def _row_point(row: Row, task: TaskBoard) -> Point | None:
    numbers = row.tasks.get(task.name)
    if numbers is None or row.role == "old" or row.name.startswith("bare new base"):
        return None
    level, flips = numbers.mean("accuracy"), numbers.mean("negative_flip_rate")
    if level is None or flips is None:
        return None
    role: Role = "plain" if row.role == "plain" else "candidate" if row.name == task.chosen else "other"
    form: Form = "rate" if task.kind == "binary" else "score"
    name = visible(row.name)
    title = f"{name}: {format_number(level, form)}, NFR {format_number(flips, 'rate')}"
    return Point(level, flips, role, name if role != "other" or row.role in ("method", "served") else "", title)
