"""Reading the score files of the Berkeley Function-Calling Leaderboard."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from harness_files import bfcl_scores, refusal

from helpers.json_lines import write_lines
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


def answers_of(file: Path) -> Path:
    return file.parents[2] / "result" / "toy" / file.name.replace("_score", "_result")


def test_a_request_that_failed_is_missing_though_bfcl_may_count_it_as_right(tmp_path: Path) -> None:
    file = bfcl_scores(tmp_path)
    error = "Error during inference: Request timed out."
    write_lines(answers_of(file), {"id": "simple_0", "result": error}, {"id": "simple_1", "result": "f(1)"})
    frame = read_run(file).frame
    assert frame["error"].to_list() == [error, None]
    assert frame["correct"].to_list() == [None, False]
    assert frame["output"].to_list() == [None, "f(1)"]


def test_answers_that_bfcl_never_scores_are_no_loss(tmp_path: Path) -> None:
    file = bfcl_scores(tmp_path)
    for category in ("memory_kv_prereq", "memory_kv"):
        shutil.copy(answers_of(file), answers_of(file).with_name(f"BFCL_v4_{category}_result.json"))
    assert [Path(each.where).name for each in read_run(tmp_path).unread] == ["BFCL_v4_memory_kv_result.json"]


@pytest.mark.parametrize(
    ("line", "changes", "told"),
    [
        (0, {"accuracy": 0.9}, "line 1, field 'accuracy': expected correct_count by total_count, found 0.9"),
        (0, {"accuracy": None}, "line 1, field 'accuracy': expected a finite number, found None"),
        (1, {"valid": True}, "line 2, field 'valid': expected false, as a score file lists only the failures"),
        (1, {"id": "simple_7"}, "line 1, field 'total_count': expected 2, by the items of the result file"),
    ],
)
def test_a_bfcl_score_file_that_contradicts_itself_is_refused(
    tmp_path: Path, line: int, changes: dict[str, object], told: str
) -> None:
    file = bfcl_scores(tmp_path)
    rows = [json.loads(text) for text in file.read_text().splitlines()]
    rows[line] |= changes
    write_lines(file, *rows)
    assert told in refusal(file)


def test_an_answer_without_a_result_is_refused(tmp_path: Path) -> None:
    file = bfcl_scores(tmp_path)
    write_lines(answers_of(file), {"id": "simple_0", "result": None}, {"id": "simple_1"})
    assert "line 2, field 'result': expected it in an answer of BFCL" in refusal(file)


def test_the_version_of_the_benchmark_is_known(tmp_path: Path) -> None:
    assert read_run(bfcl_scores(tmp_path)).metadata["tasks"] == {"simple_python": {"version": "v4"}}
