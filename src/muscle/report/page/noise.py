"""What the page says of noise: item verdicts, the noise floor, the flips above it, and the split of the variance.

All of it is there only where the runs have repeats or a rerun of the old model was given; what is not known is left out,
or stands as undefined with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from muscle.outgoing import visible
from muscle.report.numbers import Form, format_number
from muscle.report.page import charts, plots
from muscle.report.page.charts import Part
from muscle.report.page.data_elements import ABSENT, cell, figure, integer, pointer
from muscle.report.page.figures import Report, sides, unit
from muscle.report.page.plots import Estimate
from muscle.report.page.table import Row, Table

_VERDICTS = (
    ("regressed", "Regressed", "of all items: right less often, beyond chance", "loss"),
    ("cannot_tell", "Cannot tell", "of all items: too few answers to say", "hatch"),
    ("equivalent", "Equivalent", "of all items: as often right as before", "wrong"),
    ("improved", "Improved", "of all items: right more often, beyond chance", "gain"),
)
_FLOOR = (
    ("negative_flip_rate", "Negative flips, NFR", "of all items"),
    ("noise_floor", "Noise floor", "flips that the old model shows against itself"),
    ("excess_negative_flip_rate", "Beyond noise", "NFR minus the noise floor, in points"),
)


@dataclass(frozen=True)
class NoiseCard:
    """One task's part: pictures by name, and the figures."""

    task: str
    caption: str
    pictures: tuple[tuple[str, Markup], ...]
    legend: tuple[tuple[str, str], ...]
    floor: Markup | None
    ruler: Markup | None
    table: Table


def sentence(report: Report) -> str | None:
    """Return what is known of noise in a sentence; None where the report says nothing of it."""
    text = (report.get("noise") or {}).get("sentence")
    return str(text) if text else None


def noise_cards(report: Report) -> list[NoiseCard]:
    """Return a card for each task of which something is known."""
    cards = (_card(name, task) for name, task in report["tasks"].items())
    return [card for card in cards if card is not None]


def _card(name: str, task: Mapping[str, Any]) -> NoiseCard | None:
    present = sides(task)
    known = any(
        task[key].get("items") or (task[key].get("noise_floor") or {}).get("value") is not None
        for key, _, _ in present
    )
    if not known and not task.get("variance"):
        return None
    rows = [*_verdict_rows(name, task), *_floor_rows(name, task), *_variance_rows(name, task)]
    head = tuple(title[0].upper() + title[1:] for _, _, title in present)
    pictures = tuple(
        (title[0].upper() + title[1:], drawn)
        for key, _, title in present
        if (drawn := _verdict_strip(task[key], f"{visible(name)}, {title}"))
    )
    legend = tuple((style, word) for _, word, _, style in _VERDICTS) if pictures else ()
    floor, ruler = _floor_picture(name, task) or (None, None)
    return NoiseCard(name, _caption(task), pictures, legend, floor, ruler, Table("Share", head, tuple(rows)))


def _caption(task: Mapping[str, Any]) -> str:
    repeats = task.get("repeats") or {}
    told = [f"{side} {number:g}" for side, number in repeats.items() if number]
    return f"answers an item: {', '.join(told)}" if told else ""


def _verdict_rows(name: str, task: Mapping[str, Any]) -> list[Row]:
    present = [key for key, _, _ in sides(task)]
    if not any(task[key].get("items") for key in present):
        return []
    rows = []
    for verdict, word, meaning in [*((key, word, meaning) for key, word, meaning, _ in _VERDICTS), _NULL]:
        cells = tuple(
            cell(
                (task[key].get("items") or {}).get(verdict),
                pointer("tasks", name, key, "items", verdict),
                "rate",
            )
            for key in present
        )
        rows.append(Row(word, meaning, cells))
    tests = [(task[key].get("items") or {}).get("null_p") for key in present]
    if any(test is not None for test in tests):
        paths = [pointer("tasks", name, key, "items", "null_p") for key in present]
        rows.append(
            Row("p of so many changed items", "under swapped labels", _figures(tests, paths, "probability"))
        )
    return rows


