"""Verdicts item by item, where both versions answered every item several times.

Xu and Wu 2026, arXiv 2608.17719: Fisher's exact test on an item's right and wrong answers, the false discovery rate of a task held
by Benjamini and Hochberg, and a change of the pass rate that matters in practice. Where the interval of the change lies
within that threshold the item is equivalent; of the rest nothing can be told.

The null relabels the answers within each item and reruns the whole procedure. Only counts are drawn: items with the
same number of answers and of right ones are exchangeable, so that their relabelled counts are one multinomial draw from the
hypergeometric distribution, and a replicate costs the number of different counts, not of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from muscle.flips.metrics import Bools, Ints
from muscle.flips.statistics import CONFIDENCE, Floats, z_value

EPSILON_ITEM = 0.2
"""Least change of an item's pass rate that counts."""

FALSE_DISCOVERY_RATE = 0.05
REPLICATES = 1_000

Test = Literal["fisher", "boschloo"]

VERDICTS = ("regressed", "improved", "equivalent", "cannot_tell")
REGRESSED, IMPROVED, EQUIVALENT, CANNOT_TELL = range(4)

_ROUNDING = 1e-9
_TIE = 1e-7
"""Relative tolerance for equal probabilities, as R's fisher.test has it: sums of logarithms are not exact."""
_CHUNK = 4_000_000
"""Numbers that a chunk of replicates may hold, so that the null needs tens of megabytes at most."""


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
        last = np.searchsorted(ordered, ordered * (1 + _TIE), side="right") - 1
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

    def log_choose(total: int, chosen: Ints | int) -> Floats:
        logs: Floats = (
            special.gammaln(total + 1)
            - special.gammaln(np.add(chosen, 1))
            - special.gammaln(total - np.asarray(chosen) + 1)
        )
        return logs

    logs = log_choose(num_old, old) + log_choose(num_new, right - old) - log_choose(num_old + num_new, right)
    pmf = np.exp(logs)
    return low, pmf / pmf.sum()


@lru_cache(maxsize=16)
def boschloo_table(num_old: int, num_new: int, *, points: int = 400) -> Floats:
    """Return Boschloo's p-value for every outcome: Fisher's as a statistic, at the worst common pass rate.

    Boschloo, Statistica Neerlandica 24 (1970) 1-9: one-sided it is uniformly more powerful than Fisher's test. Two-sided as twice the smaller
    one-sided p-value. The worst rate is sought among `points` of them.

    Args:
        num_old: answers of the old version.
        num_new: answers of the new version.
        points: common pass rates that are tried.

    Returns:
        (K_old + 1, K_new + 1), by right answers of old and of new.
    """
    rates = (np.arange(points) + 0.5) / points
    weights = _binomial(num_old, rates), _binomial(num_new, rates)
    less, greater = (
        _worst_rate(_one_sided(num_old, num_new, greater=greater), *weights) for greater in (False, True)
    )
    table: Floats = np.minimum(1.0, 2 * np.minimum(less, greater))
    table.setflags(write=False)
    return table


def _one_sided(num_old: int, num_new: int, *, greater: bool) -> Floats:
    """Return Fisher's one-sided p-values: of so few right answers of the old version, or of so many."""
    tails = np.ones((num_old + 1, num_new + 1))
    for right in range(num_old + num_new + 1):
        low, pmf = hypergeometric(num_old, num_new, right)
        old = np.arange(low, low + pmf.size)
        tails[old, right - old] = np.cumsum(pmf[::-1])[::-1] if greater else np.cumsum(pmf)
    return tails


def _binomial(num: int, rates: Floats) -> Floats:
    """Return the binomial probabilities, (rates, num + 1)."""
    counts = np.arange(num + 1)
    chosen = special.gammaln(num + 1) - special.gammaln(counts + 1) - special.gammaln(num - counts + 1)
    logs = chosen + np.log(rates)[:, None] * counts + np.log1p(-rates)[:, None] * (num - counts)
    probabilities: Floats = np.exp(logs)
    return probabilities


