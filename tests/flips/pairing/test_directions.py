"""Which way a score counts is said, not guessed."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from helpers.command_line import muscle, refused, write
from muscle import CompareOptions, compare
from muscle.errors import JoinError


def scored(name: str, value: float) -> pl.DataFrame:
    return pl.DataFrame({"id": list(range(300)), f"score.{name}": [value] * 300})


@pytest.mark.parametrize("name", ["loss", "val_loss", "WER", "perplexity", "editDistance", "brier_score", "loss_mean"])
def test_a_score_of_which_less_is_better_by_its_name_is_refused_until_somebody_says_so(name: str) -> None:
    with pytest.raises(JoinError, match=f"--lower-is-better {name}"):
        compare(scored(name, 0.2), scored(name, 0.8))
    said = CompareOptions(lower_is_better=[name])
    assert compare(scored(name, 0.2), scored(name, 0.8), options=said).verdict == "block"


@pytest.mark.parametrize("name", ["f1", "quality", "negative_loss", "one_minus_wer", "lossless", "no_errors"])
def test_other_scores_are_taken_as_before(name: str) -> None:
    assert compare(scored(name, 0.2), scored(name, 0.8)).verdict == "pass"


def test_the_ways_out_that_the_message_names_work(tmp_path: Path) -> None:
    for side, value in (("old", 0.2), ("new", 0.8)):
        lines = [{"id": n, "score.loss": value} for n in range(300)]
        write(tmp_path / f"{side}.jsonl", lines)
        write(tmp_path / side / "t.jsonl", lines)
        (tmp_path / side / "run.json").write_text(json.dumps({"higher_is_better": {"loss": True}}))
    files = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    assert "--column score.quality=score.loss" in refused("gate", *files)
    assert muscle("gate", *files, "--column", "score.quality=score.loss").code == 0
    assert muscle("gate", *files, "--lower-is-better", "loss").code == 1
    assert muscle("gate", tmp_path / "old", tmp_path / "new").code == 0


def test_a_score_that_only_measures_how_much_is_not_asked_about() -> None:
    frame = scored("loss", 0.2).with_columns(correct=pl.col("id") > 9)
    assert compare(frame, frame).verdict == "pass"
