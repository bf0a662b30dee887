"""Pieces of the terminal's output that the report, the gate and the history are put together from.

Names and answers are printed as plain text: neither rich's markup nor terminal control characters in them act.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.flips.result.flip import Flip
from muscle.flips.result.report import Report
from muscle.foreign_text import one_line
from muscle.report.sentences.before import before_lines
from muscle.report.sentences.flips import answers, flips_to_show, worst_flips
from muscle.report.sentences.over_tasks import join_line, not_compared

WIDE = 120
"""Columns of a terminal from which on intervals are shown."""


def print_lines(lines: Iterable[str], console: Console, *, limit: int, indent: str = "", style: str = "") -> None:
    """Print lines, each cut at `limit` characters."""
    for line in lines:
        console.print(Text(f"{indent}{one_line(line, limit)}", style=style))


def print_hidden(number: int, words: str, console: Console, *, indent: str = "") -> None:
    """Say how many more there are; nothing where none are."""
    if number > 0:
        console.print(Text(f"{indent}and {number} more {words}".rstrip(), style="dim"))


def print_verdict(report: Report, console: Console, *, max_before: int, style: str) -> None:
    """Print what a reader must know before, and the verdict's sentence."""
    print_lines(before_lines(report, limit=max_before), console, limit=400, style="yellow")
    print_lines([report.headline], console, limit=600, style=style)


def unframed_table(*, left: int = 0, right: int) -> Table:
    """Return an empty table without lines; between its columns is so much room."""
    return Table(box=None, pad_edge=False, header_style="dim", padding=(0, right, 0, left))


def indented_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, max_characters: int) -> Table:
    """Lay out names in the first column and figures in the others; a cell is cut at `max_characters`."""
    table = unframed_table(left=2, right=2)
    for place, title in enumerate(head):
        table.add_column(title, justify="right" if place else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(one_line(cell, max_characters)) for cell in row))
    return table


def print_flips(
    report: Report, console: Console, *, limit: int, roles: Sequence[str], input_place: bool = False
) -> None:
    """Print the flips that matter most, a line each: where, the question, and what some versions answered.

    Args:
        report: of a comparison or of the gate.
        console: where to print.
        limit: flips.
        roles: whose answers are shown, of old, new and candidate.
        input_place: whether an item without an input leaves the input's place empty.
    """
    flips = flips_to_show(report, limit)
    if flips:
        console.print(Text(f"\nWhat broke, {worst_flips(report)}:"))
    for flip in flips:
        console.print(_flip_line(flip, roles, input_place=input_place), no_wrap=True, overflow="ellipsis")


def _flip_line(flip: Flip, roles: Sequence[str], *, input_place: bool) -> Text:
    line = Text("  ")
    line.append(f"{one_line(flip.task, 24)} {one_line(flip.id, 24)}", style="bold")
    if flip.input or input_place:
        line.append(f"  {one_line(flip.input or '', 60)}")
    told = answers(flip, candidate="candidate" in roles)
    line.append("".join(f"  {role}: {one_line(told[role], 30)}" for role in roles), style="dim")
    return line


def print_last_line(report: Report, console: Console) -> None:
    """Print how the runs fitted together, and which scores are not compared."""
    console.print(Text(f"\n{join_line(report)}. {not_compared(report)}".rstrip(), style="dim"))
