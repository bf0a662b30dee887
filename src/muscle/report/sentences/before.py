"""What a reader must know before the first number: what differs beside the model, and what did not fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muscle.flips.result.history_report import HistoryReport
from muscle.flips.result.report import Report


def allowed_lines(report: Report) -> list[str]:
    """Return a line for each difference that would be refused and was allowed: it comes before what to do.

    Args:
        report: of a comparison or of the gate.
    """
    return [f"{text} (allowed)" for text, grave in _differences(report) if grave]


@dataclass(frozen=True)
class BeforeLine:
    """A line that comes before the first number.

    Attributes:
        text: the line.
        is_calm: whether it only says how files were read.
    """

    text: str
    is_calm: bool = False


def before_lines(report: Report, *, limit: int) -> list[BeforeLine]:
    """Return a line for each other difference between the runs, then the warnings, then how the files were read.

    Args:
        report: of a comparison or of the gate.
        limit: lines; of more it is said how many there are.
    """
    differences = [text for text, grave in _differences(report) if not grave]
    return first_before([*differences, *warning_lines(report)], report.readings, limit=limit, place="the JSON report")


def warning_lines(report: Report | HistoryReport) -> list[str]:
    """Return a report's warnings as lines."""
    return [f"warning: {warning}" for warning in report.warnings]


def first_before(grave: Sequence[str], readings: Sequence[str], *, limit: int, place: str) -> list[BeforeLine]:
    """Return the first lines of what comes before the numbers, what is grave first.

    Args:
        grave: lines that should make a reader look twice.
        readings: how files were read.
        limit: lines; of more it is said how many there are.
        place: where they are all to be found.
    """
    lines = [*map(BeforeLine, grave), *(BeforeLine(f"note: {reading}", is_calm=True) for reading in readings)]
    hidden = lines[limit:]
    more = BeforeLine(f"and {len(hidden)} more in {place}", is_calm=all(line.is_calm for line in hidden))
    return lines[:limit] + ([more] if hidden else [])


def _differences(report: Report) -> list[tuple[str, bool]]:
    """Return each difference once, and whether it was only allowed."""
    found: dict[str, tuple[str, bool]] = {}
    for side, differences in report.comparability.items():
        who = "" if side == "old_vs_new" else f"{side.removeprefix('old_vs_')}: "
        for each in differences:
            told = f"differs beside the model: {who}{each.what}: {each.message}"
            found.setdefault(each.message, (told, each.severity == "refuse"))
    return list(found.values())
