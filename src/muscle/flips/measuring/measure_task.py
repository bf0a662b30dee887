"""Measures a task between two versions: its items in, `SideNumbers` out, and what several tasks tell together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from muscle.flips.measuring.counting import differences_of
from muscle.flips.measuring.metrics import (
    BINARY_METRICS,
    NEGATIVE,
    POSITIVE,
    Quadrants,
    negative_flip_rate_bounds,
)
from muscle.flips.measuring.score_metrics import SMOOTH_METRICS, Differences
from muscle.flips.measuring.side_numbers import SideNumbers
from muscle.flips.pairing.items import TaskItems
from muscle.flips.pairing.pair import WithOld
from muscle.flips.statistics import clusters, power
from muscle.flips.statistics import intervals as statistics
from muscle.flips.statistics.intervals import Estimate
from muscle.flips.statistics.multiplicity import benjamini_hochberg, holm
from muscle.typed_json import OPTIONAL_KEY

HISTOGRAM_BINS = 41
"""Odd, so that the middle bin is centred on no change."""

_BINARY_ONLY = "needs right and wrong answers; {score} is continuous"
_NO_SCORE = "right and wrong have no size; give a score"


@dataclass(frozen=True)
class DifferenceHistogram:
    """How a score's difference is distributed.

    Attributes:
        edges: of the bins, one more than there are bins, in the score's unit; the same for both sides.
        old_vs_new: items in each bin.
        old_vs_candidate: the same of the candidate; no key without one.
    """

    edges: Sequence[float]
    old_vs_new: Sequence[int]
    old_vs_candidate: Sequence[int] | None = field(default=None, metadata=OPTIONAL_KEY)


def measure(items: TaskItems, quadrants: Quadrants, *, seed: int = 0) -> SideNumbers:
    """Return all numbers of a task between two versions that single answers give.

    Args:
        items: the task's items.
        quadrants: the same, counted (`muscle.flips.measuring.tally.tally`).
        seed: of the bootstrap.
    """
    differences = differences_of(items, seed=seed)
    if items.kind == "binary":
        found = {name: metric(quadrants) for name, metric in BINARY_METRICS.items()}
        for name in ("mean_gain", "mean_regression"):
            found[name] = SMOOTH_METRICS[name](differences) if items.score else Estimate.undefined(_NO_SCORE)
    else:
        found = dict.fromkeys(BINARY_METRICS, Estimate.undefined(_BINARY_ONLY.format(score=items.score_label)))
        found |= {name: metric(differences) for name, metric in SMOOTH_METRICS.items()}
    lost, gained = quadrants.negative_flips, quadrants.positive_flips
    test, bounds = statistics.mcnemar(lost, gained), negative_flip_rate_bounds(quadrants)
    over_groups = None
    if quadrants.clusters is not None:
        over_groups = clusters.clustered_test(quadrants.by_cluster(NEGATIVE), quadrants.by_cluster(POSITIVE))
    return SideNumbers(
        n=items.frame.height,
        accuracy_old=found["accuracy_old"],
        accuracy_new=found["accuracy_new"],
        accuracy_difference=found["accuracy_difference"],
        negative_flip_rate=found["negative_flip_rate"],
        positive_flip_rate=found["positive_flip_rate"],
        inconsistency_rate=found["inconsistency_rate"],
        backward_trust_compatibility=found["backward_trust_compatibility"],
        backward_error_compatibility=found["backward_error_compatibility"],
        relative_negative_flip_rate=found["relative_negative_flip_rate"],
        churn=found["churn"],
        mean_gain=found["mean_gain"],
        mean_regression=found["mean_regression"],
        mcnemar_exact_p=test.exact,
        mcnemar_mid_p=test.mid_p,
        mcnemar_harm_p=test.harm,
        negative_flip_rate_lower_bound=bounds[0] if bounds else None,
        negative_flip_rate_upper_bound=bounds[1] if bounds else None,
        probability_worse=None if over_groups else statistics.probability_worse(lost, gained),
        minimum_detectable_difference=_detectable(items, quadrants, differences),
        clustered_p=over_groups.two_sided if over_groups else None,
        clustered_harm_p=over_groups.harm if over_groups else None,
    )


def _detectable(items: TaskItems, quadrants: Quadrants, differences: Differences) -> float | None:
    """Return the smallest difference that these items can show; None without items or with grouped ones."""
    if quadrants.total == 0 or items.clusters is not None:
        return None
    if items.kind == "binary":
        flips = quadrants.negative_flips + quadrants.positive_flips
        return power.minimum_detectable_difference(flips / quadrants.total, quadrants.total)
    return power.minimum_detectable_mean(float(differences.values.std()), differences.values.size)


def adjusted_for_tasks(measured: Mapping[str, SideNumbers]) -> dict[str, SideNumbers]:
    """Return each task's numbers with its two-sided p-value adjusted over the tasks of one comparison."""
    p_values = [numbers.two_sided_p for numbers in measured.values()]
    adjusted = zip(measured.items(), holm(p_values), benjamini_hochberg(p_values), strict=True)
    return {
        name: replace(numbers, mcnemar_holm_p=family_wise, mcnemar_bh_p=discovery)
        for (name, numbers), family_wise, discovery in adjusted
    }


def histogram(sides: Mapping[WithOld, TaskItems]) -> DifferenceHistogram | None:
    """Return how the score's difference is distributed on each side, over shared edges.

    None where nothing moved, or the plain update lacks the task.

    Args:
        sides: the task's items by side, `old_vs_new` and perhaps `old_vs_candidate`.
    """
    values = {side: differences_of(items).values for side, items in sides.items()}
    if "old_vs_new" not in values:
        return None
    reach = max((float(np.abs(v).max()) for v in values.values() if v.size), default=0.0)
    if reach == 0:
        return None
    edges = np.linspace(-reach, reach, HISTOGRAM_BINS + 1)
    bins = {side: np.histogram(v, edges)[0].tolist() for side, v in values.items()}
    return DifferenceHistogram(edges.tolist(), bins["old_vs_new"], bins.get("old_vs_candidate"))
