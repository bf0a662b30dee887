"""A collection as tables: the paper's Tables 4 to 6 for people, and one flat table of every number for machines.

For people figures are in percent and points, as in the paper, with its two decimals; the flat table holds them as the
reports do, rates in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from muscle.flips.statistics.intervals import Estimate
from muscle.report.collection.rows import Changes, CollectedTask, Collection, Form, Measured
from muscle.report.text.table_forms import Cell, Column, Table

TITLES: dict[Form, str] = {
    "accuracy": "Accuracy and flips, answer options by their likelihood",
    "exact_match": "Exact match and flips, generated answers",
    "score": "Scores and flips, generated texts",
}

_LEVELS: dict[Form, str] = {"accuracy": "acc", "exact_match": "EM", "score": "score"}


@dataclass(frozen=True)
class _Figure:
    """A column of figures: how it is headed, and what it shows of a row, in percent, points or the score's unit."""

    title: str
    read: Callable[[CollectedTask], float | None]
    signed: bool = False
    digits: int = 2


def tables(collection: Collection) -> list[Table]:
    """Return a table for each form of task that was collected, the paper's rows among the others of their task."""
    found = []
    for form, title in TITLES.items():
        rows = [row for row in collection.rows if row.form == form]
        if rows:
            found.append(_table(title, form, rows))
    return found


def flat_table(collection: Collection) -> Table:
    """Return every number in one table, a row an update and task, as the reports hold them."""
    columns = [Column(name) for name in ("origin", "update", "task", "form", "score", "source")]
    for side in ("plain", "compatible"):
        columns.append(Column(f"{side}_n", digits=0))
        for name in _ESTIMATES:
            columns += [Column(f"{side}_{name}{end}", digits=6) for end in ("", "_low", "_high")]
    columns += [Column(f"change_{name}", digits=6) for name in _CHANGES]
    rows = tuple(_flat_row(row) for row in collection.rows)
    return Table("Several updates", tuple(columns), rows)


_ESTIMATES = (
    *("old", "new", "negative_flip_rate", "positive_flip_rate", "inconsistency_rate"),
    *("mean_gain", "mean_regression"),
)
_CHANGES = (
    *("negative_flip_rate", "percent", "positive_flip_rate", "inconsistency_rate"),
    *("level", "mean_gain", "mean_regression"),
)


def _flat_row(row: CollectedTask) -> tuple[Cell, ...]:
    cells: list[Cell] = [row.origin, row.update, row.task, row.form, row.score, row.source]
    for side in (row.plain, row.compatible):
        cells.append(None if side is None else side.n)
        for name in _ESTIMATES:
            found = Estimate(None) if side is None else _estimate(side, name)
            cells += [found.value, found.low, found.high]
    cells += [None if row.changes is None else _change_called(row.changes, name) for name in _CHANGES]
    return tuple(cells)


def _estimate(side: Measured, name: str) -> Estimate:
    found = getattr(side, name)
    assert isinstance(found, Estimate)
    return found


def _change_called(changes: Changes, name: str) -> float | None:
    found = getattr(changes, name)
    assert found is None or isinstance(found, float)
    return found


def _table(title: str, form: Form, rows: Sequence[CollectedTask]) -> Table:
    tasks = list(dict.fromkeys(row.task.lower() for row in rows))
    ordered = sorted(rows, key=lambda row: tasks.index(row.task.lower()))  # runs stay before the paper
    figures = _figures(form)
    columns = (
        Column("task"),
        Column("update"),
        *(Column(each.title, digits=each.digits, signed=each.signed) for each in figures),
    )
    cells = tuple((row.task, _with_origin(row), *(each.read(row) for each in figures)) for row in ordered)
    return Table(title, columns, cells, _table_notes(form, ordered))


def _with_origin(row: CollectedTask) -> str:
    return f"{row.update} (paper)" if row.origin == "paper" else row.update


def _figures(form: Form) -> list[_Figure]:
    """Return the columns of a form, with the paper's names."""
    level = _LEVELS[form]
    found = [
        _Figure("items", lambda row: row.plain.n, digits=0),
        _Figure(f"{level} v1", lambda row: _of_level(row, row.plain.old.value)),
        _Figure(f"{level} v2", lambda row: _of_level(row, row.plain.new.value)),
        _Figure(f"{level} compat", lambda row: _of_level(row, _value(row, "new"))),
        _Figure("NFR", lambda row: _in_percent(row.plain.negative_flip_rate.value)),
        _Figure("NFR_c", lambda row: _in_percent(_value(row, "negative_flip_rate"))),
        _Figure(
            "\N{GREEK CAPITAL LETTER DELTA}NFR_c", lambda row: _in_percent(_changed(row, "negative_flip_rate")), True
        ),
        _Figure("\N{GREEK CAPITAL LETTER DELTA}%NFR_c", lambda row: _changed(row, "percent"), True),
        _Figure("PFR", lambda row: _in_percent(row.plain.positive_flip_rate.value)),
        _Figure("PFR_c", lambda row: _in_percent(_value(row, "positive_flip_rate"))),
        _Figure(f"\N{GREEK CAPITAL LETTER DELTA}{level}_c", lambda row: _of_level(row, _changed(row, "level")), True),
    ]
    if form == "score":
        found += _score_figures()
    return found


def _score_figures() -> list[_Figure]:
    return [
        _Figure("m_g", lambda row: _of_level(row, row.plain.mean_gain.value)),
        _Figure("\N{GREEK CAPITAL LETTER DELTA}m_g", lambda row: _of_level(row, _changed(row, "mean_gain")), True),
        _Figure("m_r", lambda row: _of_level(row, row.plain.mean_regression.value)),
        _Figure(
            "\N{GREEK CAPITAL LETTER DELTA}m_r", lambda row: _of_level(row, _changed(row, "mean_regression")), True
        ),
    ]


def _value(row: CollectedTask, name: str) -> float | None:
    return None if row.compatible is None else _estimate(row.compatible, name).value


def _changed(row: CollectedTask, name: str) -> float | None:
    return None if row.changes is None else _change_called(row.changes, name)


def _in_percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _of_level(row: CollectedTask, value: float | None) -> float | None:
    return _in_percent(value) if row.in_percent else value


def _table_notes(form: Form, rows: Sequence[CollectedTask]) -> tuple[str, ...]:
    """Say what a reader must know of a table."""
    notes = ["Rates in percent of the items, changes in points; c: the compatible update."]
    if form == "score" and any(row.in_percent for row in rows):
        notes.append("ROUGE from 0 to 100, as in the paper; the reports hold it from 0 to 1.")
    if any(row.origin == "paper" for row in rows):
        printed = "NFR_c follows from NFR and its change"
        printed += "." if form == "score" else ", PFR from the accuracies and NFR."
        notes.append(f"(paper): as printed in arXiv 2407.09435; {printed}")
    other = [row.update for row in rows if row.compatible is not None and row.compatible.n != row.plain.n]
    if other:
        notes.append(f"Compared on other items than the plain update: {', '.join(other)}.")
    return tuple(notes)
