"""Intervals of means of scores: a seeded bootstrap, and the infinitesimal jackknife."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import special

from muscle.flips.statistics.arrays import Floats
from muscle.flips.statistics.intervals import CONFIDENCE, Estimate, Interval, z_value

RESAMPLES = 1_000
MAX_ATOMS = 512
"""Different values that a bootstrap keeps apart; more are merged with their neighbours."""


def _atoms(ordered: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Reduce sorted values to at most MAX_ATOMS different ones with their counts; neighbours merge to their mean."""
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    if starts.size > MAX_ATOMS:
        starts = np.unique(np.linspace(0, ordered.size, MAX_ATOMS + 1)[:-1].astype(np.int64))
    counts = np.diff(np.append(starts, ordered.size))
    return np.add.reduceat(ordered, starts) / counts, counts


def bootstrap_mean(values: Floats, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Return the mean of values with a bootstrap interval.

    Bias-corrected and accelerated percentiles: Efron, JASA 82 (1987) 171-185; the acceleration of a mean is
    its skewness over 6 sqrt(n). The resamples are multinomial counts over the different values, never an
    array of items by resamples.

    Args:
        values: (n,), finite.
        resamples: number of bootstrap samples.
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        The mean over n. Without values it is undefined; of one value there is no interval.
    """
    if values.size == 0:
        return Estimate.undefined("a mean over no items")
    # Sorted, so that the order of items does not touch the last digit; polars sorts ten times as fast as numpy.
    ordered = pl.Series(values).sort().to_numpy()
    mean = float(ordered.mean())
    if values.size == 1:
        return Estimate(mean, why="one item has no interval")
    atoms, counts = _atoms(ordered)
    if atoms.size == 1:
        return Estimate(mean, mean, mean)
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(values.size, counts / values.size, size=resamples)
    means = np.sort(draws @ atoms) / values.size
    centred = atoms - np.average(atoms, weights=counts)
    spread = math.sqrt(np.average(centred**2, weights=counts))
    # Divided by the spread first: the cube of a tiny spread is zero.
    skewness = float(np.average((centred / spread) ** 3, weights=counts)) if spread > 0 else 0.0
    return Estimate.of(mean, _bca(means, mean, skewness / (6 * math.sqrt(values.size))))


def _bca(sorted_means: Floats, mean: float, acceleration: float) -> Interval:
    """Return the bias-corrected and accelerated percentiles of bootstrap means."""
    below = np.searchsorted(sorted_means, mean, "left") + np.searchsorted(sorted_means, mean, "right")
    share = float(np.clip(below / 2, 1, sorted_means.size - 1)) / sorted_means.size
    bias, z = float(special.ndtri(share)), z_value(CONFIDENCE)

    def level(side: float) -> float:
        shifted = bias + side
        return float(special.ndtr(bias + shifted / (1 - acceleration * shifted)))

    low, high = np.quantile(sorted_means, [level(-z), level(z)])
    return Interval(float(low), float(high))


def linearised(value: float, influence: Floats) -> Interval:
    """Return the normal interval of a statistic from its influence on each item.

    The infinitesimal jackknife (Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982, ch. 6):
    the standard error is the root of sum(influence^2) / n^2.

    Args:
        value: the statistic.
        influence: (n,), mean zero.
    """
    reach = z_value(CONFIDENCE) * math.sqrt(float(np.square(influence).sum())) / influence.size
    return Interval(value - reach, value + reach)
