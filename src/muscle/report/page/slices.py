"""What the page says of slices: where flips concentrate, which slices go against the whole, and the table of all."""

from __future__ import annotations

from dataclasses import dataclass, replace

from markupsafe import Markup

from muscle.flips.measuring.side_numbers import counted_unit
from muscle.flips.result.report import Report
from muscle.flips.slices.slice_numbers import ConcentratedSlice, SliceNumbers, TaskSlices
from muscle.foreign_text import visible
from muscle.report.entries import TaskSide, sides
from muscle.report.page import charts
from muscle.report.page.data_elements import cell, integer, lone_number, pointer
from muscle.report.page.table import Row, Table, examples_link
from muscle.report.sentences.slices import simpson_lines, small_lines

SHOWN_ROWS = 12
"""Slices that stand open; the rest is folded away below them."""

_DIRECTIONS = {
    "worse": '<span class="way loss"><span aria-hidden="true">▼ </span>worse</span>',
    "better": '<span class="way gain"><span aria-hidden="true">▲ </span>better</span>',
    "even": '<span class="way">even</span>',
}
_SURE = Markup(
    ' <span class="sure" title="beyond chance at 5% over all slices">✓<span class="hidden"> beyond chance</span></span>'
)

Listed = set[tuple[str, str, str]]
"""The slices of the listed flips: task, what was cut by, value."""


@dataclass(frozen=True)
class SliceCard:
    """One task's slices in one comparison with the old model.

    Attributes:
        task: the task's name.
        side: "plain update" or "candidate".
        told: Simpson cases, in words.
        concentrated: where negative flips are more frequent than in the rest, beyond chance.
        table: the slices, the surest changes first.
        more: those beyond `SHOWN_ROWS`.
        notes: what was not tested, in words.
        is_judged: whether the verdict is on this side.
    """

    task: str
    side: str
    told: tuple[str, ...]
    concentrated: Table | None
    table: Table | None
    more: Table | None
    notes: tuple[str, ...]
    is_judged: bool = False


def slice_cards(report: Report) -> list[SliceCard]:
    """Return a card for each task and comparison that was cut into slices; the side that the verdict is on first."""
    listed = {(flip.task, name, value) for flip in report.flips for name, value in flip.slices.items()}
    cards = []
    for name, task in report.tasks.items():
        for side in sides(task):
            sliced = task.slices.get(side.key)
            if sliced and (sliced.rows or sliced.concentrated or sliced.simpson):
                is_judged = side.key == report.judged_side
                card = _slice_card(name, sliced, side, listed, binary=task.kind == "binary")
                cards.append(replace(card, is_judged=is_judged))
    return sorted(cards, key=lambda card: not card.is_judged)


def _slice_card(name: str, sliced: TaskSlices, side: TaskSide, listed: Listed, *, binary: bool) -> SliceCard:
    unit = counted_unit([side.numbers])
    where = ("tasks", name, "slices", side.key)
    # Positions of report.json go along, as each figure names its place there.
    order = sorted(enumerate(sliced.rows), key=lambda item: (item[1].bh_p, item[1].by, item[1].value))
    rows = [
        _slice_line(row, (*where, "rows", position), binary, _link_of_slice(name, row, listed))
        for position, row in order
    ]
    head = (unit.capitalize(), "Direction", "Difference", "Broke, NFR", "Gained, PFR", "p, corrected")
    return SliceCard(
        name,
        side.title,
        tuple(simpson_lines(sliced, binary=binary)),
        _concentration_table(name, sliced, where, listed, unit),
        Table("Slice", head, tuple(rows[:SHOWN_ROWS])) if rows else None,
        Table("Slice", head, tuple(rows[SHOWN_ROWS:])) if len(rows) > SHOWN_ROWS else None,
        tuple(visible(line) for line in small_lines(sliced, unit=unit)),
    )


def _link_of_slice(task: str, row: SliceNumbers | ConcentratedSlice, listed: Listed) -> str | None:
    """Return the address of a slice's examples; None where the list of flips does not name the slice."""
    is_listed = (task, row.by, row.value) in listed
    return examples_link(listed=is_listed, task=task, slice=f"{row.by}={row.value}")


def _slice_line(row: SliceNumbers, where: tuple[object, ...], binary: bool, link: str | None) -> Row:
    written = lone_number(row.bh_p, pointer(*where, "bh_p"), "probability")
    if row.significant:
        written += _SURE
    difference_at = pointer(*where, "accuracy_difference")
    cells = (
        integer(row.n, pointer(*where, "n")),
        Markup(_DIRECTIONS[row.direction]),
        cell(row.accuracy_difference, difference_at, "points" if binary else "signed"),
        cell(row.negative_flip_rate, pointer(*where, "negative_flip_rate"), "rate"),
        cell(row.positive_flip_rate, pointer(*where, "positive_flip_rate"), "rate"),
        written,
    )
    return Row(f"{visible(row.by)} = {visible(row.value)}", "", cells, link)


def _concentration_table(
    name: str, sliced: TaskSlices, where: tuple[object, ...], listed: Listed, unit: str
) -> Table | None:
    """Return the slices with more negative flips than the rest of the task, beyond chance."""
    found = [(i, entry) for i, entry in enumerate(sliced.concentrated) if entry.significant]
    peak = max([entry.negative_flip_rate.value or 0.0 for _, entry in found] or [0.0]) or 1.0
    rows = []
    for position, entry in found:
        path = (*where, "concentrated", position)
        rate, rest = entry.negative_flip_rate, entry.excess.rest
        cells = (
            charts.bar((rate.value or 0.0) / peak, "loss", rest / peak),
            integer(entry.n, pointer(*path, "n")),
            cell(rate, pointer(*path, "negative_flip_rate"), "rate"),
            lone_number(rest, pointer(*path, "excess", "rest"), "rate"),
            lone_number(entry.excess.bh_p, pointer(*path, "excess", "bh_p"), "probability"),
        )
        label = f"{visible(entry.by)} = {visible(entry.value)}"
        rows.append(Row(label, "", cells, _link_of_slice(name, entry, listed)))
    head = ("Rate, the line is that of the rest", unit.capitalize(), "Broke here", "Broke in the rest", "p, corrected")
    return Table("Slice", head, tuple(rows), pictures=1) if rows else None
