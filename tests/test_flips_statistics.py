from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from muscle.flips import statistics
from muscle.flips.verdict import holm


def test_wilson_matches_the_published_example() -> None:
    interval = statistics.wilson(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


@settings(deadline=None)
@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_and_clopper_pearson_equal_scipy(counts: tuple[int, int]) -> None:
    count, total = counts
    for ours, theirs in (("wilson", "wilson"), ("clopper_pearson", "exact")):
        interval = getattr(statistics, ours)(count, total)
        expected = stats.binomtest(count, total).proportion_ci(method=theirs)
        assert interval.low == pytest.approx(expected.low, abs=1e-12)
        assert interval.high == pytest.approx(expected.high, abs=1e-12)


@pytest.mark.parametrize("count", [-1, 6])
def test_a_count_outside_its_total_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="0 <= count <= total"):
        statistics.wilson(count, 5)


@pytest.mark.parametrize(("total", "bound"), [(100, 0.0295), (300, 0.0099), (500, 0.0060)])
def test_no_flip_proves_only_so_much(total: int, bound: float) -> None:
    assert round(statistics.upper_bound(0, total), 4) == bound
    assert statistics.upper_bound(0, total) == pytest.approx(1 - 0.05 ** (1 / total))


def test_the_lower_bound_is_the_upper_one_of_the_rest() -> None:
    assert statistics.lower_bound(7, 40) == pytest.approx(1 - statistics.upper_bound(33, 40))


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        ((36, 12, 2, 0), -0.3404, -0.0569),  # Newcombe 1998, method 10
        ((1, 1, 7, 12), 0.0256, 0.5069),  # Bentur et al., in Fagerland, Lydersen and Laake 2014
        ((14, 5, 0, 22), -0.2265, -0.0115),  # Altman et al. 2000, table 6.2
    ],
)
def test_newcombe_matches_published_examples(
    cells: tuple[int, int, int, int], low: float, high: float
) -> None:
    interval = statistics.newcombe_paired(*cells)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


cell = st.integers(0, 60)


@settings(deadline=None)
@given(st.tuples(cell, cell, cell, cell).filter(lambda cells: sum(cells) > 0))
def test_newcombe_turns_its_sign_when_the_versions_are_swapped(cells: tuple[int, int, int, int]) -> None:
    both, first, second, neither = cells
    forward = statistics.newcombe_paired(both, first, second, neither)
    backward = statistics.newcombe_paired(both, second, first, neither)
    assert forward.low == pytest.approx(-backward.high, abs=1e-12)
    assert forward.low <= (second - first) / sum(cells) <= forward.high


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_equals_the_binomial_test_of_scipy(negative: int, positive: int) -> None:
    test = statistics.mcnemar(negative, positive)
    if negative + positive == 0:
        assert (test.exact, test.mid_p, test.harm) == (1.0, 1.0, 1.0)
        return
    flips = negative + positive
    assert test.exact == pytest.approx(stats.binomtest(negative, flips).pvalue, rel=1e-9)
    assert test.harm == pytest.approx(
        stats.binomtest(negative, flips, alternative="greater").pvalue, rel=1e-9
    )
    point = stats.binom.pmf(negative, flips, 0.5)
    assert test.mid_p == pytest.approx(test.exact - point * (0.5 if negative == positive else 1), rel=1e-9)


@pytest.mark.parametrize(
    ("negative", "positive", "p_value"),
    [(8, 0, 0.00781), (7, 0, 0.01563), (6, 0, 0.03125), (20, 5, 0.00408), (48, 32, 0.09291), (7, 1, 0.0703)],
)
def test_mcnemar_gives_the_known_answers(negative: int, positive: int, p_value: float) -> None:
    assert statistics.mcnemar(negative, positive).exact == pytest.approx(
        p_value, abs=6e-6 if p_value < 0.07 else 5e-5
    )


@pytest.mark.parametrize(
    ("negative", "positive", "p_value"), [(6, 0, 0.0156), (11, 2, 0.0112), (8, 2, 0.0547)]
)
def test_one_sided_mcnemar_gives_the_known_answers(negative: int, positive: int, p_value: float) -> None:
    assert round(statistics.mcnemar(negative, positive).harm, 4) == p_value


def test_mcnemar_stays_exact_for_millions_of_flips() -> None:
    test = statistics.mcnemar(501_000, 499_000)
    assert test.exact == pytest.approx(stats.binomtest(499_000, 1_000_000).pvalue, rel=1e-6)
    assert statistics.mcnemar(600_000, 400_000).harm < 1e-100


