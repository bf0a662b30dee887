"""How small a difference a set of items can show, and how many items it takes.

For paired versions only the items on which they disagree carry the difference of accuracy, so both follow from the
share of those (arXiv 2605.28873): delta <= (z_{1-a/2} + z_{1-beta}) sqrt(rho / m).
"""

from __future__ import annotations

import math

from scipy import special

ALPHA = 0.05
POWER = 0.8


def _reach(alpha: float, power: float) -> float:
    return float(special.ndtri(1 - alpha / 2) + special.ndtri(power))


def minimum_detectable_difference(
    disagreement: float, items: int, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Return the smallest difference of accuracy that a test on so many items finds with the power given.

    Args:
        disagreement: rho, share of the items that flip in either direction, (b + c) / n.
        items: m, at least 1.
        alpha: two-sided level of the test.
        power: probability of finding it.

    >>> round(minimum_detectable_difference(0.10, 1000), 4)
    0.028
    """
    return min(1.0, _reach(alpha, power) * math.sqrt(disagreement / items))


def minimum_detectable_mean(deviation: float, items: int, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the smallest mean difference of a score that so many items show with the power given.

    Miller 2024 (arXiv 2411.00640), paired: (z_{1-a/2} + z_{1-beta}) sd / sqrt(n).

    Args:
        deviation: standard deviation of the items' differences, in the score's unit.
        items: n, at least 1.
        alpha: two-sided level of the test.
        power: probability of finding it.
    """
    return _reach(alpha, power) * deviation / math.sqrt(items)


def items_needed(disagreement: float, difference: float, *, alpha: float = ALPHA, power: float = POWER) -> int:
    """Return how many items it takes to find a difference of accuracy with the power given.

    Args:
        disagreement: rho, share of the items that flip in either direction, (b + c) / n.
        difference: of accuracy, in (0, 1].
        alpha: two-sided level of the test.
        power: probability of finding it.

    >>> items_needed(0.10, 0.028)
    1002
    """
    if not 0 < difference <= 1:
        raise ValueError(f"the difference must lie in (0, 1], found {difference}")
    return max(1, math.ceil(disagreement * (_reach(alpha, power) / difference) ** 2))


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
