"""Intervals and tests where items come in groups: answers to one item, questions on one text.

Items of a group move together, so that n items say less than n independent ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from muscle.flips.statistics.arrays import Bools, Floats, Ints
from muscle.flips.statistics.counts import log_choose
from muscle.flips.statistics.intervals import CONFIDENCE, Estimate, Interval, clopper_pearson, t_value, z_value


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
    quantile = t_value(num_clusters - 1, confidence)
    effective = min(value * (1 - value) / variance, total) * (z_value(confidence) / quantile) ** 2
    return EffectiveSample(value * effective, effective)


def clustered_rate(parts: Floats, wholes: Floats) -> Interval:
    """Return the interval of a rate whose items come in clusters: the exact one at the effective sample size.

    Korn and Graubard (1998) choose Clopper and Pearson's here, as the variance between clusters is itself uncertain.

    Args:
        parts: (clusters,) successes in each cluster.
        wholes: (clusters,) trials in each cluster, their sum above 0: the denominator.
    """
    sample = effective_sample(parts, wholes)
    return clopper_pearson(sample.count, sample.total)


def clustered_mean(sums: Floats, sizes: Floats) -> Estimate:
    """Return a mean over items with the cluster-robust interval.

    Miller 2024 (arXiv 2411.00640): SE = sqrt(sum_g (sum_{i in g} (d_i - d))^2) / n, here with the factor
    G / (G - 1) and Student's t on G - 1 degrees of freedom for few clusters.

    Args:
        sums: (clusters,) sum of the values in each cluster.
        sizes: (clusters,) number of items in each cluster; their sum, n, is the denominator.
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
    reach = t_value(sizes.size - 1) * error
    return Estimate(value, value - reach, value + reach)


def by_group(values: Floats | Bools, groups: Ints) -> Floats:
    """Return the sum of the items' values in each group, (groups,); groups are numbered from 0, (items,)."""
    return np.bincount(groups, weights=values).astype(np.float64)


def grouped_rate(counted: Bools, groups: Ints) -> Interval:
    """Return `clustered_rate` of the items that count, (items,), given the group of each, (items,)."""
    return clustered_rate(by_group(counted, groups), np.bincount(groups).astype(np.float64))


def grouped_mean(values: Floats, groups: Ints) -> Estimate:
    """Return `clustered_mean` of the items' values, (items,), given the group of each, (items,)."""
    return clustered_mean(by_group(values, groups), np.bincount(groups).astype(np.float64))


@dataclass(frozen=True)
class ClusteredTest:
    """p-values of the test whether negative and positive flips balance over clusters.

    Attributes:
        two_sided: of any difference.
        harm: one-sided, of more negative than positive flips.
    """

    two_sided: float
    harm: float


MAX_STEPS = 50_000_000
"""Additions that the exact distribution may take, about 0.1 s; beyond it there are clusters enough for Student's t."""


def fewest_clusters(alpha: float) -> int:
    """Return how many clusters it takes to prove anything: all G of them against the update have the p-value 2^-G.

    >>> fewest_clusters(0.05)
    5
    """
    return math.ceil(-math.log2(alpha))


def clustered_test(negative: Floats, positive: Floats) -> ClusteredTest:
    """Test whether negative and positive flips are equally likely where items come in clusters: the sign-flip test.

    If the versions are alike, either could be called the new one, in each cluster apart: its net c_g - b_g is as
    likely as its opposite. So the p-value is the share of the 2^G choices of signs with a sum as low as the one
    found, from the exact distribution of the sum (Pitman 1937; Kuebler et al., ICLR 2026, swap the versions item by
    item). With clusters of one item it is McNemar's exact test. Where the distribution is too large, the sum over the
    root of its squares against Student's t (Durkalski et al., Statistics in Medicine 22 (2003) 2417-2428).

    Args:
        negative: (clusters,) items that went from right to wrong, in each cluster.
        positive: (clusters,) items that went from wrong to right.
    """
    net = (positive - negative)[positive != negative]
    if net.size == 0:
        return ClusteredTest(1.0, 1.0)
    sizes, counts = np.unique(np.abs(net).astype(np.int64), return_counts=True)
    most, total = int(counts.argmax()), int((sizes * counts).sum())
    if (net.size - int(counts[most])) * total > MAX_STEPS:
        statistic = float(net.sum()) / math.sqrt(float(np.square(net).sum()))
        harm, better = (float(special.stdtr(net.size - 1, sign * statistic)) for sign in (1, -1))
    else:
        chances = _signed_sums(sizes, counts, most)
        place = (int(net.sum()) + total) // 2
        harm, better = float(chances[: place + 1].sum()), float(chances[place:].sum())
    return ClusteredTest(min(1.0, 2 * min(harm, better)), min(1.0, harm))


def _signed_sums(sizes: Ints, counts: Ints, most: int) -> Floats:
    """Return (total + 1,) the chance that so much of the clusters' sizes gets a plus, by fair signs.

    Args:
        sizes: (kinds,) the different sizes.
        counts: (kinds,) how many clusters have each.
        most: the kind to begin with: its part is binomial.
    """
    number, total = int(counts[most]), int((sizes * counts).sum())
    plus = np.arange(number + 1)
    chances = np.zeros(total + 1)
    chances[plus * sizes[most]] = np.exp(log_choose(number, plus) - number * math.log(2))
    reached = number * int(sizes[most])
    for kind, size in enumerate(sizes.tolist()):
        for _ in range(0 if kind == most else int(counts[kind])):
            chances[: reached + 1] /= 2
            chances[size : reached + size + 1] += chances[: reached + 1].copy()
            reached += size
    return chances
