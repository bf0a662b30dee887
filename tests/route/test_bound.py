"""The bound on what breaks: scipy's own Clopper-Pearson, what is missing at its worst, a part judged at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from muscle.errors import ConfigError
from muscle.route.bound import Bound, Counts, Prices, bound


def all_drawn(counts: Counts, *, limit: float) -> Bound:
    """Return the bound where all judged items were drawn at random."""
    return bound(replace(counts, drawn=counts.judged, drawn_flips=counts.flips), limit=limit)


def above(count: int, total: int, miss: float) -> float:
    """Return scipy's own upper end, which is too low with probability `miss`."""
    return binomtest(count, total).proportion_ci(1 - 2 * miss, "exact").high


def below(count: int, total: int, miss: float) -> float:
    return binomtest(count, total).proportion_ci(1 - 2 * miss, "exact").low


@given(st.integers(1, 400), st.data())
def test_where_all_is_judged_it_is_clopper_and_pearsons(num, data) -> None:
    differ = data.draw(st.integers(0, num))
    flips = data.draw(st.integers(0, differ))
    found = bound(Counts(num, differ, differ, flips), limit=0.01)
    known = binomtest(flips, num, alternative="less").proportion_ci(0.95, "exact")
    assert found.high == pytest.approx(known.high, abs=1e-12)
    other = binomtest(flips, num, alternative="greater").proportion_ci(0.95, "exact")
    assert found.low == pytest.approx(other.low, abs=1e-12)
    assert found.value == pytest.approx(flips / num)
    assert all_drawn(Counts(num, differ, differ, flips), limit=0.01).high == found.high


def test_no_flip_in_299_items_proves_one_percent_and_in_298_does_not() -> None:
    assert bound(Counts(299, 40, 40, 0), limit=0.01).verdict == "pass"
    assert bound(Counts(298, 40, 40, 0), limit=0.01).verdict == "cannot_tell"
    assert bound(Counts(300, 40, 40, 9), limit=0.01).verdict == "block"


@given(st.integers(10, 300), st.integers(0, 20), st.integers(0, 20), st.booleans())
def test_nothing_that_is_missing_or_unknown_betters_the_bound(num, missing, unknown, at_random) -> None:
    whole = Counts(num, 10, 10, 1)
    bounded = all_drawn if at_random else bound
    before = bounded(whole, limit=0.05)
    worse = Counts(num + unknown, 10 + unknown, 10, 1, missing)
    after = bounded(worse, limit=0.05)
    if at_random and unknown:  # more items are known to agree or not; only missing ones are worse
        assert after.high >= all_drawn(replace(worse, missing=0), limit=0.05).high
    else:
        taken = Counts(num + unknown, 10 + unknown, 10 + unknown, 1 + unknown)
        assert after.high >= bound(taken, limit=0.05).high - 1e-12
        assert missing + unknown == 0 or after.high > before.high


def test_unjudged_disagreements_are_flips_unless_the_judged_ones_are_a_random_part() -> None:
    counts = Counts(1000, 200, 100, 0)
    assert bound(counts, limit=0.01).high > 0.1
    found = all_drawn(counts, limit=0.01)
    share = binomtest(200, 1000).proportion_ci(0.95, "exact").high  # one-sided, 2.5 % each
    flips = binomtest(0, 100).proportion_ci(0.95, "exact").high
    assert found.high == pytest.approx(share * flips)


def test_it_is_one_where_nobody_knows_how_much_could_not_be_read() -> None:
    found = bound(Counts(1000, 100, 100, 0, lost_count=True), limit=0.01)
    assert found.high == 1 and found.verdict == "cannot_tell"
    assert "how many items could not be read is unknown" in found.how


def test_a_bound_over_nothing_proves_nothing() -> None:
    found = bound(Counts(0, 0, 0, 0), limit=0.01)
    assert (found.value, found.low, found.high, found.verdict) == (None, 0.0, 1.0, "cannot_tell")
    assert all_drawn(Counts(50, 5, 0, 0), limit=0.01).value is None


def test_a_cost_counts_every_call() -> None:
    assert Prices(old=2, new=1).per_thousand(0.1, old_calls=3, new_calls=5) == 1000 * (5 + 0.1 * 2 * 3)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1.0])
def test_a_price_that_is_none_is_refused(price: float) -> None:
    with pytest.raises(ConfigError, match="price of a call of the new model: expected a number from 0, found"):
        Prices(new=price)


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.1])
def test_it_holds_as_often_as_it_says_where_a_part_is_judged(rate: float) -> None:
    """500 seeded draws: at least 93 %, which a level of 95 % undercuts with a chance of 2 %."""
    generator = np.random.default_rng(7)
    held = []
    for _ in range(500):
        differ = int(generator.binomial(400, 0.25))
        judged = min(differ, 40)
        flips = int(generator.binomial(judged, rate / 0.25))
        held.append(all_drawn(Counts(400, differ, judged, flips), limit=0.01).high >= rate)
    assert np.mean(held) >= 0.93


def test_what_was_judged_otherwise_stands_for_itself_and_the_draw_for_the_rest() -> None:
    """1,000 items, 200 differ; 80 of these came judged with 3 flips, of the other 120 a draw of 40 has 8."""
    found = bound(Counts(1000, 200, 120, 11, drawn=40, drawn_flips=8), limit=0.01)
    part = 0.05 / 3
    assert found.high == pytest.approx(above(120, 1000, part) * above(8, 40, part) + above(3, 1000, part))
    assert found.low == pytest.approx(below(120, 1000, part) * below(8, 40, part) + below(3, 1000, part))
    assert found.value == pytest.approx((3 + 120 * 8 / 40) / 1000)


def test_drawn_items_that_nobody_judged_are_flips_above_and_none_below() -> None:
    whole = Counts(1000, 200, 40, 8, drawn=40, drawn_flips=8)
    found = bound(replace(whole, passed_over=10), limit=0.01)
    assert found.high == pytest.approx(above(200, 1000, 0.025) * above(18, 50, 0.025))
    assert found.low == pytest.approx(below(200, 1000, 0.025) * below(8, 50, 0.025))
    assert "10 that were to be judged and were not are taken for flips" in found.how
    assert found.high > bound(whole, limit=0.01).high


@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_it_holds_where_the_runs_came_with_verdicts_on_the_easy_ones(rate: float) -> None:
    """500 seeded draws: of what differs a half is judged beforehand and never flips, of the rest 30 are drawn."""
    generator = np.random.default_rng(8)
    held = []
    for _ in range(500):
        easy, hard, _ = generator.multinomial(600, [0.15, 0.15, 0.7])
        drawn = min(int(hard), 30)
        flips = int(generator.binomial(drawn, rate))
        counts = Counts(600, int(easy + hard), int(easy) + drawn, flips, drawn=drawn, drawn_flips=flips)
        held.append(bound(counts, limit=0.01).high >= 0.15 * rate)
    assert np.mean(held) >= 0.93