def _worst_rate(statistic: Floats, weights_old: Floats, weights_new: Floats) -> Floats:
    """Return the largest probability, over common rates, of a statistic as small as each outcome's."""
    order = np.argsort(statistic, axis=None)
    ordered = statistic.ravel()[order]
    last = np.searchsorted(ordered, ordered * (1 + _TIE), side="right") - 1
    worst = np.zeros(order.size)
    for old, new in zip(weights_old, weights_new, strict=True):
        np.maximum(worst, np.cumsum(np.outer(old, new).ravel()[order])[last], out=worst)
    found = np.empty_like(worst)
    found[order] = np.minimum(worst, 1.0)
    return found.reshape(statistic.shape)


def item_p_values(
    right_old: Ints, num_old: Ints, right_new: Ints, num_new: Ints, *, test: Test = "fisher"
) -> Floats:
    """Return each item's two-sided p-value of "both versions pass equally often".

    Args:
        right_old: (items,) right answers of the old version.
        num_old: (items,) its answers.
        right_new: (items,) right answers of the new version.
        num_new: (items,) its answers.
        test: "fisher", or "boschloo", which finds more with few answers.
    """
    table = fisher_table if test == "fisher" else boschloo_table
    p_values = np.ones(right_old.size)
    kinds, place = np.unique(np.stack([num_old, num_new]), axis=1, return_inverse=True)
    for number, (old, new) in enumerate(kinds.T):
        chosen = place.ravel() == number
        if old and new:
            p_values[chosen] = table(int(old), int(new))[right_old[chosen], right_new[chosen]]
    return p_values


def newcombe(right_old: Ints, num_old: Ints, right_new: Ints, num_new: Ints) -> tuple[Floats, Floats]:
    """Return the 95 % interval of new minus old pass rate for each item.

    Newcombe, Statistics in Medicine 17 (1998) 873-890, method 10: the two Wilson intervals, squared and added.

    Returns:
        Lower and upper ends, (items,) each.

    >>> low, high = newcombe(np.array([56]), np.array([70]), np.array([48]), np.array([80]))
    >>> round(float(low[0]), 4), round(float(high[0]), 4)  # his example: 0.0524 to 0.3339 for old minus new
    (-0.3339, -0.0524)
    """
    ends = []
    z = z_value(CONFIDENCE)
    for right, num in ((right_old, num_old), (right_new, num_new)):
        rate = right / num
        centre = (rate + z * z / (2 * num)) / (1 + z * z / num)
        half = z / (1 + z * z / num) * np.sqrt(rate * (1 - rate) / num + z * z / (4 * num * num))
        ends.append((rate, centre - half, centre + half))
    (old, old_low, old_high), (new, new_low, new_high) = ends
    down, up = np.hypot(new - new_low, old_high - old), np.hypot(new_high - new, old - old_low)
    return new - old - down, new - old + up


def discoveries(
    p_values: Floats, families: Ints | None = None, *, rate: float = FALSE_DISCOVERY_RATE
) -> Bools:
    """Return which tests are discoveries at a false discovery rate, in each family by itself.

    Benjamini and Hochberg, JRSS B 57 (1995) 289-300.

    Args:
        p_values: (tests,).
        families: (tests,) which family each test is in, from 0; None for one family.
        rate: the false discovery rate.
    """
    found = np.zeros(p_values.size, dtype=np.bool_)
    if families is None:
        families = np.zeros(p_values.size, dtype=np.int64)
    for family in range(int(families.max(initial=-1)) + 1):
        members = np.flatnonzero(families == family)
        ordered = np.sort(p_values[members])
        passed = np.flatnonzero(ordered <= rate * np.arange(1, members.size + 1) / max(members.size, 1))
        if passed.size:
            found[members] = p_values[members] <= ordered[passed[-1]]
    return found


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


def classify(
    significant: Bools, change: Floats, low: Floats, high: Floats, epsilon: float
) -> NDArray[np.int8]:
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
    large = significant & (np.abs(change) >= epsilon - _ROUNDING)
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
    low, high = newcombe(right_old, num_old, right_new, num_new)
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

    Welch's t-test (Biometrika 34 (1947) 28-35) of two groups of answers. A p-value is never below 2 / C(K_old + K_new, K_old),
    the least that relabelling the answers could give: two answers a side that happen to be equal prove nothing.

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


