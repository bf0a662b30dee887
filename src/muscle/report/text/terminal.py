"""The report in a terminal: what to do in a sentence, then what broke, then the figures; about forty lines."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.flips.result.report import Report
from muscle.foreign_text import one_line
from muscle.report.entries import shown_tasks, slices_named, slices_of, unit_of
from muscle.report.sentences.noise import noise_lines
from muscle.report.sentences.over_tasks import pooled_lines
from muscle.report.sentences.resolution import resolution_lines
from muscle.report.sentences.slices import concentration_lines, simpson_lines
from muscle.report.sentences.trained import trained_lines
from muscle.report.sentences.why import why_lines
from muscle.report.text.rows import p_title, task_rows
from muscle.report.text.slices import print_slices
from muscle.report.text.terminal_parts import (
    WIDE,
    print_flips,
    print_hidden,
    print_last_line,
    print_lines,
    print_verdict,
    unframed_table,
)

MAX_TASKS = 8
MAX_FLIPS = 5
MAX_EXPLAINED = 3
MAX_REASONS = 4
MAX_TRAINED = 2
MAX_BEFORE = 5
MAX_RESOLUTIONS = 2
MAX_SLICES = 12
MAX_SLICED_TASKS = 3
MAX_CONCENTRATED = 4
MAX_NAME = 160
"""Characters of a name, which wraps in its column."""

_STYLES = {"pass": "bold green", "warn": "bold yellow", "block": "bold red", "cannot_tell": "bold cyan"}


def print_report(report: Report, console: Console) -> None:
    """Print what to do, the worst flips, and the tasks' figures.

    Args:
        report: of a comparison or of the gate.
        console: where to print; its width decides what is cut.
    """
    print_verdict(report, console, max_before=MAX_BEFORE, style=_STYLES[report.verdict])
    print_flips(report, console, limit=MAX_FLIPS)
    if report.decision is not None:
        console.print()
        print_lines([report.headline], console, limit=600)
    print_lines(report.reasons[:MAX_REASONS], console, limit=300, indent="  ")
    print_hidden(len(report.reasons) - MAX_REASONS, "reasons", console, indent="  ")
    console.print()
    console.print(_tasks_laid_out(report, wide=console.width >= WIDE))
    print_hidden(len(report.tasks) - MAX_TASKS, "tasks with lower negative flip rates", console)
    print_lines(pooled_lines(report), console, limit=300)
    print_lines(noise_lines(report, max_tasks=MAX_TASKS), console, limit=400)
    if len(report.tasks) <= MAX_RESOLUTIONS:
        print_lines(resolution_lines(report, max_tasks=MAX_RESOLUTIONS), console, limit=400)
    print_lines(why_lines(report, max_tasks=MAX_EXPLAINED), console, limit=600)
    print_lines(trained_lines(report, max_tasks=MAX_TRAINED), console, limit=400)
    _print_slices(report, console)
    print_last_line(report, console)


def _tasks_laid_out(report: Report, *, wide: bool) -> Table:
    """Lay out the tasks' figures; the intervals of the rates only where there is room. Long names wrap."""
    table = unframed_table(right=2 if wide else 1)
    listed = list(task_rows(report, max_tasks=MAX_TASKS))
    # One version needs no column of its own, and leaves its room to the tasks' names.
    several = len({row.version for row in listed}) > 1
    for title in ("task", "against old") if several else ("task",):
        table.add_column(title, overflow="fold", min_width=min(len(title), 8))
    unit = unit_of(*report.tasks.values())
    for title in (unit, "accuracy/score", "broke", "gained", p_title(report)):
        # A minimum keeps the figures whole: where there is too little room the names wrap.
        table.add_column(title, justify="right", no_wrap=True, min_width=len(title))
    for position, row in enumerate(listed):
        is_same = position > 0 and listed[position - 1].task == row.task
        names = ["" if is_same else one_line(row.task, MAX_NAME)]
        names += [one_line(row.version, MAX_NAME)] if several else []
        lost, gained = row.lost, row.gained
        if wide:
            lost, gained = f"{lost} {row.lost_interval}", f"{gained} {row.gained_interval}"
        table.add_row(*(Text(cell) for cell in (*names, row.items, row.level, lost, gained, row.p_value)))
    return table


def _print_slices(report: Report, console: Console) -> None:
    """Print the tables by slice where the user named slices, else where flips concentrate."""
    found = [(name, slices_of(report, name)) for name in shown_tasks(report, MAX_TASKS)]
    present = [(name, sliced, report.tasks[name].kind == "binary") for name, sliced in found if sliced is not None]
    if slices_named(report):
        for name, sliced, binary in present[:MAX_SLICED_TASKS]:
            console.print()
            limit = MAX_SLICES // min(len(present), MAX_SLICED_TASKS)
            print_slices(name, sliced, console, binary=binary, limit=limit, unit=unit_of(report.tasks[name]))
        return
    lines = []
    for name, sliced, binary in present:
        unit = unit_of(report.tasks[name])
        told = [*concentration_lines(sliced, unit=unit), *simpson_lines(sliced, binary=binary)]
        lines += [line if len(report.tasks) == 1 else f"{name}, {line}" for line in told]
    if lines:
        console.print(Text("\nWhere flips concentrate:"))
    print_lines(lines[:MAX_CONCENTRATED], console, limit=300, indent="  ")
