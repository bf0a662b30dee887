"""What the page says of why answers flipped: causes, what changed in the answers, closeness of log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from markupsafe import Markup

from muscle.flips.explaining.cause_report import StrictLooseGaps, TaskCauses
from muscle.flips.explaining.causes import CauseCounts
from muscle.flips.explaining.closeness import Spread, TaskCloseness
from muscle.flips.explaining.what_changed import ChangedFeature
from muscle.flips.result.report import Report, TaskResult
from muscle.foreign_text import visible
from muscle.report.entries import TaskSide, sides
from muscle.report.numbers import Form
from muscle.report.page import charts
from muscle.report.page.data_elements import ABSENT, cell, integer, lone_number, pointer
from muscle.report.page.table import Row, Table, examples_link
from muscle.report.sentences.why import ERROR

_NAMES = {
    "knowledge": ("Knowledge", "a valid answer, and another one"),
    "format": ("Format", "right by the loose scorer, wrong by the strict one"),
    "refusal": ("Refusal", "the model declined"),
    "cut_off": ("Cut off", "the answer ended before it was complete"),
    "error": ("Error", "no answer came back: missing, and no flip"),
}


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
    """Return the heading of what the cards hold.

    Closeness alone says how far probabilities moved, not why answers flipped.
    """
    if any(card.sentence or card.causes or card.strict_loose or card.changed for card in cards):
        told = "Whether the model knows less, or says the same in a form that the scorer does not take."
        return Heading("Why answers flipped", told, "Causes")
    told = "How far the probabilities moved, whether an answer flipped by it or not."
    return Heading("How close the probabilities stayed", told, "Closeness")


def cause_cards(report: Report) -> list[CauseCard]:
    """Return a card for each task of which something is known."""
    listed = {(flip.task, flip.cause) for flip in report.flips}
    cards = []
    for name, task in report.tasks.items():
        causes = task.causes
        card = CauseCard(
            name,
            (causes.sentence if causes else None) or None,
            _cause_table(name, task, causes, listed) if causes else None,
            _scorer_table(name, causes.strict_loose) if causes and causes.strict_loose else None,
            _changes_table(name, task.what_changed),
            _closeness_table(name, task.closeness) if task.closeness else None,
        )
        if card.sentence or card.causes or card.strict_loose or card.changed or card.closeness:
            cards.append(card)
    return cards


def _cause_table(name: str, task: TaskResult, causes: TaskCauses, listed: set[tuple[str, str | None]]) -> Table | None:
    """Count flips by cause; the most frequent cause of answers that the plain update lost comes first."""
    counted = {"old_vs_new": causes.old_vs_new, "old_vs_candidate": causes.old_vs_candidate}
    present = [(side, counts) for side in sides(task) if (counts := counted[side.key]) is not None]
    found = dict.fromkeys(cause for _, counts in present for cause in counts.negative_flip)
    found |= dict.fromkeys(cause for _, counts in present for cause in counts.positive_flip)
    if not found:
        return None
    weight = {cause: present[0][1].negative_flip.get(cause, 0) for cause in found}
    peak = max([*weight.values(), 1])
    titles = [side.title for side, _ in present]
    head = [f"Lost, {titles[0]}", *(f"{title}, {word}" for title in titles for word in ("lost", "gained"))]
    rows = []
    for cause in sorted(found, key=lambda c: (c == ERROR, -weight[c])):
        words, meaning = _NAMES.get(cause, (visible(cause), "a rule of your own"))
        cells = [charts.bar(weight[cause] / peak, "loss")]
        for side, counts in present:
            cells += _cause_cells(name, side, counts, cause)
        link = examples_link(listed=(name, cause) in listed, task=name, cause=cause)
        rows.append(Row(words, meaning, tuple(cells), link))
    rows.append(_sum_row([counts for _, counts in present]))
    return Table("Cause", tuple(head), tuple(rows), pictures=1)


def _sum_row(sides_counts: Sequence[CauseCounts]) -> Row:
    """Add the flips of all causes up; errors are none."""
    cells = [Markup()]
    for counts in sides_counts:
        for numbers in (counts.negative_flip, counts.positive_flip):
            cells.append(integer(sum(number for cause, number in numbers.items() if cause != ERROR)))
    return Row("All flips", "the sum of the causes, without errors", tuple(cells))


def _cause_cells(name: str, side: TaskSide, counts: CauseCounts, cause: str) -> list[Markup]:
    """Write how many answers a cause lost and gained."""
    cells = []
    for kind, numbers in (("negative_flip", counts.negative_flip), ("positive_flip", counts.positive_flip)):
        path = pointer("tasks", name, "causes", side.key, kind, cause)
        cells.append(integer(numbers[cause], path) if cause in numbers else ABSENT)
    return cells


_SCORERS: tuple[tuple[str, Form], ...] = (("strict", "rate"), ("loose", "rate"), ("gap", "points"))


def _scorer_table(name: str, gaps: StrictLooseGaps) -> Table | None:
    """Return what the strict and the loose scorer say of each version."""
    rows = []
    for version, found in (("old", gaps.old), ("new", gaps.new), ("candidate", gaps.candidate)):
        if found is not None:
            path, values = pointer("tasks", name, "causes", "strict_loose", version), asdict(found)
            cells = tuple(lone_number(values[key], f"{path}/{key}", form) for key, form in _SCORERS)
            rows.append(Row(version, "", cells))
    return Table("Version", ("Strict scorer", "Loose scorer", "Gap, points"), tuple(rows)) if rows else None


_CHANGES: tuple[tuple[str, Form], ...] = (
    ("flipped", "score"),
    ("others", "score"),
    ("ratio", "score"),
    ("p_adjusted", "probability"),
)
_KINDS = {"length": "length", "format": "format", "language": "language", "ngram": "words"}


def _changes_table(name: str, found: Sequence[ChangedFeature]) -> Table | None:
    """Say what sets the answers that flipped apart from those that did not."""
    rows = []
    for position, feature in enumerate(found):
        path, values = pointer("tasks", name, "what_changed", position), asdict(feature)
        cells = tuple(lone_number(values[key], f"{path}/{key}", form) for key, form in _CHANGES)
        rows.append(Row(visible(feature.what), _KINDS[feature.kind], cells))
    head = ("Flipped", "Others", "Ratio", "p, corrected")
    return Table("In the answers", head, tuple(rows)) if rows else None


def _closeness_table(name: str, closeness: TaskCloseness) -> Table:
    """Return how close the log-probabilities are, always beside the old model against itself where that is known."""
    found = (
        ("old_vs_new", "Old against new", closeness.old_vs_new),
        ("old_vs_candidate", "Old against candidate", closeness.old_vs_candidate),
        ("old_vs_rerun", "Old against itself", closeness.old_vs_rerun),
    )
    present = [(key, title, numbers) for key, title, numbers in found if numbers is not None]
    tops = tuple(
        cell(numbers.same_top, pointer("tasks", name, "closeness", key, "same_top"), "rate")
        for key, _, numbers in present
    )
    rows = [Row("Same top choice", "of all items", tops)]
    kls = [(key, numbers.kl) for key, _, numbers in present]
    rows += _spread_rows(name, "kl", "KL divergence", kls, "score")
    changes = [(key, numbers.right_probability_change) for key, _, numbers in present]
    words = "Change of the right answer's probability"
    rows += _spread_rows(name, "right_probability_change", words, changes, "signed")
    return Table("Log-probabilities", tuple(title for _, title, _ in present), tuple(rows))


_PARTS = {"p01": "1st percentile", "p99": "99th percentile"}


def _spread_rows(
    name: str, key: str, words: str, spreads: Sequence[tuple[str, Spread | None]], form: Form
) -> list[Row]:
    """Write a row for each part of a spread: mean, median, percentiles, and what it has beside them."""
    values = {side: asdict(spread) if spread else {} for side, spread in spreads}
    rows = []
    for part in dict.fromkeys(part for parts in values.values() for part in parts):
        cells = tuple(
            lone_number(parts.get(part), pointer("tasks", name, "closeness", side, key, part), form)
            for side, parts in values.items()
        )
        rows.append(Row(f"{words}, {_PARTS.get(part, part)}", "", cells))
    return rows
