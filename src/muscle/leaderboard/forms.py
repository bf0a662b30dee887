"""A leaderboard as typed tables, for spreadsheets and papers."""

from __future__ import annotations

from muscle.leaderboard.result import NUMBERS, Leaderboard, Row, Spread, TaskBoard
from muscle.leaderboard.table import beats_text, columns_of, failure_text, mark_of, short_spread, shown_rows
from muscle.report.text.table_forms import Cell, Column, Table

_IN_PERCENT = frozenset(
    {
        "accuracy",
        "accuracy_change",
        "negative_flip_rate",
        "negative_flip_rate_change",
        "positive_flip_rate",
        "inconsistency_rate",
        "same_answer_as_old",
    }
)
"""Rates, of a task of right and wrong; a score and its changes stay in the score's unit."""

_LEVELS = frozenset({"accuracy", "accuracy_change"})


def whole_table(board: Leaderboard) -> Table:
    """Return all tasks and rows with mean and sample standard deviation of every number; rates are in percent."""
    columns = [Column("task"), Column("row"), Column("role"), Column("what"), Column("seeds", digits=0)]
    for name in NUMBERS:
        columns += [Column(name, digits=2), Column(f"{name}_sd", digits=2)]
    columns += [Column("training_seconds", digits=1), Column("models_served", digits=0)]
    columns += [Column("uses_old_model"), Column("beats"), Column("chosen"), Column("missing")]
    rows = [_whole_row(row, task) for task in board.tasks for row in shown_rows(board, task.name)]
    return Table(board.title or "leaderboard", tuple(columns), tuple(rows), tuple(board.notes))


def _whole_row(row: Row, task: TaskBoard) -> tuple[Cell, ...]:
    numbers = row.tasks.get(task.name)
    cells: list[Cell] = [task.name, row.name, row.role, row.what, float(len(numbers.by_seed) if numbers else 0)]
    for name in NUMBERS:
        found = numbers.over_seeds.get(name) if numbers else None
        factor = 100.0 if name in _IN_PERCENT and not (task.kind == "continuous" and name in _LEVELS) else 1.0
        cells += _mean_and_sd(found, factor)
    use = {True: "yes", False: "no", None: ""}[numbers.uses_old_model if numbers else None]
    return (
        *cells,
        row.seconds.mean if row.seconds else None,
        float(row.models_served),
        use,
        beats_text(numbers) if numbers else "",
        "yes" if row.name == task.chosen else "",
        failure_text(row),
    )


def _mean_and_sd(spread: Spread | None, factor: float) -> tuple[Cell, Cell]:
    if spread is None:
        return None, None
    return factor * spread.mean, None if spread.sd is None else factor * spread.sd


def paper_table(board: Leaderboard, task: TaskBoard) -> Table:
    """Return one task's table as a paper prints it: mean and spread in one cell, the paper's figures beside ours."""
    published = any(row.published is not None for row in board.rows)
    columns = [Column(""), *(Column(_with_unit(each.title, each.form)) for each in columns_of(task))]
    if published:
        columns.append(Column("vs plain %, paper", digits=2, signed=True))
    rows = []
    for row in shown_rows(board, task.name):
        numbers = row.tasks.get(task.name)
        cells: list[Cell] = [mark_of(row, task) + row.name]
        cells += [
            short_spread(numbers.over_seeds.get(each.number) if numbers else None, each.form)
            for each in columns_of(task)
        ]
        if published:
            cells.append(row.published.negative_flip_rate_change_percent if row.published else None)
        rows.append(tuple(cells))
    seeds = f"{len(board.seeds)} seed{'' if len(board.seeds) == 1 else 's'}"
    title = f"{board.title or 'Leaderboard'}, {task.name}: {task.n:,} items, {seeds}"
    return Table(title, tuple(columns), tuple(rows), tuple(board.notes[:2]))


def _with_unit(title: str, form: str) -> str:
    return f"{title} %" if form in ("rate", "percent") else title
