"""How small a difference a set of items can show, and how many items it takes.

For paired versions only the items on which they disagree carry the difference of accuracy, so both follow from the
share of those (arXiv 2605.28873): delta <= (z_{1-a/2} + z_{1-beta}) sqrt(rho / m).
"""

from __future__ import annotations

import math

from scipy import special

ALPHA = 0.05
POWER = 0.8
_REACH = float(special.ndtri(1 - ALPHA / 2) + special.ndtri(POWER))


def minimum_detectable_difference(disagreement: float, items: int) -> float:
    """Return the smallest difference of accuracy that a test on so many items finds at `ALPHA` with `POWER`.

    Args:
        disagreement: rho, share of the items that flip in either direction, (b + c) / n.
        items: m, at least 1.

    >>> round(minimum_detectable_difference(0.10, 1000), 4)
    0.028
    """
    return min(1.0, _REACH * math.sqrt(disagreement / items))


def minimum_detectable_mean(deviation: float, items: int) -> float:
    """Return the smallest mean difference of a score that so many items show at `ALPHA` with `POWER`.

    Miller 2024 (arXiv 2411.00640), paired: (z_{1-a/2} + z_{1-beta}) sd / sqrt(n).

    Args:
        deviation: standard deviation of the items' differences, in the score's unit.
        items: n, at least 1.
    """
    return _REACH * deviation / math.sqrt(items)


def items_to_prove(rate: float, *, confidence: float = 0.95) -> int | None:
    """Return how many items without a flip prove a negative flip rate: 1 - (1 - confidence)^(1 / n) <= rate.

    Clopper and Pearson (1934), one-sided, with no event. None for a rate of 0, which no number of items proves.

    >>> items_to_prove(0.01)
    299
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"the rate must lie in [0, 1], found {rate}")
    if rate == 0:
        return None
    return 1 if rate == 1 else math.ceil(math.log(1 - confidence) / math.log1p(-rate))


MAX_ITEMS = 10_000_000
"""A question that would take more items is as good as open for ever."""


def items_to_tell(rate: float, limit: float, *, alpha: float = ALPHA) -> int | None:
    """Return how many items prove on which side of a limit a rate lies, by its one-sided exact bound.

    The bound is that of Clopper and Pearson (1934), as in `muscle.flips.statistics.intervals.upper_bound`.

    Args:
        rate: what the rate is taken to be, in [0, 1].
        limit: in (0, 1).
        alpha: one-sided level.

    Returns:
        At how many the bound lies on the rate's side of the limit with probability `POWER`; None where rate and limit
        are so close that more than `MAX_ITEMS` would be needed.

    >>> items_to_tell(0.0, 0.01), items_to_tell(0.005, 0.01), items_to_tell(0.02, 0.01), items_to_tell(0.01, 0.01)
    (299, 2065, 905, None)
    """
    if not (0 <= rate <= 1 and 0 < limit < 1):
        raise ValueError(f"expected a rate in [0, 1] and a limit in (0, 1), found {rate} and {limit}")
    z_alpha, z_power = (float(special.ndtri(share)) for share in (1 - alpha, POWER))
    reach = z_alpha * math.sqrt(limit * (1 - limit)) + z_power * math.sqrt(rate * (1 - rate))
    if abs(rate - limit) * math.sqrt(MAX_ITEMS) < reach:
        return None
    found = max(1, math.ceil((reach / (rate - limit)) ** 2))
    step = max(1, found // 500)
    while _power_to_tell(rate, limit, found, alpha) < POWER:
        found += step
    if rate == 0:
        return items_to_prove(limit, confidence=1 - alpha)
    return found


def _power_to_tell(rate: float, limit: float, items: int, alpha: float) -> float:
    """Return the probability that the exact one-sided bound of so many items lies on the rate's side of the limit."""
    # The count that is as unlikely as alpha under the limit, to start from: the normal one is a few off at most.
    spread = float(special.ndtri(1 - alpha)) * math.sqrt(items * limit * (1 - limit))
    if rate < limit:
        count = max(0, math.floor(items * limit - spread) + 3)
        while count >= 0 and special.bdtr(count, items, limit) > alpha:
            count -= 1
        return float(special.bdtr(count, items, rate)) if count >= 0 else 0.0
    count = max(0, math.floor(items * limit + spread) - 3)
    while special.bdtrc(count, items, limit) > alpha:
        count += 1
    return float(special.bdtrc(count, items, rate))


def items_to_separate(value: float, error: float, limit: float, items: int, *, alpha: float) -> int | None:
    """Return how many items separate an estimate from a limit by its interval, whose width falls as their root.

    Miller 2024 (arXiv 2411.00640): n' = n ((z_{1-a} + z_{1-beta}) SE / |value - limit|)^2.

    Args:
        value: what the estimate is taken to be.
        error: its standard error with the items that there are, above 0.
        limit: what it must come to lie above or below.
        items: n, how many there are.
        alpha: one-sided level of the interval's end.

    Returns:
        At how many the end lies on the value's side with probability `POWER`; None where that would be more than
        `MAX_ITEMS`.

    >>> items_to_separate(0.0, 0.01, -0.01, 1000, alpha=0.025)
    7849
    """
    reach = float(special.ndtri(1 - alpha) + special.ndtri(POWER)) * error
    distance = abs(value - limit)
    if distance * math.sqrt(MAX_ITEMS) < reach * math.sqrt(items):
        return None
    return max(1, math.ceil(items * (reach / distance) ** 2))
