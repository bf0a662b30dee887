"""Writes a leaderboard in all its forms, and reads back the one that the others are made from."""

from __future__ import annotations

from pathlib import Path

from muscle.errors import DataError
from muscle.files import read_json, write_json, write_text
from muscle.leaderboard.forms import paper_table, whole_table
from muscle.leaderboard.page.html import render_leaderboard
from muscle.leaderboard.result import FORMAT, Leaderboard
from muscle.report.text.escaping import escape
from muscle.report.text.table_forms import to_csv, to_latex, to_markdown

STEM = "leaderboard"


def write_leaderboard(board: Leaderboard, folder: Path) -> None:
    """Write `leaderboard.json`, `.csv`, `.tex`, `.md` and `.html` into a folder.

    Raises:
        OutputError: a file cannot be written.
    """
    papers = [paper_table(board, task) for task in board.tasks]
    write_json(folder / f"{STEM}.json", board.to_json())
    write_text(folder / f"{STEM}.csv", to_csv(whole_table(board)))
    write_text(folder / f"{STEM}.tex", "\n".join(map(to_latex, papers)))
    advice = [" ".join(task.advice.sentences) for task in board.tasks if task.advice is not None]
    tables = [to_markdown(table, level=2) for table in papers]
    write_text(folder / f"{STEM}.md", "\n".join([*tables, *(f"{escape(text)}\n" for text in advice)]))
    write_text(folder / f"{STEM}.html", render_leaderboard(board))


def read_leaderboard(source: Path) -> Leaderboard:
    """Read a leaderboard.json, or the one in a sweep's folder.

    Raises:
        DataError: there is none, or it is damaged, changed or of another kind.
    """
    path = source / f"{STEM}.json" if source.is_dir() else source
    found = read_json(path)
    if found.get("format") != FORMAT:
        raise DataError(f"{path}: expected a leaderboard of muscle ({FORMAT})")
    return Leaderboard.from_json(found, where=str(path))
