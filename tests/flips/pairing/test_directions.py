"""Which way a score counts is said, not guessed; one file is not two runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from command_line import muscle, refused, rows, write
from muscle import CompareOptions, compare
from muscle.errors import JoinError
from muscle.gate import gate, load_baseline, save_baseline


def scored(name: str, value: float) -> pl.DataFrame:
    return pl.DataFrame({"id": list(range(300)), f"score.{name}": [value] * 300})


@pytest.mark.parametrize("name", ["loss", "val_loss", "WER", "perplexity", "editDistance", "brier_score", "error_rate"])
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


def test_one_file_in_the_place_of_two_runs_is_refused(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old.jsonl", rows()), write(tmp_path / "new.jsonl", rows(lost=3))
    (tmp_path / "link.jsonl").symlink_to(old)
    assert "found the file that is given as old" in refused("gate", old, old)
    assert "found the file that is given as old" in refused("compare", old, tmp_path / "link.jsonl")
    assert "as rerun, found the file that is given as new" in refused("gate", old, new, "--rerun", new)
    assert "as candidate, found the file that is given as old" in refused("gate", old, new, "--candidate", old)


def test_a_copy_and_the_old_version_in_the_new_ones_place_beside_a_candidate_are_runs(tmp_path: Path) -> None:
    old, other = write(tmp_path / "old.jsonl", rows()), write(tmp_path / "other.jsonl", rows(lost=3))
    copy = shutil.copy(old, tmp_path / "copy.jsonl")
    assert muscle("gate", old, copy).code == 0
    assert muscle("compare", old, old, "--candidate", other).code in (0, 1, 2)


def test_two_columns_of_one_table_are_two_runs(tmp_path: Path) -> None:
    lines = ["id,right_v1,right_v2", *(f"{n},{n % 4 > 0},{n % 4 > 0 and n > 40}" for n in range(300))]
    (tmp_path / "both.csv").write_text("\n".join(lines))
    sides = [f"{tmp_path / 'both.csv'}::column=correct=right_v{n}::name=v{n}" for n in (1, 2)]
    assert muscle("gate", *sides).code == 1


def test_a_kept_baseline_is_a_copy_that_its_file_may_still_equal(tmp_path: Path) -> None:
    old = write(tmp_path / "results.jsonl", rows())
    save_baseline(old, "main", tmp_path / "kept")
    assert gate(load_baseline("main", tmp_path / "kept"), old).verdict == "pass"
