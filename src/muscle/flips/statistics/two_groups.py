"""Whether two groups of items differ: in a share (Fisher's exact test), or in where a number lies (Mann-Whitney's)."""

from __future__ import annotations

import numpy as np
from scipy import special

from muscle.flips.statistics.arrays import Floats
from muscle.flips.statistics.counts import hypergeometric_chances, upper_tail
from muscle.flips.statistics.exact_tests import TIE


def fisher(hits: int, total: int, other_hits: int, other_total: int, *, two_sided: bool) -> float:
    """Return Fisher's exact p-value of a share against another one.

    Args:
        hits: items of the first group that have it.
        total: items of the first group.
        other_hits: the same of the other group.
        other_total: items of the other group.
        two_sided: all tables count that are no likelier than the one seen; else those with a larger first share.

    >>> round(fisher(8, 10, 1, 10, two_sided=True), 5), round(fisher(8, 10, 1, 10, two_sided=False), 5)
    (0.00548, 0.00274)
    """
    marked, everything = hits + other_hits, total + other_total
    if not two_sided:
        return upper_tail(hits, total, marked, everything)
    counts = np.arange(max(0, marked - other_total), min(marked, total) + 1)
    chances = hypergeometric_chances(counts, total, marked, everything)
    seen = chances[counts == hits][0]
    return float(min(1.0, chances[chances <= seen * (1 + TIE)].sum()))


def mann_whitney(first: Floats, second: Floats) -> float:
    """Return the two-sided p-value of Mann-Whitney's test, by the normal form with ties and continuity corrected.

    >>> round(mann_whitney(np.arange(20.0), np.arange(20.0) + 10), 4)
    0.0001
    """
    joint = np.concatenate([first, second])
    _, inverse, counts = np.unique(joint, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, m = first.size, second.size
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    ties = float((counts.astype(np.float64) ** 3 - counts).sum()) / ((n + m) * (n + m - 1))
    spread = np.sqrt(n * m / 12 * ((n + m + 1) - ties))
    if spread == 0:
        return 1.0
    return float(min(1.0, 2 * special.ndtr(-max(0.0, abs(u - n * m / 2) - 0.5) / spread)))
