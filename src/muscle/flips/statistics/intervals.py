"""Intervals and tests for the flips between two versions, each with its reference.

Binary results are reduced to counts first, so that every interval costs the same for a hundred items as for
ten million. Only `scipy.special` is used: importing `scipy.stats` takes most of a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from scipy import special

from muscle.flips.statistics.arrays import Floats, Ints
from muscle.flips.statistics.counts import log_choose
from muscle.typed_json import OPTIONAL_KEY

Numbers = TypeVar("Numbers", float, Floats)

CONFIDENCE = 0.95
TINY_COUNT = 5
"""Below this count, on either side, a rate's interval is Clopper-Pearson's: Wilson's covers too seldom there."""


@dataclass(frozen=True)
class Interval:
    """Two ends of a confidence interval, in the unit of the estimate."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval, or the reason why there is none.

    Attributes:
        value: None where the quantity is undefined.
        low: lower end, None where undefined.
        high: upper end, None where undefined.
        why: why the value, or only its interval, is undefined; else None.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str | None = field(default=None, metadata=OPTIONAL_KEY)

    @classmethod
    def undefined(cls, why: str) -> Estimate:
        """Return an estimate without a value, for the reason given."""
        return cls(None, why=why)

    @classmethod
    def of(cls, value: float, interval: Interval) -> Estimate:
        """Return a value with its interval."""
        return cls(value, interval.low, interval.high)


def z_value(confidence: float) -> float:
    """Return the standard normal quantile of a two-sided level."""
    return float(special.ndtri(0.5 + confidence / 2))


def t_value(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Return the quantile of a two-sided level of Student's t with so many degrees of freedom."""
    return float(special.stdtrit(freedom, 0.5 + confidence / 2))


def wilson(count: float, total: float) -> Interval:
    """Return the score interval of a rate.

    Wilson, JASA 22 (1927) 209-212.

    Args:
        count: successes, from 0 to total.
        total: trials, at least 1: the denominator of the rate.

    >>> wilson(81, 263)  # Newcombe 1998: 0.2553 to 0.3662
    Interval(low=0.255..., high=0.366...)
    """
    _check_count(count, total)
    centre, half = _wilson(count / total, total)
    # Rounding must not move the ends off 0 and 1, which they equal at the borders.
    return Interval(0.0 if count == 0 else centre - half, 1.0 if count == total else centre + half)


def _wilson(rate: Numbers, total: Numbers) -> tuple[Numbers, Numbers]:
    """Return centre and half width of Wilson's interval, of a number or elementwise."""
    z = z_value(CONFIDENCE)
    shrunk = 1 + z * z / total
    spread = rate * (1 - rate) / total + z * z / (4 * total * total)
    return (rate + z * z / (2 * total)) / shrunk, z / shrunk * spread**0.5


def newcombe_independent(count: float, total: float, other_count: float, other_total: float) -> Interval:
    """Return the interval of a difference of two independent rates, other minus first.

    Newcombe, Statistics in Medicine 17 (1998) 873-890, method 10: the two Wilson intervals, squared and added.

    Args:
        count: successes of the first.
        total: its trials, at least 1.
        other_count: successes of the other.
        other_total: its trials, at least 1.

    >>> newcombe_independent(56, 70, 48, 80)  # his example: 0.0524 to 0.3339 for first minus other
    Interval(low=-0.333..., high=-0.052...)
    """
    rate, other = count / total, other_count / other_total
    one, two = wilson(count, total), wilson(other_count, other_total)
    difference = other - rate
    return Interval(
        difference - math.hypot(other - two.low, one.high - rate),
        difference + math.hypot(two.high - other, rate - one.low),
    )


def newcombe_of_items(right_old: Ints, num_old: Ints, right_new: Ints, num_new: Ints) -> tuple[Floats, Floats]:
    """Return the 95 % interval of new minus old pass rate for each item: `newcombe_independent`, elementwise.

    Args:
        right_old: (items,) right answers of the old version.
        num_old: (items,) its answers, at least 1.
        right_new: (items,) right answers of the new version.
        num_new: (items,) its answers, at least 1.

    Returns:
        Lower and upper ends, (items,) each.
    """
    old, new = right_old / num_old, right_new / num_new
    (old_centre, old_half), (new_centre, new_half) = (
        _wilson(rate, num.astype(np.float64)) for rate, num in ((old, num_old), (new, num_new))
    )
    down = np.hypot(new - (new_centre - new_half), old_centre + old_half - old)
    up = np.hypot(new_centre + new_half - new, old - (old_centre - old_half))
    return new - old - down, new - old + up


