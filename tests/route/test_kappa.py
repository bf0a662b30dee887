"""Kappa as the most accurate one within the limit of flips: against every kappa that could be, and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from muscle.route.kappa import Step, Two, choose_kappa, fewest_flips, steps

items = st.lists(
    st.tuples(st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 1.0, 2.0, math.inf]), st.booleans(), st.booleans()),
    min_size=1,
    max_size=12,
)


def two(rows: list[tuple[float, bool, bool]]) -> Two:
    needed, old, other = (np.array(column) for column in zip(*rows, strict=True))
    return Two.judged(needed.astype(float), old.astype(bool), other.astype(bool), np.full(len(rows), 1 / len(rows)))


def flips(step: Step, rows: list[tuple[float, bool, bool]]) -> int:
    return round(step.negative_flip_rate * len(rows))


def test_by_hand() -> None:
    rows = [(0.5, True, False), (1.5, False, True), (2.5, True, False), (-1.0, True, False)]
    found = steps(two(rows))
    assert [(each.log_kappa, each.accuracy, each.negative_flip_rate) for each in found] == [
        (0.0, 0.5, 0.5),
        (1.0, 0.75, 0.25),
        (2.0, 0.5, 0.25),
        (math.inf, 0.75, 0.0),
    ]
    assert choose_kappa(two(rows), 0.4, floor=0).log_kappa == math.inf, "as accurate, with fewer flips"
    assert choose_kappa(two(rows[:2] + rows[3:]), 0.3, floor=0).log_kappa == 1.0


def test_one_flip_more_than_was_seen_must_fit_into_the_limit() -> None:
    rows = [(1.0, True, False)] + [(1.0, False, True)] * 2 + [(-1.0, True, True)] * 97
    assert choose_kappa(two(rows), 0.0199, floor=0).log_kappa == 0.0, "(1 + 1) / (100 + 1) is within it"
    assert choose_kappa(two(rows), 0.0197, floor=0).log_kappa == math.inf, "it is not, though 1 / 100 is"


@given(items, st.floats(0, 1))
def test_no_kappa_within_the_limit_is_more_accurate(rows, limit) -> None:
    given_items = two(rows)
    found = choose_kappa(given_items, limit, floor=0)
    tried = [given_items.at(log_kappa) for log_kappa in [*np.arange(0, 3, 0.05), math.inf]]
    within = [step for step in tried if (flips(step, rows) + 1) / (len(rows) + 1) <= limit + 1e-12]
    if within:
        assert found.negative_flip_rate <= limit + 1e-9
        assert found.accuracy >= max(step.accuracy for step in within) - 1e-9
    else:
        assert flips(found, rows) == flips(given_items.at(math.inf), rows)


def test_where_some_are_not_asked_about_and_nothing_meets_the_limit_the_floor_counts() -> None:
    rows = [(math.inf, True, False), (1.0, True, False), (2.0, False, True), (2.0, False, True)]
    given_items = two(rows)
    assert [step.accuracy for step in steps(given_items)] == [0.5, 0.75, 0.25]
    assert choose_kappa(given_items, 0.01, floor=0.5).log_kappa == 1.5
    assert choose_kappa(given_items, 0.01, floor=0.2).log_kappa == 1.5, "of equally many flips the more accurate"
    assert choose_kappa(given_items, 0.01, floor=0.9).log_kappa == 1.5


@given(items)
def test_flips_never_rise_with_kappa_and_infinity_has_none_where_every_item_is_asked(rows) -> None:
    rates = [step.negative_flip_rate for step in steps(two(rows))]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(rates))
    asked = [(min(needed, 3.0), old, other) for needed, old, other in rows]
    assert two(asked).at(math.inf).negative_flip_rate == 0


@given(items)
def test_items_that_nobody_asks_about_never_get_the_old_answer(rows) -> None:
    assert not two(rows).keeps(math.inf)[[needed == math.inf for needed, _, _ in rows]].any()


@given(items, st.floats(0, 1))
def test_of_the_kappas_that_are_accurate_enough_none_has_fewer_flips(rows, floor) -> None:
    given_items = two(rows)
    found = fewest_flips(given_items, floor)
    accurate = [step for step in steps(given_items) if step.accuracy >= floor]
    if accurate:
        assert found.accuracy >= floor - 1e-9
        assert found.negative_flip_rate <= min(step.negative_flip_rate for step in accurate) + 1e-9
    else:
        assert found.accuracy >= max(step.accuracy for step in steps(given_items)) - 1e-9


@given(items)
def test_each_step_is_what_its_kappa_gives(rows) -> None:
    given_items = two(rows)
    for step in steps(given_items):
        found = given_items.at(step.log_kappa)
        assert abs(step.accuracy - found.accuracy) < 1e-12
        assert abs(step.negative_flip_rate - found.negative_flip_rate) < 1e-12
