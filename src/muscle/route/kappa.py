"""Chooses kappa: how much more a right answer that is lost weighs than one that is gained.

Whatever rule is behind it, an item can get two answers: the old model's, and another one. From some kappa on it is the
old one's. So accuracy and negative flips are step functions of kappa, known exactly from the labelled items, and flips
never rise with it: at infinity there are none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from muscle.flips.statistics.arrays import Bools, Floats


@dataclass(frozen=True)
class Two:
    """The two answers that each labelled item can get.

    Attributes:
        needed: (items,) log kappa from which it is the old model's; inf where it never is, as nobody asks.
        old_right: (items,) whether the old model's answer is right.
        other_right: (items,) whether the other one is.
        weight: (items,) of each item; they sum to 1 over all that is labelled.
    """

    needed: Floats
    old_right: Bools
    other_right: Bools
    weight: Floats

    def keeps(self, log_kappa: float) -> Bools:
        """Return which items get the old model's answer, (items,)."""
        return (self.needed <= log_kappa) & (self.needed < math.inf)

    def at(self, log_kappa: float) -> Step:
        """Return what comes of a kappa."""
        kept = self.keeps(log_kappa)
        right = np.where(kept, self.old_right, self.other_right)
        lost = self.old_right & ~right
        return Step(log_kappa, float(self.weight @ right), float(self.weight @ lost))


@dataclass(frozen=True)
class Step:
    """What comes of a kappa, on the items that it was tried on.

    Attributes:
        log_kappa: at least 0; inf keeps every answer of the old model's that is known.
        accuracy: weighted share of the items that are right.
        negative_flip_rate: weighted share of the items that the old model had right and that are wrong.
    """

    log_kappa: float
    accuracy: float
    negative_flip_rate: float


def steps(items: Two) -> list[Step]:
    """Return what comes of every kappa from 1 on that differs from the one before, the smallest first.

    Each stands in the middle of the range over which nothing changes; the first is 1, the last infinity.
    """
    ends = np.unique(items.needed[(items.needed > 0) & (items.needed < math.inf)])
    middles = [*((ends[:-1] + ends[1:]) / 2).tolist(), math.inf] if ends.size else []
    return [items.at(log_kappa) for log_kappa in (0.0, *middles)]


def choose_kappa(items: Two, limit: float) -> Step:
    """Return the most accurate kappa with at most so many negative flips; of equally accurate ones that with fewer.

    There is always one, as infinity has none; unless some items are not asked about: then, where even infinity is
    above the limit, infinity.

    Args:
        items: labelled ones.
        limit: negative flip rate, in [0, 1].
    """
    every = steps(items)
    tolerance = 1e-12  # rates are sums of weights
    within = [step for step in every if step.negative_flip_rate <= limit + tolerance]
    if not within:
        return every[-1]
    return max(within, key=lambda step: (round(step.accuracy, 12), -round(step.negative_flip_rate, 12)))
