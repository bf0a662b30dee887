"""The noise floor: negative flips that the old version shows against itself, and what an update breaks beyond it.

A model that samples flips against itself, and so does one at another batch size or under another release of a
library. Two sources tell how much:

- repeats: of an item with pass rate p two draws give a negative flip with probability p (1 - p), estimated without
  bias by p (1 - p) K / (K - 1). The excess is the negative flip rate over all pairs of answers, p_old (1 - p_new),
  less the mean of that.
- a second run of the old version: the flips that it makes. Of the items that all three runs have, the excess is
  #{old right, new wrong} / N - #{old right, second run wrong} / N.

Either excess is zero, on average, for an update that changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from muscle.flips.measuring.candidate_effect import shared_items
from muscle.flips.measuring.metrics import NEGATIVE, POSITIVE, Quadrants, accuracy_difference, accuracy_old
from muscle.flips.measuring.tally import Tally, quadrants_of, spread_of_groups
from muscle.flips.noise.repeats import Repeats, expected_flips, mean_of_items, own_flips
from muscle.flips.pairing.flip_sign import NEGATIVE_FLIP, with_flip
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.pair import Pair
from muscle.flips.statistics.arrays import Bools, Floats, Ints
from muscle.flips.statistics.intervals import Estimate

UNKNOWN = "floor unknown; run the old model once more (--rerun FILE)"


@dataclass(frozen=True)
class Noise:
    """How much an update breaks beyond the old version's own noise.

    Attributes:
        floor: negative flips of the old version against itself, a share of the items.
        excess: negative flips of the update less the floor.
    """

    floor: Estimate
    excess: Estimate


NO_NOISE = Noise(Estimate.undefined(UNKNOWN), Estimate.undefined(UNKNOWN))


@dataclass(frozen=True)
class ItemNoise:
    """What repeats say of noise, of the items with at least two old answers.

    Attributes:
        places: (kept,) which items.
        own: (kept,) negative flips of the old version against itself, expected in a draw.
        excess: (kept,) those of the update less the own ones.
        groups: (kept,) the group of each item, from 0; None where items are independent.
    """

    places: Ints
    own: Floats
    excess: Floats
    groups: Ints | None


def item_noise(repeats: Repeats, *, epsilon: float = 0.0) -> ItemNoise:
    """Return floor and excess item by item.

    Args:
        repeats: all answers to a task's items. Where missing ones are among them, an item of fewer than two old
            answers has no flips of its own.
        epsilon: dead band of a score.
    """
    own, lost = own_flips(repeats.old, epsilon=epsilon), expected_flips(repeats, epsilon=epsilon)[0]
    if repeats.at_worst:
        own = np.nan_to_num(own, nan=0.0)
    places = np.flatnonzero(np.isfinite(own))
    groups = None
    if repeats.clusters is not None:
        _, groups = np.unique(repeats.clusters[places], return_inverse=True)
    return ItemNoise(places, own[places], lost[places] - own[places], groups)


def noise_of_repeats(repeats: Repeats, *, epsilon: float = 0.0, seed: int = 0) -> Noise:
    """Return floor and excess from an item's answers, with intervals over items (bootstrap by counts).

    Args:
        repeats: all answers to a task's items.
        epsilon: dead band of a score.
        seed: of the bootstrap.
    """
    found = item_noise(repeats, epsilon=epsilon)
    if found.places.size == 0:
        return NO_NOISE
    return Noise(*(mean_of_items(values, found.groups, seed=seed) for values in (found.own, found.excess)))


def tally_of_repeats(repeats: Repeats, chosen: Bools | None = None, *, epsilon: float = 0.0) -> Tally | None:
    """Sum up the excess over items, as a gate judges it: the fall of accuracy of the tally is the excess.

    Args:
        repeats: all answers to a task's items.
        chosen: (items,) which items; None for all.
        epsilon: dead band of a score.
    """
    found = item_noise(repeats, epsilon=epsilon)
    kept = np.ones(found.places.size, dtype=np.bool_) if chosen is None else chosen[found.places]
    own, excess = found.own[kept], found.excess[kept]
    if excess.size == 0:
        return None
    cells = np.where(excess > 0, NEGATIVE[0], np.where(excess < 0, POSITIVE[0], 0))
    quadrants = Quadrants(np.bincount(cells, minlength=8), answers_known=False)
    groups = np.arange(excess.size) if found.groups is None else found.groups[kept]
    sums, sizes = np.bincount(groups, weights=-excess).astype(np.float64), np.bincount(groups)
    spread = spread_of_groups(sums[sizes > 0], sizes[sizes > 0])
    return Tally("binary", quadrants, 1 - float(own.mean()), 1 - float((own + excess).mean()), spread)


def noise_of_rerun(items: TaskItems) -> Noise:
    """Return floor and excess from a second run of the old version.

    Args:
        items: what `excess_items` gives.
    """
    quadrants = quadrants_of(items)
    kept, fall = accuracy_old(quadrants), accuracy_difference(quadrants)
    return Noise(_start_less(kept, 1.0), _start_less(fall, 0.0))


def _start_less(estimate: Estimate, start: float) -> Estimate:
    """Return start - x of an estimate of x."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return Estimate(None if estimate.value is None else start - estimate.value, why=estimate.why)
    return Estimate(start - estimate.value, start - estimate.high, start - estimate.low)


def excess_items(noise: Pair, update: Pair, task: str) -> TaskItems | None:
    """Return a task's items as flips of the second run and of the update; None where no item is in all three runs.

    Args:
        noise: the old run joined with the second run of the old version.
        update: the old run joined with the run under test; where it is at its worst, what the second run lacks counts
            as no flip of that.
        task: the task's name.

    Returns:
        Items on which "right" means "not broken", by the second run in `correct_old` and by the update in
        `correct_new`: so the fall of their accuracy is the excess. `pair` numbers the rows of `update`.
    """
    if task not in noise.tasks or task not in update.tasks:
        return None
    plain = update.tasks[task]
    how: Literal["inner", "left"] = "left" if update.at_worst else "inner"
    shared = shared_items(plain, update.joined, noise.tasks[task], noise.joined, how=how)
    if shared.is_empty():
        return None
    kept = [pl.col(name) != NEGATIVE_FLIP for name in ("flip_candidate", "flip")]
    kept[0] = kept[0].fill_null(True)
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
    return TaskItems(task, "binary", None, with_flip(frame, "binary", epsilon=0.0), 0)
