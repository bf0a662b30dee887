"""The page of a leaderboard: a pure function of it, made of the report's pieces, without a script.

A content security policy forbids everything but the page's own style, so text that slipped through as markup could not
act. Every figure carries its exact value and its place in leaderboard.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from muscle.foreign_text import visible
from muscle.leaderboard.page.curve import accuracy_flips_curve
from muscle.leaderboard.page.tables import board_table, published_table, tests_table
from muscle.leaderboard.result import Leaderboard, TaskBoard
from muscle.leaderboard.table import chosen_text, failed_rows, failure_text
from muscle.report.page.html import static_page
from muscle.report.page.table import Table
from muscle.report.page.trade_offs import Plot

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class TaskSection:
    """What the page shows of a task.

    Attributes:
        name: of the task.
        advice: its sentences.
        table: the rows.
        chosen: by which rule, and on which items; None where nothing was chosen.
        plot: accuracy and flips; None without a flip.
        tests: of each method against its controls; None where there are none.
        published: beside what the paper reports; None where it reports nothing.
    """

    name: str
    advice: tuple[str, ...]
    table: Table
    chosen: str | None
    plot: Plot | None
    tests: Table | None
    published: Table | None


def render_leaderboard(board: Leaderboard) -> str:
    """Return the whole page; the same leaderboard gives the same text."""
    return static_page(
        "leaderboard.html.j2",
        _TEMPLATES,
        board=board,
        headlines=_headlines(board),
        tasks=[_task_section(board, task) for task in board.tasks],
        missing=[(row.name, failure_text(row)) for row in failed_rows(board.rows)],
    )


def _headlines(board: Leaderboard) -> list[str]:
    """Return of each task the advice's first sentence."""
    return [task.advice.sentences[0] if task.advice else "Not enough is there to advise." for task in board.tasks]


def _task_section(board: Leaderboard, task: TaskBoard) -> TaskSection:
    return TaskSection(
        name=visible(task.name),
        advice=tuple(task.advice.sentences) if task.advice is not None else (),
        table=board_table(board, task),
        chosen=f"Chosen: {task.chosen}: {chosen_text(task)}" if task.chosen is not None else None,
        plot=accuracy_flips_curve(board, task),
        tests=tests_table(board, task),
        published=published_table(board, task),
    )