def clopper_pearson(count: float, total: float, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of a rate; it covers at least as often as it says, usually more.

    Clopper and Pearson, Biometrika 26 (1934) 404-413.

    Args:
        count: successes, from 0 to total.
        total: trials, at least 1: the denominator of the rate.
        confidence: two-sided level, in (0, 1).
    """
    _check_count(count, total)
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(special.betaincinv(count, total - count + 1, tail))
    high = 1.0 if count == total else float(special.betaincinv(count + 1, total - count, 1 - tail))
    return Interval(low, high)


def jeffreys(count: float, total: float) -> Interval:
    """Return the interval of a rate under Jeffreys' prior.

    For a few trials it is nearer to its level than Wilson's next to 0 and 1.
    Brown, Cai and DasGupta, Statistical Science 16 (2001) 101-133.

    Args:
        count: successes, from 0 to total.
        total: trials, at least 1: the denominator of the rate.
    """
    _check_count(count, total)
    tail, a, b = (1 - CONFIDENCE) / 2, count + 0.5, total - count + 0.5
    low = 0.0 if count == 0 else float(special.betaincinv(a, b, tail))
    return Interval(low, 1.0 if count == total else float(special.betaincinv(a, b, 1 - tail)))


def ratio(top: Estimate, bottom: Estimate) -> Interval | None:
    """Return the interval of a ratio of two independent estimates, from the interval of each.

    None where the bottom may be 0.
    MOVER-R (Donner and Zou, Statistical Methods in Medical Research 21 (2012) 347-359; Newcombe, ibid. 25 (2016)
    1774-1778): the ratios r for which the interval of top - r bottom, put together from theirs, holds 0.

    Args:
        top: may have either sign.
        bottom: its value is above 0.
    """
    if bottom.low is None or bottom.low <= 0:
        return None
    low = _ratio_low(top, bottom)
    turned = Estimate(_negated(top.value), _negated(top.high), _negated(top.low))
    return Interval(low, -_ratio_low(turned, bottom))


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _ratio_low(top: Estimate, bottom: Estimate) -> float:
    """Return the lower end: the smaller r with (t - r b)^2 = (t - t_low)^2 + (r w)^2, w the reach of b that counts."""
    t, b = top.value, bottom.value
    assert t is not None and top.low is not None
    assert b is not None and bottom.low is not None and bottom.high is not None
    reach = t - top.low
    w = bottom.high - b if top.low > 0 else b - bottom.low
    free, square = t * t - reach * reach, b * b - w * w
    root = math.sqrt(max(t * t * b * b - square * free, 0.0))
    # The same root in two forms; the first also holds where the square is not above 0.
    return free / (t * b + root) if top.low > 0 else (t * b - root) / square


def upper_bound(count: float, total: float, *, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided exact upper bound of a rate: what non-inferiority is judged by.

    Clopper and Pearson (1934), one tail. No flip in 300 items proves 1 %:

    >>> round(upper_bound(0, 300), 4)
    0.0099
    """
    return clopper_pearson(count, total, confidence=2 * confidence - 1).high


def lower_bound(count: float, total: float, *, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided exact lower bound of a rate. Clopper and Pearson (1934), one tail."""
    return clopper_pearson(count, total, confidence=2 * confidence - 1).low


def _check_count(count: float, total: float) -> None:
    if total <= 0 or not 0 <= count <= total:
        raise ValueError(f"a rate needs 0 <= count <= total and total > 0, found {count} of {total}")


def rate(count: float, total: float) -> Interval:
    """Return the interval of a rate: Wilson's, or the exact one where fewer than 5 are on one side.

    Args:
        count: successes, from 0 to total; need not be whole where `total` is an effective sample size.
        total: trials, above 0: the denominator of the rate.
    """
    exact = min(count, total - count) < TINY_COUNT
    return (clopper_pearson if exact else wilson)(count, total)


def newcombe_paired(both: int, first_only: int, second_only: int, neither: int) -> Interval:
    """Return the interval of a difference of two paired rates, second minus first.

    Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10: the two Wilson intervals, put together
    by the correlation phi with its continuity correction.

    Args:
        both: items that succeed in both versions.
        first_only: items that succeed in the first only.
        second_only: items that succeed in the second only.
        neither: items that succeed in neither. The denominator is the sum of all four.

    >>> newcombe_paired(36, 12, 2, 0)  # his example: 0.0569 to 0.3404 for first minus second
    Interval(low=-0.340..., high=-0.056...)
    """
    total = both + first_only + second_only + neither
    first, second = (both + first_only) / total, (both + second_only) / total
    wilson_first = wilson(both + first_only, total)
    wilson_second = wilson(both + second_only, total)
    margins = (both + first_only) * (second_only + neither) * (both + second_only) * (first_only + neither)
    product = both * neither - first_only * second_only
    corrected = max(product - total / 2, 0.0) if product > 0 else float(product)
    phi = corrected / math.sqrt(margins) if margins else 0.0

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0))

    difference = second - first
    down = reach(second - wilson_second.low, wilson_first.high - first)
    up = reach(wilson_second.high - second, first - wilson_first.low)
    return Interval(max(difference - down, -1.0), min(difference + up, 1.0))


@dataclass(frozen=True)
class McNemar:
    """p-values of McNemar's test on the discordant pairs.

    Attributes:
        exact: two-sided, exact.
        mid_p: two-sided, with half the probability of what was seen; less conservative.
        harm: one-sided, exact: how likely at least so many negative flips are if none is more likely than
            a positive one.
    """

    exact: float
    mid_p: float
    harm: float


def mcnemar(negative: int, positive: int) -> McNemar:
    """Test whether negative and positive flips are equally likely.

    McNemar, Psychometrika 12 (1947) 153-157, in its exact form: min(b, c) of b + c is binomial with 1/2.
    Mid-p: Fagerland, Lydersen and Laake, BMC Med. Res. Methodol. 13:91 (2013). One-sided for harm: Kuebler
    et al., ICLR 2026, P(Bin(b + c, 1/2) >= b). Items that did not flip play no part.

    Args:
        negative: b, items that went from right to wrong.
        positive: c, items that went from wrong to right.

    >>> round(mcnemar(20, 5).exact, 5)
    0.00408
    """
    flips, fewer = negative + positive, min(negative, positive)
    if flips == 0:
        return McNemar(1.0, 1.0, 1.0)
    # P(X <= k) = I_{1/2}(n - k, k + 1)
    tail = float(special.betainc(flips - fewer, fewer + 1, 0.5))
    exact = min(1.0, 2 * tail)
    log_point = log_choose(flips, fewer)
    point = math.exp(float(log_point) - flips * math.log(2))
    mid_p = 1 - point / 2 if negative == positive else 2 * tail - point
    harm = 1.0 if negative == 0 else float(special.betainc(negative, positive + 1, 0.5))
    return McNemar(exact, mid_p, harm)


def _log_interval(value: float, variance: float) -> Interval:
    reach = z_value(CONFIDENCE) * math.sqrt(max(variance, 0.0))
    return Interval(value * math.exp(-reach), value * math.exp(reach))


def relative_rate(both_right: int, negative: int, positive: int, both_wrong: int) -> Interval:
    """Return the interval of the relative negative flip rate, b n / ((a + b)(b + d)).

    Delta method on its logarithm, the four cells multinomial (Agresti, Categorical Data Analysis, 2013,
    ch. 16): the variance is sum_i x_i g_i^2 - (sum_i x_i g_i)^2 / n with g the derivative by cell i. With no
    negative flip the lower end is 0, and half an item is put into each cell for the upper one.

    Args:
        both_right: a.
        negative: b.
        positive: c.
        both_wrong: d; the old version has something right (a + b > 0), the new something wrong (b + d > 0).
    """
    a, b, c, d = (x + (0.5 if negative == 0 else 0.0) for x in (both_right, negative, positive, both_wrong))
    total, old_right, new_wrong = a + b + c + d, a + b, b + d
    by_b = 1 / b - 1 / old_right - 1 / new_wrong
    # The weighted sum of the derivatives is 1 - 1 - 1.
    variance = b * by_b**2 + a / old_right**2 + d / new_wrong**2 - 1 / total
    interval = _log_interval(b * total / (old_right * new_wrong), variance)
    return Interval(0.0, interval.high) if negative == 0 else interval


def paired_ratio(both: int, first_only: int, second_only: int) -> Interval:
    """Return the interval of a ratio of two paired rates, second by first.

    Delta method on the logarithm: Nam and Blackwelder, Statistics in Medicine 21 (2002) 689-699. With an
    empty side, half an item is added to each count.

    Args:
        both: items that count in both.
        first_only: items that count in the first only.
        second_only: items that count in the second only.
    """
    empty = both + second_only == 0
    both_, one, two = (x + (0.5 if empty else 0.0) for x in (both, first_only, second_only))
    variance = (one + two) / ((both_ + one) * (both_ + two))
    interval = _log_interval((both_ + two) / (both_ + one), variance)
    return Interval(0.0, interval.high) if empty else interval


def probability_worse(negative: int, positive: int) -> float:
    """Return how probable it is that negative flips are likelier than positive ones: a line for tiny sets.

    The four cells have the flat prior Dirichlet(1, 1, 1, 1); then the share of the negative among the flips is
    Beta(b + 1, c + 1), and the probability is P(Beta(b + 1, c + 1) > 1/2). Bowyer et al. 2025, arXiv 2503.01747,
    recommend Bayesian intervals below a few hundred items.

    Args:
        negative: b, items that went from right to wrong.
        positive: c, items that went from wrong to right.

    >>> round(probability_worse(17, 14), 4)
    0.7017
    """
    return float(special.betainc(positive + 1, negative + 1, 0.5))