@dataclass(frozen=True)
class Null:
    """What the procedure calls changed where no item changed.

    Attributes:
        shares: (replicates,) share of the items called regressed or improved, sorted.
    """

    shares: Floats

    @property
    def null95(self) -> float:
        """The 95th percentile of the share."""
        return float(np.quantile(self.shares, 0.95, method="higher"))

    def p_value(self, share: float) -> float:
        """Return how likely a share as large as the one seen is where no item changed."""
        reached = int((self.shares >= share - _ROUNDING).sum())
        return (1 + reached) / (1 + self.shares.size)


@dataclass(frozen=True)
class _Cells:
    """The outcomes that relabelling can bring about: a group of exchangeable items a row, padded to one width."""

    sizes: Ints
    pmf: Floats
    p_values: Floats
    large: Bools


def _cells(right: Ints, num_old: Ints, num_new: Ints, *, epsilon: float, test: Test) -> _Cells:
    table = fisher_table if test == "fisher" else boschloo_table
    kinds, sizes = np.unique(np.stack([num_old, num_new, right]), axis=1, return_counts=True)
    width = int(np.minimum(kinds[0], kinds[1]).max(initial=0)) + 1
    pmf, p_values = np.zeros((sizes.size, width)), np.ones((sizes.size, width))
    large = np.zeros((sizes.size, width), dtype=np.bool_)
    for row, (old, new, both) in enumerate(kinds.T):
        low, probabilities = hypergeometric(int(old), int(new), int(both))
        seen = np.arange(low, low + probabilities.size)
        pmf[row, : seen.size] = probabilities
        p_values[row, : seen.size] = table(int(old), int(new))[seen, both - seen]
        large[row, : seen.size] = np.abs((both - seen) / new - seen / old) >= epsilon - _ROUNDING
    return _Cells(sizes, pmf, p_values, large)


def _null_counts(cells: _Cells, rate: float, replicates: int, generator: np.random.Generator) -> Ints:
    """Return how many items of one family each replicate calls changed."""
    order = np.argsort(cells.p_values, axis=None, kind="stable")
    p_values, large = cells.p_values.ravel()[order], cells.large.ravel()[order]
    # Of equal p-values the last one's place is what Benjamini and Hochberg count.
    is_last = np.append(p_values[1:] != p_values[:-1], True)
    total = int(cells.sizes.sum())
    counts = []
    chunk = max(1, _CHUNK // max(order.size, 1))
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        drawn = generator.multinomial(cells.sizes, cells.pmf, size=(size, cells.sizes.size))
        drawn = drawn.reshape(size, -1)[:, order]
        ranks = np.cumsum(drawn, axis=1)
        passed = is_last & (ranks > 0) & (p_values <= rate * ranks / total)
        threshold = np.where(
            passed.any(axis=1), p_values[order.size - 1 - np.argmax(passed[:, ::-1], axis=1)], -1.0
        )
        changed = large & (p_values <= threshold[:, None])
        counts.append((drawn * changed).sum(axis=1))
    return np.concatenate(counts)


def permutation_null(
    right: Ints,
    num_old: Ints,
    num_new: Ints,
    *,
    epsilon: float = EPSILON_ITEM,
    rate: float = FALSE_DISCOVERY_RATE,
    families: Ints | None = None,
    test: Test = "fisher",
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Null:
    """Rerun the procedure on answers whose version labels are drawn anew within each item.

    Args:
        right: (items,) right answers of both versions together.
        num_old: (items,) answers of the old version.
        num_new: (items,) answers of the new version.
        epsilon: least change of the pass rate that counts.
        rate: false discovery rate.
        families: (items,) the family, from 0, that the rate holds in.
        test: "fisher" or "boschloo".
        replicates: how often the labels are drawn, B.
        seed: of the drawing.

    Returns:
        The shares of all items that the replicates call changed.
    """
    generator = np.random.default_rng(seed)
    members: Sequence[Bools] = [np.ones(right.size, dtype=np.bool_)]
    if families is not None:
        members = [families == family for family in range(int(families.max(initial=-1)) + 1)]
    changed = np.zeros(replicates, dtype=np.int64)
    for chosen in members:
        if chosen.any():
            cells = _cells(right[chosen], num_old[chosen], num_new[chosen], epsilon=epsilon, test=test)
            changed += _null_counts(cells, rate, replicates, generator)
    return Null(np.sort(changed / max(right.size, 1)))
