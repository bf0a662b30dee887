"""The metrics of an update: how often, and by how much, items got better and worse.

Counts come first and every rate is made from them. Each function names the definition it follows and its
denominator. Sections are those of MUSCLE (2024), arXiv 2407.09435.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from muscle.flips.statistics import clusters
from muscle.flips.statistics import intervals as statistics
from muscle.flips.statistics.arrays import Bools, Floats, Ints
from muscle.flips.statistics.intervals import Estimate

# An item's cell is 4 * (old right) + 2 * (new right) + (answer changed).
BOTH_WRONG, POSITIVE, NEGATIVE, BOTH_RIGHT = (0, 1), (2, 3), (4, 5), (6, 7)
ALL = (*BOTH_WRONG, *POSITIVE, *NEGATIVE, *BOTH_RIGHT)
OLD_RIGHT, NEW_RIGHT = (*NEGATIVE, *BOTH_RIGHT), (*POSITIVE, *BOTH_RIGHT)
NEW_WRONG = (*BOTH_WRONG, *NEGATIVE)
WRONG_SAME, WRONG_CHANGED, RIGHT_CHANGED = (0,), (1,), (7,)
CHANGED = (1, 3, 5, 7)
UNCHANGED_FLIPS = (2, 4)

NO_ANSWERS = "some items that are wrong or right in both have no answers to compare"


@dataclass(frozen=True)
class Quadrants:
    """The items of a task by what became of them: Fig. 2, each quadrant split by whether the answer changed.

    Attributes:
        cells: (8,) number of items in each cell.
        answers_known: whether a changed answer could be seen where correctness did not change.
        clusters: (clusters, 8) the same for each cluster of items; None where items are independent.
    """

    cells: Ints
    answers_known: bool
    clusters: Ints | None = None

    def count(self, cells: tuple[int, ...]) -> int:
        """Return the number of items in some of the cells."""
        return int(self.cells[list(cells)].sum())

    def by_cluster(self, cells: tuple[int, ...]) -> Floats:
        """Return the number of items in some of the cells in each cluster, (clusters,)."""
        if self.clusters is None:
            raise ValueError("these items are not grouped")
        numbers: Floats = self.clusters[:, list(cells)].sum(axis=1).astype(np.float64)
        return numbers

    @property
    def total(self) -> int:
        """All items: N."""
        return int(self.cells.sum())

    @property
    def both_right(self) -> int:
        """Right in both versions."""
        return self.count(BOTH_RIGHT)

    @property
    def negative_flips(self) -> int:
        """Right in the old version, wrong in the new: b."""
        return self.count(NEGATIVE)

    @property
    def positive_flips(self) -> int:
        """Wrong in the old version, right in the new: c."""
        return self.count(POSITIVE)

    @property
    def both_wrong(self) -> int:
        """Wrong in both versions."""
        return self.count(BOTH_WRONG)


def count_quadrants(
    old_correct: Bools,
    new_correct: Bools,
    *,
    changed: Bools | None = None,
    answers_known: bool = False,
    clusters: Ints | None = None,
) -> Quadrants:
    """Count the items in each quadrant.

    Args:
        old_correct: (items,) whether the old version is right.
        new_correct: (items,) whether the new version is right.
        changed: (items,) whether the answers differ; False where they cannot be compared.
        answers_known: whether the answers can be compared in all items that did not flip.
        clusters: (items,) number of the item's cluster, from 0; None where items are independent.

    >>> count_quadrants(np.array([True, True, False]), np.array([True, False, True])).negative_flips
    1
    """
    cells = 4 * old_correct.astype(np.int64) + 2 * new_correct
    if changed is not None:
        cells = cells + changed
    counts = np.bincount(cells, minlength=8)
    if clusters is None:
        return Quadrants(counts, answers_known)
    num_clusters = int(clusters.max()) + 1 if clusters.size else 0
    by_cluster = np.bincount(8 * clusters + cells, minlength=8 * num_clusters).reshape(num_clusters, 8)
    return Quadrants(counts, answers_known, by_cluster)


def _share(quadrants: Quadrants, part: tuple[int, ...], whole: tuple[int, ...], why: str) -> Estimate:
    """Return a share with its interval; undefined, for the reason given, over nothing."""
    count, total = quadrants.count(part), quadrants.count(whole)
    if total == 0:
        return Estimate.undefined(why)
    if quadrants.clusters is None:
        return Estimate.of(count / total, statistics.rate(count, total))
    return Estimate.of(count / total, clusters.clustered_rate(quadrants.by_cluster(part), quadrants.by_cluster(whole)))


_NO_ITEMS = "no item is scored in both versions"


def accuracy_old(quadrants: Quadrants) -> Estimate:
    """Return the share of all N items that the old version has right."""
    return _share(quadrants, OLD_RIGHT, ALL, _NO_ITEMS)


def accuracy_new(quadrants: Quadrants) -> Estimate:
    """Return the share of all N items that the new version has right."""
    return _share(quadrants, NEW_RIGHT, ALL, _NO_ITEMS)


def accuracy_difference(quadrants: Quadrants) -> Estimate:
    """Return accuracy_new - accuracy_old = PFR - NFR, over all N items; interval by Newcombe's paired method."""
    total = quadrants.total
    if total == 0:
        return Estimate.undefined(_NO_ITEMS)
    negative, positive = quadrants.negative_flips, quadrants.positive_flips
    if quadrants.clusters is not None:
        net = quadrants.by_cluster(POSITIVE) - quadrants.by_cluster(NEGATIVE)
        return clusters.clustered_mean(net, quadrants.by_cluster(ALL))
    interval = statistics.newcombe_paired(quadrants.both_right, negative, positive, quadrants.both_wrong)
    return Estimate.of((positive - negative) / total, interval)


