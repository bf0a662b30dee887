"""Intervals and tests where items come in groups: answers to one item, questions on one text.

Items of a group move together, so that n items say less than n independent ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from muscle.flips.statistics import CONFIDENCE, Estimate, Floats, Interval, clopper_pearson, z_value


@dataclass(frozen=True)
class EffectiveSample:
    """The independent items that clustered ones are worth.

    Attributes:
        count: successes.
        total: trials; need not be whole.
    """

    count: float
    total: float


def effective_sample(parts: Floats, wholes: Floats, *, confidence: float = CONFIDENCE) -> EffectiveSample:
    """Return how many independent items would know a rate as well as the clustered ones do.

    The cluster-robust variance of the ratio (Miller 2024, arXiv 2411.00640; Liang and Zeger 1986) against that of
    independent items, with Korn and Graubard's t correction (Survey Methodology 24 (1998) 193-201). Where the rate
    is 0 or 1 nothing is known of the clustering: then each cluster counts as one item.

    Args:
        parts: (clusters,) successes in each cluster.
        wholes: (clusters,) trials in each cluster, their sum above 0: the denominator.
        confidence: level of the interval that it is for, two-sided.
    """
    parts, wholes = parts[wholes > 0], wholes[wholes > 0]
    total, num_clusters = float(wholes.sum()), wholes.size
    value = float(parts.sum()) / total
    if value in (0.0, 1.0) or num_clusters == 1:
        return EffectiveSample(value * num_clusters, num_clusters)
    residuals = parts - value * wholes
    variance = num_clusters / (num_clusters - 1) * float(np.square(residuals).sum()) / total**2
    if variance == 0:
        return EffectiveSample(value * total, total)
    quantile = float(special.stdtrit(num_clusters - 1, 0.5 + confidence / 2))
    effective = min(value * (1 - value) / variance, total) * (z_value(confidence) / quantile) ** 2
    return EffectiveSample(value * effective, effective)


def clustered_rate(parts: Floats, wholes: Floats, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of a rate whose items come in clusters: the exact one at the effective sample size.

    Korn and Graubard (1998) choose Clopper and Pearson's here, as the variance between clusters is itself uncertain.

    Args:
        parts: (clusters,) successes in each cluster.
        wholes: (clusters,) trials in each cluster, their sum above 0: the denominator.
        confidence: two-sided level, in (0, 1).
    """
    sample = effective_sample(parts, wholes, confidence=confidence)
    return clopper_pearson(sample.count, sample.total, confidence=confidence)


def clustered_mean(sums: Floats, sizes: Floats, *, confidence: float = CONFIDENCE) -> Estimate:
    """Return a mean over items with the cluster-robust interval.

    Miller 2024 (arXiv 2411.00640): SE = sqrt(sum_g (sum_{i in g} (d_i - d))^2) / n, here with the factor
    G / (G - 1) and Student's t on G - 1 degrees of freedom for few clusters.

    Args:
        sums: (clusters,) sum of the values in each cluster.
        sizes: (clusters,) number of items in each cluster; their sum, n, is the denominator.
        confidence: two-sided level, in (0, 1).
    """
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    if sizes.size == 0:
        return Estimate.undefined("a mean over no items")
    total = float(sizes.sum())
    value = float(sums.sum()) / total
    if sizes.size == 1:
        return Estimate(value, why="one cluster has no interval")
    residuals = sums - value * sizes
    error = math.sqrt(sizes.size / (sizes.size - 1) * float(np.square(residuals).sum())) / total
    reach = float(special.stdtrit(sizes.size - 1, 0.5 + confidence / 2)) * error
    return Estimate(value, value - reach, value + reach)


@dataclass(frozen=True)
class ClusteredTest:
    """p-values of the test whether negative and positive flips balance over clusters.

    Attributes:
        two_sided: of any difference.
        harm: one-sided, of more negative than positive flips.
    """

    two_sided: float
    harm: float


def clustered_test(negative: Floats, positive: Floats) -> ClusteredTest:
    """Test whether negative and positive flips are equally likely where items come in clusters.

    McNemar's statistic with the variance between clusters, sum_g (c_g - b_g) / sqrt(sum_g (c_g - b_g)^2)
    (Durkalski et al., Statistics in Medicine 22 (2003) 2417-2428), against Student's t on the clusters that flipped.
    With clusters of one item it is McNemar's own statistic.

    Args:
        negative: (clusters,) items that went from right to wrong, in each cluster.
        positive: (clusters,) items that went from wrong to right.
    """
    net = positive - negative
    num_moved = int(np.count_nonzero(net))
    if num_moved < 2:
        return ClusteredTest(1.0, 1.0)
    statistic = float(net.sum()) / math.sqrt(float(np.square(net).sum()))
    harm = float(special.stdtr(num_moved - 1, statistic))
    return ClusteredTest(min(1.0, 2 * min(harm, 1 - harm)), harm)
