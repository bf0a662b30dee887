"""Exact tests of two groups of answers to one item: Fisher's and Boschloo's, as tables over all outcomes.

Many items have as many answers as others, so that one table serves them all.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from muscle.flips.options import Test
from muscle.flips.statistics.arrays import Floats, Ints
from muscle.flips.statistics.counts import binomial_chances, hypergeometric_chances

TIE = 1e-7
"""Relative tolerance for equal probabilities, as R's fisher.test has it: sums of logarithms are not exact."""


@lru_cache(maxsize=64)
def fisher_table(num_old: int, num_new: int) -> Floats:
    """Return Fisher's two-sided p-value for every outcome of two groups of answers.

    The sum of the probabilities, given the margins, of all tables that are no likelier than the one seen.

    Args:
        num_old: answers of the old version, K_old.
        num_new: answers of the new version, K_new.

    Returns:
        (K_old + 1, K_new + 1), by right answers of old and of new.

    >>> float(fisher_table(50, 50)[50, 44].round(5))
    0.02666
    """
    table = np.ones((num_old + 1, num_new + 1))
    for right in range(num_old + num_new + 1):
        low, pmf = hypergeometric(num_old, num_new, right)
        order = np.argsort(pmf)
        ordered = pmf[order]
        # Where the probability ends of tables that are as likely as this one.
        last = np.searchsorted(ordered, ordered * (1 + TIE), side="right") - 1
        p_values = np.empty_like(pmf)
        p_values[order] = np.minimum(np.cumsum(ordered)[last], 1.0)
        old = np.arange(low, low + pmf.size)
        table[old, right - old] = p_values
    table.setflags(write=False)
    return table


def hypergeometric(num_old: int, num_new: int, right: int) -> tuple[int, Floats]:
    """Return how the right answers of an item fall to the old version when its answers are relabelled at random.

    Args:
        num_old: answers that become the old version's.
        num_new: the others.
        right: right ones among all of them.

    Returns:
        The least number of right answers of the old version, and the probabilities of that number and the next ones.
    """
    low, high = max(0, right - num_new), min(num_old, right)
    old = np.arange(low, high + 1)

    pmf = hypergeometric_chances(old, num_old, right, num_old + num_new)
    return low, pmf / pmf.sum()


@lru_cache(maxsize=16)
def boschloo_table(num_old: int, num_new: int, *, points: int = 400) -> Floats:
    """Return Boschloo's p-value for every outcome: Fisher's as a statistic, at the worst common pass rate.

    Boschloo, Statistica Neerlandica 24 (1970) 1-9: one-sided it is uniformly more powerful than Fisher's test.
    Two-sided as twice the smaller one-sided p-value. The worst rate is sought among `points` of them.

    Args:
        num_old: answers of the old version.
        num_new: answers of the new version.
        points: common pass rates that are tried.

    Returns:
        (K_old + 1, K_new + 1), by right answers of old and of new.
    """
    rates = (np.arange(points) + 0.5) / points
    weights = [binomial_chances(np.arange(num + 1), num, rates[:, None]) for num in (num_old, num_new)]
    less, greater = (
        _worst_rate(_one_sided_p(num_old, num_new, greater=greater), *weights) for greater in (False, True)
    )
    table: Floats = np.minimum(1.0, 2 * np.minimum(less, greater))
    table.setflags(write=False)
    return table


def _one_sided_p(num_old: int, num_new: int, *, greater: bool) -> Floats:
    """Return Fisher's one-sided p-values: of so few right answers of the old version, or of so many."""
    tails = np.ones((num_old + 1, num_new + 1))
    for right in range(num_old + num_new + 1):
        low, pmf = hypergeometric(num_old, num_new, right)
        old = np.arange(low, low + pmf.size)
        tails[old, right - old] = np.cumsum(pmf[::-1])[::-1] if greater else np.cumsum(pmf)
    return tails


def _worst_rate(statistic: Floats, weights_old: Floats, weights_new: Floats) -> Floats:
    """Return the largest probability, over common rates, of a statistic as small as each outcome's."""
    order = np.argsort(statistic, axis=None)
    ordered = statistic.ravel()[order]
    last = np.searchsorted(ordered, ordered * (1 + TIE), side="right") - 1
    worst = np.zeros(order.size)
    for old, new in zip(weights_old, weights_new, strict=True):
        np.maximum(worst, np.cumsum(np.outer(old, new).ravel()[order])[last], out=worst)
    found = np.empty_like(worst)
    found[order] = np.minimum(worst, 1.0)
    return found.reshape(statistic.shape)


def p_value_table(num_old: int, num_new: int, test: Test) -> Floats:
    """Return a test's two-sided p-value for every outcome, (K_old + 1, K_new + 1)."""
    return fisher_table(num_old, num_new) if test == "fisher" else boschloo_table(num_old, num_new)


def item_p_values(right_old: Ints, num_old: Ints, right_new: Ints, num_new: Ints, *, test: Test = "fisher") -> Floats:
    """Return each item's two-sided p-value of "both versions pass equally often".

    Args:
        right_old: (items,) right answers of the old version.
        num_old: (items,) its answers.
        right_new: (items,) right answers of the new version.
        num_new: (items,) its answers.
        test: "fisher", or "boschloo", which finds more with few answers.
    """
    p_values = np.ones(right_old.size)
    kinds, place = np.unique(np.stack([num_old, num_new]), axis=1, return_inverse=True)
    for number, (old, new) in enumerate(kinds.T):
        chosen = place.ravel() == number
        if old and new:
            p_values[chosen] = p_value_table(int(old), int(new), test)[right_old[chosen], right_new[chosen]]
    return p_values
