"""What the page says of why answers flipped: causes, what changed in the answers, closeness of log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from muscle.outgoing import visible
from muscle.report.numbers import Form, format_number
from muscle.report.page import charts
from muscle.report.page.data_elements import ABSENT, cell, figure, integer, pointer
from muscle.report.page.figures import Report, sides
from muscle.report.page.table import Row, Table, examples_link

_NAMES = {
    "knowledge": ("Knowledge", "a valid answer, and another one"),
    "format": ("Format", "right by the loose scorer, wrong by the strict one"),
    "refusal": ("Refusal", "the model declined"),
    "cut_off": ("Cut off", "the answer ended before it was complete"),
    "error": ("Error", "no answer came back"),
}
_FLIPS = (("negative_flip", "lost"), ("positive_flip", "gained"))


@dataclass(frozen=True)
class CauseCard:
    """One task's part; tables that do not apply are None."""

    task: str
    sentence: str | None
    causes: Table | None
    strict_loose: Table | None
    changed: Table | None
    closeness: Table | None


@dataclass(frozen=True)
class Heading:
    """What stands above the cards: the section's title, a sentence, and the word that leads to it."""

    title: str
    lead: str
    link: str


def heading(cards: Sequence[CauseCard]) -> Heading:
    """Return the heading of what the cards hold: closeness alone says how far probabilities moved, not why answers flipped."""
    if any(card.sentence or card.causes or card.strict_loose or card.changed for card in cards):
        told = "Whether the model knows less, or says the same in a form that the scorer does not take."
        return Heading("Why answers flipped", told, "Causes")
    told = "How far the probabilities moved, whether an answer flipped by it or not."
    return Heading("How close the probabilities stayed", told, "Closeness")


def cause_cards(report: Report) -> list[CauseCard]:
    """Return a card for each task of which something is known."""
    listed = {(flip["task"], flip.get("cause")) for flip in report["flips"]}
    cards = []
    for name, task in report["tasks"].items():
        causes = task.get("causes") or {}
        card = CauseCard(
            name,
            causes.get("sentence") or None,
            _causes(name, task, listed),
            _strict_loose(name, causes.get("strict_loose") or {}),
            _changed(name, task.get("what_changed") or []),
            _closeness(name, task.get("closeness") or {}),
        )
        if card.sentence or card.causes or card.strict_loose or card.changed or card.closeness:
            cards.append(card)
    return cards


def _causes(name: str, task: Mapping[str, Any], listed: set[tuple[str, str | None]]) -> Table | None:
    """Count flips by cause; the most frequent cause of answers that the plain update lost comes first."""
    data = task.get("causes") or {}
    present = [(key, title) for key, _, title in sides(task) if data.get(key)]
    lost = [(data[key].get("negative_flip") or {}) for key, _ in present]
    gained = [(data[key].get("positive_flip") or {}) for key, _ in present]
    found = dict.fromkeys(cause for counts in (*lost, *gained) for cause in counts)
    if not found:
        return None
    weight = {cause: lost[0].get(cause, 0) for cause in found}
    peak = max([*weight.values(), 1])
    head = [f"Lost, {present[0][1]}", *(f"{title}, {word}" for _, title in present for _, word in _FLIPS)]
    rows = []
    for cause in sorted(found, key=lambda c: -weight[c]):
        words, meaning = _NAMES.get(cause, (visible(cause), "a rule of your own"))
        cells = [charts.bar(weight[cause] / peak, "loss")]
        for key, _ in present:
            for kind, _ in _FLIPS:
                number = (data[key].get(kind) or {}).get(cause)
                path = pointer("tasks", name, "causes", key, kind, cause)
                cells.append(ABSENT if number is None else integer(number, path))
        link = examples_link(listed=(name, cause) in listed, task=name, cause=cause)
        rows.append(Row(words, meaning, tuple(cells), link))
    return Table("Cause", tuple(head), tuple(rows), pictures=1)


_SCORERS: tuple[tuple[str, Form], ...] = (("strict", "rate"), ("loose", "rate"), ("gap", "points"))


def _strict_loose(name: str, data: Mapping[str, Any]) -> Table | None:
    """Return what the strict and the loose scorer say of each version."""
    rows = []
    for side in ("old", "new", "candidate"):
        entries = data.get(side)
        if entries:
            path = pointer("tasks", name, "causes", "strict_loose", side)
            cells = tuple(_either(entries.get(key), f"{path}/{key}", form) for key, form in _SCORERS)
            rows.append(Row(side, "", cells))
    return Table("Version", ("Strict scorer", "Loose scorer", "Gap, points"), tuple(rows)) if rows else None


def _either(entry: Any, path: str, form: Form) -> Markup:
    """Write a metric, or a plain number."""
    if entry is None or isinstance(entry, Mapping):
        return cell(entry, path, form)
    return figure(entry, format_number(entry, form), path)


_CHANGES: tuple[tuple[str, Form], ...] = (
    ("flipped", "score"),
    ("others", "score"),
    ("ratio", "score"),
    ("p_adjusted", "probability"),
)
_KINDS = {"length": "length", "format": "format", "language": "language", "ngram": "words"}


def _changed(name: str, entries: list[Mapping[str, Any]]) -> Table | None:
    """Say what sets the answers that flipped apart from those that did not."""
    rows = []
    for position, entry in enumerate(entries):
        path = pointer("tasks", name, "what_changed", position)
        cells = tuple(_either(entry.get(key), f"{path}/{key}", form) for key, form in _CHANGES)
        kind = str(entry.get("kind", ""))
        rows.append(Row(visible(entry["what"]), _KINDS.get(kind, visible(kind)), cells))
    head = ("Flipped", "Others", "Ratio", "p, corrected")
    return Table("In the answers", head, tuple(rows)) if rows else None


_ORDER = ("mean", "median", "p01", "p05", "p95", "p99", "max")
_SIDES = (
    ("old_vs_new", "Old against new"),
    ("old_vs_candidate", "Old against candidate"),
    ("old_vs_rerun", "Old against itself"),
)


def _closeness(name: str, data: Mapping[str, Any]) -> Table | None:
    """Return how close the log-probabilities are, always beside the old model against itself where that is known."""
    present = [(key, title) for key, title in _SIDES if data.get(key)]
    if not present:
        return None
    rows = []
    tops = [data[key].get("same_top") for key, _ in present]
    if any(top is not None for top in tops):
        cells = [
            _either(top, pointer("tasks", name, "closeness", key, "same_top"), "rate")
            for top, (key, _) in zip(tops, present, strict=True)
        ]
        rows.append(Row("Same top choice", "of all items", tuple(cells)))
    for metric, words in (("kl", "KL divergence"), ("right_probability_change", "Change of the right answer's probability")):  # fmt: skip
        spread = [(data[key].get(metric) or {}) for key, _ in present]
        known = {part for entry in spread for part, value in entry.items() if isinstance(value, int | float)}
        for part in sorted(known, key=lambda p: (_ORDER.index(p) if p in _ORDER else len(_ORDER), p)):
            form: Form = "score" if metric == "kl" else "signed"
            cells = [
                _either(entry.get(part), pointer("tasks", name, "closeness", key, metric, part), form)
                for entry, (key, _) in zip(spread, present, strict=True)
            ]
            rows.append(Row(f"{words}, {_PARTS.get(part, visible(part))}", "", tuple(cells)))
    return Table("Log-probabilities", tuple(title for _, title in present), tuple(rows)) if rows else None


_PARTS = {
    "p01": "1st percentile",
    "p05": "5th percentile",
    "p95": "95th percentile",
    "p99": "99th percentile",
}
