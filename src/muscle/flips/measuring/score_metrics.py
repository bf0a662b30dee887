"""The smooth metrics: gains and regressions of a score (ROUGE, a judge's, a likelihood), MUSCLE (2024), Sec. 3.2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from muscle.flips.pairing.flip_sign import flips_of_scores
from muscle.flips.statistics import clusters, resampling
from muscle.flips.statistics import intervals as statistics
from muscle.flips.statistics.arrays import Bools, Floats, Ints
from muscle.flips.statistics.intervals import Estimate

_NO_ITEMS = "no item is scored in both versions"


@dataclass(frozen=True)
class Differences:
    """Scores of the same items by two versions.

    Attributes:
        old: (items,) scores of the old version.
        new: (items,) scores of the new version.
        epsilon: dead band: a difference counts as better or worse only beyond it, in the score's unit.
        clusters: (items,) number of the item's cluster, from 0; None where items are independent.
        seed: of the bootstrap.
    """

    old: Floats
    new: Floats
    epsilon: float = 0.0
    clusters: Ints | None = None
    seed: int = 0

    @cached_property
    def values(self) -> Floats:
        """D_i = S(n_i, y_i) - S(o_i, y_i), (items,)."""
        return self.new - self.old

    @cached_property
    def _flips(self) -> NDArray[np.int8]:
        return flips_of_scores(self.values, epsilon=self.epsilon)

    @cached_property
    def better(self) -> Bools:
        """Whether an item got better: D > epsilon."""
        return self._flips > 0

    @cached_property
    def worse(self) -> Bools:
        """Whether an item got worse: D < -epsilon."""
        return self._flips < 0


def _share_of_items(differences: Differences, part: Bools) -> Estimate:
    if part.size == 0:
        return Estimate.undefined(_NO_ITEMS)
    count = int(part.sum())
    if differences.clusters is None:
        return Estimate.of(count / part.size, statistics.rate(count, part.size))
    return Estimate.of(count / part.size, clusters.grouped_rate(part, differences.clusters))


def _mean_of(differences: Differences, values: Floats, chosen: Bools | None = None, why: str = _NO_ITEMS) -> Estimate:
    """Return the mean of some items' values: bootstrapped, or cluster-robust."""
    kept = values if chosen is None else values[chosen]
    if kept.size == 0:
        return Estimate.undefined(why)
    if differences.clusters is None:
        return resampling.bootstrap_mean(kept, seed=differences.seed)
    groups = differences.clusters if chosen is None else differences.clusters[chosen]
    return clusters.grouped_mean(kept, groups)


def score_old(differences: Differences) -> Estimate:
    """Return the mean score of the old version over all N items."""
    return _mean_of(differences, differences.old)


def score_new(differences: Differences) -> Estimate:
    """Return the mean score of the new version over all N items."""
    return _mean_of(differences, differences.new)


def score_difference(differences: Differences) -> Estimate:
    """Return the mean of D over all N items."""
    return _mean_of(differences, differences.values)


def negative_flip_rate(differences: Differences) -> Estimate:
    """Return NFR = #{D < -epsilon} / N, over all N items: Sec. 3.2 (with epsilon = 0)."""
    return _share_of_items(differences, differences.worse)


def positive_flip_rate(differences: Differences) -> Estimate:
    """Return PFR = #{D > epsilon} / N, over all N items: Sec. 3.2 (with epsilon = 0)."""
    return _share_of_items(differences, differences.better)


def mean_gain(differences: Differences) -> Estimate:
    """Return m_g = sum(D | D > epsilon) / #{D > epsilon}; denominator: the items that got better. Sec. 3.2."""
    return _mean_of(differences, differences.values, differences.better, "no item got better")


def mean_regression(differences: Differences) -> Estimate:
    """Return m_r = sum(|D| | D < -epsilon) / #{D < -epsilon}; denominator: the items that got worse. Sec. 3.2."""
    return _mean_of(differences, -differences.values, differences.worse, "no item got worse")


SMOOTH_METRICS: dict[str, Callable[[Differences], Estimate]] = {
    "accuracy_old": score_old,
    "accuracy_new": score_new,
    "accuracy_difference": score_difference,
    "negative_flip_rate": negative_flip_rate,
    "positive_flip_rate": positive_flip_rate,
    "mean_gain": mean_gain,
    "mean_regression": mean_regression,
}
"""The metrics that are made from a score, by their names in the report."""
