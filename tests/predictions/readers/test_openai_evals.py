"""Reading the output items of OpenAI's hosted Evals."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness_files import output_item, refusal, write

from helpers.json_lines import write_lines
from muscle import read_run


@pytest.mark.parametrize("layout", ["lines", "list", "page", "pages"])
def test_output_items_are_read_in_every_layout(tmp_path: Path, layout: str) -> None:
    items = [output_item(0), output_item(1, passed=False), output_item(2)]
    page = {"object": "list", "data": items, "has_more": False}
    path = tmp_path / ("x.jsonl" if layout == "lines" else "x.json")
    if layout == "lines":
        write_lines(path, *items)
    else:
        pages = [{"object": "list", "data": items[:2]}, {"object": "list", "data": items[2:]}]
        write(path, {"list": items, "page": page, "pages": pages}[layout])
    run = read_run(path)
    assert (run.metadata["format"], run.name, run.tasks) == ("openai_evals", "gpt-4o-mini", ["eval_1"])
    assert run.frame["correct"].to_list() == [True, False, True]
    assert run.frame["score.exact match"].to_list() == [1.0, 0.0, 1.0]
    assert run.frame["score.rouge-l"].to_list() == [0.75] * 3
    assert run.frame["reference"].to_list() == [["1"], ["2"], ["3"]]
    assert run.frame["output"].to_list() == ["1", "2", "3"]


def test_an_item_that_the_service_failed_is_missing(tmp_path: Path) -> None:
    sample = output_item(1)["sample"] | {
        "error": {"code": "server_error", "message": "overloaded"},
        "output": [],
    }
    frame = read_run(write_lines(tmp_path / "x.jsonl", output_item(0), output_item(1, sample=sample))).frame
    assert frame["error"].to_list() == [None, "overloaded"]
    assert frame["correct"].to_list() == [True, None]


def test_the_same_row_of_the_data_source_joins_whatever_the_prompt(tmp_path: Path) -> None:
    other = output_item(0)["sample"] | {"input": [{"role": "user", "content": "Please: 0+1?"}]}
    rows = [output_item(0), output_item(0, id="outputitem_9", sample=other)]
    frame = read_run(write_lines(tmp_path / "x.jsonl", *rows)).frame
    assert frame["input_hash"].n_unique() == 1
    assert frame["repeat"].to_list() == [0, 1]


def test_items_of_two_runs_in_one_file_are_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", output_item(0), output_item(1, run_id="evalrun_2"))
    assert "line 2, field 'run_id': expected that of one run (evalrun_1)" in refusal(path)


def test_an_output_item_of_overlapping_pages_counts_once(tmp_path: Path) -> None:
    items = [output_item(place, passed=place > 1) for place in range(4)]
    pages = [{"object": "list", "data": items[:3]}, {"object": "list", "data": items[1:]}]
    run = read_run(write(tmp_path / "x.json", pages))
    assert run.frame["repeat"].to_list() == [0] * 4
    assert run.metadata["readings"] == ["2 output items stand there again (overlapping pages)"]


def test_an_output_item_that_stands_there_twice_with_other_verdicts_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", output_item(0), output_item(0, passed=False))
    assert "line 2, field 'id': expected that of no item before, or the same item again" in refusal(path)


def test_several_models_settings_and_a_status_against_the_graders_are_told(tmp_path: Path) -> None:
    other = output_item(1)["sample"] | {"model": "gpt-4o", "temperature": 1}
    items = [output_item(0), output_item(1, sample=other), output_item(2, passed=False, status="pass")]
    assert read_run(write_lines(tmp_path / "x.jsonl", *items)).metadata["notes"] == [
        "its items were answered by 2 models: gpt-4o-mini, gpt-4o",
        "its items were asked with 2 settings of the generation",
        "1 items have another status than their graders say; the status decides",
    ]
    assert read_run(write_lines(tmp_path / "y.jsonl", *items[:1])).metadata["notes"] == []


def test_another_number_that_passed_than_the_run_counts_is_noted(tmp_path: Path) -> None:
    page = {"object": "list", "data": [output_item(0), output_item(1, passed=False)], "has_more": False}
    for passed, total, notes in ((1, 2, []), (2, 2, ["2 items that passed, its items of 1"]), (2, 3, [])):
        path = write(tmp_path / "x.json", page | {"result_counts": {"total": total, "passed": passed}})
        told = read_run(path).metadata["notes"]
        assert [note.removeprefix("its own result_counts speak of ") for note in told] == notes
