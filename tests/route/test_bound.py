"""The bound on what breaks: scipy's own Clopper-Pearson, what is missing at its worst, a part judged at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from muscle.route.bound import Counts, Prices, bound


@given(st.integers(1, 400), st.data())
def test_where_all_is_judged_it_is_clopper_and_pearsons(num, data) -> None:
    differ = data.draw(st.integers(0, num))
    flips = data.draw(st.integers(0, differ))
    found = bound(Counts(num, differ, differ, flips), limit=0.01, at_random=False)
    known = binomtest(flips, num, alternative="less").proportion_ci(0.95, "exact")
    assert found.high == pytest.approx(known.high, abs=1e-12)
    other = binomtest(flips, num, alternative="greater").proportion_ci(0.95, "exact")
    assert found.low == pytest.approx(other.low, abs=1e-12)
    assert found.value == pytest.approx(flips / num)
    assert bound(Counts(num, differ, differ, flips), limit=0.01, at_random=True).high == found.high


def test_no_flip_in_299_items_proves_one_percent_and_in_298_does_not() -> None:
    assert bound(Counts(299, 40, 40, 0), limit=0.01, at_random=False).verdict == "pass"
    assert bound(Counts(298, 40, 40, 0), limit=0.01, at_random=False).verdict == "cannot_tell"
    assert bound(Counts(300, 40, 40, 9), limit=0.01, at_random=False).verdict == "block"


@given(st.integers(10, 300), st.integers(0, 20), st.integers(0, 20), st.booleans())
def test_nothing_that_is_missing_or_unknown_betters_the_bound(num, missing, unknown, at_random) -> None:
    whole = Counts(num, 10, 10, 1)
    before = bound(whole, limit=0.05, at_random=at_random)
    worse = Counts(num + unknown, 10 + unknown, 10, 1, missing)
    after = bound(worse, limit=0.05, at_random=at_random)
    if at_random and unknown:  # more items are known to agree or not; only missing ones are worse
        assert after.high >= bound(replace(worse, missing=0), limit=0.05, at_random=True).high
    else:
        taken = Counts(num + unknown, 10 + unknown, 10 + unknown, 1 + unknown)
        assert after.high >= bound(taken, limit=0.05, at_random=False).high - 1e-12
        assert missing + unknown == 0 or after.high > before.high


def test_unjudged_disagreements_are_flips_unless_the_judged_ones_are_a_random_part() -> None:
    counts = Counts(1000, 200, 100, 0)
    assert bound(counts, limit=0.01, at_random=False).high > 0.1
    found = bound(counts, limit=0.01, at_random=True)
    share = binomtest(200, 1000).proportion_ci(0.95, "exact").high  # one-sided, 2.5 % each
    flips = binomtest(0, 100).proportion_ci(0.95, "exact").high
    assert found.high == pytest.approx(share * flips)


def test_it_is_one_where_nobody_knows_how_much_could_not_be_read() -> None:
    found = bound(Counts(1000, 100, 100, 0, lost_count=True), limit=0.01, at_random=False)
    assert found.high == 1 and found.verdict == "cannot_tell"
    assert "how many items could not be read is unknown" in found.how


def test_a_bound_over_nothing_proves_nothing() -> None:
    found = bound(Counts(0, 0, 0, 0), limit=0.01, at_random=False)
    assert (found.value, found.low, found.high, found.verdict) == (None, 0.0, 1.0, "cannot_tell")
    assert bound(Counts(50, 5, 0, 0), limit=0.01, at_random=True).value is None


def test_a_cost_counts_every_call() -> None:
    assert Prices(old=2, new=1).per_thousand(0.1, old_calls=3, new_calls=5) == 1000 * (5 + 0.1 * 2 * 3)


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.1])
def test_it_holds_as_often_as_it_says_where_a_part_is_judged(rate: float) -> None:
    """500 seeded draws: at least 93 %, which a level of 95 % undercuts with a chance of 2 %."""
    generator = np.random.default_rng(7)
    held = []
    for _ in range(500):
        differ = int(generator.binomial(400, 0.25))
        judged = min(differ, 40)
        flips = int(generator.binomial(judged, rate / 0.25))
        held.append(bound(Counts(400, differ, judged, flips), limit=0.01, at_random=True).high >= rate)
    assert np.mean(held) >= 0.93
