"""What the page says of noise: item verdicts, the noise floor, the flips above it, and the split of the variance.

All of it is there only where the runs have repeats or a rerun of the old model was given; what is not known is left
out, or stands as undefined with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from markupsafe import Markup

from muscle.flips.measuring.side_numbers import ItemShares, SideNumbers
from muscle.flips.result.report import Report, TaskResult
from muscle.flips.statistics.intervals import Estimate
from muscle.foreign_text import visible
from muscle.report.entries import Role, TaskSide, sides, unit_of, value_of
from muscle.report.numbers import format_number
from muscle.report.page import charts, plots
from muscle.report.page.charts import Part
from muscle.report.page.data_elements import ABSENT, cell, integer, lone_number, pointer
from muscle.report.page.plots import EstimateMark
from muscle.report.page.table import Row, Table

_VERDICTS = (
    ("regressed", "Regressed", "of all items: right less often, beyond chance", "loss"),
    ("cannot_tell", "Cannot tell", "of all items: too few answers to say", "hatch"),
    ("equivalent", "Equivalent", "of all items: as often right as before", "wrong"),
    ("improved", "Improved", "of all items: right more often, beyond chance", "gain"),
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
    return report.noise.sentence or None


def noise_cards(report: Report) -> list[NoiseCard]:
    """Return a card for each task of which something is known."""
    cards = (_noise_card(name, task) for name, task in report.tasks.items())
    return [card for card in cards if card is not None]


def _noise_card(name: str, task: TaskResult) -> NoiseCard | None:
    present = sides(task)
    known = any(side.numbers.items or value_of(side.numbers, "noise_floor") is not None for side in present)
    if not known and not task.variance:
        return None
    rows = [*_verdict_rows(name, present), *_floor_rows(name, task), *_variance_rows(name, task)]
    strips = [(side.head, _verdict_strip(side.numbers, f"{visible(name)}, {side.title}")) for side in present]
    pictures = tuple((head, drawn) for head, drawn in strips if drawn is not None)
    legend = tuple((style, word) for _, word, _, style in _VERDICTS) if pictures else ()
    floor, ruler = _floor_picture(name, task) or (None, None)
    table = Table("Share", tuple(side.head for side in present), tuple(rows))
    return NoiseCard(name, _answers_per_item(task), pictures, legend, floor, ruler, table)


def _answers_per_item(task: TaskResult) -> str:
    repeats = task.repeats
    versions = (("old", repeats.old), ("new", repeats.new), ("candidate", repeats.candidate))
    told = [f"{version} {number:g}" for version, number in versions if number]
    return f"answers an item: {', '.join(told)}" if told else ""


def _share_of(items: ItemShares | None, verdict: str) -> Estimate | None:
    """Return the share of the items with a verdict; None where the items have none."""
    if items is None:
        return None
    shares = {
        "regressed": items.regressed,
        "cannot_tell": items.cannot_tell,
        "equivalent": items.equivalent,
        "improved": items.improved,
        "null95": items.null95,
    }
    return shares[verdict]


def _verdict_rows(name: str, present: Sequence[TaskSide]) -> list[Row]:
    items = {side.key: side.numbers.items for side in present}
    if not any(items.values()):
        return []
    rows = []
    for verdict, word, meaning in [*((key, word, meaning) for key, word, meaning, _ in _VERDICTS), _NULL]:
        cells = tuple(
            cell(_share_of(found, verdict), pointer("tasks", name, key, "items", verdict), "rate")
            for key, found in items.items()
        )
        rows.append(Row(word, meaning, cells))
    tests = {key: found.null_p if found else None for key, found in items.items()}
    if any(test is not None for test in tests.values()):
        written = tuple(
            lone_number(test, pointer("tasks", name, key, "items", "null_p"), "probability")
            for key, test in tests.items()
        )
        rows.append(Row("p of so many changed items", "under swapped labels", written))
    return rows


_NULL = (
    "null95",
    "Called changed if nothing had changed",
    "of all items, in 95% of runs with swapped labels at most this (Null95)",
)


def _floor_rows(name: str, task: TaskResult) -> list[Row]:
    present = sides(task)
    if not any(side.numbers.noise_floor for side in present):
        return []
    columns = [
        (
            cell(
                side.numbers.negative_flip_rate,
                pointer("tasks", name, side.key, "negative_flip_rate"),
                "rate",
            ),
            cell(side.numbers.noise_floor, pointer("tasks", name, side.key, "noise_floor"), "rate"),
            cell(
                side.numbers.excess_negative_flip_rate,
                pointer("tasks", name, side.key, "excess_negative_flip_rate"),
                "points",
            ),
        )
        for side in present
    ]
    unit = unit_of(task)
    rows = [
        Row("Negative flips, NFR", f"of all {unit}", tuple(column[0] for column in columns)),
        Row("Noise floor", _FLOOR_MEANING, tuple(column[1] for column in columns)),
        Row("Beyond noise", "NFR minus the noise floor, in points", tuple(column[2] for column in columns)),
    ]
    within = tuple(_within_noise(name, side) for side in present)
    if any(each is not None for each in within):
        meaning = "their likelihoods moved no more than from run to run"
        cells = tuple(ABSENT if each is None else each for each in within)
        rows.append(Row("Negative flips within noise", meaning, cells))
    return rows


_FLOOR_MEANING = "flips that the old model shows against itself"


def _within_noise(name: str, side: TaskSide) -> Markup | None:
    """Write how many negative flips the second run may explain; None where none is known."""
    within = side.numbers.flips_within_noise
    if within is None or not within.negative_flip.of:
        return None
    path = pointer("tasks", name, side.key, "flips_within_noise", "negative_flip")
    counted = within.negative_flip
    return Markup("{} of {}").format(integer(counted.count, f"{path}/count"), integer(counted.of, f"{path}/of"))


_VARIANCE = (
    ("total", "Variance of the difference", "of one answer a side"),
    ("items", "of which between items", "the update changed what is right"),
    ("answers", "of which between answers", "the same question answered again"),
)


def _variance_rows(name: str, task: TaskResult) -> list[Row]:
    splits = {side.key: (task.variance or {}).get(side.key) for side in sides(task)}
    if not any(splits.values()):
        return []
    values = {key: asdict(split) if split else {} for key, split in splits.items()}
    return [
        Row(
            word,
            meaning,
            tuple(
                lone_number(found.get(part), pointer("tasks", name, "variance", key, part), "score")
                for key, found in values.items()
            ),
        )
        for part, word, meaning in _VARIANCE
    ]


def _verdict_strip(numbers: SideNumbers, title: str) -> Markup | None:
    """Draw the items' verdicts as parts of a whole; None where they are not known."""
    parts = []
    for verdict, word, _, style in _VERDICTS:
        share = _share_of(numbers.items, verdict)
        if share is None or share.value is None:
            return None
        parts.append(Part(share.value, style, word.lower()))
    return charts.strip(parts, title=title, height=44, write=lambda share: format_number(share, "rate"))


def _floor_picture(name: str, task: TaskResult) -> tuple[Markup, Markup] | None:
    """Draw NFR beside the noise floor on one axis, with the axis; None where no floor is known."""
    floor = task.old_vs_new and task.old_vs_new.noise_floor
    if not floor or floor.value is None:
        return None
    entries: list[tuple[Estimate, Role, str]] = [(floor, "other", "old against itself")]
    entries += [(side.numbers.negative_flip_rate, side.role, side.title) for side in sides(task)]
    marks = [
        EstimateMark(e.value, e.low, e.high, role, f"{title}: {format_number(e.value, 'rate')}")
        for e, role, title in entries
        if e.value is not None
    ]
    ends = [end for row in marks for end in (row.value, row.low, row.high) if end is not None]
    axis = plots.make_axis(ends, percent=True)
    # No band: from the floor to an update's flips is no way that anything took.
    drawn = plots.estimates(marks, axis, title=f"{visible(name)}, negative flips and noise", band=False)
    return drawn, plots.ruler(axis)
