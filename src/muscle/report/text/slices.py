"""A task's slices as tables for Markdown and terminal, with what is said of them above."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from muscle.flips.slices.slice_numbers import TaskSlices
from muscle.foreign_text import one_line
from muscle.report.numbers import Form, count, estimate, probability, value_alone
from muscle.report.sentences.slices import slice_sentences
from muscle.report.text.escaping import escape
from muscle.report.text.markdown_parts import bullets, markdown_table
from muscle.report.text.terminal_parts import WIDE, indented_table

MAX_ROWS = 20

HEAD = ("difference", "broke", "gained", "p (BH)")
"""What stands above the figures of a slice, behind its name and what it counts."""


def slice_rows(
    sliced: TaskSlices, *, binary: bool = True, limit: int = MAX_ROWS, intervals: bool = True
) -> list[list[str]]:
    """Write a row a slice, cells: its name, how many it counts, and as in `HEAD`; of too many, the surest changes.

    Args:
        sliced: one task's slices.
        binary: whether differences are of accuracy, in points, else of a score.
        limit: rows to write.
        intervals: whether the 95 % intervals are written, too.
    """
    written = estimate if intervals else value_alone
    form: Form = "points" if binary else "signed"
    rows = list(sliced.rows)
    if len(rows) > limit:
        rows = sorted(rows, key=lambda row: (row.bh_p, row.by, row.value))[:limit]
    return [
        [
            f"{row.by} = {row.value}",
            count(row.n),
            written(row.accuracy_difference, form),
            f"{count(row.negative_flips)}: {written(row.negative_flip_rate, 'rate')}",
            f"{count(row.positive_flips)}: {written(row.positive_flip_rate, 'rate')}",
            probability(row.bh_p),
        ]
        for row in rows
    ]


def slices_markdown(sliced: TaskSlices, *, binary: bool = True, unit: str = "items") -> str:
    """Write a task's slices as Markdown: where flips concentrate, which go against the whole, the table.

    Empty without slices.
    """
    rows = slice_rows(sliced, binary=binary)
    lines = bullets(escape(one_line(line, 400)) for line in slice_sentences(sliced, binary=binary, unit=unit))
    if not rows:
        return lines
    table = markdown_table(("slice", unit, *HEAD), ([escape(one_line(row[0], 100)), *row[1:]] for row in rows))
    hidden = len(sliced.rows) - len(rows)
    more = f"\n\n{hidden} more slices, with larger p, are in the JSON report." if hidden > 0 else ""
    return "\n\n".join(part for part in (lines, table + more) if part)


def print_slices(
    name: str, sliced: TaskSlices, console: Console, *, binary: bool = True, limit: int = 12, unit: str = "items"
) -> None:
    """Print a task's slices: where flips concentrate, which go against the whole, the table.

    Args:
        name: the task's name.
        sliced: its slices.
        console: where to print.
        binary: whether differences are of accuracy, else of a score.
        limit: rows of the table.
        unit: what its numbers count: items, or answers where these were asked several times.
    """
    rows = slice_rows(sliced, binary=binary, limit=limit, intervals=console.width >= WIDE)
    told = slice_sentences(sliced, binary=binary, unit=unit)
    if not rows and not told:
        return
    console.print(Text(f"{one_line(name, 60)}, by slice", style="bold"))
    for line in told:
        console.print(Text(f"  {one_line(line, 300)}"))
    if rows:
        console.print(indented_table(("slice", unit, *HEAD), rows, max_characters=60))
    hidden = len(sliced.rows) - len(rows)
    if hidden > 0:
        console.print(Text(f"  and {hidden} more slices, with larger p", style="dim"))
