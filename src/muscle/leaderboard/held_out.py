"""The choice once more without looking: a row is chosen on one half of the items, and measured on the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import polars as pl

from muscle.leaderboard.choose import Candidate, best_of, plain_of
from muscle.leaderboard.result import HeldOut, Row

FEWEST = 20
"""Items of a half; with fewer there is nothing to be said."""


def held_out_choice(rows: Sequence[Row], items: Mapping[str, Sequence[pl.DataFrame]], task: str) -> HeldOut | None:
    """Choose on half of a task's items and measure on the rest.

    Args:
        rows: all rows; those that may be chosen are `eligible` and lack no seed.
        items: of every row by name: what became of the task's items, `item`, `lost` and `level`, a frame a seed.
        task: its name.

    Returns:
        What came of it; None where no row can be chosen on that half, or the halves are too small.
    """
    names = {item for frames in items.values() for frame in frames for item in frame["item"]}
    first = pl.Series("item", sorted(name for name in names if in_first_half(name)), dtype=pl.String)
    if min(first.len(), len(names) - first.len()) < FEWEST:
        return None
    halves = {name: _split(frames, first) for name, frames in items.items()}
    candidates = []
    for row in rows:
        plain = plain_of(rows, row)
        if row.eligible and not row.failed and task in row.tasks and plain is not None and plain.name in halves:
            lost, level = halves[row.name][0]
            candidates.append(Candidate(row.name, lost, level, halves[plain.name][0][1]))
    chosen = best_of(candidates)
    taken = next((each for each in rows if each.name == chosen), None)
    plain = plain_of(rows, taken) if taken is not None else None
    if taken is None or plain is None:
        return None
    (lost, level), (plain_lost, plain_level) = halves[taken.name][1], halves[plain.name][1]
    return HeldOut(taken.name, first.len(), len(names) - first.len(), lost, plain_lost, level, plain_level)


def in_first_half(item: str) -> bool:
    """Tell whether an item is one of those that are chosen on: by a bit of its id's MD5, whatever else there is."""
    name = item.partition("\0")[0]
    return hashlib.md5(name.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()[0] % 2 == 0


def _split(frames: Sequence[pl.DataFrame], first: pl.Series) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return negative flip rate and mean level on both halves, means over seeds and items."""
    every = pl.concat([frame.select("item", "lost", "level") for frame in frames])
    inside = every["item"].is_in(first.to_list())
    return _means(every.filter(inside)), _means(every.filter(~inside))


def _means(items: pl.DataFrame) -> tuple[float, float]:
    if items.is_empty():
        return 0.0, 0.0
    lost, level = items.select(pl.col("lost").cast(pl.Float64).mean(), pl.col("level").mean()).row(0)
    return float(lost), float(level)
