"""Builds a leaderboard: every row measured against the old version, and held against its controls."""

from __future__ import annotations

import importlib.metadata
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

import polars as pl

from muscle.errors import DataError
from muscle.flips.pairing.flip_sign import Kind
from muscle.leaderboard.advise import advise
from muscle.leaderboard.against import hold_against, with_holm
from muscle.leaderboard.choose import chosen_row
from muscle.leaderboard.entries import Control, Entry, Group
from muscle.leaderboard.held_out import held_out_choice
from muscle.leaderboard.measure import MeasuredRun, measure_candidate, measure_old, measure_plain
from muscle.leaderboard.result import (
    FORMAT,
    NUMBERS,
    Comparison,
    Leaderboard,
    Row,
    RowNumbers,
    SeedNumbers,
    Spread,
    TaskBoard,
)

NO_USE_OF_OLD: tuple[Control, ...] = ("plain", "longer", "no_teacher", "twin_as_old", "third_as_old")
"""Controls without the old model: a method that does not beat them has no use of it."""


def build_leaderboard(
    groups: Sequence[Group],
    entries: Sequence[Entry],
    *,
    old: str,
    new: str,
    title: str | None = None,
    notes: Sequence[str] = (),
) -> Leaderboard:
    """Measure all rows and hold them against their controls.

    Args:
        groups: what old and new are, for the candidates of each.
        entries: the rows, in the order in which they are shown.
        old: the old version's name.
        new: the new version's.
        title: of the update.
        notes: what a reader must know of the data, before how to read the numbers.

    Raises:
        DataError: no seed has an old version and a plain update, or a run cannot be read.
        JoinError: runs do not belong together.
    """
    measured = _Measured({group.name: group for group in groups}, {entry.name: entry for entry in entries})
    if not measured.kinds:
        raise DataError("the sweep: neither old version nor plain update are scored yet; run it first")
    rows = [measured.row(entry) for entry in entries]
    rows = _holm_adjusted(rows, measured.kinds)
    rows = [_with_use(row, entry) for row, entry in zip(rows, entries, strict=True)]
    return Leaderboard(
        format=FORMAT,
        muscle_version=importlib.metadata.version("muscle-llm"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        title=title,
        old=old,
        new=new,
        seeds=sorted({seed for group in groups for seed in (*group.old, *group.new)}),
        rows=rows,
        tasks=[_task_board(name, kind, rows, measured) for name, kind in measured.kinds.items()],
        notes=[*notes, *_reading_notes(rows)],
    )


@dataclass(frozen=True)
class _Measured:
    """All rows' runs, each measured once.

    Attributes:
        groups: by name.
        entries: by name.
    """

    groups: Mapping[str, Group]
    entries: Mapping[str, Entry]

    @cached_property
    def runs(self) -> dict[str, dict[int, MeasuredRun]]:
        """Every row's measured runs, by name and seed."""
        return {name: dict(self._measured(entry)) for name, entry in self.entries.items()}

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """The tasks, and whether each has right and wrong."""
        return {task: kind for runs in self.runs.values() for run in runs.values() for task, kind in run.kinds.items()}

    def _measured(self, entry: Entry) -> Iterable[tuple[int, MeasuredRun]]:
        group = self.groups[entry.group]
        for seed, path in sorted(entry.runs.items()):
            if seed not in group.old or seed not in group.new:
                continue
            old, new = group.old[seed], group.new[seed]
            if entry.role == "old":
                yield seed, measure_old(old, new, seed)
            elif entry.role == "plain":
                yield seed, measure_plain(old, new, seed)
            else:
                yield seed, measure_candidate(old, new, path, seed)

    def row(self, entry: Entry) -> Row:
        """Return an entry's row; its comparisons are not adjusted yet."""
        runs = self.runs[entry.name]
        tasks = {}
        for task, kind in self.kinds.items():
            by_seed = [run.numbers[task] for run in runs.values() if task in run.numbers]
            if by_seed:
                comparisons = self._comparisons(entry, task, binary=kind == "binary")
                tasks[task] = RowNumbers(by_seed, _spreads(by_seed), comparisons, None)
        return Row(
            name=entry.name,
            role=entry.role,
            what=entry.what,
            group=entry.group,
            eligible=entry.eligible,
            settings=dict(entry.settings),
            models_served=entry.models_served,
            seconds=spread(list(entry.seconds.values())),
            tasks=tasks,
            failed=dict(entry.failed),
            published=entry.published,
        )

    def _comparisons(self, entry: Entry, task: str, *, binary: bool) -> list[Comparison]:
        found = [
            hold_against(control, name, self._items(entry.name, task), self._items(name, task), binary=binary)
            for control, name in entry.controls.items()
            if name in self.entries and name != entry.name
        ]
        return [each for each in found if each is not None]

    def items_of(self, task: str) -> dict[str, list[pl.DataFrame]]:
        """Return what became of a task's items, by row: a frame a seed."""
        found = {name: [frame for frame in self._items(name, task).values() if frame.height] for name in self.runs}
        return {name: frames for name, frames in found.items() if frames}

    def _items(self, name: str, task: str) -> dict[int, pl.DataFrame]:
        return {seed: run.items.filter(pl.col("task") == task) for seed, run in self.runs[name].items()}


def spread(values: Sequence[float]) -> Spread | None:
    """Return mean and sample standard deviation; None of no values.

    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, sd=1.0, n=3)
    """
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(math.fsum(values) / len(values), deviation, len(values))


def _spreads(by_seed: Sequence[SeedNumbers]) -> dict[str, Spread]:
    found = {
        name: spread([value for numbers in by_seed if (value := getattr(numbers, name)) is not None])
        for name in NUMBERS
    }
    return {name: each for name, each in found.items() if each is not None}


def _holm_adjusted(rows: Sequence[Row], tasks: Iterable[str]) -> list[Row]:
    """Adjust each task's comparisons over the rows that are held against the same kind of control."""
    changed = list(rows)
    for task in tasks:
        kinds = {each.control for row in changed if task in row.tasks for each in row.tasks[task].comparisons}
        done: dict[tuple[int, Control], Comparison] = {}
        for kind in kinds:
            places = [
                (number, each)
                for number, row in enumerate(changed)
                if task in row.tasks and (each := row.tasks[task].against(kind)) is not None
            ]
            for (number, _), each in zip(places, with_holm([each for _, each in places]), strict=True):
                done[number, kind] = each
        for number, row in enumerate(changed):
            if task in row.tasks:
                comparisons = [done[number, each.control] for each in row.tasks[task].comparisons]
                numbers = replace(row.tasks[task], comparisons=comparisons)
                changed[number] = replace(row, tasks={**row.tasks, task: numbers})
    return changed


def _with_use(row: Row, entry: Entry) -> Row:
    """Say of each task whether the row has a use of the old model."""
    if not entry.uses_old:
        return row
    wanted = [control for control in NO_USE_OF_OLD if control in entry.controls]
    tasks = {}
    for task, numbers in row.tasks.items():
        found = [numbers.against(control) for control in wanted]
        held = [each.beats for each in found if each is not None and list(each.seeds) == _seeds_of(numbers)]
        complete = "twin_as_old" in wanted and len(held) == len(wanted)
        use = False if not all(held) else True if complete else None
        tasks[task] = replace(numbers, uses_old_model=use)
    return replace(row, tasks=tasks)


def _seeds_of(numbers: RowNumbers) -> list[int]:
    return sorted(each.seed for each in numbers.by_seed)


def _task_board(name: str, kind: Kind, rows: Sequence[Row], measured: _Measured) -> TaskBoard:
    num_items = max(each.n for row in rows if name in row.tasks for each in row.tasks[name].by_seed)
    chosen = chosen_row(rows, name)
    board = TaskBoard(
        name=name,
        kind=kind,
        n=num_items,
        chosen=chosen.name if chosen else None,
        chosen_on=f"the same {num_items:,} test items as the numbers: those of the chosen row are a little too good",
        held_out=held_out_choice(rows, measured.items_of(name), name),
    )
    return replace(board, advice=advise(board, rows))


def _reading_notes(rows: Sequence[Row]) -> list[str]:
    """Return what a reader must know."""
    notes = [
        "Rates are over all test items, against the old version of the same seed; mean and sample standard deviation "
        "over seeds.",
        "beats: fewer negative flips in every seed, and the exact sign-flip test over items (all seeds of an item "
        "together; Holm over the rows) below 0.05. It speaks of these adapters; the test over seeds is in the JSON.",
    ]
    if any(row.seconds for row in rows):
        notes.append(
            "Training: the wall time of a row's own training. Of rows that share teachers the first also ran these; "
            "old and new are trained once for all."
        )
    missing = [row.name for row in rows if row.failed]
    if missing:
        notes.append(f"Not complete: {', '.join(missing)}.")
    return notes
