from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from muscle import compare
from muscle.flips.measuring.metrics import Quadrants, count_quadrants
from muscle.flips.measuring.over_tasks import macro_accuracy_difference, pool, pool_quadrants, sign_flip_p
from muscle.flips.statistics.intervals import mcnemar
from muscle.typed_json import json_object


def task(both: int, lost: int, gained: int, neither: int) -> Quadrants:
    return Quadrants(np.array([neither, 0, gained, 0, lost, 0, both, 0]), answers_known=False)


def test_items_count_alike_in_the_pooled_rates_and_tasks_alike_in_the_macro_ones() -> None:
    pooled = pool([task(800, 100, 0, 100), task(5, 0, 5, 0)])
    assert pooled is not None
    assert (pooled.tasks, pooled.n) == (2, 1010)
    assert pooled.accuracy_difference.value == pytest.approx(-95 / 1010)
    assert pooled.macro_accuracy_difference.value == pytest.approx((-0.1 + 0.5) / 2)
    assert pooled.negative_flip_rate.value == pytest.approx(100 / 1010)
    assert pooled.macro_negative_flip_rate == pytest.approx(0.05)
    assert pooled.mcnemar_exact_p == mcnemar(100, 5).exact


def test_one_task_is_not_pooled() -> None:
    assert pool([task(5, 1, 1, 1)]) is None and pool([]) is None
    assert pool([task(5, 1, 1, 1), task(0, 0, 0, 0)]) is None


def test_the_macro_interval_has_the_variance_of_independent_tasks() -> None:
    estimate = macro_accuracy_difference([task(60, 10, 20, 10), task(100, 30, 30, 40)])
    variances = [(0.3 - 0.1**2) / 100, 0.3 / 200]
    assert estimate.high is not None and estimate.value == pytest.approx(0.05)
    assert estimate.high - 0.05 == pytest.approx(1.959964 * math.sqrt(sum(variances)) / 2, rel=1e-6)


def test_the_permutation_test_of_one_size_of_task_agrees_with_mcnemar() -> None:
    tasks = [task(70, 15, 5, 10)] * 3
    assert sign_flip_p(tasks) == pytest.approx(mcnemar(45, 15).exact, abs=2e-3)
    assert sign_flip_p([task(80, 5, 5, 10)] * 4) == 1.0
    assert sign_flip_p(tasks, seed=1) == sign_flip_p(tasks, seed=1)


def test_the_permutation_test_holds_its_level_with_unlike_tasks() -> None:
    generator = np.random.default_rng(7)
    rejected = 0
    for trial in range(200):
        lost = generator.binomial([40, 8, 3], 0.5)
        tasks = [task(n - f, int(b), f - int(b), 0) for n, f, b in zip((1000, 60, 12), (40, 8, 3), lost, strict=True)]
        rejected += sign_flip_p(tasks, seed=trial) < 0.05
    assert rejected <= 20


def test_groups_of_different_tasks_stay_apart() -> None:
    generator = np.random.default_rng(0)
    grouped = [
        count_quadrants(*(generator.random((2, 40)) < 0.7), clusters=np.repeat(np.arange(8), 5)) for _ in range(2)
    ]
    everything = pool_quadrants(grouped)
    assert everything.clusters is not None and everything.clusters.shape == (16, 8)
    pooled = pool(grouped)
    assert pooled is not None and pooled.clustered_p is not None and 0 <= pooled.clustered_p <= 1
    assert pooled.mcnemar_exact_p is None and "mcnemar_exact_p" not in json_object(pooled)


def test_the_report_pools_its_tasks_and_adjusts_their_p_values() -> None:
    def side(rights: dict[str, int]) -> pl.DataFrame:
        rows = [{"task": t, "id": str(i), "correct": i < right} for t, right in rights.items() for i in range(100)]
        return pl.DataFrame(rows)

    report = compare(side({"a": 80, "b": 80}), side({"a": 70, "b": 79})).to_json()
    assert report["pooled"]["old_vs_new"]["n"] == 200
    metrics = {name: entry["old_vs_new"] for name, entry in report["tasks"].items()}
    assert metrics["a"]["mcnemar_holm_p"] == pytest.approx(2 * metrics["a"]["mcnemar_exact_p"])
    assert metrics["b"]["mcnemar_bh_p"] == 1.0
    upper = stats.binomtest(10, 100, alternative="less").proportion_ci(0.95).high
    lower = stats.binomtest(10, 100, alternative="greater").proportion_ci(0.95).low
    assert metrics["a"]["negative_flip_rate_upper_bound"] == pytest.approx(upper)
    assert metrics["a"]["negative_flip_rate_lower_bound"] == pytest.approx(lower)
    assert metrics["a"]["probability_worse"] == pytest.approx(1 - 0.5**11)
    assert metrics["a"]["minimum_detectable_difference"] == pytest.approx(2.80159 * math.sqrt(0.1 / 100), abs=1e-5)


def test_a_task_without_groups_keeps_those_of_the_others() -> None:
    cells = np.zeros((6, 8), dtype=np.int64)
    cells[:, 4], cells[:, 6] = (9, 9, 0, 0, 0, 0), (1, 1, 10, 10, 10, 10)
    grouped = Quadrants(cells.sum(axis=0), answers_known=False, clusters=cells)
    together = pool_quadrants([grouped, task(30, 2, 4, 4)])
    assert together.clusters is not None and together.clusters.shape == (46, 8)
    assert together.clusters.sum(axis=0).tolist() == together.cells.tolist()
    found = pool([grouped, task(30, 2, 4, 4)])
    assert found is not None and found.clustered_p is not None and found.clustered_p > 0.2
    assert found.mcnemar_exact_p is None
    assert mcnemar(20, 4).exact < 0.01


def test_one_group_of_items_has_no_macro_interval() -> None:
    cells = np.array([[0, 0, 1, 0, 5, 0, 4, 0]])
    lone = Quadrants(cells[0], answers_known=False, clusters=cells)
    estimate = macro_accuracy_difference([lone, task(60, 10, 20, 10)])
    assert estimate.value is not None and estimate.low is None and "one group" in str(estimate.why)
