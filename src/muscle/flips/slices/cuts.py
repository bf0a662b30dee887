"""Slices: where flips concentrate, and where a slice goes another way than the whole.

Every slice with enough items gets its flips, intervals and tests. p-values are corrected over all slices of a
comparison, as a reader looks through all of them. The two versions answered the same items, so the whole is a mean of
its slices; what can mislead is that slices cancel out or go against it (Simpson's case), and those are named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from muscle.flips.measuring.metrics import Quadrants, negative_flip_rate, positive_flip_rate
from muscle.flips.measuring.tally import Tally, tally_by
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.join import Joined
from muscle.flips.slices.concentration import concentration
from muscle.flips.slices.slice_by import SliceBy, default_slices, parse_slice, slice_values
from muscle.flips.slices.slice_numbers import (
    ConcentratedSlice,
    CutSummary,
    Direction,
    Excess,
    OpposedSlices,
    SliceNumbers,
    SmallSlices,
    TaskSlices,
    WholeTask,
)
from muscle.flips.statistics.multiplicity import benjamini_hochberg, holm

MIN_ITEMS = 30
"""A slice with fewer items is counted, not tested: its intervals would cover nearly everything."""

MAX_VALUES = 1_000
"""A column with more different values (a name, a date) makes no slices."""

MAX_CONCENTRATED = 20
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Cut:
    """One task cut one way.

    Attributes:
        task: the task's name.
        by: what it is cut by.
        values: (items,) the slice of each of its items; null where an item has none.
        whole: the task's tally.
        parts: the slices' tallies.
        skipped: why there are no slices; None where there are.
    """

    task: str
    by: SliceBy
    values: pl.Series
    whole: Tally
    parts: dict[str, Tally]
    skipped: str | None = None


def _cut(joined: Joined, items: TaskItems, by: SliceBy, whole: Tally) -> Cut:
    values = slice_values(by, joined, items)
    num_values = values.n_unique() - (values.null_count() > 0)
    if num_values > MAX_VALUES:
        why = f"{num_values:,} different values, more than {MAX_VALUES:,}"
        return Cut(items.name, by, values, whole, {}, why)
    return Cut(items.name, by, values, whole, tally_by(items, values))


def _direction(quadrants: Quadrants) -> Direction:
    lost, gained = quadrants.negative_flips, quadrants.positive_flips
    return "worse" if lost > gained else "better" if gained > lost else "even"


def _excess(part: Tally, whole: Tally) -> Excess | None:
    """Hold a slice's negative flips against the rest of its task; its p-value is adjusted later."""
    found = concentration(part, whole)
    if found is None:
        return None
    low, high = (found.interval.low, found.interval.high) if found.interval else (None, None)
    why = None if found.interval else "too few groups of items"
    return Excess(found.excess, low, high, found.rest_rate, found.p_value, 1.0, 1.0, why)


def _slice_numbers(sliced: Cut, value: str, part: Tally) -> SliceNumbers:
    """Return a slice's numbers; its p-value is adjusted later."""
    quadrants = part.quadrants
    return SliceNumbers(
        by=sliced.by.name,
        value=value,
        n=part.total,
        negative_flips=quadrants.negative_flips,
        positive_flips=quadrants.positive_flips,
        negative_flip_rate=negative_flip_rate(quadrants),
        positive_flip_rate=positive_flip_rate(quadrants),
        accuracy_old=part.level_old,
        accuracy_new=part.level_new,
        accuracy_difference=part.difference(),
        direction=_direction(quadrants),
        p=part.p_value(),
        excess=_excess(part, sliced.whole),
        holm_p=1.0,
        bh_p=1.0,
        significant=False,
    )


def _adjusted(rows: Sequence[SliceNumbers]) -> list[SliceNumbers]:
    """Return the slices with p-values corrected over all of them."""
    p_values = [row.p for row in rows]
    family_wise, discovery = holm(p_values), benjamini_hochberg(p_values)
    excesses = [row.excess.p for row in rows if row.excess]
    corrected = iter(zip(holm(excesses), benjamini_hochberg(excesses), strict=True))
    found = []
    for row, holm_p, bh_p in zip(rows, family_wise, discovery, strict=True):
        excess = row.excess
        if excess is not None:
            excess_holm, excess_bh = next(corrected)
            excess = replace(excess, holm_p=excess_holm, bh_p=excess_bh)
        found.append(replace(row, excess=excess, holm_p=holm_p, bh_p=bh_p, significant=bh_p < SIGNIFICANT))
    return found


