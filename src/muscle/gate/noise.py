"""Negative flips beyond noise: against those that a second run of the old version makes by itself.

Two runs of one model flip too, by sampling, by batch size, by another release of a library. Of the items that all three
runs have, the excess is #{old right, new wrong} / N - #{old right, second run wrong} / N: zero for an update that
changes nothing.
"""

from __future__ import annotations

import polars as pl

from muscle.flips.effect import shared_items
from muscle.flips.items import TaskItems
from muscle.flips.pair import Pair


def excess_items(noise: Pair, update: Pair, task: str, *, epsilon: float = 0.0) -> TaskItems | None:
    """Return a task's items as flips of the second run and of the update; None where no item is in all three runs.

    Args:
        noise: the old run joined with the second run of the old version.
        update: the old run joined with the run under test.
        task: the task's name.
        epsilon: dead band of a continuous score.

    Returns:
        Items on which "right" means "not broken", by the second run in `correct_old` and by the update in
        `correct_new`: so the fall of their accuracy is the excess. `pair` numbers the rows of `noise`.
    """
    if task not in noise.tasks or task not in update.tasks:
        return None
    plain = noise.tasks[task]
    shared = shared_items(plain, noise.joined, update.tasks[task], update.joined)
    if shared.is_empty():
        return None
    if plain.kind == "binary":
        kept = [~pl.col("correct_old") | pl.col(name) for name in ("correct_new", "correct_candidate")]
    else:
        old = pl.col("score_old")
        kept = [pl.col(name) - old >= -epsilon for name in ("score_new", "score_candidate")]
    groups = ["cluster"] if "cluster" in shared.columns else []
    nothing = pl.lit(None, pl.Boolean)
    frame = shared.select(
        "pair",
        *groups,
        kept[0].alias("correct_old"),
        kept[1].alias("correct_new"),
        nothing.alias("changed"),
        pl.lit(None, pl.Float64).alias("score_old"),
        pl.lit(None, pl.Float64).alias("score_new"),
    )
    if groups:
        frame = frame.with_columns(pl.col("cluster").rank("dense") - 1)
    return TaskItems(task, "binary", None, frame, 0)
