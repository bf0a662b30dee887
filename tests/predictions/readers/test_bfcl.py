"""Reading the score files of the Berkeley Function-Calling Leaderboard."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness_files import bfcl_scores, refusal

from muscle import read_run


def test_what_a_bfcl_score_file_does_not_list_is_right(tmp_path: Path) -> None:
    run = read_run(bfcl_scores(tmp_path))
    assert (run.metadata["format"], run.name, run.tasks) == ("bfcl", "toy", ["simple_python"])
    assert dict(zip(run.frame["id"], run.frame["correct"], strict=True)) == {
        "simple_0": True,
        "simple_1": False,
    }
    assert run.frame["correct"].mean() == run.metadata["results"]["simple_python"]["accuracy"]


def test_a_bfcl_score_file_without_its_result_file_is_refused(tmp_path: Path) -> None:
    file = bfcl_scores(tmp_path)
    shutil.rmtree(tmp_path / "result")
    assert "a score file lists only the failures" in refusal(file)


def test_a_bfcl_score_file_that_counts_other_items_is_refused(tmp_path: Path) -> None:
    file = bfcl_scores(tmp_path)
    file.write_text(file.read_text().replace('"total_count": 2', '"total_count": 3'))
    assert "line 1, field 'total_count': expected 2, by the items of the result file, found 3" in refusal(file)
