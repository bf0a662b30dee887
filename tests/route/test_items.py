"""The items of two runs: paired, judged, told apart by what they are, and nothing lost in silence."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from helpers.two_models import two_answers, two_runs
from muscle import Run
from muscle.errors import DataError, JoinError
from muscle.predictions.run import Unread
from muscle.route.items import pair_items


def test_items_without_a_pair_of_answers_are_counted_and_named() -> None:
    old, new = two_answers(60)
    old = old.with_columns(error=pl.when(pl.col("id") == "m3").then(pl.lit("timeout")))
    found = pair_items(old[:-1], new[1:])
    assert found.num == 57
    assert found.lost.names == (
        "meals m3: failed in the old run",
        "meals m0: only in the old run",
        "meals m59: only in the new run",
    )
    assert "3 items have no pair of answers" in found.lost.sentence()
    run = Run(
        "new", pair_items(old, new).joined.new.drop("route_calls", "route_agreement"), {}, (Unread("a line", "x"),)
    )
    assert "not read: x: a line" in pair_items(old, run).lost.sentence()


def test_an_item_is_the_same_in_a_file_of_another_name_and_order() -> None:
    old, new = two_answers(20)
    found = pair_items(old, new)
    again = pair_items(old[::-1], new)
    assert sorted(found.fingerprints) == sorted(again.fingerprints) and len(set(found.fingerprints)) == 20
    assert found.known_by == "input"
    by_id = pair_items(old.drop("input"), new.drop("input"))
    assert by_id.known_by == "id" and not set(by_id.fingerprints) & set(found.fingerprints)


def test_answers_are_the_same_where_both_say_so_and_verdicts_do_not_differ() -> None:
    old, new = two_answers(100)
    equal = (old["output"] == new["output"]).to_numpy()
    assert (pair_items(old, new).same == equal).all()
    judged_otherwise = new.with_columns(correct=pl.when(pl.col("output") == "tea").then(False).otherwise("correct"))
    found = pair_items(old, judged_otherwise)
    assert not found.same[found.old.right != found.new.right].any()


def test_a_confidence_is_no_verdict() -> None:
    old, new = two_answers(10)
    unjudged = pair_items(old.drop("correct"), new.drop("correct"))
    assert np.isnan(unjudged.old.right).all()
    with pytest.raises(DataError, match=r"expected answers that are right or wrong, found the score 'confidence'"):
        pair_items(old.drop("correct"), new.drop("correct"), confidence="other")


def test_repeats_are_one_item_with_its_agreement_and_calls() -> None:
    frame = pl.DataFrame(
        {
            "id": ["a", "a", "a", "b", "b", "b"],
            "input": ["A"] * 3 + ["B"] * 3,
            "repeat": [0, 1, 2] * 2,
            "output": ["x", "y", "x", "z", "z", "z"],
            "correct": [True, False, True, False, False, False],
        }
    )
    once = frame.filter(pl.col("repeat") == 0)
    found = pair_items(once, frame)
    assert found.num == 2
    assert found.new.agreement is not None and found.new.agreement == pytest.approx([2 / 3, 1])
    assert (found.new.calls, found.old.calls, found.old.agreement) == (3.0, 1.0, None)
    assert found.new.right.tolist() == [1, 0]


def test_two_readings_of_one_answer_are_refused_and_so_are_other_prompts() -> None:
    old, new = two_answers(30)
    both = [pl.concat([f.with_columns(filter=pl.lit(n)) for n in ("strict", "loose")]) for f in (old, new)]
    with pytest.raises(DataError, match=r"task 'meals': expected one reading of each answer, found loose, strict"):
        pair_items(*both)
    with pytest.raises(JoinError, match="--allow prompts"):
        pair_items(old, new.with_columns(input="Now: " + pl.col("input")))


def test_likelihood_records_are_paired_as_well() -> None:
    old, new = two_runs(40)
    found = pair_items(old, new)
    assert (found.old.right == old["correct"].to_numpy()).all() and found.lost.sentence() == ""


def test_two_runs_of_one_name_are_told_apart_by_their_role() -> None:
    old, new = two_answers(10)
    assert pair_items(Run("v1", pair_items(old, new).old.frame), new).names == ("v1", "table")
    assert pair_items(old, new).names == ("old table", "new table")


def test_repeats_are_counted_from_any_number_and_the_first_is_served() -> None:
    old, new = two_answers(40)
    again = pl.concat([new.with_columns(repeat=pl.lit(number), output=pl.lit(f"say {number}")) for number in (3, 2, 5)])
    found = pair_items(old, again)
    assert found.num == 40 and found.lost.names == () and found.new.calls == 3
    assert set(found.new.frame["output"]) == {"say 2"} and set(found.new.agreement) == {1 / 3}