def test_the_bootstrap_of_a_mean_agrees_with_the_normal_interval_on_many_values() -> None:
    values = np.random.default_rng(3).normal(2.0, 1.0, 20_000)
    estimate = statistics.bootstrap_mean(values)
    reach = 1.96 * values.std() / math.sqrt(values.size)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - reach, abs=reach / 5)
    assert estimate.high == pytest.approx(values.mean() + reach, abs=reach / 5)


def test_the_bootstrap_agrees_with_that_of_scipy_on_few_skewed_values() -> None:
    values = np.random.default_rng(5).exponential(1.0, 40)
    ours = statistics.bootstrap_mean(values, resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", random_state=1
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.high, abs=0.02)


def test_the_bootstrap_is_the_same_for_the_same_seed_whatever_the_order() -> None:
    values = np.random.default_rng(0).normal(size=3_000)
    first, turned = (statistics.bootstrap_mean(v, seed=4) for v in (values, values[::-1].copy()))
    assert (turned.low, turned.high) == pytest.approx((first.low, first.high))
    assert statistics.bootstrap_mean(values, seed=4) == first
    assert statistics.bootstrap_mean(values, seed=5).low != first.low


def test_a_mean_over_nothing_is_undefined_and_of_one_value_has_no_interval() -> None:
    nothing = statistics.bootstrap_mean(np.array([]))
    assert nothing.to_json() == {"value": None, "low": None, "high": None, "why": "a mean over no items"}
    one = statistics.bootstrap_mean(np.array([0.5]))
    assert (one.value, one.low, one.why) == (0.5, None, "one item has no interval")
    assert statistics.bootstrap_mean(np.array([0.25, 0.25])).low == 0.25


def test_the_relative_rate_is_zero_below_without_a_flip() -> None:
    interval = statistics.relative_rate(50, 0, 5, 45)
    assert interval.low == 0.0 and 0 < interval.high < 1


def test_the_relative_rate_agrees_with_a_multinomial_bootstrap() -> None:
    cells = np.array([600, 80, 120, 200])
    draws = np.random.default_rng(1).multinomial(1000, cells / 1000, size=40_000)
    a, b, _, d = draws.T
    low, high = np.quantile(b * 1000 / ((a + b) * (b + d)), [0.025, 0.975])
    interval = statistics.relative_rate(600, 80, 120, 200)
    assert interval.low == pytest.approx(low, rel=0.03) and interval.high == pytest.approx(high, rel=0.03)


def test_the_paired_ratio_agrees_with_a_multinomial_bootstrap() -> None:
    draws = np.random.default_rng(1).multinomial(1000, [0.06, 0.09, 0.03, 0.82], size=40_000)
    low, high = np.quantile((draws[:, 0] + draws[:, 2]) / (draws[:, 0] + draws[:, 1]), [0.025, 0.975])
    interval = statistics.paired_ratio(60, 90, 30)
    assert interval.low == pytest.approx(low, rel=0.03) and interval.high == pytest.approx(high, rel=0.03)
    assert statistics.paired_ratio(0, 20, 0).low == 0.0


def test_clusters_of_one_give_the_plain_interval() -> None:
    parts = np.array([1.0] * 30 + [0.0] * 170)
    clustered = statistics.clustered_rate(parts, np.ones(200))
    plain = statistics.rate(30, 200)
    assert clustered.low == pytest.approx(plain.low, abs=2e-3)
    assert clustered.high == pytest.approx(plain.high, abs=2e-3)


def test_clusters_that_move_together_count_as_one_item_each() -> None:
    parts = np.repeat(np.array([5.0] * 30 + [0.0] * 170), 1)
    clustered = statistics.clustered_rate(parts, np.full(200, 5.0))
    plain = statistics.rate(30, 200)
    assert clustered.low == pytest.approx(plain.low, abs=3e-3)
    assert clustered.high == pytest.approx(plain.high, abs=3e-3)


def test_a_clustered_mean_has_the_published_standard_error() -> None:
    values, groups = np.array([1.0, 2.0, 3.0, 5.0, 4.0, 0.0]), np.array([0, 0, 1, 1, 2, 2])
    residuals = np.bincount(groups, weights=values - values.mean())
    expected = math.sqrt((residuals**2).sum() * 3 / 2) / 6
    estimate = statistics.clustered_mean(np.bincount(groups, weights=values), np.full(3, 2.0))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.high is not None
    assert estimate.high - values.mean() == pytest.approx(stats.t.ppf(0.975, 2) * expected)
    assert statistics.clustered_mean(np.array([]), np.array([])).value is None


def test_holm_adjusts_in_steps() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]
