"""Chooses kappa: how much more a right answer that is lost weighs than one that is gained.

Whatever rule is behind it, an item can get two answers: the old model's, and another one. From some kappa on it is the
old one's. So accuracy and negative flips are step functions of kappa, known exactly from the labelled items, and flips
never rise with it: at infinity there are none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muscle.flips.statistics.arrays import Bools, Floats

_ROUNDING = 1e-12
"""Rates are sums of weights."""

_MOST_WRITTEN = 1_000_000
"""A larger kappa keeps as many old answers, for all that a reader would care."""


def kappa_words(kappa: float | None) -> str:
    """Return a kappa as it is read.

    >>> kappa_words(3.14159), kappa_words(1234.5), kappa_words(1e9), kappa_words(None)
    ('3.14', '1,234', 'above 1,000,000', 'infinite')
    """
    if kappa is None:
        return "infinite"
    if kappa > _MOST_WRITTEN:
        return f"above {_MOST_WRITTEN:,}"
    return f"{kappa:.3g}" if kappa < 1000 else f"{kappa:,.0f}"


@dataclass(frozen=True)
class Two:
    """The two answers that each item can get, and what is known or expected of them.

    Attributes:
        needed: (items,) log kappa from which it is the old model's; inf where it never is, as nobody asks.
        old_right: (items,) whether the old model's answer is right, 0 or 1; of an item that nobody judged, how
            probably.
        other_right: (items,) the same of the other one.
        lost: (items,) whether the old one is right and the other is not.
        weight: (items,) share of all items that each stands for; they sum to 1, or to less where some items that
            cannot flip were not judged.
        grain: share of all items that one judged item stands for.
    """

    needed: Floats
    old_right: Floats
    other_right: Floats
    lost: Floats
    weight: Floats
    grain: float

    @classmethod
    def judged(cls, needed: Floats, old_right: Bools, other_right: Bools, weight: Floats) -> Two:
        """Return judged items.

        Args:
            needed: (items,).
            old_right: (items,).
            other_right: (items,).
            weight: (items,).
        """
        sides = old_right.astype(np.float64), other_right.astype(np.float64)
        lost = (old_right & ~other_right).astype(np.float64)
        return cls(needed, *sides, lost, weight, float(np.max(weight, initial=0.0)) or 1.0)

    def keeps(self, log_kappa: float) -> Bools:
        """Return which items get the old model's answer, (items,)."""
        return (self.needed <= log_kappa) & (self.needed < math.inf)

    def at(self, log_kappa: float) -> Step:
        """Return what comes of a kappa."""
        kept = self.keeps(log_kappa)
        right = np.where(kept, self.old_right, self.other_right)
        return Step(log_kappa, float(self.weight @ right), float(self.weight @ np.where(kept, 0.0, self.lost)))


@dataclass(frozen=True)
class Step:
    """What comes of a kappa, on the items that it was tried on.

    Attributes:
        log_kappa: at least 0; inf keeps every answer of the old model's that is known.
        accuracy: weighted share of the items that are right; what was not judged adds nothing.
        negative_flip_rate: weighted share of the items that the old model had right and that are wrong.
    """

    log_kappa: float
    accuracy: float
    negative_flip_rate: float


def steps(items: Two) -> list[Step]:
    """Return what comes of every kappa from 1 on that differs from the one before, the smallest first.

    Each stands in the middle of the range over which nothing changes; the first is 1, the last infinity.
    """
    first = items.at(0.0)
    order = np.argsort(items.needed, kind="stable")
    order = order[(items.needed[order] > 0) & (items.needed[order] < math.inf)]
    if not order.size:
        return [first]
    needed, weight = items.needed[order], items.weight[order]
    ends = np.unique(needed)
    # What has changed when a kappa has passed an end: sums over the items in the order in which they turn.
    last = np.searchsorted(needed, ends, side="right") - 1
    gained = np.cumsum(weight * (items.old_right - items.other_right)[order])[last]
    saved = np.cumsum(weight * items.lost[order])[last]
    middles = [*((ends[:-1] + ends[1:]) / 2).tolist(), math.inf]
    rest = zip(middles, (first.accuracy + gained).tolist(), (first.negative_flip_rate - saved).tolist(), strict=True)
    return [first, *(Step(kappa, accuracy, max(0.0, lost)) for kappa, accuracy, lost in rest)]


def choose_kappa(items: Two, limit: float, *, floor: float) -> Step:
    """Return the most accurate kappa that meets a limit of negative flips; of equally accurate ones that with fewer.

    A kappa meets it where (flips + 1) / (items + 1) <= limit: one more flip is counted than was seen. As flips never
    rise with kappa, the rate of new items is then within the limit on average over such choices (conformal risk
    control, Angelopoulos et al. 2024, https://arxiv.org/abs/2208.02814); the bare rate would often be above it. With
    fewer than 1 / limit - 1 items infinity alone meets it, where every item is asked about: then it has no flip. Where
    some are not, so that nothing meets it, it is the kappa with the fewest flips that is as accurate as the floor, or
    else the most accurate.

    Args:
        items: labelled ones.
        limit: negative flip rate, in [0, 1].
        floor: accuracy of the new model alone on these items.
    """
    every = steps(items)
    within = [step for step in every if meets(items, step, limit)]
    if not within and not (items.needed == math.inf).any():
        return items.at(math.inf)
    return _most_accurate(within) if within else fewest_flips(items, floor)


def fewest_flips(items: Two, floor: float) -> Step:
    """Return the kappa with the fewest flips that is as accurate as a floor; the most accurate where none is.

    Args:
        items: labelled ones.
        floor: accuracy of the new model alone on these items.
    """
    every = steps(items)
    accurate = [step for step in every if step.accuracy >= floor - _ROUNDING]
    if not accurate:
        return _most_accurate(every)
    return min(accurate, key=lambda step: (round(step.negative_flip_rate, 12), -round(step.accuracy, 12)))


def _most_accurate(found: Sequence[Step]) -> Step:
    return max(found, key=lambda step: (round(step.accuracy, 12), -round(step.negative_flip_rate, 12)))


def meets(items: Two, step: Step, limit: float) -> bool:
    """Whether a kappa meets a limit with one flip more than was seen."""
    return (step.negative_flip_rate + items.grain) / (1 + items.grain) <= limit + _ROUNDING
