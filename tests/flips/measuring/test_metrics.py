from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muscle.flips.measuring.counting import BinaryCounts, counts_of
from muscle.flips.measuring.metrics import BINARY_METRICS, Quadrants, count_quadrants
from muscle.flips.measuring.score_metrics import SMOOTH_METRICS, Differences

items = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=40)
scores = st.lists(
    st.tuples(st.floats(0, 1, allow_subnormal=False), st.floats(0, 1, allow_subnormal=False)),
    min_size=1,
    max_size=30,
)


def quadrants_of(rows: list[tuple[bool, bool, bool]], *, answers_known: bool = True) -> Quadrants:
    old, new, changed = (np.array(column, dtype=bool) for column in zip(*rows, strict=True))
    return count_quadrants(old, new, changed=changed, answers_known=answers_known)


@settings(deadline=None)
@given(items)
def test_the_accuracy_difference_is_the_difference_of_the_flip_rates_exactly(
    rows: list[tuple[bool, bool, bool]],
) -> None:
    q = quadrants_of(rows)
    accuracy_new, accuracy_old = (Fraction(q.both_right + f, q.total) for f in (q.positive_flips, q.negative_flips))
    assert accuracy_new - accuracy_old == Fraction(q.positive_flips, q.total) - Fraction(q.negative_flips, q.total)
    assert BINARY_METRICS["accuracy_difference"](q).value == float(accuracy_new - accuracy_old)


@settings(deadline=None)
@given(items)
def test_the_cells_sum_to_the_total(rows: list[tuple[bool, bool, bool]]) -> None:
    q = quadrants_of(rows)
    assert q.both_right + q.negative_flips + q.positive_flips + q.both_wrong == q.total == len(rows)
    counts = counts_of("binary", q)
    assert isinstance(counts, BinaryCounts)
    assert counts.both_wrong_same is not None and counts.both_wrong_different is not None
    assert counts.both_wrong_same + counts.both_wrong_different == counts.both_wrong


@settings(deadline=None)
@given(items)
def test_swapping_the_versions_swaps_the_rates(rows: list[tuple[bool, bool, bool]]) -> None:
    forward, backward = quadrants_of(rows), quadrants_of([(new, old, changed) for old, new, changed in rows])
    value = {name: (m(forward).value, m(backward).value) for name, m in BINARY_METRICS.items()}
    assert value["negative_flip_rate"][0] == value["positive_flip_rate"][1]
    assert value["accuracy_old"][0] == value["accuracy_new"][1]
    assert value["churn"][0] == value["churn"][1]
    assert value["accuracy_difference"][0] == -value["accuracy_difference"][1]


def brute_force(rows: list[tuple[bool, bool, bool]]) -> dict[str, float | None]:
    n = len(rows)
    old_right = [r for r in rows if r[0]]
    new_wrong = [r for r in rows if not r[1]]
    nfr = sum(old and not new for old, new, _ in rows) / n
    accuracy_old, accuracy_new = len(old_right) / n, 1 - len(new_wrong) / n
    chance = (1 - accuracy_new) * accuracy_old
    return {
        "accuracy_old": accuracy_old,
        "accuracy_new": accuracy_new,
        "accuracy_difference": accuracy_new - accuracy_old,
        "negative_flip_rate": nfr,
        "positive_flip_rate": sum(new and not old for old, new, _ in rows) / n,
        "inconsistency_rate": sum(not new and (old or changed) for old, new, changed in rows) / n,
        "backward_trust_compatibility": sum(new for _, new, _ in old_right) / len(old_right) if old_right else None,
        "backward_error_compatibility": sum(not old for old, _, _ in new_wrong) / len(new_wrong) if new_wrong else None,
        "relative_negative_flip_rate": nfr / chance if old_right and new_wrong else None,
        "churn": sum(changed for _, _, changed in rows) / n,
    }


@settings(deadline=None)
@given(items)
def test_every_metric_equals_a_brute_force_count(rows: list[tuple[bool, bool, bool]]) -> None:
    q = quadrants_of(rows)
    for name, expected in brute_force(rows).items():
        found = BINARY_METRICS[name](q)
        assert found.value == (None if expected is None else pytest.approx(expected, abs=1e-12)), name
        if found.value is not None and found.low is not None and found.high is not None:
            assert found.low <= found.value + 1e-12 and found.value <= found.high + 1e-12, name
        assert (found.value is None) == (found.why is not None)


def test_trust_compatibility_is_one_minus_the_flip_rate_over_the_old_accuracy() -> None:
    q = quadrants_of([(True, True, False)] * 6 + [(True, False, True)] * 2 + [(False, True, True)] * 2)
    assert BINARY_METRICS["backward_trust_compatibility"](q).value == pytest.approx(1 - 0.2 / 0.8)


