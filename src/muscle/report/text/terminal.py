"""The report in a terminal: the verdict in a sentence, then the same story in about thirty lines.

Names and answers are printed as plain text: neither rich's markup nor terminal control characters in them act.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.report import rows
from muscle.report.rows import Report, one_line
from muscle.report.sentences.before import before_lines
from muscle.report.sentences.noise import noise_lines
from muscle.report.sentences.resolution import resolution_lines
from muscle.report.sentences.why import why_lines
from muscle.report.text.slices import concentration_lines, print_slices, simpson_lines

MAX_TASKS = 8
MAX_FLIPS = 5
MAX_EXPLAINED = 3
MAX_REASONS = 4
MAX_BEFORE = 5
MAX_RESOLUTIONS = 2
MAX_SLICES = 12
MAX_SLICED_TASKS = 3
MAX_CONCENTRATED = 4
WIDE = 120

_STYLES = {"pass": "bold green", "warn": "bold yellow", "block": "bold red", "cannot_tell": "bold cyan"}


def _table(report: Report, *, wide: bool) -> Table:
    """Lay out the tasks' figures; the intervals of the rates only where there is room."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2 if wide else 1, 0, 0))
    listed = list(rows.task_rows(report, max_tasks=MAX_TASKS))
    # One version needs no column of its own, and leaves its room to the tasks' names.
    several = len({row.version for row in listed}) > 1
    room = 40 if wide else 12 if several else 26
    table.add_column("task", overflow="ellipsis", no_wrap=True)
    if several:
        table.add_column("against old", overflow="ellipsis", no_wrap=True)
    for name in ("items", "accuracy/score", "broke", "gained", rows.p_title(report)):
        # A minimum keeps the figures whole: where there is too little room the names are cut.
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for position, row in enumerate(listed):
        is_same = position > 0 and listed[position - 1].task == row.task
        names = ["" if is_same else rows.middle_cut(row.task, room)]
        names += [rows.middle_cut(row.version, 40 if wide else 14)] if several else []
        lost, gained = row.lost, row.gained
        if wide:
            lost, gained = f"{lost} {row.lost_interval}", f"{gained} {row.gained_interval}"
        table.add_row(*(Text(cell) for cell in (*names, row.items, row.level, lost, gained, row.p_value)))
    return table


def _lines(report: Report) -> list[Text]:
    """Write the reasons below the verdict."""
    lines = [Text(f"  {one_line(reason, 300)}") for reason in report["reasons"][:MAX_REASONS]]
    hidden = len(report["reasons"]) - MAX_REASONS
    return lines + ([Text(f"  and {hidden} more tasks", style="dim")] if hidden > 0 else [])


def _flip(flip: Mapping[str, Any], *, candidate: bool) -> Text:
    """Write a flip in a line: where, the question, and what each version answered."""
    line = Text("  ")
    line.append(f"{one_line(flip['task'], 24)} {one_line(flip['id'], 24)}", style="bold")
    if flip["input"]:
        line.append(f"  {one_line(flip['input'], 60)}")
    sides = ["old", "new"] + (["candidate"] if candidate else [])
    line.append(
        "  " + "  ".join(f"{side}: {one_line(rows.answer(flip, side), 30)}" for side in sides), style="dim"
    )
    return line


def _print_slices(report: Report, console: Console) -> None:
    """Print the tables by slice where the user asked for slices, else where flips concentrate."""
    sections = [(name, rows.slices_of(report, name)) for name in rows.shown_tasks(report, MAX_TASKS)]
    present = [(name, section) for name, section in sections if section]
    if rows.slices_asked(report):
        for name, section in present[:MAX_SLICED_TASKS]:
            console.print()
            binary = report["tasks"][name]["kind"] == "binary"
            print_slices(
                name, section, console, binary=binary, limit=MAX_SLICES // min(len(present), MAX_SLICED_TASKS)
            )
        return
    lines = []
    for name, section in present:
        binary = report["tasks"][name]["kind"] == "binary"
        told = [*concentration_lines(section), *simpson_lines(section, binary=binary)]
        lines += [line if len(report["tasks"]) == 1 else f"{name}, {line}" for line in told]
    if lines:
        console.print(Text("\nWhere flips concentrate:"))
    for line in lines[:MAX_CONCENTRATED]:
        console.print(Text(f"  {one_line(line, 300)}"))


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print the verdict, the tasks' figures and the worst flips.

    Args:
        report: the result object of `muscle.compare`.
        console: where to print; its width decides what is cut.
    """
    for line in before_lines(report, limit=MAX_BEFORE):
        console.print(Text(one_line(line, 400), style="yellow"))
    console.print(Text(one_line(report["headline"], 600), style=_STYLES[report["verdict"]]))
    for reason in _lines(report):
        console.print(reason)
    console.print()
    console.print(_table(report, wide=console.width >= WIDE))
    hidden = len(report["tasks"]) - MAX_TASKS
    if hidden > 0:
        console.print(Text(f"and {hidden} more tasks with lower negative flip rates", style="dim"))
    for pooled in rows.pooled_lines(report):
        console.print(Text(one_line(pooled, 300)))
    for told in noise_lines(report, max_tasks=MAX_TASKS):
        console.print(Text(one_line(told, 400)))
    for told in resolution_lines(
        report, max_tasks=MAX_RESOLUTIONS if len(report["tasks"]) <= MAX_RESOLUTIONS else 0
    ):
        console.print(Text(one_line(told, 400)))
    for told in why_lines(report, max_tasks=MAX_EXPLAINED):
        console.print(Text(one_line(told, 600)))
    _print_slices(report, console)
    flips = rows.flips_to_show(report, MAX_FLIPS)
    if flips:
        console.print(Text(f"\nWhat broke, {rows.worst_flips(report)}:"))
        for flip in flips:
            console.print(
                _flip(flip, candidate=report["candidate"] is not None), no_wrap=True, overflow="ellipsis"
            )
    console.print(Text(f"\n{rows.join_line(report)}. {rows.not_compared(report)}".rstrip(), style="dim"))
