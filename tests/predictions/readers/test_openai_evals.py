"""Reading the output items of OpenAI's hosted Evals."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness_files import output_item, refusal, write, write_lines
from muscle import read_run


@pytest.mark.parametrize("layout", ["lines", "list", "page", "pages"])
def test_output_items_are_read_in_every_layout(tmp_path: Path, layout: str) -> None:
    items = [output_item(0), output_item(1, passed=False), output_item(2)]
    page = {"object": "list", "data": items, "has_more": False}
    path = tmp_path / ("x.jsonl" if layout == "lines" else "x.json")
    if layout == "lines":
        write_lines(path, items)
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
    frame = read_run(write_lines(tmp_path / "x.jsonl", [output_item(0), output_item(1, sample=sample)])).frame
    assert frame["error"].to_list() == [None, "overloaded"]
    assert frame["correct"].to_list() == [True, None]


def test_the_same_row_of_the_data_source_joins_whatever_the_prompt(tmp_path: Path) -> None:
    other = output_item(0)["sample"] | {"input": [{"role": "user", "content": "Please: 0+1?"}]}
    rows = [output_item(0), output_item(0, sample=other)]
    frame = read_run(write_lines(tmp_path / "x.jsonl", rows)).frame
    assert frame["input_hash"].n_unique() == 1
    assert frame["repeat"].to_list() == [0, 1]


def test_items_of_two_runs_in_one_file_are_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", [output_item(0), output_item(1, run_id="evalrun_2")])
    assert "line 2, field 'run_id': expected that of one run (evalrun_1)" in refusal(path)
