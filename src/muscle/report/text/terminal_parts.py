"""Pieces of the terminal's output that the report, the gate and the history are put together from.

Names and answers are printed as plain text: neither rich's markup nor terminal control characters in them act.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.flips.result.report import Report
from muscle.foreign_text import one_line
from muscle.report.sentences.before import BeforeLine, allowed_lines, before_lines
from muscle.report.sentences.flips import answers, cut_to_the_difference, flips_to_show, worst_flips
from muscle.report.sentences.over_tasks import join_line, not_compared

WIDE = 120
"""Columns of a terminal from which on intervals are shown."""


def print_lines(lines: Iterable[str], console: Console, *, limit: int, indent: str = "", style: str = "") -> None:
    """Print lines, each cut at `limit` characters; further lines of an indented one begin below its beginning."""
    for line in lines:
        if indent:
            _print_hanging(indent, one_line(line, limit), console, style=style)
        else:
            console.print(Text(one_line(line, limit), style=style))


def print_hidden(number: int, words: str, console: Console, *, indent: str = "") -> None:
    """Say how many more there are; nothing where none are."""
    if number > 0:
        console.print(Text(f"{indent}and {number} more {words}".rstrip(), style="dim"))


def print_verdict(report: Report, console: Console, *, max_before: int, style: str) -> None:
    """Print what was only allowed; what to do, how sure that is and what next; then what comes before the figures.

    Args:
        report: of a comparison or of the gate.
        console: where to print.
        max_before: lines of what differs beside the model, of warnings and of how files were read.
        style: of the first sentence.
    """
    decision = report.decision
    print_lines(allowed_lines(report), console, limit=400, style="yellow")
    print_lines([report.sentence], console, limit=600, style=style)
    for title, text in (("How sure", decision.sure), ("Next", decision.next)) if decision is not None else ():
        if text:
            _print_hanging(f"  {title}: ", text, console)
    print_before(before_lines(report, limit=max_before), console)


def print_before(lines: Iterable[BeforeLine], console: Console) -> None:
    """Print what comes before the figures; what is calm, calmly."""
    for line in lines:
        print_lines([line.text], console, limit=400, style="dim" if line.is_calm else "yellow")


def _print_hanging(head: str, text: str, console: Console, *, style: str = "") -> None:
    """Print a text behind its head; its further lines begin below it."""
    room = max(20, console.width - len(head))
    lines = Text(one_line(text, 600), style=style).wrap(console, room)
    for number, line in enumerate(lines):
        line.rstrip()
        console.print(Text.assemble((head if number == 0 else " " * len(head), "bold" if number == 0 else ""), line))


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


def print_flips(report: Report, console: Console, *, limit: int) -> None:
    """Print what the judged version broke: where, the question, and below it both answers, each whole or cut alike.

    Args:
        report: of a comparison or of the gate.
        console: where to print.
        limit: flips.
    """
    flips = flips_to_show(report, limit)
    if flips:
        console.print(Text(f"\n{worst_flips(report, len(flips))}", style="bold"))
    last = "new" if report.candidate is None else "candidate"
    for flip in flips:
        name = one_line(flip.id, 40) if len(report.tasks) == 1 else f"{one_line(flip.task, 40)} {one_line(flip.id, 40)}"
        head = Text.assemble("  ", (name, "bold"), "  ", _question(flip.input or "", console.width - len(name) - 4))
        console.print(head, no_wrap=True, overflow="ellipsis")
        told = answers(flip, candidate=last == "candidate")
        for line in _both_answers(told["old"], told[last], last, console.width):
            console.print(Text(line, style="dim"), no_wrap=True, overflow="ellipsis")


def _question(text: str, room: int) -> str:
    """Return as much of an input as there is room for; of a long one its end, as prompts mostly begin alike."""
    flat = one_line(text[-4 * max(room, 1) :], 4 * max(room, 1))
    if len(flat) <= room:
        return flat
    return f"…{flat[len(flat) - room + 1 :]}" if room > 1 else ""


def _both_answers(old: str, new: str, role: str, width: int) -> list[str]:
    """Write both answers in one line where they fit, else below each other."""
    heads = [f"{'old':{len(role)}}: ", f"{role}: "]
    cut = cut_to_the_difference([old, new], max(8, width - 4 - len(heads[1])))
    one = f"    old: {cut[0]}  {role}: {cut[1]}"
    return [one] if len(one) <= width else [f"    {head}{text}" for head, text in zip(heads, cut, strict=True)]


def print_last_line(report: Report, console: Console) -> None:
    """Print how the runs fitted together, and which scores are not compared."""
    console.print(Text(f"\n{join_line(report)}. {not_compared(report)}".rstrip(), style="dim"))
