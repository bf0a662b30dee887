"""Whether negative flips are more frequent in a slice than in the rest of the task."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from muscle.flips.measuring.metrics import ALL, NEGATIVE
from muscle.flips.measuring.tally import Tally
from muscle.flips.statistics.counts import upper_tail
from muscle.flips.statistics.intervals import Interval, newcombe_independent, t_value


@dataclass(frozen=True)
class Concentration:
    """Negative flips in a slice against the rest of the task.

    Attributes:
        excess: NFR in the slice minus NFR in the rest, each over its own items.
        interval: 95 %, of the excess; None where the groups of items are too few.
        rest_rate: NFR in the rest.
        p_value: one-sided: so many negative flips in the slice if they fell on any item alike.
    """

    excess: float
    interval: Interval | None
    rest_rate: float
    p_value: float


def concentration(part: Tally, whole: Tally) -> Concentration | None:
    """Compare a slice with the rest of its task; None where it is the whole task.

    The interval is Newcombe's for two independent rates (Statistics in Medicine 17 (1998) 873-890, method 10), the test
    Fisher's. Where items are grouped, both come from the variance between groups.

    Args:
        part: the slice's items.
        whole: the task's, the slice among them.
    """
    rest_total = whole.total - part.total
    if rest_total == 0 or part.total == 0:
        return None
    flips_in, flips = part.quadrants.negative_flips, whole.quadrants.negative_flips
    rate, rest = flips_in / part.total, (flips - flips_in) / rest_total
    if part.groups is not None:
        return _clustered(part, whole, rate, rest)
    interval = newcombe_independent(flips - flips_in, rest_total, flips_in, part.total)
    return Concentration(rate - rest, interval, rest, upper_tail(flips_in, part.total, flips, whole.total))


def _clustered(part: Tally, whole: Tally, rate: float, rest: float) -> Concentration:
    """The difference of two ratios with its linearised variance between groups.

    A group's influence is (f_s - p n_s) / N_s - (f_r - q n_r) / N_r, with its flips f and items n in the slice and in
    the rest. The groups without items in the slice, mostly nearly all, are summed from the whole's squares.
    """
    inside = part.quadrants.by_cluster(NEGATIVE), part.quadrants.by_cluster(ALL)
    everywhere = whole.quadrants.by_cluster(NEGATIVE), whole.quadrants.by_cluster(ALL)
    shared = [sums[part.groups] for sums in everywhere]
    rest_total = whole.total - part.total
    influence = (inside[0] - rate * inside[1]) / part.total
    influence -= (shared[0] - inside[0] - rest * (shared[1] - inside[1])) / rest_total
    outside = np.square(everywhere[0] - rest * everywhere[1]).sum() - np.square(shared[0] - rest * shared[1]).sum()
    variance = float(np.square(influence).sum()) + max(float(outside), 0.0) / rest_total**2
    groups, excess = everywhere[1].size, rate - rest
    if groups < 3 or variance == 0:
        return Concentration(excess, None, rest, 1.0)
    error = math.sqrt(variance * groups / (groups - 1))
    reach = t_value(groups - 1) * error
    p_value = float(special.stdtr(groups - 1, -excess / error))
    return Concentration(excess, Interval(excess - reach, excess + reach), rest, p_value)
