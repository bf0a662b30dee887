"""Verdicts item by item, where both versions answered every item several times.

Xu and Wu 2026, arXiv 2608.17719: Fisher's exact test on an item's right and wrong answers, the false discovery rate
of a task held by Benjamini and Hochberg, and a change of the pass rate that matters in practice. Where the interval
of the change lies within that threshold the item is equivalent; of the rest nothing can be told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from muscle.flips.options import EPSILON_ITEM, Test
from muscle.flips.statistics.arrays import Bools, Floats, Ints
from muscle.flips.statistics.exact_tests import item_p_values
from muscle.flips.statistics.intervals import CONFIDENCE, newcombe_of_items
from muscle.flips.statistics.multiplicity import FALSE_DISCOVERY_RATE, discoveries

VERDICTS = ("regressed", "improved", "equivalent", "cannot_tell")
REGRESSED, IMPROVED, EQUIVALENT, CANNOT_TELL = range(4)

_ROUNDING = 1e-9


@dataclass(frozen=True)
class ItemVerdicts:
    """The verdict on each item of a task.

    Attributes:
        codes: (items,) places in `VERDICTS`.
        p_values: (items,) Fisher's or Boschloo's, not adjusted.
        change: (items,) new minus old pass rate, or mean score.
    """

    codes: NDArray[np.int8]
    p_values: Floats
    change: Floats

    def count(self, code: int) -> int:
        """Return how many items have a verdict."""
        return int((self.codes == code).sum())


@dataclass(frozen=True)
class Moments:
    """The scores of one version, item by item.

    Attributes:
        num: (items,) answers.
        mean: (items,) of their scores.
        variance: (items,) of one answer's score, unbiased; not used of a single answer.
    """

    num: Ints
    mean: Floats
    variance: Floats


def is_large(change: Floats, epsilon: float) -> Bools:
    """Tell which changes count; one that is the threshold but for rounding does."""
    large: Bools = np.abs(change) >= epsilon - _ROUNDING
    return large


def classify(significant: Bools, change: Floats, low: Floats, high: Floats, epsilon: float) -> NDArray[np.int8]:
    """Return the items' verdicts from the test, the change and its interval.

    Args:
        significant: (items,) whether the change is a discovery.
        change: (items,) new minus old.
        low: (items,) lower end of its interval; NaN where there is none.
        high: (items,) upper end.
        epsilon: least change that counts; 0 calls nothing equivalent.
    """
    codes = np.full(change.size, CANNOT_TELL, dtype=np.int8)
    codes[(low > -epsilon) & (high < epsilon)] = EQUIVALENT
    large = significant & is_large(change, epsilon)
    codes[large & (change < 0)] = REGRESSED
    codes[large & (change > 0)] = IMPROVED
    return codes


def item_verdicts(
    right_old: Ints,
    num_old: Ints,
    right_new: Ints,
    num_new: Ints,
    *,
    epsilon: float = EPSILON_ITEM,
    rate: float = FALSE_DISCOVERY_RATE,
    families: Ints | None = None,
    test: Test = "fisher",
) -> ItemVerdicts:
    """Judge each item by its answers.

    Args:
        right_old: (items,) right answers of the old version.
        num_old: (items,) its answers, at least 1.
        right_new: (items,) right answers of the new version.
        num_new: (items,) its answers, at least 1.
        epsilon: least change of the pass rate that counts.
        rate: false discovery rate.
        families: (items,) the family, from 0, that the rate holds in; None for the whole task.
        test: "fisher" or "boschloo".

    >>> right = np.array([10, 10, 0, 5])
    >>> ten = np.full(4, 10)
    >>> [VERDICTS[code] for code in item_verdicts(right, ten, np.array([0, 10, 10, 6]), ten).codes]
    ['regressed', 'cannot_tell', 'improved', 'cannot_tell']
    """
    p_values = item_p_values(right_old, num_old, right_new, num_new, test=test)
    low, high = newcombe_of_items(right_old, num_old, right_new, num_new)
    change = right_new / num_new - right_old / num_old
    significant = discoveries(p_values, families, rate=rate)
    return ItemVerdicts(classify(significant, change, low, high, epsilon), p_values, change)


def welch_verdicts(
    old: Moments,
    new: Moments,
    *,
    epsilon: float,
    rate: float = FALSE_DISCOVERY_RATE,
    families: Ints | None = None,
) -> ItemVerdicts:
    """Judge each item by the scores of its answers.

    Welch's t-test (Biometrika 34 (1947) 28-35) of two groups of answers. A p-value is never below 2 / C(K_old +
    K_new, K_old), the least that relabelling the answers could give: two answers a side that happen to be equal prove
    nothing.

    Args:
        old: the old version's scores.
        new: the new version's.
        epsilon: least change that counts, in the score's unit; at 0 nothing is called equivalent.
        rate: false discovery rate.
        families: (items,) the family, from 0, that the rate holds in.
    """
    change = new.mean - old.mean
    testable = (old.num > 1) & (new.num > 1)
    parts = [np.where(testable, side.variance, 0.0) / side.num for side in (old, new)]
    error = np.sqrt(parts[0] + parts[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = (parts[0] + parts[1]) ** 2 / (
            parts[0] ** 2 / np.maximum(old.num - 1, 1) + parts[1] ** 2 / np.maximum(new.num - 1, 1)
        )
        freedom = np.where(error > 0, freedom, 1.0)
        statistic = np.where(error > 0, np.abs(change) / error, np.where(change == 0, 0.0, np.inf))
    p_values = 2 * special.stdtr(freedom, -statistic)
    both = old.num + new.num
    labellings = special.gammaln(both + 1) - special.gammaln(old.num + 1) - special.gammaln(new.num + 1)
    p_values = np.where(testable, np.maximum(p_values, np.minimum(1.0, 2 * np.exp(-labellings))), 1.0)
    reach = special.stdtrit(freedom, 0.5 + CONFIDENCE / 2) * error
    known = testable & (error > 0)
    low, high = (np.where(known, change + sign * reach, np.nan) for sign in (-1, 1))
    codes = classify(discoveries(p_values, families, rate=rate), change, low, high, epsilon)
    return ItemVerdicts(codes, p_values, change)