def negative_flip_rate(quadrants: Quadrants) -> Estimate:
    """Return NFR = #{o = y, n != y} / N, over all N items: Sec. 3.1."""
    return _share(quadrants, NEGATIVE, ALL, _NO_ITEMS)


def negative_flip_rate_bounds(quadrants: Quadrants) -> tuple[float, float] | None:
    """Return the one-sided exact 95 % bounds of NFR, lower and upper; None without items.

    Non-inferiority is judged by the upper one: an update proves "NFR <= x" only where it is at most x.
    """
    if quadrants.total == 0:
        return None
    count, total = float(quadrants.negative_flips), float(quadrants.total)
    if quadrants.clusters is not None:
        sample = clusters.effective_sample(quadrants.by_cluster(NEGATIVE), quadrants.by_cluster(ALL))
        count, total = sample.count, sample.total
    return statistics.lower_bound(count, total), statistics.upper_bound(count, total)


def positive_flip_rate(quadrants: Quadrants) -> Estimate:
    """Return PFR = #{o != y, n = y} / N, over all N items: Sec. 3.1."""
    return _share(quadrants, POSITIVE, ALL, _NO_ITEMS)


def inconsistency_rate(quadrants: Quadrants) -> Estimate:
    """Return NFR_mc = #{n != y, o != n} / N, over all N items: Sec. 3.1.

    Negative flips, and one wrong answer gone over into another: another option of a choice, another text.
    """
    if not quadrants.answers_known:
        return Estimate.undefined(NO_ANSWERS)
    return _share(quadrants, (*NEGATIVE, *WRONG_CHANGED), ALL, _NO_ITEMS)


def backward_trust_compatibility(quadrants: Quadrants) -> Estimate:
    """Return BTC, of the items that the old version has right the share that the new one has right.

    Srivastava et al., KDD 2020; 1 - NFR / accuracy_old. Denominator: items that the old version has right.
    """
    return _share(quadrants, BOTH_RIGHT, OLD_RIGHT, "the old version has no item right")


def backward_error_compatibility(quadrants: Quadrants) -> Estimate:
    """Return BEC, of the new version's errors the share that the old one made too.

    Srivastava et al., KDD 2020. Denominator: items that the new version has wrong.
    """
    return _share(quadrants, BOTH_WRONG, NEW_WRONG, "the new version has no item wrong")


def relative_negative_flip_rate(quadrants: Quadrants) -> Estimate:
    """Return NFR / ((1 - accuracy_new) accuracy_old): 1 where errors fall on any item alike.

    Yan et al., CVPR 2021. Numerator and denominator are rates over all N items.
    """
    old_right, new_wrong = quadrants.count(OLD_RIGHT), quadrants.count(NEW_WRONG)
    if old_right == 0 or new_wrong == 0:
        return Estimate.undefined("the old version has no item right, or the new one none wrong")
    negative = quadrants.negative_flips
    value = negative * quadrants.total / (old_right * new_wrong)
    if quadrants.clusters is not None:
        return Estimate(value, why="no interval for clustered items")
    cells = (quadrants.both_right, negative, quadrants.positive_flips, quadrants.both_wrong)
    return Estimate.of(value, statistics.relative_rate(*cells))


def churn(quadrants: Quadrants) -> Estimate:
    """Return the share of all N items whose answer changed, rightly or wrongly. Milani Fard et al., NeurIPS 2016."""
    if not quadrants.answers_known:
        return Estimate.undefined(NO_ANSWERS)
    return _share(quadrants, CHANGED, ALL, _NO_ITEMS)


BINARY_METRICS: dict[str, Callable[[Quadrants], Estimate]] = {
    "accuracy_old": accuracy_old,
    "accuracy_new": accuracy_new,
    "accuracy_difference": accuracy_difference,
    "negative_flip_rate": negative_flip_rate,
    "positive_flip_rate": positive_flip_rate,
    "inconsistency_rate": inconsistency_rate,
    "backward_trust_compatibility": backward_trust_compatibility,
    "backward_error_compatibility": backward_error_compatibility,
    "relative_negative_flip_rate": relative_negative_flip_rate,
    "churn": churn,
}
"""The metrics that are made from correctness, by their names in the report."""
