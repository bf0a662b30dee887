r"""One table of text and figures, written as CSV, LaTeX or Markdown.

What goes into a paper, a spreadsheet or a pull request comes from the same typed rows. Names come from files that
anyone may have written: each form escapes them in its own way, so that they are shown and never act (as markup, as a
command of LaTeX, as a formula of a spreadsheet). CSV holds figures in full, the other forms round them to their
column's digits.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from muscle.foreign_text import visible
from muscle.report.numbers import DASH, MINUS
from muscle.report.text.escaping import escape

Cell = str | float | None
"""Text, a figure in the unit that its column shows, or nothing where none was computed."""


@dataclass(frozen=True)
class Column:
    """A column: what heads it and how its cells are written.

    Attributes:
        title: shown at its head.
        digits: after the decimal point; None for a column of text, which is aligned left.
        signed: whether positive figures carry a plus.
    """

    title: str
    digits: int | None = None
    signed: bool = False


@dataclass(frozen=True)
class Table:
    """A table: its title, its columns, its rows.

    Attributes:
        title: what it shows, in one line.
        columns: from left to right.
        rows: a cell for each column.
        notes: sentences that belong below it.

    Raises:
        ValueError: a row has another number of cells than there are columns, text stands in a column of figures or the
            other way round, or a figure is NaN or infinite.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row of {len(row)} cells for {len(self.columns)} columns")
            for column, cell in zip(self.columns, row, strict=True):
                if cell is None or isinstance(cell, str) == (column.digits is None):
                    if isinstance(cell, float) and not math.isfinite(cell):
                        raise ValueError(f"{self.title}: {column.title}: expected a finite figure, found {cell}")
                    continue
                raise ValueError(f"{self.title}: {column.title}: {cell!r} is of the wrong kind")


def shown(cell: Cell, column: Column) -> str:
    """Write a cell for people: text as it is, a figure rounded, a dash for nothing.

    >>> shown(-0.0312, Column("gain", digits=2, signed=True)), shown(1234.5, Column("items", digits=0))
    ('−0.03', '1,234')
    >>> shown(-0.001, Column("gain", digits=2, signed=True)), shown(None, Column("gain", digits=2))
    ('0.00', '–')
    """
    if cell is None:
        return DASH
    if isinstance(cell, str):
        return cell
    text = f"{cell:,.{column.digits or 0}f}"
    if float(text.replace(",", "")) == 0:
        return text.lstrip("-")
    return f"+{text}" if column.signed and cell > 0 else text.replace("-", MINUS)


def to_csv(table: Table) -> str:
    """Write a table as CSV with a head: figures in full, nothing as an empty cell.

    Text that a spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@`, a tab or a line break) gets an
    apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_no_formula(column.title) for column in table.columns])
    writer.writerows([_csv_cell(cell) for cell in row] for row in table.rows)
    return out.getvalue()


def to_markdown(table: Table, *, level: int = 0) -> str:
    """Write a table in Markdown, its notes below it.

    Args:
        table: what to write.
        level: of a heading with the title before it; 0 for none.
    """
    head = [escape(column.title) for column in table.columns]
    rule = ["---" if column.digits is None else "---:" for column in table.columns]
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, rule, *_shown_rows(table, escape))]
    heading = [f"{'#' * level} {escape(table.title)}", ""] if level else []
    notes = [part for note in table.notes for part in ("", escape(note))]
    return "\n".join([*heading, *lines, *notes]) + "\n"


def to_latex(table: Table, *, label: str = "") -> str:
    r"""Write a table for LaTeX with the package `booktabs`, its title and notes as the caption.

    Args:
        table: what to write.
        label: for `\ref`: letters, digits, `:` and `-`; empty for none.

    Raises:
        ValueError: the label holds other characters.
    """
    if re.search(r"[^A-Za-z0-9:-]", label):
        raise ValueError(f"expected a label of letters, digits, ':' and '-', found {label!r}")
    alignment = "".join("l" if column.digits is None else "r" for column in table.columns)
    head = [escape_latex(column.title) for column in table.columns]
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{escape_latex(' '.join((f'{table.title}.', *table.notes)))}}}",
            *([rf"\label{{{label}}}"] if label else []),
            rf"\begin{{tabular}}{{@{{}}{alignment}@{{}}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *(" & ".join(cells) + r" \\" for cells in _shown_rows(table, escape_latex)),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    # A row that begins with "[" would be taken for the argument of the line break before it.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    # What the reports themselves write and pdfLaTeX does not know.
    MINUS: "$-$",
    DASH: "--",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{GREEK CAPITAL LETTER DELTA}": r"$\Delta$",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{MATHEMATICAL LEFT ANGLE BRACKET}": r"$\langle$",
    "\N{MATHEMATICAL RIGHT ANGLE BRACKET}": r"$\rangle$",
    **{character: rf"\{character}" for character in "&%$#_{}"},
    # Control characters, as `visible` spells them out.
    **{chr(code): rf"$\langle$U+{code:04X}$\rangle$" for code in range(0x2400, 0x2440)},
}


def escape_latex(text: object) -> str:
    r"""Return text that LaTeX shows as it is, on one line: no command, no comment, no column of a table.

    >>> print(escape_latex(r"50% \input{a_b} & c"))
    50\% \textbackslash{}input\{a\_b\} \& c
    """
    return "".join(_LATEX.get(character, character) for character in visible(" ".join(str(text).split())))


def _shown_rows(table: Table, escaped: Callable[[str], str]) -> list[Sequence[str]]:
    """Write the rows; a figure has no text of others in it, but a minus and a dash that a form may write otherwise."""
    return [
        [
            escaped(text) if isinstance(cell, str) or escaped is escape_latex else text
            for cell, column in zip(row, table.columns, strict=True)
            for text in [shown(cell, column)]
        ]
        for row in table.rows
    ]


def _csv_cell(cell: Cell) -> str | float:
    if cell is None:
        return ""
    return _no_formula(cell) if isinstance(cell, str) else cell


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text
