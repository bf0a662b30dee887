from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from muscle.flips.statistics import clusters, power, resampling
from muscle.flips.statistics import intervals as statistics
from muscle.flips.statistics.intervals import Estimate
from muscle.flips.statistics.multiplicity import benjamini_hochberg, holm


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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=9))
def test_the_clustered_test_counts_the_signs_of_the_groups(flips: list[tuple[int, int]]) -> None:
    negative, positive = np.array(flips, dtype=float).T
    net = positive - negative
    sums = np.array([np.dot(signs, net) for signs in itertools.product((1, -1), repeat=net.size)])
    low, high = (sums <= net.sum()).mean(), (sums >= net.sum()).mean()
    test = clusters.clustered_test(negative, positive)
    assert test.harm == pytest.approx(low) and test.two_sided == pytest.approx(min(1, 2 * min(low, high)))
    turned = clusters.clustered_test(positive, negative)
    assert turned.two_sided == pytest.approx(test.two_sided)


def test_too_many_groups_for_the_exact_distribution_are_near_it() -> None:
    generator = np.random.default_rng(1)
    negative, positive = (generator.binomial(12, rate, 400).astype(float) for rate in (0.11, 0.1))
    exact = clusters.clustered_test(negative, positive)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "MAX_STEPS", 0)
        near = clusters.clustered_test(negative, positive)
    assert near.harm == pytest.approx(exact.harm, rel=0.05) and near.harm != exact.harm


def test_as_many_groups_as_it_takes_can_prove_harm_and_one_less_cannot() -> None:
    for alpha in (0.05, 0.01, 0.001):
        needed = clusters.fewest_clusters(alpha)
        p_values = [clusters.clustered_test(np.full(g, 50.0), np.zeros(g)).harm for g in (needed - 1, needed)]
        assert p_values[0] > alpha >= p_values[1] == pytest.approx(0.5**needed)


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        ((36, 12, 2, 0), -0.3404, -0.0569),  # Newcombe 1998, method 10
        ((1, 1, 7, 12), 0.0256, 0.5069),  # Bentur et al., in Fagerland, Lydersen and Laake 2014
        ((14, 5, 0, 22), -0.2265, -0.0115),  # Altman et al. 2000, table 6.2
    ],
)
def test_newcombe_matches_published_examples(cells: tuple[int, int, int, int], low: float, high: float) -> None:
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
    assert test.harm == pytest.approx(stats.binomtest(negative, flips, alternative="greater").pvalue, rel=1e-9)
    point = stats.binom.pmf(negative, flips, 0.5)
    assert test.mid_p == pytest.approx(test.exact - point * (0.5 if negative == positive else 1), rel=1e-9)


@pytest.mark.parametrize(
    ("negative", "positive", "p_value"),
    [(8, 0, 0.00781), (7, 0, 0.01563), (6, 0, 0.03125), (20, 5, 0.00408), (48, 32, 0.09291), (7, 1, 0.0703)],
)
def test_mcnemar_gives_the_known_answers(negative: int, positive: int, p_value: float) -> None:
    assert statistics.mcnemar(negative, positive).exact == pytest.approx(p_value, abs=6e-6 if p_value < 0.07 else 5e-5)


@pytest.mark.parametrize(("negative", "positive", "p_value"), [(6, 0, 0.0156), (11, 2, 0.0112), (8, 2, 0.0547)])
def test_one_sided_mcnemar_gives_the_known_answers(negative: int, positive: int, p_value: float) -> None:
    assert round(statistics.mcnemar(negative, positive).harm, 4) == p_value


def test_mcnemar_stays_exact_for_millions_of_flips() -> None:
    test = statistics.mcnemar(501_000, 499_000)
    assert test.exact == pytest.approx(stats.binomtest(499_000, 1_000_000).pvalue, rel=1e-6)
    assert statistics.mcnemar(600_000, 400_000).harm < 1e-100


def test_the_bootstrap_of_a_mean_agrees_with_the_normal_interval_on_many_values() -> None:
    values = np.random.default_rng(3).normal(2.0, 1.0, 20_000)
    estimate = resampling.bootstrap_mean(values)
    reach = 1.96 * values.std() / math.sqrt(values.size)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - reach, abs=reach / 5)
    assert estimate.high == pytest.approx(values.mean() + reach, abs=reach / 5)


