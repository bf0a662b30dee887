"""What the items prove about one limit: an estimate, its one-sided bounds, and how sure a breach is.

Two questions are kept apart (non-inferiority and harm): is the limit proven to hold (the upper bound is at most the
limit), and is it proven to be broken (a small p-value of "at most the limit")? Between them nothing is proven.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy import special

from muscle.flips.measuring.candidate_effect import CandidateEffect
from muscle.flips.measuring.metrics import ALL, NEGATIVE, NO_ANSWERS, POSITIVE, WRONG_CHANGED
from muscle.flips.measuring.tally import Spread, Tally
from muscle.flips.noise.repeats import FEW
from muscle.flips.statistics import intervals as statistics
from muscle.flips.statistics.clusters import clustered_test, effective_sample, fewest_clusters
from muscle.gate.policy import Metric


@dataclass(frozen=True)
class Evidence:
    """What is known of a quantity that has a limit.

    Attributes:
        value: the estimate; None where it is undefined.
        low: one-sided lower bound; None where there is none.
        high: one-sided upper bound.
        p_value: of "the quantity is at most the limit", one-sided; None where nothing can be tested.
        why: why something is None.
        unit: "share" of the items or of the old mean score, or "score": in the score's own unit.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    why: str | None = None
    unit: Literal["share", "score"] = "share"


def gather(metric: Metric, tally: Tally, *, limit: float, alpha: float) -> Evidence:
    """Return what a task's or a slice's items prove about a limit.

    Args:
        metric: what is limited; for `excess_negative_flip_rate` the tally is one of flips, see
            `muscle.flips.noise.floor`, for `accuracy_below_plain` that of the plain update against the candidate.
        tally: the items, at least one.
        limit: the limit, a share; not used for `harm`.
        alpha: level of each one-sided bound.
    """
    if metric == "harm":
        return _harm(tally, alpha)
    if metric == "negative_flip_rate":
        return _rate(tally, NEGATIVE, limit, alpha)
    if metric == "inconsistency_rate":
        if tally.kind == "continuous":
            return Evidence(None, why="a score has no right and wrong answers")
        if not tally.quadrants.answers_known:
            return Evidence(None, why=NO_ANSWERS)
        return _rate(tally, (*NEGATIVE, *WRONG_CHANGED), limit, alpha)
    return _drop(tally, limit, alpha)


def flips_above(effect: CandidateEffect) -> Evidence:
    """Return what is known of a candidate's negative flips against the plain update's, over all items."""
    if effect.n == 0:
        return Evidence(None, why="no item is scored in all three versions")
    value = (effect.negative_flips_alone - effect.negative_flips_avoided) / effect.n
    return Evidence(value, p_value=effect.more_negative_flips_p)


def _rate(tally: Tally, cells: tuple[int, ...], limit: float, alpha: float) -> Evidence:
    """A share of all items: exact bounds (Clopper and Pearson, 1934); of grouped items, at their effective number."""
    count, total = float(tally.quadrants.count(cells)), float(tally.total)
    value = count / total
    if tally.quadrants.clusters is not None:
        parts, wholes = tally.quadrants.by_cluster(cells), tally.quadrants.by_cluster(ALL)
        sample = effective_sample(parts, wholes, confidence=1 - 2 * alpha)
        count, total = sample.count, sample.total
    return Evidence(
        value,
        statistics.lower_bound(count, total, confidence=1 - alpha),
        statistics.upper_bound(count, total, confidence=1 - alpha),
        at_least(count, total, limit),
    )


def at_least(count: float, total: float, rate: float) -> float:
    """Return P(X >= count) for X binomial with a rate: how likely so many events are if the rate is no higher.

    >>> round(at_least(2, 10, 0.1), 4)
    0.2639
    """
    if count <= 0:
        return 1.0
    return float(special.betainc(count, total - count + 1, rate))


def _harm(tally: Tally, alpha: float) -> Evidence:
    """How likely so much harm is if the update did none: exact McNemar, sign flips of groups, or of a score's mean."""
    lost, gained = tally.quadrants.negative_flips, tally.quadrants.positive_flips
    if tally.kind == "continuous":
        if tally.spread is None or tally.spread.error is None:
            return Evidence(None, why="one item, or one group of items, cannot be tested")
        return Evidence(-tally.spread.mean, p_value=_above(tally.spread, 0.0), unit="score")
    if tally.quadrants.clusters is None:
        p_value = statistics.mcnemar(lost, gained).harm
    else:
        groups = tally.quadrants
        found, needed = tally.quadrants.clusters.shape[0], fewest_clusters(alpha)
        if found < needed:
            return Evidence(
                None, why=f"{found} groups of items can prove no harm, whatever they hold; it takes {needed}"
            )
        p_value = clustered_test(groups.by_cluster(NEGATIVE), groups.by_cluster(POSITIVE)).harm
    return Evidence((lost - gained) / tally.total, p_value=p_value)


