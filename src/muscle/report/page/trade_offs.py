"""The report's scatter plots and histograms: what an update loses against what it gains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.result.report import Report
from muscle.foreign_text import visible
from muscle.report.entries import Role, sides, value_of
from muscle.report.numbers import Form, format_number
from muscle.report.page import plots
from muscle.report.page.plots import Point

_ROOM = 1.05
"""Axes of scatter plots reach this much further than the points, so that labels find room."""

_FEWEST = 3
"""With fewer points the plot says no more than the table of rates."""


@dataclass(frozen=True)
class Plot:
    """A scatter plot or histogram with what its axes are."""

    title: str
    x_name: str
    y_name: str
    picture: Markup
    notes: tuple[str, ...] = ()
    roles: frozenset[Role] = frozenset()


def flips_against_gap(report: Report) -> Plot | None:
    """Plot NFR against the gap in accuracy, a point a run and task, each at its own gap (MUSCLE, 2024, Fig. 4).

    Both are rates, so tasks whose mean score does not lie in [0, 1] are left out, and the caption says so. None where
    the points say nothing: fewer than `_FEWEST`, no flip, or one gap for all.
    """
    points, left_out = [], []
    for name in report.tasks:
        found = _gap_points(report, name)
        points += found or []
        left_out += [visible(name)] if found is None else []
    if len(points) < _FEWEST or not any(point.y for point in points) or len({point.x for point in points}) < 2:
        return None
    x_axis = plots.make_axis([_ROOM * p.x for p in points], percent=True, signed=True)
    y_axis = plots.make_axis([_ROOM * p.y for p in points], percent=True)
    # An update that loses g points of accuracy has at least that many negative flips.
    corner = max(x_axis.low, -y_axis.high)
    lines = [((corner, -corner), (0.0, 0.0))] if corner < 0 else []
    picture = plots.scatter(points, x_axis, y_axis, title="Negative flips against the performance gap", lines=lines)
    notes: tuple[str, ...] = ("Each run at its own gap to the old model.",)
    notes += ("Below the dashed line no run can lie: accuracy lost is flips.",) if lines else ()
    if left_out:
        notes += (f"Not shown, as their scores are not rates: {', '.join(left_out)}.",)
    return Plot(
        "Flips against the performance gap",
        "gap in accuracy or mean score to the old model",
        "negative flip rate",
        picture,
        notes,
        frozenset(point.role for point in points),
    )


def _gap_points(report: Report, name: str) -> list[Point] | None:
    """Return a task's points, one a run; None where its scores are no rates."""
    points, label = [], visible(name)
    for role, title, numbers in _numbers_of_runs(report, name):
        old, new = (value_of(numbers, f"accuracy_{version}") for version in ("old", "new"))
        gap, rate = value_of(numbers, "accuracy_difference"), numbers.negative_flip_rate.value
        if old is None or new is None or not (0 <= old <= 1 and 0 <= new <= 1):
            # A score of 0 to 100, or a loss, has no place on an axis of rates.
            return None
        if gap is not None and rate is not None:
            moved = f"gap {format_number(gap, 'points')} points, NFR {format_number(rate, 'rate')}"
            told = title if len(report.tasks) == 1 else label if role == "plain" else ""
            points.append(Point(gap, rate, role, told, f"{label}, {title}: {moved}", "" if role == "other" else name))
    return points


def gain_against_regression(report: Report) -> list[Plot]:
    """Plot what was gained against what was lost.

    PFR against NFR for the tasks of right and wrong, mean gain against mean regression for each with a score.
    """
    kinds = {name: task.kind for name, task in report.tasks.items()}
    found = [_rates_plot(report, [name for name, kind in kinds.items() if kind == "binary"])]
    found += [_score_plot(report, name) for name, kind in kinds.items() if kind == "continuous"]
    return [plot for plot in found if plot is not None]


def _rates_plot(report: Report, names: Sequence[str]) -> Plot | None:
    """Plot the binary tasks together; None without a flip."""
    points = [
        point
        for name in names
        for point in _trade(report, name, "negative_flip_rate", "positive_flip_rate", "rate", len(names) > 1)
    ]
    note = "On the dashed line accuracy stays as it was; above it the update gains more than it loses."
    axes = ("negative flip rate", "positive flip rate")
    return _trade_plot(points, "Gain against regression", axes, note, percent=True)


def _score_plot(report: Report, name: str) -> Plot | None:
    """Plot one continuous task; None where no score changed."""
    score = visible(report.tasks[name].score)
    points = _trade(report, name, "mean_regression", "mean_gain", "score", False)
    note = "Over the items that changed; on the dashed line the average gain is as large as the average loss."
    axes = (f"mean regression of {score}", f"mean gain of {score}")
    return _trade_plot(points, f"Gain against regression, {visible(name)}", axes, note, percent=False)


def _trade(report: Report, task: str, lost: str, gained: str, form: Form, many: bool) -> list[Point]:
    points = []
    for role, name, numbers in _numbers_of_runs(report, task):
        x, y = value_of(numbers, lost), value_of(numbers, gained)
        if x is None or y is None:
            continue
        label = name if not many else visible(task) if role == "plain" else ""
        text = f"{visible(task)}, {name}: lost {format_number(x, form)}, gained {format_number(y, form)}"
        points.append(Point(x, y, role, label, text, "" if role == "other" else task))
    return points


def _numbers_of_runs(report: Report, task: str) -> Iterator[tuple[Role, str, SideNumbers]]:
    for side in sides(report.tasks[task]):
        yield side.role, side.title, side.numbers
    for other in report.others:
        if task in other.tasks:
            yield "other", visible(other.name), other.tasks[task]


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
    for name, task in report.tasks.items():
        data, score = task.difference_histogram, visible(task.score)
        if task.kind == "continuous" and data is not None:
            title = f"Distribution of D, {visible(name)}"
            picture = plots.histogram(data.edges, data.old_vs_new, data.old_vs_candidate, title=title, unit=score)
            found.append(Plot(title, f"D: change of {score} per item", "number of items", picture))
    return found
