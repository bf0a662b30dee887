"""The page's tables: the rows' figures, the tests, and what the paper reports beside ours."""

from __future__ import annotations

from markupsafe import Markup

from muscle.foreign_text import visible
from muscle.leaderboard.result import Comparison, Leaderboard, Row, Spread, TaskBoard
from muscle.leaderboard.table import beats_text, columns_of, failure_text, mark_of, shown_rows
from muscle.report.numbers import Form, format_number
from muscle.report.page.data_elements import ABSENT, figure, integer, pointer
from muscle.report.page.table import Row as PageRow
from muscle.report.page.table import Table


def board_table(board: Leaderboard, task: TaskBoard) -> Table:
    """Return a task's rows with mean and spread of each figure, what each beats, and what it costs."""
    columns = columns_of(task)
    rows = []
    for row in shown_rows(board, task.name):
        numbers, place = row.tasks.get(task.name), board.rows.index(row)
        meaning = visible(row.what) + (f" (missing: {visible(failure_text(row))})" if row.failed else "")
        cells = [
            _spread_cell(
                numbers.over_seeds.get(column.number) if numbers else None,
                pointer("rows", place, "tasks", task.name, "over_seeds", column.number),
                column.form,
            )
            for column in columns
        ]
        beats = Markup("{}").format(beats_text(numbers)) if numbers and row.role in ("method", "served") else ABSENT
        rows.append(PageRow(mark_of(row, task) + visible(row.name), meaning, (*cells, beats, _seconds(row, place))))
    return Table("Row", (*(column.title for column in columns), "beats", "training"), tuple(rows))


def _spread_cell(spread: Spread | None, path: str, form: Form) -> Markup:
    if spread is None:
        return ABSENT
    mean = figure(spread.mean, format_number(spread.mean, form), f"{path}/mean")
    if spread.sd is None:
        return mean
    deviation = figure(spread.sd, format_number(spread.sd, form).lstrip("+"), f"{path}/sd")
    return Markup('{} <span class="interval">± {}</span>').format(mean, deviation)


def _seconds(row: Row, place: int) -> Markup:
    if row.seconds is None:
        return ABSENT
    path = pointer("rows", place, "seconds")
    return Markup("{}").format(figure(row.seconds.mean, f"{row.seconds.mean:,.0f} s", f"{path}/mean"))


def tests_table(board: Leaderboard, task: TaskBoard) -> Table | None:
    """Return the tests of each method against its controls; None where there are none."""
    rows = []
    for place, row in enumerate(board.rows):
        if row.role not in ("method", "served") or task.name not in row.tasks:
            continue
        for number, each in enumerate(row.tasks[task.name].comparisons):
            path = pointer("rows", place, "tasks", task.name, "comparisons", number)
            against = f"against {visible(each.against)}"
            cells = (*_test_cells(each, path), *(_accuracy_cells(each, path) if task.kind == "binary" else ()))
            rows.append(PageRow(visible(row.name), against, cells))
    head = ["flips", "theirs", "fewer in", "p over items (Holm)", "p over seeds", "p by seed", "beats it"]
    if task.kind == "binary":
        head += ["accuracy, points", "its p (Holm)"]
    return Table("Method", tuple(head), tuple(rows)) if rows else None


def _test_cells(each: Comparison, path: str) -> tuple[Markup, ...]:
    by_seed = [
        figure(p, format_number(p, "probability"), f"{path}/p_by_seed/{seed}") for seed, p in each.p_by_seed.items()
    ]
    tests = [
        figure(value, format_number(value, "probability"), f"{path}/{name}")
        for name, value in (
            ("p_over_items_holm", each.p_over_items_holm),
            ("p_over_seeds", each.p_over_seeds),
        )
    ]
    return (
        integer(each.negative_flips, f"{path}/negative_flips"),
        integer(each.their_negative_flips, f"{path}/their_negative_flips"),
        Markup("{} of {} seeds").format(integer(each.seeds_fewer, f"{path}/seeds_fewer"), len(each.seeds)),
        *tests,
        Markup(", ").join(by_seed),
        Markup("<strong>yes</strong>") if each.beats else Markup("no"),
    )


def _accuracy_cells(each: Comparison, path: str) -> tuple[Markup, Markup]:
    """Return the difference of accuracy, and whether it is more than chance."""
    found: tuple[tuple[float | None, Form, str], ...] = (
        (each.accuracy_difference, "points", "accuracy_difference"),
        (each.accuracy_p_over_items_holm, "probability", "accuracy_p_over_items_holm"),
    )
    difference, p = (
        ABSENT if value is None else figure(value, format_number(value, form), f"{path}/{name}")
        for value, form, name in found
    )
    return difference, p


PUBLISHED = (
    ("NFR, points", "negative_flip_rate_change", 100.0),
    ("NFR, %", "negative_flip_rate_change_percent", 1.0),
    ("accuracy, points", "accuracy_change", 100.0),
)
"""Changes against the plain update: title, field, and what makes ours the paper's unit."""


def published_table(board: Leaderboard, task: TaskBoard) -> Table | None:
    """Return our changes against the plain update beside the paper's; None where the paper reports none."""
    rows = []
    for row in board.rows:
        if row.published is None or task.name not in row.tasks:
            continue
        cells: list[Markup] = []
        for _, name, factor in PUBLISHED:
            ours, theirs = row.tasks[task.name].mean(name), getattr(row.published, name)
            cells.append(ABSENT if ours is None else figure(ours, f"{factor * ours:+.2f}"))
            cells.append(figure(theirs, f"{theirs:+.2f}"))
        rows.append(PageRow(visible(row.name), "", tuple(cells)))
    head = tuple(f"{title}, {whose}" for title, _, _ in PUBLISHED for whose in ("ours", "paper"))
    return Table("Change against the plain update", head, tuple(rows)) if rows else None
