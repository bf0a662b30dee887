"""What terminal and Markdown say of real and noise: the floor, what is beyond it, and the verdicts item by item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from muscle.report.numbers import count, format_number
from muscle.report.rows import Report, estimate, shown_tasks

_WORDS = {
    "regressed": "regressed",
    "improved": "improved",
    "equivalent": "equivalent",
    "cannot_tell": "cannot tell",
}


def noise_lines(report: Report, *, max_tasks: int) -> list[str]:
    """Return the sentence on the noise floor, then a line a task on what repeats or a second run show.

    Args:
        report: the result object.
        max_tasks: of more tasks, those with the highest negative flip rate are told.
    """
    lines = []
    sentence = (report.get("noise") or {}).get("sentence")
    if sentence:
        lines.append(f"Noise: {sentence}")
    for name in shown_tasks(report, max_tasks):
        task = report["tasks"][name]
        for side, version in (("old_vs_new", report["new"]), ("old_vs_candidate", report["candidate"])):
            if version is not None and task.get(side):
                lines += [f"{name}, {version}: {line}" for line in _task_lines(task[side])]
    return lines


def _task_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    items = metrics.get("items")
    if items:
        shares = ", ".join(f"{estimate(items[key], 'rate')} {word}" for key, word in _WORDS.items())
        null = items["null95"]["value"]
        told = (
            ""
            if null is None
            else f"; without any change at most {format_number(null, 'rate')} would be called changed"
        )
        yield f"of {count(items['n'])} items {shares}{told}"
    floor, excess = metrics.get("noise_floor"), metrics.get("excess_negative_flip_rate")
    if floor and floor["value"] is not None:
        yield (
            f"negative flips {format_number(metrics['negative_flip_rate']['value'], 'rate')}, of them noise floor "
            f"{estimate(floor, 'rate')}, beyond noise {estimate(excess, 'rate')}"
        )
    within = (metrics.get("flips_within_noise") or {}).get("negative_flip")
    if within and within["of"]:
        yield (
            f"{count(within['count'])} of {count(within['of'])} negative flips sit within the differences of likelihood "
            "from run to run"
        )
