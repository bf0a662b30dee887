"""How many items and repeats it takes to see a difference, and what a budget shows.

An item's difference varies for two reasons (Wang 2025, arXiv 2512.21326): items differ, and answers to one item do. Of
N items with K answers a side the mean difference has the standard error sqrt((items + answers / K) / N). Repeats lower
the second part only, so their best number is K* = sqrt(answers / items * cost of an item / cost of an answer), the
classical result for sampling in two stages (Cochran, Sampling Techniques, 1977, ch. 10).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from muscle.flips.options import EPSILON_ITEM
from muscle.flips.statistics.arrays import Floats, Ints
from muscle.flips.statistics.counts import binomial_chances
from muscle.flips.statistics.exact_tests import fisher_table
from muscle.flips.statistics.multiplicity import FALSE_DISCOVERY_RATE
from muscle.flips.statistics.power import ALPHA, POWER

MAX_REPEATS = 400
_EXACT_ITEMS = 200_000
"""Beyond it the exact test's steps are finer than a hundredth of a point of power."""


@dataclass(frozen=True)
class Variances:
    """What the difference of one item varies by, with one answer a side.

    Attributes:
        items: between items.
        answers: between answers to one item, both sides together.
    """

    items: float
    answers: float

    @property
    def total(self) -> float:
        """Of one answer a side; for right and wrong the share of disagreements less the squared difference."""
        return self.items + self.answers

    def of(self, repeats: float) -> float:
        """Return the variance of an item's difference with so many answers a side."""
        return self.items + self.answers / repeats


def _z(alpha: float) -> float:
    return -float(special.ndtri(alpha / 2))


def mcnemar_power(items: int, disagreement: float, difference: float, *, alpha: float = ALPHA) -> float:
    """Return the power of the exact two-sided McNemar test on items that are asked once.

    Over the number of items that flip, which is binomial, and over how many of them flip the wrong way.

    Args:
        items: N.
        disagreement: share of the items that flip either way, at least the difference.
        difference: of accuracy, in [0, disagreement].
        alpha: level of the test.
    """
    spread = 8 * math.sqrt(items * disagreement * (1 - disagreement)) + 8
    centre = items * disagreement
    flips = np.arange(max(0, int(centre - spread)), min(items, int(centre + spread)) + 1)
    weights = binomial_chances(flips, items, disagreement)
    critical = _critical(flips, alpha)
    share = 0.5 + difference / (2 * disagreement)
    testable = critical >= 0
    low = np.where(testable, _cdf(critical, flips, share), 0.0)
    high = np.where(testable, 1 - _cdf(flips - critical - 1, flips, share), 0.0)
    return float((weights * (low + high)).sum())


def _cdf(count: Ints, total: Ints, rate: float) -> Floats:
    """Return P(X <= count) of a binomial; 0 below 0."""
    inside = (count >= 0) & (count < total)
    values = special.betainc(np.where(inside, total - count, 1), np.where(inside, count + 1, 1), 1 - rate)
    found: Floats = np.where(count < 0, 0.0, np.where(count >= total, 1.0, values))
    return found


def _critical(flips: Ints, alpha: float) -> Ints:
    """Return the largest count whose tail at rate 1/2 is at most alpha / 2; -1 where there is none."""
    found: Ints = np.floor(flips / 2 - _z(alpha) * np.sqrt(flips) / 2).astype(np.int64) + 2
    # The normal quantile is a few counts off at most: start above it and step down to the exact tail.
    for _ in range(8):
        found = np.where((found >= 0) & (_cdf(found, flips, 0.5) > alpha / 2), found - 1, found)
    return np.maximum(found, -1)


def power_of(variances: Variances, difference: float, items: int, repeats: int = 1, *, alpha: float = ALPHA) -> float:
    """Return the power to find a difference of accuracy with the two-sided test that `muscle compare` makes.

    Exact for items asked once (McNemar), by the normal approximation of the test over items for more.

    Args:
        variances: of an item's difference.
        difference: of accuracy, above 0.
        items: N.
        repeats: K, on each side.
        alpha: level of the test.
    """
    variance = variances.of(repeats)
    disagreement = variance + difference**2
    if repeats == 1 and items <= _EXACT_ITEMS and difference <= disagreement <= 1:
        return mcnemar_power(items, disagreement, difference, alpha=alpha)
    # The test divides by the second moment of the items' differences, not by their variance.
    reach = difference * math.sqrt(items) - _z(alpha) * math.sqrt(disagreement)
    return float(special.ndtr(reach / math.sqrt(max(variance, 1e-12))))


