"""Every way out of an update as rows of a table: what breaks and is mended of 100 requests, the level, the costs."""

from __future__ import annotations

from dataclasses import dataclass

from muscle.flips.result.deciding.decision import Way, WayOut
from muscle.flips.result.report import Report
from muscle.flips.statistics.intervals import Estimate
from muscle.report.numbers import DASH, format_number, value_alone

NAMES: dict[Way, str] = {
    "keep_old": "Keep the old model",
    "ship_new": "Ship the plain update",
    "ship_candidate": "Ship the candidate",
    "serve_both": "Serve both models",
    "label_more": "Label more first",
}


@dataclass(frozen=True)
class WayRow:
    """A way out, written out: what it is, what breaks and what is mended of 100 requests, the level, what it takes."""

    way: Way
    name: str
    breaks: str
    mends: str
    level: str
    costs: str


def way_rows(report: Report) -> list[WayRow]:
    """Write every way out; empty where nothing was compared."""
    if report.decision is None:
        return []
    binary = _is_binary(report)
    plain = report.candidate is not None
    return [
        WayRow(
            each.way,
            "Ship the update" if each.way == "ship_new" and not plain else NAMES[each.way],
            _per_hundred(each.breaks, at_most=each.breaks_at_most),
            _per_hundred(each.mends, at_most=each.breaks_at_most),
            _written_level(each, binary=binary),
            each.costs,
        )
        for each in report.decision.ways
    ]


def level_title(report: Report) -> str:
    """Say what the level is."""
    return "accuracy" if _is_binary(report) else "mean score"


def _is_binary(report: Report) -> bool:
    return any(task.kind == "binary" for task in report.tasks.values())


def _written_level(way: WayOut, *, binary: bool) -> str:
    return DASH if way.level is None else value_alone(way.level, "rate" if binary else "score")


def _per_hundred(rate: Estimate | None, *, at_most: bool) -> str:
    """Write a share as so many of 100, with its interval; of a most, that it is one."""
    if rate is None:
        return DASH
    if rate.value is None:
        return "undefined"

    def told(value: float) -> str:
        return format_number(100 * value, "percent").strip("+%") if value else "0"

    if at_most:
        return f"0 to {told(rate.value)}"
    interval = "" if rate.low is None or rate.high is None else f" ({told(rate.low)} to {told(rate.high)})"
    return f"{told(rate.value)}{interval}"
