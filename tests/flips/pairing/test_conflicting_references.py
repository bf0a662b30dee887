"""Inputs that one run holds several times with other references."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from muscle import compare
from muscle.flips.pairing.conflicting_references import told_conflicts
from muscle.predictions.records import complete


def rows(*references: object, question: str = "Which?", **more: Any) -> list[dict[str, Any]]:
    """Return an item for each reference, all of one text, and one of another."""
    same = [
        {"id": str(n), "input": question, "reference": r, "output": "a", **more} for n, r in enumerate(references, 1)
    ]
    return [{"id": "0", "input": "Who?", "reference": "b", "output": "b"}, *same]


def warnings(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    return [each for each in compare(old, new, allow=["references"]).report.warnings if "other references" in each]


def test_an_answer_key_that_contradicts_itself_is_told_once_of_both_runs() -> None:
    both = rows("a", "c")
    told = "1 input stands there several times with other references (first id '1', '2'): what is right by one is"
    assert warnings(both, both) == [f"old, new: {told} wrong by another"]
    assert warnings(both, rows("a", "a")) == [f"old: {told} wrong by another"]
    assert warnings(rows("a", "a"), rows("a", "a")) == []


def test_the_number_of_inputs_and_the_first_of_them_are_told() -> None:
    run = [*rows("a", "c"), *(row | {"id": row["id"] + "x"} for row in rows("a", "c", "d", question="Where?"))]
    (told,) = warnings(run, run)
    assert "2 inputs stand there several times with other references (first id '1', '2')" in told


@pytest.mark.parametrize(
    "second",
    [
        {"reference": ["a", "c"]},
        {"reference": None},
        {"reference": ["c", "a"], "choices": ["a", "b"]},
        {"reference": ["c"], "task": "other"},
        {"reference": ["c"], "input": "Which one?"},
    ],
)
def test_other_options_another_task_or_the_same_references_are_no_conflict(second: dict[str, Any]) -> None:
    first = {"task": "t", "id": "1", "input": "Which?", "reference": ["c", "a"], "choices": None}
    schema = {"reference": pl.List(pl.String), "choices": pl.List(pl.String)}
    frame = complete(pl.DataFrame([first, first | {"id": "2"} | second], schema_overrides=schema))
    assert told_conflicts(frame) is None


def test_repeats_and_filters_of_one_item_are_no_conflict() -> None:
    frame = pl.DataFrame({"task": "t", "id": "1", "input": "Which?", "reference": [["a"]] * 4})
    frame = frame.with_columns(repeat=pl.Series([0, 1, 0, 1]), filter=pl.Series(["x", "x", "y", "y"]))
    assert told_conflicts(complete(frame)) is None
