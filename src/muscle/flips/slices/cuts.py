"""Slices: where flips concentrate, and where a slice goes another way than the whole.

Every slice with enough items gets its flips, intervals and tests. p-values are corrected over all slices of a comparison,
as a reader looks through all of them. The two versions answered the same items, so the whole is a mean of its slices;
what can mislead is that slices cancel out or go against it (Simpson's case), and those are named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from muscle.flips.measuring.metrics import negative_flip_rate, positive_flip_rate
from muscle.flips.measuring.tally import Tally, tally, tally_by
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.join import Joined
from muscle.flips.slices.concentration import concentration
from muscle.flips.slices.slice_by import SliceBy, default_slices, parse_slice, slice_values
from muscle.flips.statistics.multiplicity import benjamini_hochberg, holm

MIN_ITEMS = 30
"""A slice with fewer items is counted, not tested: its intervals would cover nearly everything."""

MAX_VALUES = 1_000
"""A column with more different values (a name, a date) makes no slices."""

MAX_CONCENTRATED = 20
SIGNIFICANT = 0.05

Json = dict[str, Any]


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


def _cut(joined: Joined, items: TaskItems, by: SliceBy, whole: Tally, epsilon: float) -> Cut:
    values = slice_values(by, joined, items)
    num_values = values.n_unique() - (values.null_count() > 0)
    if num_values > MAX_VALUES:
        why = f"{num_values:,} different values, more than {MAX_VALUES:,}"
        return Cut(items.name, by, values, whole, {}, why)
    return Cut(items.name, by, values, whole, tally_by(items, values, epsilon=epsilon))


def _direction(lost: float, gained: float) -> str:
    return "worse" if lost > gained else "better" if gained > lost else "even"


def _row(sliced: Cut, value: str, part: Tally) -> Json:
    """Return a slice's numbers, without what depends on the other slices."""
    quadrants, difference = part.quadrants, part.difference()
    found = concentration(part, sliced.whole)
    near = None
    if found is not None:
        interval = found.interval
        near = {
            "value": found.excess,
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
            **({} if interval else {"why": "too few groups of items"}),
            "rest": found.rest_rate,
            "p": found.p_value,
        }
    return {
        "by": sliced.by.name,
        "value": value,
        "n": part.total,
        "negative_flips": quadrants.negative_flips,
        "positive_flips": quadrants.positive_flips,
        "negative_flip_rate": negative_flip_rate(quadrants).to_json(),
        "positive_flip_rate": positive_flip_rate(quadrants).to_json(),
        "accuracy_old": part.level_old,
        "accuracy_new": part.level_new,
        "accuracy_difference": difference.to_json(),
        "direction": _direction(quadrants.negative_flips, quadrants.positive_flips),
        "p": part.p_value(),
        "excess": near,
    }


def _adjust(rows: Sequence[Json], excesses: Sequence[Json]) -> None:
    """Add p-values corrected over all slices of the comparison."""
    for entries in (rows, excesses):
        p_values = [entry["p"] for entry in entries]
        adjusted = zip(entries, holm(p_values), benjamini_hochberg(p_values), strict=True)
        for entry, family_wise, discovery in adjusted:
            entry["holm_p"], entry["bh_p"] = family_wise, discovery
    for row in rows:
        row["significant"] = row["bh_p"] < SIGNIFICANT


def _summary(sliced: Cut, min_items: int) -> Json:
    """Say how a task was cut: how many slices were tested, and what the small ones hold together."""
    small = [part for part in sliced.parts.values() if part.total < min_items]
    in_slices = sum(part.total for part in sliced.parts.values())
    return {
        "by": sliced.by.name,
        "kind": sliced.by.kind,
        "of": sliced.by.of,
        "slices": len(sliced.parts),
        "tested": len(sliced.parts) - len(small),
        "small": {
            "slices": len(small),
            "items": sum(part.total for part in small),
            "negative_flips": sum(part.quadrants.negative_flips for part in small),
            "positive_flips": sum(part.quadrants.positive_flips for part in small),
        },
        "without_value": 0 if sliced.skipped else sliced.whole.total - in_slices,
        "skipped": sliced.skipped,
    }


def _opposed(sliced: Cut, rows: Sequence[Json]) -> Json | None:
    """Name the slices that significantly go against the whole, or that cancel out in it; None without any."""
    whole = sliced.whole
    overall = _direction(whole.quadrants.negative_flips, whole.quadrants.positive_flips)
    moved = {way: [r["value"] for r in rows if r["significant"] and r["direction"] == way] for way in _WAYS}
    is_clear = whole.p_value() < SIGNIFICANT
    cancels = not is_clear and all(moved.values())
    against = [value for way in _WAYS if way != overall for value in moved[way]]
    if not cancels and not (against and overall in _WAYS):
        return None
    return {
        "by": sliced.by.name,
        "kind": "cancels_out" if cancels else "against_the_whole",
        "overall": {
            "direction": overall,
            "accuracy_difference": whole.difference().to_json(),
            "clear": is_clear,
        },
        **moved,
    }