def test_errors_that_fall_by_chance_have_a_relative_rate_of_one() -> None:
    rows = [(True, True, False)] * 42 + [(True, False, True)] * 18 + [(False, True, True)] * 28
    q = quadrants_of(rows + [(False, False, False)] * 12)
    assert BINARY_METRICS["relative_negative_flip_rate"](q).value == pytest.approx(1.0)


def test_what_needs_answers_is_undefined_without_them() -> None:
    q = quadrants_of([(True, False, False), (False, False, False)], answers_known=False)
    for name in ("inconsistency_rate", "churn"):
        assert BINARY_METRICS[name](q).value is None and "no answers" in str(BINARY_METRICS[name](q).why)
    counts = counts_of("binary", q)
    assert isinstance(counts, BinaryCounts)
    assert (counts.both_wrong, counts.both_wrong_same, counts.both_right_changed) == (1, None, None)


def test_over_no_items_everything_is_undefined_with_a_reason() -> None:
    empty = np.array([], dtype=bool)
    for quadrants in (
        count_quadrants(empty, empty),
        count_quadrants(empty, empty, clusters=np.array([], dtype=np.int64)),
    ):
        for metric in BINARY_METRICS.values():
            assert metric(quadrants).value is None and metric(quadrants).why
    nothing = Differences(np.array([]), np.array([]))
    for metric_of in SMOOTH_METRICS.values():
        assert metric_of(nothing).value is None and metric_of(nothing).why


@settings(deadline=None)
@given(items)
def test_clusters_leave_the_values_as_they_are(rows: list[tuple[bool, bool, bool]]) -> None:
    old, new, changed = (np.array(column, dtype=bool) for column in zip(*rows, strict=True))
    clusters = np.arange(len(rows)) // 3
    clustered = count_quadrants(old, new, changed=changed, answers_known=True, clusters=clusters)
    plain = quadrants_of(rows)
    for name, metric in BINARY_METRICS.items():
        assert metric(clustered).value == metric(plain).value, name


def test_clusters_of_copies_have_the_interval_of_the_items_themselves() -> None:
    generator = np.random.default_rng(0)
    old, new = generator.random((2, 400)) < [[0.8], [0.75]]
    plain = count_quadrants(old, new)
    copied = count_quadrants(np.repeat(old, 5), np.repeat(new, 5), clusters=np.repeat(np.arange(400), 5))
    for name in ("negative_flip_rate", "backward_trust_compatibility", "accuracy_difference"):
        one, five = BINARY_METRICS[name](plain), BINARY_METRICS[name](copied)
        assert five.low == pytest.approx(one.low, abs=5e-3) and five.high == pytest.approx(one.high, abs=5e-3)


@settings(deadline=None)
@given(scores, st.sampled_from([0.0, 0.1]))
def test_smooth_metrics_equal_a_brute_force_count(rows: list[tuple[float, float]], epsilon: float) -> None:
    old, new = (np.array(column) for column in zip(*rows, strict=True))
    differences = Differences(old, new, epsilon=epsilon)
    d = [n - o for o, n in rows]
    gains, losses = [x for x in d if x > epsilon], [-x for x in d if x < -epsilon]
    expected = {
        "accuracy_old": sum(old) / len(d),
        "accuracy_new": sum(new) / len(d),
        "accuracy_difference": sum(d) / len(d),
        "negative_flip_rate": len(losses) / len(d),
        "positive_flip_rate": len(gains) / len(d),
        "mean_gain": sum(gains) / len(gains) if gains else None,
        "mean_regression": sum(losses) / len(losses) if losses else None,
    }
    assert expected.keys() == SMOOTH_METRICS.keys()
    for name, value in expected.items():
        found = SMOOTH_METRICS[name](differences)
        assert found.value == (None if value is None else pytest.approx(value, abs=1e-12)), name
    assert (differences.better.sum(), differences.worse.sum()) == (len(gains), len(losses))
    assert (differences.better | differences.worse).sum() == len(gains) + len(losses)


def test_grouped_scores_have_wider_intervals() -> None:
    generator = np.random.default_rng(2)
    old = np.repeat(generator.random(50), 10)
    new = old + np.repeat(generator.normal(0, 0.1, 50), 10)
    groups = np.repeat(np.arange(50), 10)
    for name in ("accuracy_difference", "negative_flip_rate", "mean_gain"):
        plain = SMOOTH_METRICS[name](Differences(old, new))
        grouped = SMOOTH_METRICS[name](Differences(old, new, clusters=groups))
        assert grouped.value == pytest.approx(plain.value)
        assert None not in (grouped.high, grouped.low, plain.high, plain.low)
        assert grouped.high - grouped.low > 2 * (plain.high - plain.low), name  # type: ignore[operator]