def test_the_bootstrap_agrees_with_that_of_scipy_on_few_skewed_values() -> None:
    values = np.random.default_rng(5).exponential(1.0, 40)
    ours = resampling.bootstrap_mean(values, resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", random_state=1).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.high, abs=0.02)


def test_the_bootstrap_is_the_same_for_the_same_seed_whatever_the_order() -> None:
    values = np.random.default_rng(0).normal(size=3_000)
    first, turned = (resampling.bootstrap_mean(v, seed=4) for v in (values, values[::-1].copy()))
    assert (turned.low, turned.high) == pytest.approx((first.low, first.high))
    assert resampling.bootstrap_mean(values, seed=4) == first
    assert resampling.bootstrap_mean(values, seed=5).low != first.low


def test_a_mean_over_nothing_is_undefined_and_of_one_value_has_no_interval() -> None:
    nothing = resampling.bootstrap_mean(np.array([]))
    assert nothing == Estimate(None, None, None, why="a mean over no items")
    one = resampling.bootstrap_mean(np.array([0.5]))
    assert (one.value, one.low, one.why) == (0.5, None, "one item has no interval")
    assert resampling.bootstrap_mean(np.array([0.25, 0.25])).low == 0.25


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
    clustered, plain = clusters.clustered_rate(parts, np.ones(200)), statistics.clopper_pearson(30, 200)
    assert clustered.low == pytest.approx(plain.low, abs=2e-3)
    assert clustered.high == pytest.approx(plain.high, abs=2e-3)


def test_clusters_that_move_together_count_as_one_item_each() -> None:
    parts = np.array([5.0] * 30 + [0.0] * 170)
    clustered, plain = clusters.clustered_rate(parts, np.full(200, 5.0)), statistics.clopper_pearson(30, 200)
    assert clustered.low == pytest.approx(plain.low, abs=2e-3)
    assert clustered.high == pytest.approx(plain.high, abs=2e-3)


def test_a_clustered_rate_of_nothing_counts_clusters() -> None:
    nothing = clusters.clustered_rate(np.zeros(50), np.full(50, 10.0))
    assert nothing == statistics.clopper_pearson(0, 50)


def test_a_clustered_mean_has_the_published_standard_error() -> None:
    values, groups = np.array([1.0, 2.0, 3.0, 5.0, 4.0, 0.0]), np.array([0, 0, 1, 1, 2, 2])
    residuals = np.bincount(groups, weights=values - values.mean())
    expected = math.sqrt((residuals**2).sum() * 3 / 2) / 6
    estimate = clusters.clustered_mean(np.bincount(groups, weights=values), np.full(3, 2.0))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.high is not None
    assert estimate.high - values.mean() == pytest.approx(stats.t.ppf(0.975, 2) * expected)
    assert clusters.clustered_mean(np.array([]), np.array([])).value is None


def test_the_clustered_test_of_single_items_is_mcnemars_exact_test() -> None:
    flips = np.array([1.0] * 48 + [0.0] * 32), np.array([0.0] * 48 + [1.0] * 32)
    test, plain = clusters.clustered_test(*flips), statistics.mcnemar(48, 32)
    assert (test.two_sided, test.harm) == pytest.approx((plain.exact, plain.harm))
    assert clusters.clustered_test(np.zeros(5), np.zeros(5)).two_sided == 1.0


def test_the_clustered_test_is_less_sure_where_items_move_together() -> None:
    negative, positive = np.array([8.0, 8, 0, 0, 0, 0]), np.array([0.0, 0, 1, 1, 1, 1])
    assert clusters.clustered_test(negative, positive).harm > 0.1
    assert statistics.mcnemar(16, 4).harm < 0.01


@pytest.mark.parametrize(
    ("disagreement", "items", "difference"),
    [(0.10, 100, 0.0886), (0.10, 500, 0.0396), (0.10, 1000, 0.0280), (0.05, 1000, 0.0198)],
)
def test_the_detectable_difference_gives_the_known_answers(disagreement: float, items: int, difference: float) -> None:
    found = power.minimum_detectable_difference(disagreement, items)
    assert found == pytest.approx(difference, abs=6e-5)


def test_planning_refuses_impossible_wishes() -> None:
    assert power.items_to_prove(0.01) == 299 and statistics.upper_bound(0, 299) <= 0.01 < statistics.upper_bound(0, 298)
    for rate in (-0.5, 1.5):
        with pytest.raises(ValueError, match="must lie in"):
            power.items_to_prove(rate)
    assert power.items_to_prove(0.0) is None and power.items_to_prove(1.0) == 1
    assert power.minimum_detectable_mean(0.5, 100) == pytest.approx(0.05 * 2.80159, abs=1e-5)


@pytest.mark.parametrize(
    ("negative", "positive", "probability"), [(141, 188, 0.00478), (67, 90, 0.0335), (17, 14, 0.7017)]
)
def test_the_bayes_line_gives_the_known_answers(negative: int, positive: int, probability: float) -> None:
    assert statistics.probability_worse(negative, positive) == pytest.approx(probability, rel=2e-3)
    assert statistics.probability_worse(0, 0) == 0.5


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_values_equal_scipy_and_the_definition(p_values: list[float]) -> None:
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values))
    ordered = sorted(p_values)
    steps = [min(1.0, (len(ordered) - i) * p) for i, p in enumerate(ordered)]
    expected = {p: max(steps[: i + 1]) for i, p in enumerate(ordered)}
    assert all(a >= p - 1e-12 for a, p in zip(holm(p_values), p_values, strict=True))
    assert max(holm(p_values)) == pytest.approx(max(expected.values()))


def test_holm_adjusts_in_steps() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]
