"""A collection in the terminal, in Markdown and in LaTeX."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from muscle.foreign_text import one_line
from muscle.report.collection.rows import Collection
from muscle.report.collection.tables import TITLES, tables
from muscle.report.text.escaping import escape
from muscle.report.text.markdown_parts import bullets
from muscle.report.text.table_forms import shown, to_latex, to_markdown
from muscle.report.text.terminal_parts import WIDE, print_lines, unframed_table

_WIDE_ALONE = ("items", "\N{GREEK CAPITAL LETTER DELTA}NFR_c", "PFR", "PFR_c", "m_g", "m_r")
"""Columns that a narrow terminal has no room for."""


def refused_lines(collection: Collection) -> list[str]:
    """Name and count the reports that could not be read; nothing where all could."""
    if not collection.refused:
        return []
    number = len(collection.refused)
    head = f"{number} report{'s' if number > 1 else ''} could not be read and stand{'' if number > 1 else 's'} nowhere:"
    return [head, *(each.why for each in collection.refused)]


def collection_markdown(collection: Collection) -> str:
    """Write the tables in Markdown."""
    parts = [to_markdown(table, level=3) for table in tables(collection)]
    head, *whys = [escape(line) for line in refused_lines(collection)] or [""]
    return "\n".join([*([f"{head}\n\n{bullets(whys)}\n"] if whys else []), *parts])


def collection_latex(collection: Collection) -> str:
    """Write the tables for LaTeX with `booktabs`; what could not be read stands in comments above them."""
    comments = [f"% {one_line(line, 400)}\n" for line in refused_lines(collection)]
    forms = {title: form.replace("_", "-") for form, title in TITLES.items()}
    written = [to_latex(table, label=f"tab:muscle-{forms[table.title]}") for table in tables(collection)]
    return "".join(comments) + "\n".join(written)


def print_refused(collection: Collection, console: Console) -> None:
    """Print what could not be read."""
    print_lines(refused_lines(collection), console, limit=400)


def print_collection(collection: Collection, console: Console) -> None:
    """Print the tables; in a narrow terminal without some of their columns."""
    for table in tables(collection):
        print_lines([table.title], console, limit=200, style="bold")
        printed = unframed_table(right=1)
        places = [
            place
            for place, column in enumerate(table.columns)
            if console.width >= WIDE or column.title not in _WIDE_ALONE
        ]
        for column in (table.columns[place] for place in places):
            printed.add_column(column.title, justify="left" if column.digits is None else "right", overflow="fold")
        for row in table.rows:
            printed.add_row(*(_flat_cell(shown(row[place], table.columns[place])) for place in places))
        console.print(printed)
        print_lines(table.notes, console, limit=400, style="dim")


def _flat_cell(text: str) -> Text:
    return Text(one_line(text, 60))
