"""Chances of counts: binomial and hypergeometric, by logarithms, so that a million items are no trouble."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from muscle.flips.statistics.arrays import Floats, Ints


def log_choose(total: Ints | float, part: Ints | Floats | float) -> Floats:
    """Return log(total over part), elementwise."""
    part = np.asarray(part)
    logs: Floats = special.gammaln(np.add(total, 1)) - special.gammaln(part + 1) - special.gammaln(total - part + 1)
    return logs


def binomial_chances(count: Ints, total: int, rate: Floats | float) -> Floats:
    """Return P(X = count) of `total` trials that succeed at a rate in [0, 1]; shapes broadcast."""
    with np.errstate(divide="ignore"):
        logs = log_choose(total, count) + special.xlogy(count, rate) + special.xlog1py(total - count, -np.asarray(rate))
    chances: Floats = np.exp(logs)
    return chances


def hypergeometric_chances(hits: Ints, drawn: int, marked: int, total: int) -> Floats:
    """Return P(X = hits), X the marked ones among `drawn` of `total`, of which `marked` are marked; as `hits`."""
    logs = log_choose(drawn, hits) + log_choose(total - drawn, marked - hits) - log_choose(total, marked)
    chances: Floats = np.exp(logs)
    return chances


def upper_tail(hits: int, drawn: int, marked: int, total: int) -> float:
    """Return P(X >= hits), X the marked ones among `drawn` of `total`: Fisher's exact test, one-sided.

    Summed from the observed count outwards, over some hundred terms at most.

    >>> round(upper_tail(8, 10, 10, 20), 5)  # scipy.stats.fisher_exact([[8, 2], [2, 8]], "greater")
    0.01151
    """
    if hits <= max(0, marked + drawn - total):
        return 1.0
    mean = marked * drawn / total
    spread = math.sqrt(mean * (1 - drawn / total)) + 1
    if hits < mean:  # the lower side is then the shorter sum
        return 1.0 - upper_tail(drawn - hits + 1, drawn, total - marked, total)
    last = min(marked, drawn, hits + math.ceil(40 * spread))
    chances = hypergeometric_chances(np.arange(hits, last + 1), drawn, marked, total)
    return min(1.0, float(chances.sum()))
