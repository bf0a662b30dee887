"""One answer over several tasks: every item alike, or every task alike.

Large tasks rule the first, small ones count as much as large ones in the second; both are shown, because they can
differ in sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from muscle.flips.measuring.metrics import (
    ALL,
    NEGATIVE,
    POSITIVE,
    Quadrants,
    accuracy_difference,
    negative_flip_rate,
    positive_flip_rate,
)
from muscle.flips.measuring.tally import spread_of_groups
from muscle.flips.statistics import clusters
from muscle.flips.statistics import intervals as statistics
from muscle.flips.statistics.intervals import Estimate
from muscle.typed_json import OPTIONAL_KEY

DRAWS = 9_999


@dataclass(frozen=True)
class PooledNumbers:
    """The numbers over all tasks of right and wrong.

    Attributes:
        tasks: how many have items.
        n: their items.
        accuracy_difference: every item alike.
        negative_flip_rate: every item alike.
        positive_flip_rate: every item alike.
        macro_accuracy_difference: every task alike.
        macro_negative_flip_rate: every task alike.
        mcnemar_exact_p: over all items; no key where items are grouped.
        sign_flip_p: each task alike; no key where items are grouped.
        clustered_p: over the groups, where items are grouped.
    """

    tasks: int
    n: int
    accuracy_difference: Estimate
    negative_flip_rate: Estimate
    positive_flip_rate: Estimate
    macro_accuracy_difference: Estimate
    macro_negative_flip_rate: float
    mcnemar_exact_p: float | None = field(default=None, metadata=OPTIONAL_KEY)
    sign_flip_p: float | None = field(default=None, metadata=OPTIONAL_KEY)
    clustered_p: float | None = field(default=None, metadata=OPTIONAL_KEY)


def pool_quadrants(tasks: Sequence[Quadrants]) -> Quadrants:
    """Put the items of several tasks together; groups of different tasks stay apart, a lone item is its own."""
    cells = np.sum([task.cells for task in tasks], axis=0)
    answers_known = all(task.answers_known for task in tasks)
    if all(task.clusters is None for task in tasks):
        return Quadrants(cells, answers_known)
    single = np.eye(cells.size, dtype=np.int64)
    grouped = [np.repeat(single, task.cells, axis=0) if task.clusters is None else task.clusters for task in tasks]
    return Quadrants(cells, answers_known, np.concatenate(grouped))


def _task_variance(task: Quadrants) -> float:
    """Return the variance of a task's accuracy difference; infinite where one group is all there is."""
    if task.clusters is not None:
        net = task.by_cluster(POSITIVE) - task.by_cluster(NEGATIVE)
        spread = spread_of_groups(net, task.by_cluster(ALL).astype(np.int64))
        return math.inf if spread.error is None else spread.error**2
    difference = (task.positive_flips - task.negative_flips) / task.total
    return ((task.positive_flips + task.negative_flips) / task.total - difference**2) / task.total


def macro_accuracy_difference(tasks: Sequence[Quadrants]) -> Estimate:
    """Return the mean of the tasks' accuracy differences, each task alike; denominator: the number of tasks.

    The tasks are taken as they are (no sample of tasks), so the variance is the sum of theirs over T^2 (Miller 2024,
    arXiv 2411.00640, Sec. 2).
    """
    differences = [(t.positive_flips - t.negative_flips) / t.total for t in tasks]
    value = sum(differences) / len(tasks)
    variance = sum(map(_task_variance, tasks))
    if math.isinf(variance):
        return Estimate(value, why="one group of items has no interval")
    reach = statistics.z_value(statistics.CONFIDENCE) * math.sqrt(variance) / len(tasks)
    return Estimate(value, value - reach, value + reach)


def sign_flip_p(tasks: Sequence[Quadrants], *, seed: int = 0) -> float:
    """Return the two-sided p-value of the mean over tasks, by swapping the versions item by item.

    Kuebler et al., ICLR 2026 (2602.10144), the permutation test with tasks weighted alike. If no version is better,
    each flip is as likely negative as positive: a task's net is 2 Bin(b + c, 1/2) - (b + c), drawn without any array of
    items.
    """
    generator = np.random.default_rng(seed)
    means = np.zeros(DRAWS)
    for task in tasks:
        flips = task.positive_flips + task.negative_flips
        means += (2 * generator.binomial(flips, 0.5, DRAWS) - flips) / task.total
    seen = abs(sum((t.positive_flips - t.negative_flips) / t.total for t in tasks))
    # A hair of room, as equal sums differ in their last digit.
    return float((1 + np.count_nonzero(np.abs(means) >= seen - 1e-12)) / (1 + DRAWS))


def pool(tasks: Sequence[Quadrants], *, seed: int = 0) -> PooledNumbers | None:
    """Return the pooled numbers of the tasks that are right or wrong; None where there are fewer than two.

    Args:
        tasks: the tasks' counts; those without items are passed over.
        seed: of the permutation test.
    """
    scored = [task for task in tasks if task.total]
    if len(scored) < 2:
        return None
    everything = pool_quadrants(scored)
    grouped = everything.clusters is not None
    over_groups = None
    if grouped:
        over_groups = clusters.clustered_test(everything.by_cluster(NEGATIVE), everything.by_cluster(POSITIVE))
    exact = statistics.mcnemar(everything.negative_flips, everything.positive_flips).exact
    return PooledNumbers(
        tasks=len(scored),
        n=everything.total,
        accuracy_difference=accuracy_difference(everything),
        negative_flip_rate=negative_flip_rate(everything),
        positive_flip_rate=positive_flip_rate(everything),
        macro_accuracy_difference=macro_accuracy_difference(scored),
        macro_negative_flip_rate=sum(t.negative_flips / t.total for t in scored) / len(scored),
        mcnemar_exact_p=None if grouped else exact,
        sign_flip_p=None if grouped else sign_flip_p(scored, seed=seed),
        clustered_p=over_groups.two_sided if over_groups else None,
    )
