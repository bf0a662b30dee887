"""The answers of a rule as records: whose each is, what failed on one side, and a comparison of them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from helpers.two_models import two_answers, two_runs
from muscle import compare
from muscle.route import FitOptions, Prices, apply_route, fit_route
from muscle.route.shown.terminal import print_applied


def test_served_answers_are_compared_as_the_report_says() -> None:
    old, new = two_answers(700)
    rule = fit_route(old, new).rule
    fresh_old, fresh_new = two_answers(500, seed=4, start=2000)
    applied = apply_route(rule, fresh_old, fresh_new, prices=Prices(old=0, new=1))
    found = compare(fresh_old, applied.frame).report.tasks["meals"].quadrants["old_vs_new"]
    by_id = dict(zip(applied.frame["id"], applied.frame["correct"], strict=True))
    lost = [i for i, right in zip(fresh_old["id"], fresh_old["correct"], strict=True) if right and not by_id[i]]
    assert found.negative_flips == len(lost)
    assert set(applied.whose) == {"both agree", "old", "new"} and sum(applied.whose.values()) == 500
    assert (applied.asked_share, applied.cost, applied.num_fitted) == (1.0, 1000.0, 0)


def test_items_that_the_rule_was_fitted_on_are_counted_and_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = two_answers(400)
    found = fit_route(old, new)
    applied = apply_route(found.rule, old, new)
    assert applied.num_fitted == found.report.num_fitted > 100
    print_applied(applied, Path("served.jsonl"), Console(width=200))
    assert f"fitted on {applied.num_fitted} of these items: a comparison of them flatters it" in capsys.readouterr().out


def test_an_answer_that_neither_model_gave_has_its_option_and_verdict() -> None:
    old, new = two_runs(3000)
    rule = fit_route(old, new, fit=FitOptions(kind="mixture")).rule
    third = apply_route(rule, old, new).frame.filter(pl.col("slice.route") == "another option")
    assert third.height > 0
    for row in third.iter_rows(named=True):
        assert row["output"] == row["choices"][row["choice"]]
        assert row["correct"] == (row["output"] in row["reference"])
        assert row["logprobs"] is None


def test_no_verdict_is_needed_and_what_one_side_lacks_is_taken_from_the_other() -> None:
    rule = fit_route(*two_answers(300)).rule
    old, new = (f.with_columns(correct=pl.lit(None, dtype=pl.Boolean)) for f in two_answers(100, seed=3, start=900))
    failed_old = old.with_columns(error=pl.when(pl.col("id") == "m901").then(pl.lit("gone")))
    failed_new = new.with_columns(error=pl.when(pl.col("id") == "m902").then(pl.lit("timeout")))
    applied = apply_route(rule, failed_old[:-1], failed_new)
    whose = dict(zip(applied.frame["id"], applied.frame["slice.route"], strict=True))
    assert whose["m901"] == "new, the old one failed"
    assert whose["m902"] == "old, the new one failed"
    assert whose["m999"] == "new, nothing recorded"
    assert applied.frame.height == 100 and "3 items have no pair of answers" in applied.missing
