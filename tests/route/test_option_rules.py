"""Two models served by their options: the laws that every rule keeps, and the rows for a bench."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.two_models import OPTIONS, two_runs
from muscle.errors import DataError
from muscle.route.bound import Prices
from muscle.route.items import pair_items
from muscle.route.likelihoods import Weights
from muscle.route.option_rules import NO_GOLD, OptionRule, OptionScores, fit_options
from muscle.route.scores import option_scores
from muscle.route.served import served_rows


def scores(num: int = 300, seed: int = 0, **signals: float) -> OptionScores:
    return option_scores(pair_items(*two_runs(num, seed=seed, **signals)))


def accuracy(answers: np.ndarray, items: OptionScores) -> float:
    return float((answers == items.gold).mean())


def lost(answers: np.ndarray, items: OptionScores) -> float:
    return float(((items.old_answer == items.gold) & (answers != items.gold)).mean())


def test_an_infinite_kappa_gives_exactly_the_old_models_answers_and_no_flip() -> None:
    items = scores()
    rule = fit_options(items, kappa=math.inf)
    test = scores(seed=1)
    assert (rule.answers(test) == test.old_answer).all()
    assert lost(rule.answers(test), test) == 0
    assert (rule.values(test).argmax(-1) == test.old_answer).all()
    assert np.isfinite(rule.values(test)).all()


@settings(max_examples=20)
@given(st.integers(0, 50), st.floats(0, 4), st.floats(0.05, 0.95))
def test_what_is_answered_is_the_likeliest_of_the_values(seed, log_kappa, ask_share) -> None:
    items = scores(60, seed)
    fitted = fit_options(items, kappa=math.exp(log_kappa), ask_share=ask_share)
    mixed = fit_options(items, share=0.3, ask_share=ask_share)
    for rule in (fitted, mixed):
        assert (rule.answers(items) == rule.values(items).argmax(-1)).all()


@settings(max_examples=20)
@given(st.integers(0, 50), st.floats(0, 1))
def test_the_models_of_each_other_change_places_in_a_mixture(seed, share) -> None:
    items = scores(30, seed)
    swapped = OptionScores(items.new, items.old, items.new_answer, items.old_answer, items.gold)
    one, other = OptionRule(1.5, 0.7, share=share), OptionRule(0.7, 1.5, share=1 - share)
    assert np.exp(one.values(items)) == pytest.approx(np.exp(other.values(swapped)), abs=1e-9)


def test_who_is_not_asked_leaves_the_new_models_answer() -> None:
    items = scores()
    rule = fit_options(items, limit=0.0, ask_share=0.25)
    asked = rule.asked(items)
    assert asked.mean() == 0.25
    assert (rule.answers(items)[~asked] == items.new_answer[~asked]).all()
    assert (fit_options(items, limit=0.0, ask_share=0.0).answers(items) == items.new_answer).all()


def test_the_chosen_kappa_meets_the_limit_on_the_items_that_it_was_chosen_on() -> None:
    items = scores(2000)
    plain = lost(items.new_answer, items)
    assert plain > 0.1
    for limit in (0.0, 0.01, 0.05):
        rule = fit_options(items, limit=limit)
        assert lost(rule.answers(items), items) <= limit
        assert accuracy(rule.answers(items), items) >= accuracy(items.old_answer, items)


def test_each_model_s_temperature_makes_it_as_sure_as_its_signal_allows() -> None:
    """A signal of s in noise of spread 1 is worth s times what it says."""
    rule = fit_options(scores(5000, old_signal=0.5, new_signal=3.0), kappa=1.0)
    assert rule.old_temperature == pytest.approx(2.0, rel=0.1)
    assert rule.new_temperature == pytest.approx(1 / 3, rel=0.1)
    assert rule.weights is not None and rule.weights.b == pytest.approx(1.0, abs=0.1)


def test_the_right_option_is_told_by_verdict_then_by_reference_and_else_unknown() -> None:
    old, new = two_runs(200)
    found = option_scores(pair_items(old, new))
    texts = old["reference"].list.first().to_list()
    assert [OPTIONS[gold] for gold in found.gold] == texts
    without = option_scores(pair_items(old.drop("reference"), new.drop("reference")))
    known = (old["correct"] | new["correct"]).to_numpy()
    assert (without.gold[known] == found.gold[known]).all() and (without.gold[~known] == NO_GOLD).all()


def test_a_recorded_answer_counts_before_the_likeliest_option() -> None:
    old, new = two_runs(50)
    other = (old["choice"] + 1) % 4
    found = option_scores(pair_items(old.with_columns(other.alias("choice")), new))
    assert (found.old_answer == other.to_numpy()).all()


def test_rows_of_two_models_served_are_what_a_count_says() -> None:
    validation, test = two_runs(1500, seed=1), two_runs(1500, seed=2, start=1500)
    rows = {row.name: row for row in served_rows(validation, test, limit=0.01, prices=Prices(old=3.0, new=1.0))}
    old, new = (frame["correct"].to_numpy() for frame in test)
    assert rows["old"].accuracy == old.mean() and rows["new"].negative_flip_rate == (old & ~new).mean()
    assert rows["mean"].accuracy > max(rows["old"].accuracy, rows["new"].accuracy)
    assert rows["limit"].negative_flip_rate < 0.25 * rows["new"].negative_flip_rate
    assert rows["new"].cost == 1000 and rows["mean"].cost == 4000
    asked = rows["ask25"].asked_share
    assert asked == pytest.approx(0.25, abs=0.05)
    assert rows["ask25"].cost == pytest.approx(1000 + 3000 * asked)
    assert rows["ask25"].negative_flip_rate < rows["new"].negative_flip_rate


def test_rows_are_refused_where_an_answer_is_missing() -> None:
    validation, (old, new) = two_runs(100, seed=1), two_runs(100, seed=2)
    with pytest.raises(DataError, match="1 items have no pair of answers: meals m99: only in the old run"):
        served_rows(validation, (old, new[:-1]))


def test_an_item_with_other_options_on_one_side_is_named() -> None:
    old, new = two_runs(20)
    fewer = new.drop("choices").with_columns(logprobs=new["logprobs"].list.head(3))
    with pytest.raises(DataError, match=r"item meals m0: .* found 4 from the old and 3 from the new one"):
        option_scores(pair_items(old.drop("choices"), fewer))


def test_items_with_fewer_options_are_filled_out_and_infinite_likelihoods_are_refused() -> None:
    old, new = two_runs(3)
    values = [[-1.0, -2.0], [-3.0], [-1.0, -5.0, -0.5]]
    frames = [frame.drop("choices", "choice").with_columns(pl.Series("logprobs", values)) for frame in (old, new)]
    found = option_scores(pair_items(*frames))
    assert found.old.tolist() == [[-1, -2, -np.inf], [-3, -np.inf, -np.inf], [-1, -5, -0.5]]
    assert found.old_answer.tolist() == [0, 0, 2]
    rule = OptionRule(1.0, 1.0, weights=Weights(0.5, 0.5), log_kappa=math.inf)
    assert rule.answers(found).tolist() == [0, 0, 2]
    endless = frames[1].with_columns(pl.Series("logprobs", [[-1.0, -2.0], [-np.inf], [-1.0, -5.0, -0.5]]))
    with pytest.raises(DataError, match="item meals m1: expected finite log-likelihoods, found -inf"):
        option_scores(pair_items(frames[0], endless))
