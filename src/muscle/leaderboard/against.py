"""Tests of one row against another: their negative flips over the same items, seed by seed and over all seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from muscle.flips.statistics.clusters import clustered_test
from muscle.flips.statistics.intervals import mcnemar
from muscle.flips.statistics.multiplicity import holm
from muscle.leaderboard.entries import Control
from muscle.leaderboard.result import Comparison

ALPHA = 0.05


def hold_against(
    control: Control,
    against: str,
    ours: Mapping[int, pl.DataFrame],
    theirs: Mapping[int, pl.DataFrame],
    *,
    binary: bool,
) -> Comparison | None:
    """Compare two rows' negative flips on one task over the seeds that both have.

    Args:
        control: what kind of row the other one is.
        against: its name.
        ours: this row's items by seed: `item`, `lost`, `level`.
        theirs: the other row's.
        binary: whether levels are right and wrong.

    Returns:
        The comparison, whose p-values over items are not yet adjusted (`with_holm`), so that `gains` speaks of the
        seeds alone; None where no seed has both.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    paired = {seed: _paired(ours[seed], theirs[seed]) for seed in seeds}
    paired = {seed: frame for seed, frame in paired.items() if frame.height}
    if not paired:
        return None
    only = {seed: _one_sided(frame) for seed, frame in paired.items()}
    lost = {seed: (int(frame["lost"].sum()), int(frame["lost_theirs"].sum())) for seed, frame in paired.items()}
    every = pl.concat(list(paired.values()))
    items = every.group_by("item", maintain_order=True).agg(
        pl.col("lost", "lost_theirs", "level", "level_theirs").sum()
    )
    p_over_items = _sign_flip(items["lost"], items["lost_theirs"])
    levels = _sign_flip(items["level_theirs"], items["level"]) if binary else None
    return Comparison(
        control=control,
        against=against,
        seeds=list(paired),
        negative_flips=sum(mine for mine, _ in lost.values()),
        their_negative_flips=sum(other for _, other in lost.values()),
        accuracy_difference=float((every["level"] - every["level_theirs"]).mean()),  # type: ignore[arg-type]
        seeds_fewer=sum(mine < other for mine, other in lost.values()),
        p_by_seed={seed: mcnemar(*counts).exact for seed, counts in only.items()},
        p_over_items=p_over_items,
        p_over_items_holm=p_over_items,
        p_over_seeds=_sign_flip(*(pl.Series(counts) for counts in zip(*lost.values(), strict=True))),
        accuracy_p_over_items=levels,
        beats=False,
        gains=all(frame["level"].sum() > frame["level_theirs"].sum() for frame in paired.values()) if binary else None,
    )


def _paired(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    """Return the items that both have."""
    return ours.join(theirs, on="item", how="inner", suffix="_theirs", maintain_order="left").select(
        "item", "lost", "lost_theirs", "level", "level_theirs"
    )


def _one_sided(frame: pl.DataFrame) -> tuple[int, int]:
    """Return how many items only we lost, and how many only they."""
    mine, other = frame["lost"], frame["lost_theirs"]
    return int((mine & ~other).sum()), int((~mine & other).sum())


def _sign_flip(worse: pl.Series, better: pl.Series) -> float:
    """Return the two-sided p-value of the sign-flip test (`clustered_test`), with each entry as a cluster."""
    negative, positive = (np.asarray(each.to_numpy(), dtype=np.float64) for each in (worse, better))
    return clustered_test(negative, positive).two_sided


def with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Adjust the p-values over items of comparisons with one kind of control, and say which beat it (Holm 1979).

    Flips and accuracy are adjusted each by itself.
    """
    adjusted = holm([each.p_over_items for each in comparisons])
    found = [
        replace(each, p_over_items_holm=p, beats=p < ALPHA and each.seeds_fewer == len(each.seeds))
        for each, p in zip(comparisons, adjusted, strict=True)
    ]
    levels = [each.accuracy_p_over_items for each in comparisons if each.accuracy_p_over_items is not None]
    if len(levels) < len(found):  # a score: no right and wrong
        return found
    return [
        replace(each, accuracy_p_over_items_holm=p, gains=bool(each.gains) and p < ALPHA)
        for each, p in zip(found, holm(levels), strict=True)
    ]