_WAYS = ("worse", "better")


def _concentrated(rows: Sequence[Json]) -> list[Json]:
    """Rank the slices in which negative flips are more frequent than in the rest of the task, the surest first."""
    found = [row for row in rows if row["excess"] and row["excess"]["value"] > 0]
    found.sort(
        key=lambda row: (row["excess"]["bh_p"], -row["excess"]["value"] * row["n"], row["by"], row["value"])
    )
    kept = ("by", "value", "n", "negative_flips", "negative_flip_rate", "excess")
    return [
        {name: row[name] for name in kept} | {"significant": row["excess"]["bh_p"] < SIGNIFICANT}
        for row in found[:MAX_CONCENTRATED]
    ]


def measure_slices(
    joined: Joined,
    tasks: Mapping[str, TaskItems],
    *,
    by: Sequence[SliceBy | str] | None = None,
    min_items: int = MIN_ITEMS,
    epsilon: float = 0.0,
) -> dict[str, Json]:
    """Cut every task into slices and find where its flips are: `cut_tasks`, then `measure_cuts`, which see.

    Raises:
        ConfigError: a regular expression is damaged.
        DataError: no task has a column that was asked for.
    """
    return measure_cuts(cut_tasks(joined, tasks, by=by, epsilon=epsilon), tasks, min_items=min_items)


def cut_tasks(
    joined: Joined,
    tasks: Mapping[str, TaskItems],
    *,
    by: Sequence[SliceBy | str] | None = None,
    epsilon: float = 0.0,
) -> list[Cut]:
    """Cut every task into slices.

    Args:
        joined: the two runs, row by row.
        tasks: their tasks' items.
        by: what to cut by, as `muscle.flips.slices.slice_by` writes it; None takes every slice of the records, the references
            where they are classes, and the length of the inputs.
        epsilon: dead band of a continuous score.

    Raises:
        ConfigError: a regular expression is damaged.
        DataError: no task has a column that was asked for.
    """
    cuts: list[Cut] = []
    for items in tasks.values():
        whole = tally(items, epsilon=epsilon)
        if whole is not None:
            found = [_cut(joined, items, one, whole, epsilon) for one in _chosen(by, joined, items)]
            # Unasked, a column with one value in this task says nothing of it.
            cuts += [cut for cut in found if by is not None or cut.skipped or len(cut.parts) > 1]
    return cuts


def measure_cuts(
    cuts: Sequence[Cut], tasks: Collection[str], *, min_items: int = MIN_ITEMS
) -> dict[str, Json]:
    """Find where the flips are in tasks that were cut into slices.

    Args:
        cuts: what `cut_tasks` gave.
        tasks: all tasks' names.
        min_items: items that a slice needs to be tested.

    Returns:
        For each task:

        - `by`: how it was cut, how many slices were tested, what the small ones hold, why a column was passed over;
        - `rows`: a slice each, with `n`, flips, rates and differences with 95 % intervals, `direction`, the two-sided
          `p` (exact McNemar, or over groups of items), `bh_p` and `holm_p` over all slices of all tasks, `significant`
          (by `bh_p`), and `excess`: NFR above that of the rest of the task, with a one-sided `p`;
        - `simpson`: cuts in which slices go against the whole, or cancel out in it;
        - `concentrated`: the slices with more negative flips than the rest, ranked.
    """
    tested: dict[int, list[Json]] = {
        id(cut): [_row(cut, value, part) for value, part in cut.parts.items() if part.total >= min_items]
        for cut in cuts
    }
    rows = [row for group in tested.values() for row in group]
    _adjust(rows, [row["excess"] for row in rows if row["excess"]])
    report: dict[str, Json] = {}
    for name in tasks:
        own = [cut for cut in cuts if cut.task == name]
        own_rows = [row for cut in own for row in tested[id(cut)]]
        opposed = [_opposed(cut, tested[id(cut)]) for cut in own]
        report[name] = {
            "min_items": min_items,
            "by": [_summary(cut, min_items) for cut in own],
            "rows": own_rows,
            "simpson": [case for case in opposed if case is not None],
            "concentrated": _concentrated(own_rows),
        }
    return report


def _chosen(by: Sequence[SliceBy | str] | None, joined: Joined, items: TaskItems) -> list[SliceBy]:
    if by is None:
        return default_slices(joined, items)
    return [parse_slice(one) if isinstance(one, str) else one for one in by]
