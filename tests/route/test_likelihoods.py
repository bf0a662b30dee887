"""The formulas of two models' options: against values by hand, finite differences and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from muscle.route.likelihoods import (
    Weights,
    below,
    cross_entropy,
    fit_temperature,
    fit_weights,
    log_kappa_needed,
    log_softmax,
    mixture,
    raised,
    stack,
    sureness,
    threshold_for,
)

scores = arrays(np.float64, (6, 4), elements=st.floats(-20, 0))
answers = arrays(np.int64, 6, elements=st.integers(0, 3))


def test_a_mixture_is_the_weighted_mean_of_the_probabilities() -> None:
    old, new = np.log([[0.8, 0.2]]), np.log([[0.1, 0.9]])
    assert np.exp(mixture(old, new, 0.7)) == pytest.approx(np.array([[0.59, 0.41]]))
    assert np.exp(mixture(old, new, 0.0)) == pytest.approx(np.array([[0.1, 0.9]]))
    assert np.exp(mixture(old, new, 1.0)) == pytest.approx(np.array([[0.8, 0.2]]))


def test_an_even_stack_is_the_normalised_geometric_mean() -> None:
    old, new = np.log([[0.8, 0.2]]), np.log([[0.1, 0.9]])
    means = np.sqrt([0.8 * 0.1, 0.2 * 0.9])
    assert np.exp(stack(old, new, Weights(0.5, 0.5)))[0] == pytest.approx(means / means.sum())


def test_kappa_multiplies_the_odds_of_the_old_answer() -> None:
    before = np.log([[0.2, 0.5, 0.3]])
    after = np.exp(raised(before, np.array([2]), math.log(4)))
    assert after[0] == pytest.approx(np.array([0.2, 0.5, 1.2]) / 1.9)


@given(scores, scores, answers)
def test_at_an_infinite_kappa_nothing_but_the_old_answer_is_left(old, new, kept) -> None:
    found = np.exp(raised(stack(old, new, Weights(0.5, 0.5)), kept, math.inf))
    assert (found.argmax(-1) == kept).all() and (found.max(-1) == 1).all()


@given(scores, answers, st.floats(0, 10))
def test_the_kappa_that_an_item_needs_is_where_its_answer_turns(values, kept, log_kappa) -> None:
    needed = log_kappa_needed(log_softmax(values), kept)
    turned = raised(log_softmax(values), kept, log_kappa).argmax(-1) == kept
    clear = np.abs(needed - log_kappa) > 1e-9
    assert ((needed <= log_kappa) == turned)[clear].all()


def test_options_that_an_item_lacks_stay_impossible() -> None:
    old, new = np.array([[0.0, -1.0, -np.inf]]), np.array([[-2.0, -1.0, -np.inf]])
    for found in (mixture(old, new, 0.5), stack(old, new, Weights(0.0, 1.0)), stack(old, new, Weights(1.0, 0.0))):
        assert found[0, 2] == -np.inf
        assert np.exp(found[0, :2]).sum() == pytest.approx(1)
    assert log_kappa_needed(np.array([[0.0, -np.inf]]), np.array([0])) == -np.inf


def drawn(values: np.ndarray, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (values + generator.gumbel(size=values.shape)).argmax(-1).astype(np.int64)


def test_a_temperature_is_found_again() -> None:
    values = np.random.default_rng(1).normal(scale=2, size=(20_000, 5))
    assert fit_temperature(3 * values, drawn(values)) == pytest.approx(3, rel=0.05)


def test_a_temperature_has_less_cross_entropy_than_its_neighbours() -> None:
    values = np.random.default_rng(1).normal(scale=2, size=(200, 5))
    gold = drawn(values)
    best = fit_temperature(values, gold)
    at = [cross_entropy(values, gold, best * factor) for factor in (0.99, 1.0, 1.01)]
    assert at[1] <= min(at[0], at[2])
    assert cross_entropy(np.log([[0.25, 0.75]]), np.array([0]), 1.0) == pytest.approx(math.log(4))


def test_the_weights_of_a_stack_are_found_again() -> None:
    generator = np.random.default_rng(2)
    old, new = (log_softmax(generator.normal(scale=2, size=(20_000, 4))) for _ in range(2))
    found = fit_weights(old, new, drawn(0.8 * old + 0.3 * new))
    assert (found.a, found.b) == pytest.approx((0.8, 0.3), abs=0.03)


def test_the_weights_are_the_penalised_minimum_by_brute_force() -> None:
    generator = np.random.default_rng(3)
    old, new = (log_softmax(generator.normal(scale=2, size=(12, 3))) for _ in range(2))
    gold = drawn(old + new, seed=4)

    def loss(a: float, b: float) -> float:
        at_gold = log_softmax(a * old + b * new)[np.arange(12), gold]
        return float(-at_gold.sum() + 2.0 / 2 * ((a - 0.5) ** 2 + (b - 0.5) ** 2))

    found = fit_weights(old, new, gold, penalty=2.0)
    best = loss(found.a, found.b)
    steps = [(a, b) for a in (-0.01, 0, 0.01) for b in (-0.01, 0, 0.01) if a or b]
    assert all(loss(found.a + a, found.b + b) > best for a, b in steps)


def test_the_weights_stay_finite_where_every_item_is_right() -> None:
    values = np.log(np.array([[0.9, 0.1], [0.2, 0.8]]))
    found = fit_weights(values, values, np.array([0, 1]), penalty=0.0)
    assert 0 <= found.a <= 20 and 0 <= found.b <= 20


def test_the_least_sure_are_asked_and_no_more_than_the_share() -> None:
    sure = sureness(np.log(np.array([[0.6, 0.4], [0.9, 0.1], [0.5, 0.5], [0.7, 0.3]])))
    assert sure == pytest.approx([0.6, 0.9, 0.5, 0.7])
    assert below(sure, threshold_for(sure, 0.5)).tolist() == [True, False, True, False]
    assert below(sure, threshold_for(sure, 1.0)).all()
    assert not below(sure, threshold_for(sure, 0.0)).any()
    assert not below(np.ones(8), threshold_for(np.ones(8), 0.5)).any(), "equally sure ones are asked together"
