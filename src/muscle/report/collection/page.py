"""A collection as one self-contained HTML page: tables, and figures as inline SVG; no script, nothing loaded."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import escape

from muscle.foreign_text import visible
from muscle.report.collection.figures import avoided_against_gap, inconsistency_with_flips
from muscle.report.collection.rows import Collection
from muscle.report.collection.tables import tables
from muscle.report.collection.text import refused_lines
from muscle.report.page.html import static_page
from muscle.report.page.table import Row, Table
from muscle.report.text import table_forms


@dataclass(frozen=True)
class _Card:
    """A table of the page, its title and what is said below it."""

    title: str
    table: Table
    notes: tuple[str, ...]


def render_collection(collection: Collection) -> str:
    """Return the whole page. The same collection gives the same text."""
    figures = (avoided_against_gap(collection), inconsistency_with_flips(collection))
    head, *whys = refused_lines(collection) or [""]
    updates = {row.update for row in collection.rows if row.origin == "run"}
    return static_page(
        "collection.html.j2",
        cards=[_card(table) for table in tables(collection)],
        figures=[each for each in figures if each is not None],
        refused_head=head,
        refused=whys,
        num_updates=len(updates),
        version=collection.muscle_version,
    )


def _card(table: table_forms.Table) -> _Card:
    """Return a table with update and task as its rows' names."""
    rows = []
    for task, update, *cells in table.rows:
        written = (
            escape(visible(table_forms.shown(cell, column)))
            for cell, column in zip(cells, table.columns[2:], strict=True)
        )
        rows.append(Row(visible(update), visible(task), tuple(written)))
    head = tuple(column.title for column in table.columns[2:])
    return _Card(table.title, Table("update, task", head, tuple(rows)), table.notes)
