"""A task's items counted: by what became of them, and by how far their scores moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from muscle.flips.measuring.metrics import Quadrants, count_quadrants
from muscle.flips.measuring.score_metrics import Differences
from muscle.flips.pairing.items import TaskItems
from muscle.flips.statistics.arrays import Floats


@dataclass(frozen=True)
class BinaryCounts:
    """The items of a task of right and wrong by what became of them: Fig. 2 of MUSCLE (2024).

    Attributes:
        both_right: right in both versions.
        negative_flips: right in the old version, wrong in the other.
        positive_flips: wrong in the old version, right in the other.
        both_wrong: wrong in both.
        both_wrong_same: of these, with the same answer; None where answers cannot be compared.
        both_wrong_different: of these, with another one; None as well.
        both_right_changed: right in both with another accepted answer; None as well.
    """

    both_right: int
    negative_flips: int
    positive_flips: int
    both_wrong: int
    both_wrong_same: int | None
    both_wrong_different: int | None
    both_right_changed: int | None

    @property
    def lost(self) -> int:
        """Items that got worse."""
        return self.negative_flips

    @property
    def gained(self) -> int:
        """Items that got better."""
        return self.positive_flips


@dataclass(frozen=True)
class ScoreCounts:
    """The items of a task with a score by what became of them.

    Attributes:
        better: the score rose by more than epsilon.
        worse: it fell by more than epsilon.
        equal: neither.
    """

    better: int
    worse: int
    equal: int

    @property
    def lost(self) -> int:
        """Items that got worse."""
        return self.worse

    @property
    def gained(self) -> int:
        """Items that got better."""
        return self.better


def quadrants_of(items: TaskItems) -> Quadrants:
    """Count the items in each quadrant; binary tasks only."""
    correct_old, correct_new = (items.frame[name] for name in ("correct_old", "correct_new"))
    changed = items.frame["changed"]
    return count_quadrants(
        correct_old.to_numpy(),
        correct_new.to_numpy(),
        changed=changed.fill_null(False).to_numpy(),
        answers_known=not (changed.is_null() & (correct_old == correct_new)).any(),
        clusters=items.clusters,
    )


def differences_of(items: TaskItems, *, epsilon: float = 0.0, seed: int = 0) -> Differences:
    """Return the scores of both sides, of the items that have one on both."""
    scored = items.frame.filter(pl.col("score_old").is_not_null() & pl.col("score_new").is_not_null())
    old, new = (_floats(scored[name]) for name in ("score_old", "score_new"))
    clusters = None
    if "cluster" in scored.columns:
        _, clusters = np.unique(scored["cluster"].to_numpy(), return_inverse=True)
    return Differences(old, new, epsilon=epsilon, clusters=clusters, seed=seed)


def _floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).to_numpy()