_NULL = (
    "null95",
    "Called changed if nothing had changed",
    "of all items, in 95% of runs with swapped labels at most this (Null95)",
)


def _figures(values: Sequence[float | None], paths: Sequence[str], form: Form) -> tuple[Markup, ...]:
    return tuple(
        ABSENT if value is None else figure(value, format_number(value, form), path)
        for value, path in zip(values, paths, strict=True)
    )


def _floor_rows(name: str, task: Mapping[str, Any]) -> list[Row]:
    present = [key for key, _, _ in sides(task)]
    if not any(task[key].get("noise_floor") for key in present):
        return []
    rows = []
    for metric, word, said in _FLOOR:
        meaning = said.replace("items", unit(task))
        cells = tuple(
            cell(
                task[key].get(metric),
                pointer("tasks", name, key, metric),
                "points" if metric.startswith("excess") else "rate",
            )
            for key in present
        )
        rows.append(Row(word, meaning, cells))
    within = [(task[key].get("flips_within_noise") or {}).get("negative_flip") or {} for key in present]
    if any(entry.get("of") for entry in within):
        paths = [pointer("tasks", name, key, "flips_within_noise", "negative_flip") for key in present]
        cells = tuple(
            Markup("{} of {}").format(
                integer(entry["count"], f"{path}/count"), integer(entry["of"], f"{path}/of")
            )
            if entry.get("of")
            else ABSENT
            for entry, path in zip(within, paths, strict=True)
        )
        meaning = "their likelihoods moved no more than from run to run"
        rows.append(Row("Negative flips within noise", meaning, cells))
    return rows


_VARIANCE = (
    ("total", "Variance of the difference", "of one answer a side"),
    ("items", "of which between items", "the update changed what is right"),
    ("answers", "of which between answers", "the same question answered again"),
)


def _variance_rows(name: str, task: Mapping[str, Any]) -> list[Row]:
    found = task.get("variance") or {}
    present = [key for key, _, _ in sides(task)]
    if not any(found.get(key) for key in present):
        return []
    rows = []
    for part, word, meaning in _VARIANCE:
        values = [(found.get(key) or {}).get(part) for key in present]
        paths = [pointer("tasks", name, "variance", key, part) for key in present]
        rows.append(Row(word, meaning, _figures(values, paths, "score")))
    return rows


def _verdict_strip(metrics: Mapping[str, Any], title: str) -> Markup | None:
    """Draw the items' verdicts as parts of a whole; None where they are not known."""
    items = metrics.get("items") or {}
    values = [(items.get(key) or {}).get("value") for key, *_ in _VERDICTS]
    shares = [value for value in values if value is not None]
    if len(shares) < len(values):
        return None
    parts = [
        Part(share, style, word.lower()) for share, (_, word, _, style) in zip(shares, _VERDICTS, strict=True)
    ]
    return charts.strip(parts, title=title, height=44, write=lambda share: format_number(share, "rate"))


def _floor_picture(name: str, task: Mapping[str, Any]) -> tuple[Markup, Markup] | None:
    """Draw NFR beside the noise floor on one axis, with the axis; None where no floor is known."""
    floor = task["old_vs_new"].get("noise_floor") or {}
    if floor.get("value") is None:
        return None
    entries = [(floor, "other", "old against itself")]
    entries += [(task[key]["negative_flip_rate"], role, title) for key, role, title in sides(task)]
    rows = [
        Estimate(e["value"], e.get("low"), e.get("high"), role, f"{title}: {format_number(e['value'], 'rate')}")  # type: ignore[arg-type]
        for e, role, title in entries
        if e.get("value") is not None
    ]  # fmt: skip
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    axis = plots.make_axis(ends, percent=True)
    drawn = plots.estimates(rows, axis, title=f"{visible(name)}, negative flips and noise", band=False)
    return drawn, plots.ruler(axis)
