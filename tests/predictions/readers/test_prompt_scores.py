"""Reading CSV with prompt_id,score."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness_files import refusal

from muscle import read_run


def test_prompt_scores_of_zero_and_one_are_verdicts_and_an_empty_one_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("prompt_id,score,prompt\na,1,What?\nb,0,Who?\nc,,Why?\n")
    run = read_run(path)
    assert run.metadata["format"] == "prompt_scores"
    assert run.frame["correct"].to_list() == [True, False, None]
    assert run.frame["error"].to_list() == [None, None, None]
    assert run.frame["input"].to_list() == ["What?", "Who?", "Why?"]


def test_graded_prompt_scores_stay_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('"prompt_id","score"\n"a",0.5\n"b",1\n')
    frame = read_run(path).frame
    assert frame["score.score"].to_list() == [0.5, 1.0]
    assert frame["correct"].null_count() == 2


@pytest.mark.parametrize("score", ["high", "NaN", "inf"])
def test_a_prompt_score_that_is_no_number_is_named(tmp_path: Path, score: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"prompt_id,score\na,1\nb,{score}\n")
    assert (
        refusal(path)
        == f"{path}, line 3, field 'score': expected a finite number, or null where there is none, found '{score}'"
    )
