"""A leaderboard in a terminal: a table a task, what is missing, and the advice."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muscle.foreign_text import middle_cut, one_line
from muscle.leaderboard.result import Leaderboard, TaskBoard
from muscle.leaderboard.table import (
    beats_text,
    chosen_text,
    columns_of,
    failed_rows,
    failure_text,
    mark_of,
    short_spread,
    shown_rows,
)
from muscle.report.text.terminal_parts import WIDE, print_lines, unframed_table

_STYLES = {"method": "bold", "served": "bold", "control": "dim", "probe": "dim"}
_NARROW_COLUMNS, _NARROW_NAME = 4, 32


def print_leaderboard(leaderboard: Leaderboard, console: Console) -> None:
    """Print all tasks, what is missing and the advice."""
    for board in leaderboard.tasks:
        _print_task(leaderboard, board, console)
    missing = failed_rows(leaderboard.rows)
    if missing:
        console.print(Text("\nMissing:", style="bold red"))
    print_lines([f"{row.name}: {failure_text(row)}" for row in missing], console, limit=400, indent="  ")
    console.print()
    print_lines(leaderboard.notes, console, limit=400, style="dim")


def _print_task(leaderboard: Leaderboard, board: TaskBoard, console: Console) -> None:
    seeds = ", ".join(map(str, leaderboard.seeds))
    title = f"{one_line(board.name, 40)}: {board.n:,} items, seeds {seeds}" if leaderboard.seeds else board.name
    console.print(Text(f"\n{title}", style="bold"))
    console.print(_laid_out(leaderboard, board, wide=console.width >= WIDE))
    print_lines(_beaten_lines(leaderboard, board), console, limit=300)
    if board.chosen is not None:
        console.print(Text(one_line(f"→ {chosen_text(board)}", 800), style="dim"))
    if board.advice is not None:
        console.print(Text("\n" + one_line(" ".join(board.advice.sentences), 1500), style="bold"))


def _laid_out(leaderboard: Leaderboard, board: TaskBoard, *, wide: bool) -> Table:
    """Lay out a task's rows; in a narrow terminal the last columns are left to the files."""
    columns = columns_of(board) if wide else columns_of(board)[:_NARROW_COLUMNS]
    table = unframed_table(right=2 if wide else 1)
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for column in columns:
        unit = " %" if column.form in ("rate", "percent") else ""
        table.add_column(f"{column.title}{unit}", justify="right", no_wrap=True, min_width=10)
    for row in shown_rows(leaderboard, board.name):
        style = "bold green" if row.name == board.chosen else _STYLES.get(row.role, "")
        name = mark_of(row, board) + middle_cut(row.name, 44 if wide else _NARROW_NAME)
        numbers = row.tasks.get(board.name)
        figures = (
            ["not there", *("" for _ in columns[1:])]
            if numbers is None
            else [short_spread(numbers.over_seeds.get(column.number), column.form) for column in columns]
        )
        table.add_row(*(Text(cell, style=style) for cell in (name, *figures)))
    return table


def _beaten_lines(leaderboard: Leaderboard, board: TaskBoard) -> list[str]:
    """Say of each method which controls it beats."""
    return [
        f"{one_line(row.name, 40)} beats: {beats_text(row.tasks[board.name])}"
        for row in leaderboard.rows
        if row.role in ("method", "served") and board.name in row.tasks and row.tasks[board.name].comparisons
    ]
