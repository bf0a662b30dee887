"""What a rule is worth, what it answered and what to label, in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from muscle.report.numbers import count, format_number
from muscle.report.text.terminal_parts import indented_table, print_lines
from muscle.route.applying import Applied
from muscle.route.kappa import kappa_words
from muscle.route.labelling.labels import ToLabel
from muscle.route.worth import CurvePoint, RouteReport

HEAD = ("", "accuracy", "flips/1,000", "old asked", "cost/1,000")
_STYLES = {"pass": "green", "block": "bold red", "cannot_tell": "cyan"}
_MAX = 400
MAX_POINTS = 8


def way_rows(report: RouteReport) -> list[tuple[str, ...]]:
    """Return a row for each way to answer, as `HEAD` names the cells."""
    return [
        (
            way.words,
            _accuracy_or_gain(way.accuracy, way.gain),
            "unknown" if way.negative_flip_rate is None else _decimal(1000 * way.negative_flip_rate),
            _percent_or_unknown(way.asked_share),
            _decimal(way.cost),
        )
        for way in report.ways
    ]


def point_rows(points: Sequence[CurvePoint], *, by_asked: bool) -> list[tuple[str, ...]]:
    """Return a row for each point of a curve, as `HEAD` names the cells."""
    return [
        (
            f"old asked for {_percent_or_unknown(p.asked_share)}" if by_asked else f"kappa {kappa_words(p.kappa)}",
            _accuracy_or_gain(p.accuracy, p.gain),
            _decimal(p.flips),
            _percent_or_unknown(p.asked_share),
            _decimal(p.cost),
        )
        for p in points
    ]


def print_worth(report: RouteReport, console: Console) -> None:
    """Print the verdict, the ways to answer, the curve, and what is missing."""
    print_lines([report.headline], console, limit=_MAX, style=_STYLES[report.verdict])
    if report.bound is not None:
        apart = report.bound.counts.num
        console.print(Text(f"\nFitted on {count(report.num_fitted)} items; on {count(apart)} others:", style="bold"))
        console.print(indented_table(HEAD, way_rows(report), max_characters=60))
        if report.flips_saved is not None:
            console.print(Text(f"  saves {format_number(report.flips_saved, 'rate')} of the new model's flips"))
    for title, points, by_asked in (
        ("Other kappas:", report.by_kappa, False),
        ("The old model asked where the new one is least sure:", report.by_asked, True),
    ):
        if points:
            console.print(Text(f"\n{title}", style="bold"))
            shown = points if by_asked else thinned(points, MAX_POINTS)
            console.print(indented_table(HEAD, point_rows(shown, by_asked=by_asked), max_characters=60))
    if report.by_kappa:
        print_lines(
            ["The bound holds for the rule alone; one picked from a curve needs new items."], console, limit=_MAX
        )
    if report.missing:
        print_lines([f"Missing: {report.missing}"], console, limit=_MAX, style="yellow")
    print_lines(report.notes, console, limit=_MAX, style="yellow")


def print_applied(found: Applied, path: Path, console: Console) -> None:
    """Print how many answers are whose, and what they cost."""
    whose = ", ".join(f"{name} {count(number)}" for name, number in found.whose.items())
    print_lines([f"{path}: {count(found.frame.height)} answers: {whose}"], console, limit=_MAX)
    print_lines(
        [f"old asked for {_percent_or_unknown(found.asked_share)}, cost of 1,000: {_decimal(found.cost)}"],
        console,
        limit=_MAX,
    )
    if found.missing:
        print_lines([f"Missing: {found.missing}"], console, limit=_MAX, style="yellow")
    if found.num_fitted:
        told = f"The rule was fitted on {count(found.num_fitted)} of these items: a comparison of them flatters it; "
        print_lines([f"{told}muscle route check tells what it is worth on others"], console, limit=_MAX, style="yellow")


def print_list(found: ToLabel, path: Path, console: Console) -> None:
    """Print what the list holds and what stays unknown."""
    purposes = dict(found.frame["purpose"].value_counts().iter_rows())
    order = "by expected gain" if found.by_gain else "at random"
    fit, at_random = (count(purposes.get(name, 0)) for name in ("fit", "bound"))
    told = f" ({fit} {order} for the fit, {at_random} at random for the bound)"
    lines = [
        f"{path}: {count(found.frame.height)} items to label"
        + (f"{told}; fill in `label`: old, new, both or neither" if found.frame.height else ""),
        f"{count(found.disagreements)} disagreements, {count(found.judged)} judged; {count(found.unknown)} stay "
        "unknown when the list is labelled",
    ]
    print_lines(lines, console, limit=_MAX)
    print_lines(found.notes, console, limit=_MAX, style="yellow")


def thinned(points: Sequence[CurvePoint], most: int) -> list[CurvePoint]:
    """Return at most so many of the points, first and last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]


def _accuracy_or_gain(accuracy: float | None, gain: float | None) -> str:
    """Write an accuracy; where agreements were not judged, its change against the new model in points."""
    if accuracy is not None or gain is None:
        return _percent_or_unknown(accuracy)
    return f"new {format_number(gain, 'points')}"


def _percent_or_unknown(value: float | None) -> str:
    return "unknown" if value is None else format_number(value, "rate")


def _decimal(value: float) -> str:
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"