def items_needed(
    variances: Variances, difference: float, repeats: int = 1, *, alpha: float = ALPHA, power: float = POWER
) -> int:
    """Return how many items find a difference with the power given.

    Args:
        variances: of an item's difference.
        difference: of accuracy, in (0, 1].
        repeats: K, answers an item and side.
        alpha: two-sided level.
        power: probability of finding it.
    """
    if not 0 < difference <= 1:
        raise ValueError(f"the difference must lie in (0, 1], found {difference}")
    variance = variances.of(repeats)
    reach = _z(alpha) * math.sqrt(variance + difference**2) + float(special.ndtri(power)) * math.sqrt(variance)
    items = max(2, math.ceil((reach / difference) ** 2))
    step = max(1, items // 100)
    while power_of(variances, difference, items, repeats, alpha=alpha) < power:
        items += step
    return items


def detectable(
    variances: Variances, items: int, repeats: int = 1, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Return the smallest difference that so many items and repeats find with the power given.

    Args:
        variances: of an item's difference.
        items: n.
        repeats: K, answers an item and side.
        alpha: two-sided level.
        power: probability of finding it.

    Returns:
        The difference of accuracy, in (0, 1], to nine digits; 1 where none is found.
    """
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        enough = power_of(variances, middle, items, repeats, alpha=alpha) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def best_repeats(variances: Variances, *, item_cost: float, answer_cost: float) -> int:
    """Return the number of repeats that costs least for a given precision.

    Args:
        variances: of an item's difference.
        item_cost: of one more item, whatever it is asked.
        answer_cost: of one more answer on each side.
    """
    if variances.items <= 0:
        return MAX_REPEATS
    exact = math.sqrt(variances.answers / variances.items * item_cost / answer_cost)
    near = {max(1, math.floor(exact)), max(1, math.ceil(exact))}
    return min(near, key=lambda k: (variances.of(k) * (item_cost + k * answer_cost), k), default=1)


def minimum_repeats(items: int) -> int:
    """Return the least K at which one item that flips fully survives Benjamini and Hochberg among items that do not.

    >>> [minimum_repeats(items) for items in (100, 300, 500, 1000, 10_000)]
    [8, 8, 9, 9, 11]
    """
    # 2 / C(2k, k) is Fisher's p-value of k right answers against none, the least there is.
    return next(k for k in range(2, MAX_REPEATS) if 2 / math.comb(2 * k, k) <= FALSE_DISCOVERY_RATE / items)


def item_power(old: float, new: float, repeats: int, threshold: float) -> float:
    """Return how likely an item whose pass rate changes, by `EPSILON_ITEM` or more, is called changed.

    Args:
        old: its pass rate in the old version.
        new: in the new version.
        repeats: K, on each side.
        threshold: p-value up to which it is a discovery.
    """
    counts = np.arange(repeats + 1)
    joint = np.outer(binomial_chances(counts, repeats, old), binomial_chances(counts, repeats, new))
    change = np.abs(counts[:, None] - counts[None, :]) / repeats
    return float(joint[(fisher_table(repeats, repeats) <= threshold) & (change >= EPSILON_ITEM - 1e-9)].sum())


def repeats_for_change(old: float, new: float, *, changed: float, power: float = POWER) -> int | None:
    """Return the repeats at which an item whose pass rate changes so much is called changed with the power given.

    Of N items the share `changed` really change, so that Benjamini and Hochberg's threshold settles at about
    `FALSE_DISCOVERY_RATE` * changed * power.

    Args:
        old: its pass rate in the old version.
        new: in the new version.
        changed: share of the items that change, above 0.
        power: probability of calling it changed.

    Returns:
        K, at most 200; None where that is not enough.
    """
    for repeats in (*range(2, 30), *range(30, 60, 2), *range(60, 201, 5)):
        if item_power(old, new, repeats, FALSE_DISCOVERY_RATE * changed * power) >= power:
            return int(repeats)
    return None
