"""How many items tell: the bound's own power, counted over all outcomes."""

import numpy as np
import pytest
from scipy import stats

from muscle.flips.statistics.intervals import lower_bound, upper_bound
from muscle.flips.statistics.power import items_to_prove, items_to_separate, items_to_tell


def power_by_counting(rate, limit, items):
    """The chance that the exact one-sided bound lies on the rate's side of the limit, outcome by outcome."""
    counts = np.arange(min(items, int(items * rate + 12 * np.sqrt(items * rate) + 12)) + 1)
    chances = stats.binom.pmf(counts, items, rate)
    if rate < limit:
        told = [upper_bound(int(count), items) <= limit for count in counts]
    else:
        told = [lower_bound(int(count), items) > limit for count in counts]
    return float(chances[np.array(told)].sum())


@pytest.mark.parametrize(("rate", "limit"), [(0.005, 0.01), (0.002, 0.01), (0.02, 0.01), (0.05, 0.01), (0.03, 0.05)])
def test_so_many_items_tell_a_share_from_a_limit_in_four_cases_of_five(rate, limit):
    items = items_to_tell(rate, limit)
    assert power_by_counting(rate, limit, items) >= 0.8
    assert power_by_counting(rate, limit, int(items / 1.25)) < 0.8


def test_without_any_event_it_takes_what_proves_the_limit():
    assert items_to_tell(0.0, 0.01) == items_to_prove(0.01)


def test_a_share_at_the_limit_is_told_by_no_number_of_items():
    assert items_to_tell(0.01, 0.01) is None and items_to_tell(0.0100001, 0.01) is None
    assert items_to_separate(0.01, 0.001, 0.01, 500, alpha=0.05) is None


def test_an_interval_excludes_a_limit_with_the_power_that_was_asked_for():
    items = items_to_separate(0.02, 0.5 / np.sqrt(400), 0.0, 400, alpha=0.025)
    error = 0.5 / np.sqrt(items)
    assert stats.norm.sf((stats.norm.ppf(0.975) * error - 0.02) / error) == pytest.approx(0.8, abs=0.002)
