"""All numbers of one task between two versions, as the report holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from muscle.flips.measuring.counting import differences_of, quadrants_of
from muscle.flips.measuring.metrics import (
    BINARY_METRICS,
    NEGATIVE,
    POSITIVE,
    Quadrants,
    negative_flip_rate_bounds,
)
from muscle.flips.measuring.score_metrics import SMOOTH_METRICS, Differences
from muscle.flips.pairing.items import TaskItems
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


def measure(items: TaskItems, *, epsilon: float = 0.0, seed: int = 0) -> dict[str, Any]:
    """Return all metrics of a task between two versions.

    Args:
        items: the task's items.
        epsilon: dead band of the score.
        seed: of the bootstrap.

    Returns:
        - each metric with value, low and high (95 %), or null with a `why`;
        - `n`, the items;
        - `mcnemar_exact_p`, `mcnemar_mid_p`, `mcnemar_harm_p` (one-sided), of better and worse items for a score; and
          `clustered_p`, `clustered_harm_p` (signs of the groups flipped) where items are grouped, as then McNemar's is too sure;
        - `negative_flip_rate_lower_bound`, `negative_flip_rate_upper_bound`: one-sided exact 95 % bounds;
        - `probability_worse`: the Bayes line, that negative flips are likelier than positive ones; null where items are grouped;
        - `minimum_detectable_difference` of accuracy, or of the mean score, at alpha 0.05 with power 0.8.
    """
    differences = differences_of(items, epsilon=epsilon, seed=seed)
    quadrants = quadrants_of(items) if items.kind == "binary" else _signs(differences)
    if items.kind == "binary":
        found = {name: metric(quadrants) for name, metric in BINARY_METRICS.items()}
        for name in ("mean_gain", "mean_regression"):
            found[name] = SMOOTH_METRICS[name](differences) if items.score else Estimate.undefined(_NO_SCORE)
    else:
        found = dict.fromkeys(
            BINARY_METRICS, Estimate.undefined(_BINARY_ONLY.format(score=items.score_label))
        )
        found |= {name: metric(differences) for name, metric in SMOOTH_METRICS.items()}
    return {
        "n": items.frame.height,
        **{name: estimate.to_json() for name, estimate in found.items()},
        **_tests(quadrants),
        "minimum_detectable_difference": _detectable(items, quadrants, differences),
    }


def _signs(differences: Differences) -> Quadrants:
    """Return the flips of a score as counts: better and worse items take the places of the flips."""
    cells = np.where(differences.worse, NEGATIVE[0], np.where(differences.better, POSITIVE[0], 0))
    counts = np.bincount(cells, minlength=8)
    if differences.clusters is None:
        return Quadrants(counts, answers_known=False)
    num_clusters = int(differences.clusters.max(initial=-1)) + 1
    grouped = np.bincount(8 * differences.clusters + cells, minlength=8 * num_clusters).reshape(
        num_clusters, 8
    )
    return Quadrants(counts, answers_known=False, clusters=grouped)


def _tests(quadrants: Quadrants) -> dict[str, Any]:
    lost, gained = quadrants.negative_flips, quadrants.positive_flips
    test, bounds = statistics.mcnemar(lost, gained), negative_flip_rate_bounds(quadrants)
    grouped = quadrants.clusters is not None
    found = {
        "mcnemar_exact_p": test.exact,
        "mcnemar_mid_p": test.mid_p,
        "mcnemar_harm_p": test.harm,
        "negative_flip_rate_lower_bound": bounds[0] if bounds else None,
        "negative_flip_rate_upper_bound": bounds[1] if bounds else None,
        "probability_worse": None if grouped else statistics.probability_worse(lost, gained),
    }
    if grouped:
        over_groups = clusters.clustered_test(quadrants.by_cluster(NEGATIVE), quadrants.by_cluster(POSITIVE))
        found |= {"clustered_p": over_groups.two_sided, "clustered_harm_p": over_groups.harm}
    return found


def _detectable(items: TaskItems, quadrants: Quadrants, differences: Differences) -> float | None:
    """Return the smallest difference that these items can show; None without items or with grouped ones."""
    if quadrants.total == 0 or items.clusters is not None:
        return None
    if items.kind == "binary":
        flips = quadrants.negative_flips + quadrants.positive_flips
        return power.minimum_detectable_difference(flips / quadrants.total, quadrants.total)
    return power.minimum_detectable_mean(float(differences.values.std()), differences.values.size)


def adjust_for_tasks(measured: Mapping[str, dict[str, Any]]) -> None:
    """Add `mcnemar_holm_p` and `mcnemar_bh_p`, adjusted over the tasks of one comparison, to each task's numbers.

    The p-values are the exact two-sided ones, or those over the groups where items are grouped.
    """
    p_values = [m.get("clustered_p", m["mcnemar_exact_p"]) for m in measured.values()]
    adjusted = zip(measured.values(), holm(p_values), benjamini_hochberg(p_values), strict=True)
    for metrics, family_wise, discovery in adjusted:
        metrics["mcnemar_holm_p"], metrics["mcnemar_bh_p"] = family_wise, discovery


def counts(items: TaskItems, *, epsilon: float = 0.0) -> dict[str, int | None]:
    """Return how many items are in each quadrant; of a score, how many got better, worse, or neither."""
    if items.kind == "binary":
        return quadrants_of(items).to_json()
    return {**differences_of(items, epsilon=epsilon).to_json()}


def histogram(sides: Mapping[str, TaskItems]) -> dict[str, Any] | None:
    """Return how the score's difference is distributed on each side, over shared edges; None where nothing moved."""
    values = {side: differences_of(items).values for side, items in sides.items()}
    reach = max((float(np.abs(v).max()) for v in values.values() if v.size), default=0.0)
    if reach == 0:
        return None
    edges = np.linspace(-reach, reach, HISTOGRAM_BINS + 1)
    return {"edges": edges.tolist()} | {
        side: np.histogram(v, edges)[0].tolist() for side, v in values.items()
    }
