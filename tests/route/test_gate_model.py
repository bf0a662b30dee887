"""The odds of the gate: found again where they are known, by the features that are there, without likelihoods."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.optimize import check_grad
from scipy.special import expit

from helpers.two_models import two_answers
from muscle.errors import ConfigError, DataError
from muscle.route.gate_model import Feature, GateRule, fit_gate, known
from muscle.route.items import Items, pair_items


def disagreements(num: int, weight: float, *, seed: int = 0) -> Items:
    """Return items of which exactly one side is right; log odds for the old one are -weight logit(confidence)."""
    generator = np.random.default_rng(seed)
    odds = generator.normal(size=num)
    old_right = generator.random(num) < expit(-weight * odds)
    shared = {"id": [str(i) for i in range(num)], "input": [f"question {i}" for i in range(num)]}
    old = pl.DataFrame({**shared, "output": ["a"] * num, "correct": old_right})
    new = pl.DataFrame(
        {**shared, "output": ["b"] * num, "correct": ~old_right, "score.confidence": expit(odds)},
    )
    return pair_items(old, new)


def test_the_weight_of_a_confidence_is_found_again() -> None:
    items = disagreements(4000, 1.5)
    gate, _ = fit_gate(items, np.ones(items.num, dtype=bool))
    (feature,) = [each for each in gate.features if each.of == "new_confidence"]
    assert feature.scale == "odds"
    assert feature.weight / feature.spread == pytest.approx(-1.5, abs=0.15)
    assert gate.log_odds(items)[:5] == pytest.approx(
        -1.5 * np.log(1 / (1 / known(items, "new_confidence", "confidence")[:5] - 1)), abs=0.4
    )


def test_held_out_odds_are_less_sure_than_those_of_items_that_were_fitted_on() -> None:
    items = disagreements(60, 0.0)
    noise = np.random.default_rng(5).integers(0, 20, items.num).astype(str)
    frames = [side.frame.with_columns(pl.Series("slice.noise", noise)) for side in (items.old, items.new)]
    again = pair_items(*frames)
    gate, crossed = fit_gate(again, np.ones(60, dtype=bool), slices=["noise"])
    won = 2 * again.old.right - 1
    assert (won * gate.log_odds(again)).mean() > 0.1 + (won * crossed).mean()


def test_a_slice_that_decides_is_used_and_a_value_that_was_not_seen_has_no_weight() -> None:
    old, new = two_answers(600)
    items = pair_items(old, new)
    in_sweet = (items.old.frame["slice.course"] == "sweet").to_numpy()
    decided = items.old.right != items.new.right
    rows = ~decided | (in_sweet == (items.old.right == 1))
    gate, _ = fit_gate(items, rows, slices=["course", "/bowl 1/"])
    weights = gate.slices[0].weights
    assert weights["sweet"] > 1 > -1 > weights["main"]
    other = pair_items(old.with_columns(pl.lit("soup").alias("slice.course")), new.drop("slice.course"))
    assert np.isfinite(gate.log_odds(other)).all()


@pytest.mark.parametrize(
    ("word", "error", "message"),
    [
        ("courses", DataError, "slice 'courses': expected a slice of the records, found course"),
        ("length", ConfigError, "the length of the input is among the features already"),
        ("item", DataError, "slice 'item': expected at most 200 values, found"),
    ],
)
def test_a_slice_that_cannot_be_used_is_refused(word: str, error: type[Exception], message: str) -> None:
    old, new = (frame.with_columns(pl.col("id").alias("slice.item")) for frame in two_answers(2000))
    with pytest.raises(error, match=message):
        items = pair_items(
            old.drop("slice.item") if word == "courses" else old, new.drop("slice.item") if word == "courses" else new
        )
        fit_gate(items, np.ones(2000, dtype=bool), slices=[word])


def test_what_nobody_knows_of_an_item_counts_as_the_mean() -> None:
    items = disagreements(200, 1.0)
    gate, _ = fit_gate(items, np.ones(200, dtype=bool))
    blank = items.new.frame.with_columns(pl.lit(None, dtype=pl.Float64).alias("score.confidence"))
    without = pair_items(items.old.frame, blank)
    lengths = GateRule(gate.intercept, tuple(f for f in gate.features if f.of == "length"), ())
    assert gate.log_odds(without) == pytest.approx(lengths.log_odds(without))


def test_an_item_whose_sureness_is_unknown_is_asked_about() -> None:
    items = disagreements(4, 1.0)
    frame = items.new.frame.with_columns(pl.Series("score.confidence", [0.9, None, 0.2, 0.5]))
    rule = GateRule(0.0, (), (), ask_by="new_confidence", ask_below=0.5)
    assert rule.asked(pair_items(items.old.frame, frame)).tolist() == [False, True, True, False]


def test_the_gate_is_the_minimum_of_its_penalised_loss() -> None:
    items = disagreements(80, 1.0, seed=3)
    gate, _ = fit_gate(items, np.ones(80, dtype=bool))
    design = np.column_stack([np.ones(80), *(f.values(known(items, f.of, "confidence")) for f in gate.features)])
    won = items.old.right
    penalty = np.array([0.1, *[1.0] * len(gate.features)])

    def loss(weights: np.ndarray) -> float:
        z = design @ weights
        return float(np.logaddexp(0, z).sum() - won @ z + (penalty * weights**2).sum() / 2)

    best = np.array([gate.intercept, *(f.weight for f in gate.features)])
    assert check_grad(loss, lambda weights: np.zeros_like(weights), best) < 1e-3


def test_what_each_model_answered_is_a_slice_of_its_own() -> None:
    old, new = two_answers(600)
    items = pair_items(old, new)
    said = (old["output"] == "tea").to_numpy()
    rows = (items.old.right == items.new.right) | (said == (items.old.right == 1))
    gate, _ = fit_gate(items, rows, slices=["old_answer", "new_answer"])
    weights = gate.slices[0].weights
    assert set(weights) == {"tea", "milk", "soup", "rice"} and weights["tea"] > 0.5 > 0 > weights["milk"]


def test_a_number_far_from_all_that_was_fitted_on_counts_as_one_that_is_less_far() -> None:
    feature = Feature("length", "log", mean=3.0, spread=0.01, weight=1.0)
    assert feature.values(np.array([np.expm1(3.02), 1e6, 0.0])) == pytest.approx([2.0, 4.0, -4.0])