def _above(spread: Spread, limit: float) -> float:
    """Return the one-sided p-value of "the fall is at most the limit" by Student's t."""
    fall, error = -spread.mean - limit, spread.error or 0.0
    if error == 0:
        return 0.0 if fall > 0 else 1.0
    return float(special.stdtr(spread.freedom, -fall / error))


def _drop(tally: Tally, limit: float, alpha: float) -> Evidence:
    """The fall of accuracy; of a score, of its mean as a share of the old mean."""
    units = _units(tally)
    few = units.lost + units.gained < FEW
    if tally.kind == "binary" and (tally.spread is None or few):
        lost, gained, total = units.lost, units.gained, units.total
        low, high = (units.reach * end for end in score_bounds(lost, gained, total, alpha=alpha))
        p_value = float(special.ndtr(-score_statistic(lost, gained, total, limit / units.reach)))
        value = (lost - gained) / total if tally.spread is None else -tally.spread.mean
        return Evidence(value, low, high, p_value)
    assert tally.spread is not None, "a score has one"
    spread, unit = tally.spread, 1.0
    if tally.kind == "continuous":
        unit = abs(tally.level_old)
        if unit == 0:
            return Evidence(None, why="the old mean score is 0, so that a fall has no share of it")
    value, bounds = -spread.mean / unit, spread.bounds(1 - 2 * alpha)
    if bounds is None:
        return Evidence(value, why="one item, or one group of items, has no interval")
    low, high = -bounds[1] / unit, -bounds[0] / unit
    if few:
        # Of the others no more than this share can have fallen, and each is taken to have lost as much as the mean.
        most = statistics.upper_bound(units.lost + units.gained, units.total, confidence=1 - alpha)
        low, high = min(low, -most), max(high, most)
    return Evidence(value, low, high, _above(spread, limit * unit))


@dataclass(frozen=True)
class _Units:
    """What is independent of each other: items, or their groups, by which way each moved on balance.

    Where few moved, their spread says nothing of the others. Then each counts as one that moved as far as it can, which
    Tango's interval holds its level for.

    Attributes:
        lost: that fell.
        gained: that rose.
        total: all.
        reach: most that one can move the whole, as a multiple of 1 / total: above 1 where groups differ in size.
    """

    lost: int
    gained: int
    total: int
    reach: float


def _units(tally: Tally) -> _Units:
    quadrants = tally.quadrants
    if quadrants.clusters is None:
        return _Units(quadrants.negative_flips, quadrants.positive_flips, tally.total, 1.0)
    net, sizes = quadrants.by_cluster(POSITIVE) - quadrants.by_cluster(NEGATIVE), quadrants.by_cluster(ALL)
    return _Units(int((net < 0).sum()), int((net > 0).sum()), net.size, float(sizes.max()) * net.size / tally.total)


def score_statistic(lost: int, gained: int, total: int, fall: float) -> float:
    """Return the score statistic of a fall of accuracy, standard normal if the fall is what it is.

    Tango, Statistics in Medicine 17 (1998) 891-908: with q the maximum-likelihood share of positive flips under the
    fall d, z = (b - c - n d) / sqrt(n (2 q + d (1 - d))). For d = 0 it is McNemar's statistic. It holds its level where
    Wald's doesn't: with few flips, and with none.

    Args:
        lost: b, negative flips.
        gained: c, positive flips.
        total: n, all items.
        fall: d, accuracy of old minus new, in (-1, 1).

    >>> round(score_statistic(20, 5, 100, 0.0), 6) == round(15 / 5, 6)
    True
    """
    b = -(lost + gained) + (2 * total - lost + gained) * fall
    c = -gained * fall * (1 - fall)
    q = (math.sqrt(max(b * b - 8 * total * c, 0.0)) - b) / (4 * total)
    variance = total * (2 * q + fall * (1 - fall))
    distance = lost - gained - total * fall
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def score_bounds(lost: int, gained: int, total: int, *, alpha: float) -> tuple[float, float]:
    """Return the one-sided lower and upper bounds of the fall of accuracy, by inverting `score_statistic`.

    Args:
        lost: negative flips.
        gained: positive flips.
        total: all items, above 0.
        alpha: level of each bound.
    """
    quantile = float(special.ndtri(1 - alpha))
    return _solve(lost, gained, total, quantile), _solve(lost, gained, total, -quantile)


def _solve(lost: int, gained: int, total: int, target: float) -> float:
    """Find the fall whose statistic is the target; the statistic falls as the fall rises."""
    low, high = -1.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if score_statistic(lost, gained, total, middle) > target:
            low = middle
        else:
            high = middle
    return (low + high) / 2