def _summary(sliced: Cut, min_items: int) -> CutSummary:
    """Say how a task was cut: how many slices were tested, and what the small ones hold together."""
    small = [part for part in sliced.parts.values() if part.total < min_items]
    in_slices = sum(part.total for part in sliced.parts.values())
    return CutSummary(
        by=sliced.by.name,
        kind=sliced.by.kind,
        of=sliced.by.of,
        slices=len(sliced.parts),
        tested=len(sliced.parts) - len(small),
        small=SmallSlices(
            slices=len(small),
            items=sum(part.total for part in small),
            negative_flips=sum(part.quadrants.negative_flips for part in small),
            positive_flips=sum(part.quadrants.positive_flips for part in small),
        ),
        without_value=0 if sliced.skipped else sliced.whole.total - in_slices,
        skipped=sliced.skipped,
    )


def _opposed(sliced: Cut, rows: Sequence[SliceNumbers]) -> OpposedSlices | None:
    """Name the slices that significantly go against the whole, or that cancel out in it; None without any."""
    whole = sliced.whole
    overall = _direction(whole.quadrants)
    worse, better = (
        [row.value for row in rows if row.significant and row.direction == way] for way in ("worse", "better")
    )
    is_clear = whole.p_value() < SIGNIFICANT
    cancels = not is_clear and bool(worse) and bool(better)
    against = better if overall == "worse" else worse if overall == "better" else []
    if not cancels and not against:
        return None
    return OpposedSlices(
        by=sliced.by.name,
        kind="cancels_out" if cancels else "against_the_whole",
        overall=WholeTask(overall, whole.difference(), is_clear),
        worse=worse,
        better=better,
    )


def _concentrated(rows: Sequence[SliceNumbers]) -> list[ConcentratedSlice]:
    """Rank the slices in which negative flips are more frequent than in the rest of the task, the surest first."""
    found = [
        ConcentratedSlice(
            row.by,
            row.value,
            row.n,
            row.negative_flips,
            row.negative_flip_rate,
            row.excess,
            row.excess.bh_p < SIGNIFICANT,
        )
        for row in rows
        if row.excess and row.excess.value > 0
    ]
    found.sort(key=lambda row: (row.excess.bh_p, -row.excess.value * row.n, row.by, row.value))
    return found[:MAX_CONCENTRATED]


def cut_tasks(
    joined: Joined,
    tasks: Mapping[str, TaskItems],
    wholes: Mapping[str, Tally | None],
    *,
    by: Sequence[SliceBy | str] | None = None,
) -> list[Cut]:
    """Cut every task into slices.

    Args:
        joined: the two runs, row by row.
        tasks: their tasks' items.
        wholes: each task's tally; None of a task without items.
        by: what to cut by, as `muscle.flips.slices.slice_by` writes it; None takes every slice of the records, the
            references where they are classes, and the length of the inputs.

    Raises:
        ConfigError: a regular expression is damaged.
        DataError: no task has a column that was asked for.
    """
    cuts: list[Cut] = []
    for name, items in tasks.items():
        whole = wholes[name]
        if whole is not None:
            found = [_cut(joined, items, one, whole) for one in _ways_to_cut(by, joined, items)]
            # Unasked, a column with one value in this task says nothing of it.
            cuts += [cut for cut in found if by is not None or cut.skipped or len(cut.parts) > 1]
    return cuts


def measure_cuts(cuts: Sequence[Cut], tasks: Collection[str], *, min_items: int = MIN_ITEMS) -> dict[str, TaskSlices]:
    """Find where the flips are in tasks that were cut into slices; p-values are corrected over all slices of all tasks.

    Args:
        cuts: what `cut_tasks` gave.
        tasks: all tasks' names.
        min_items: items that a slice needs to be tested.
    """
    tested = [
        (number, _slice_numbers(cut, value, part))
        for number, cut in enumerate(cuts)
        for value, part in cut.parts.items()
        if part.total >= min_items
    ]
    adjusted = _adjusted([row for _, row in tested])
    by_cut: dict[int, list[SliceNumbers]] = {number: [] for number in range(len(cuts))}
    for (number, _), row in zip(tested, adjusted, strict=True):
        by_cut[number].append(row)
    report = {}
    for name in tasks:
        own = [number for number, cut in enumerate(cuts) if cut.task == name]
        own_rows = [row for number in own for row in by_cut[number]]
        opposed = [_opposed(cuts[number], by_cut[number]) for number in own]
        report[name] = TaskSlices(
            min_items=min_items,
            by=[_summary(cuts[number], min_items) for number in own],
            rows=own_rows,
            simpson=[case for case in opposed if case is not None],
            concentrated=_concentrated(own_rows),
        )
    return report


def _ways_to_cut(by: Sequence[SliceBy | str] | None, joined: Joined, items: TaskItems) -> list[SliceBy]:
    if by is None:
        return default_slices(joined, items)
    return [parse_slice(one) if isinstance(one, str) else one for one in by]
