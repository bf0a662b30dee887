"""What the page says of slices: where flips concentrate, which slices go against the whole, and the table of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from muscle.outgoing import visible
from muscle.report.numbers import format_number
from muscle.report.page import charts
from muscle.report.page.data_elements import ABSENT, cell, figure, integer, pointer
from muscle.report.page.figures import Report, sides
from muscle.report.page.table import Row, Table, examples_link
from muscle.report.sentences.slices import simpson_lines, small_lines

SHOWN_ROWS = 12
"""Slices that stand open; the rest is folded away below them."""

_DIRECTIONS = {
    "worse": '<span class="way loss"><span aria-hidden="true">▼ </span>worse</span>',
    "better": '<span class="way gain"><span aria-hidden="true">▲ </span>better</span>',
    "even": '<span class="way">even</span>',
}


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
    """

    task: str
    side: str
    told: tuple[str, ...]
    concentrated: Table | None
    table: Table | None
    more: Table | None
    notes: tuple[str, ...]


def slice_cards(report: Report) -> list[SliceCard]:
    """Return a card for each task and comparison that was cut into slices."""
    listed = {
        (flip["task"], str(name), str(value))
        for flip in report["flips"]
        for name, value in (flip.get("slices") or {}).items()
    }
    cards = []
    for name, task in report["tasks"].items():
        for key, _, title in sides(task):
            sliced = (task.get("slices") or {}).get(key)
            if sliced and (sliced["rows"] or sliced["concentrated"] or sliced["simpson"]):
                cards.append(_card(name, task, key, title, listed))
    return cards


def _card(
    name: str, task: Mapping[str, Any], side: str, title: str, listed: set[tuple[str, str, str]]
) -> SliceCard:
    sliced, binary = task["slices"][side], task["kind"] == "binary"
    where = ("tasks", name, "slices", side)
    order = sorted(
        enumerate(sliced["rows"]), key=lambda item: (item[1]["bh_p"], item[1]["by"], item[1]["value"])
    )
    rows = [
        _row(row, (*where, "rows", position), binary, _link(name, row, listed)) for position, row in order
    ]
    head = ("Items", "Direction", "Difference", "Broke, NFR", "Gained, PFR", "p, corrected")
    return SliceCard(
        name,
        title,
        tuple(simpson_lines(sliced, binary=binary)),
        _concentrated(name, sliced, where, listed),
        Table("Slice", head, tuple(rows[:SHOWN_ROWS])) if rows else None,
        Table("Slice", head, tuple(rows[SHOWN_ROWS:])) if len(rows) > SHOWN_ROWS else None,
        tuple(visible(line) for line in small_lines(sliced)),
    )  # fmt: skip


def _link(task: str, row: Mapping[str, Any], listed: set[tuple[str, str, str]]) -> str | None:
    """Return the address of a slice's examples; None where the list of flips does not name the slice."""
    is_listed = (task, str(row["by"]), str(row["value"])) in listed
    return examples_link(listed=is_listed, task=task, slice=f"{row['by']}={row['value']}")


def _row(row: Mapping[str, Any], where: tuple[object, ...], binary: bool, link: str | None) -> Row:
    p_value = row["bh_p"]
    written = figure(p_value, format_number(p_value, "probability"), pointer(*where, "bh_p"))
    if row.get("significant"):
        written += Markup(' <span class="sure" title="beyond chance at 5% over all slices">✓<span class="hidden"> beyond chance</span></span>')  # fmt: skip
    cells = (
        integer(row["n"], pointer(*where, "n")),
        Markup(_DIRECTIONS.get(row["direction"], _DIRECTIONS["even"])),
        cell(row["accuracy_difference"], pointer(*where, "accuracy_difference"), "points" if binary else "signed"),
        cell(row["negative_flip_rate"], pointer(*where, "negative_flip_rate"), "rate"),
        cell(row["positive_flip_rate"], pointer(*where, "positive_flip_rate"), "rate"),
        written,
    )  # fmt: skip
    return Row(f"{visible(row['by'])} = {visible(row['value'])}", "", cells, link)


def _concentrated(
    name: str, sliced: Mapping[str, Any], where: tuple[object, ...], listed: set[tuple[str, str, str]]
) -> Table | None:
    """Return the slices with more negative flips than the rest of the task, beyond chance."""
    found = [(i, entry) for i, entry in enumerate(sliced["concentrated"]) if entry["significant"]]
    peak = max([entry["negative_flip_rate"]["value"] or 0.0 for _, entry in found] or [0.0]) or 1.0
    rows = []
    for position, entry in found:
        path = (*where, "concentrated", position)
        rate, rest = entry["negative_flip_rate"], entry["excess"]["rest"]
        rows.append(
            Row(
                f"{visible(entry['by'])} = {visible(entry['value'])}",
                "",
                (
                    charts.bar((rate["value"] or 0.0) / peak, "loss", (rest or 0.0) / peak),
                    integer(entry["n"], pointer(*path, "n")),
                    cell(rate, pointer(*path, "negative_flip_rate"), "rate"),
                    ABSENT
                    if rest is None
                    else figure(rest, format_number(rest, "rate"), pointer(*path, "excess", "rest")),
                    figure(
                        entry["excess"]["bh_p"],
                        format_number(entry["excess"]["bh_p"], "probability"),
                        pointer(*path, "excess", "bh_p"),
                    ),
                ),
                _link(name, entry, listed),
            )
        )
    head = ("Rate, the line is that of the rest", "Items", "Broke here", "Broke in the rest", "p, corrected")
    return Table("Slice", head, tuple(rows), pictures=1) if rows else None
