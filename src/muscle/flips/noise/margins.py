"""Margins of likelihoods: by how much an item's best option leads, and which flips a mere rerun could have made.

A flip from option a to option b needs the lead of a over b to move from above to below zero. Where a second run of
the old version has likelihoods too, the moves that it shows on all items are the run-to-run differences; a flip whose
move is no larger than 95 % of those sits within noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.join import Joined
from muscle.flips.statistics.arrays import Bools, Floats

NOISE_QUANTILE = 0.95
MIN_MOVES = 20
"""Fewer items say too little of the 95th percentile."""


def lead(row: Mapping[str, Any] | None) -> float | None:
    """Return by how much a record's best option leads its second best, in nats; None where not known."""
    logprobs = (row or {}).get("logprobs")
    if not logprobs or len(logprobs) < 2 or any(v is None or not np.isfinite(v) for v in logprobs):
        return None
    second, first = sorted(logprobs)[-2:]
    return float(first - second)


def moves(joined: Joined, items: TaskItems) -> Floats:
    """Return how far the lead that decides each item's answer moved, in nats.

    With a the old version's best option and b the other's (where they agree, the old version's second best), it is
    |(l_a - l_b)_other - (l_a - l_b)_old|.

    Returns:
        (items,); NaN where a side lacks finite log-likelihoods of the same options.
    """
    found = np.full(items.frame.height, np.nan)
    for rows, old, other in same_options(joined, items):
        found[rows.to_numpy()] = _moves(old, other)
    return found


def same_options(joined: Joined, items: TaskItems) -> Iterator[tuple[pl.Series, Floats, Floats]]:
    """Go through the items with log-likelihoods of equally many options on both sides, two or more.

    Yields:
        For each number of options: rows of the task's items; (rows, options) the old version's log-likelihoods and the
        other's, NaN where one is missing.
    """
    pairs = items.frame["pair"]
    old, other = (side["logprobs"].gather(pairs) for side in (joined.old, joined.new))
    lengths = pl.select(pl.when(old.list.len() == other.list.len()).then(old.list.len())).to_series()
    for length in lengths.drop_nulls().unique().sort():
        if length < 2:
            continue
        rows = (lengths == length).fill_null(False).arg_true()
        yield rows, _matrix(old.gather(rows), length), _matrix(other.gather(rows), length)


def _matrix(column: pl.Series, width: int) -> Floats:
    values: Floats = column.list.explode().cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, width)
    return values


def _moves(old: Floats, other: Floats) -> Floats:
    index = np.arange(len(old))
    known = np.isfinite(old).all(axis=1) & np.isfinite(other).all(axis=1)
    order = np.argsort(np.where(np.isnan(old), -np.inf, old), axis=1)
    best, second = order[:, -1], order[:, -2]
    others = np.argmax(np.where(np.isnan(other), -np.inf, other), axis=1)
    rival = np.where(others == best, second, others)
    with np.errstate(invalid="ignore"):
        move = (other[index, best] - other[index, rival]) - (old[index, best] - old[index, rival])
    found: Floats = np.where(known, np.abs(move), np.nan)
    return found


def noise_limit(rerun: Joined, items: TaskItems) -> float | None:
    """Return the 95th percentile of the run-to-run moves; None where too few items have likelihoods in both runs.

    Args:
        rerun: the old run joined with a second run of the old version.
        items: the task's items in that join.
    """
    known = moves(rerun, items)
    known = known[np.isfinite(known)]
    return float(np.quantile(known, NOISE_QUANTILE)) if known.size >= MIN_MOVES else None


def within_noise(joined: Joined, items: TaskItems, limit: float) -> pl.Series:
    """Return whether each item's move is within the limit; null where it is not known, (items,)."""
    moved = moves(joined, items)
    within: Bools = moved <= limit
    return pl.select(pl.when(pl.Series(np.isfinite(moved))).then(pl.Series(within))).to_series()
