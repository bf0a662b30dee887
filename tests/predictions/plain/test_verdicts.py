"""Which verdicts are computed, which are a file's own, and that converting changes neither."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.json_lines import write_lines
from helpers.places import DATA
from muscle import Run, read_run
from muscle.errors import ConfigError, DataError
from muscle.gate.baseline import load_baseline, save_baseline
from muscle.predictions import write_records
from muscle.predictions.run import Unread
from muscle.predictions.writers.convert import convert

FILES = DATA / "readers"


def verdicts(path: Path) -> list[tuple[bool | None, str | None]]:
    return read_run(path).frame.select("correct", "error").rows()


ANSWERED = [
    {"id": "right", "output": "A", "reference": "A"},
    {"id": "wrong", "output": "B", "reference": "A"},
    {"id": "same", "output": "A", "reference": "A"},
]


def test_a_null_verdict_is_unscored_in_a_file_that_has_verdicts(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "a.jsonl", ANSWERED[0] | {"correct": False}, ANSWERED[1], ANSWERED[2] | {"correct": None}
    )
    assert verdicts(path) == [(False, None), (None, None), (None, None)]


@pytest.mark.parametrize("write", ["jsonl", "json", "csv", "parquet"])
def test_a_column_of_null_verdicts_is_a_verdict_of_the_file(tmp_path: Path, write: str) -> None:
    rows = [row | {"correct": None} for row in ANSWERED]
    path = tmp_path / f"a.{write}"
    if write == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif write == "csv":
        pl.DataFrame(rows).write_csv(path)
    else:
        path.write_text(json.dumps(rows)) if write == "json" else write_lines(path, *rows)
    assert verdicts(path) == [(None, None)] * 3


def test_a_null_score_is_unscored_in_a_task_that_has_scores(tmp_path: Path) -> None:
    rows = [
        {"task": "a", **ANSWERED[0], "score": {"score": 0.5}},
        {"task": "a", **ANSWERED[1], "score": None},
        {"task": "b", **ANSWERED[2]},
    ]
    frame = read_run(write_lines(tmp_path / "a.jsonl", *rows)).frame
    assert frame.select("correct", "score.score").rows() == [(None, 0.5), (None, None), (True, None)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "id,score.quality,score.words\nq0,,9\nq1,0.5,9\n"),
        (
            "a.jsonl",
            '{"id": "q0", "score": {"quality": null, "words": 9}}\n'
            '{"id": "q1", "score": {"quality": 0.5, "words": 9}}\n',
        ),
        (
            "a.json",
            '[{"id": "q0", "score": {"quality": null, "words": 9}}, '
            '{"id": "q1", "score": {"quality": 0.5, "words": 9}}]',
        ),
    ],
)
def test_an_item_without_its_main_score_stays_a_row(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    frame = read_run(tmp_path / name).frame
    assert frame.select("id", "score.quality", "score.words", "correct", "error").rows() == [
        ("q0", None, 9.0, None, None),
        ("q1", 0.5, 9.0, None, None),
    ]
    assert [c for c in frame.columns if c.startswith("score.")] == ["score.quality", "score.words"]


@pytest.mark.parametrize("output", ["null", "NaN", '""', '" \\n"'])
def test_an_answer_that_is_blank_is_missing_and_not_wrong(tmp_path: Path, output: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        json.dumps(ANSWERED[0])
        + "\n"
        + f'{{"id": "blank", "output": {output}, "reference": "A"}}\n{{"id": "none", "reference": "A"}}\n'
    )
    assert verdicts(path) == [(True, None), (None, "no answer"), (None, "no answer")]


def test_an_answer_without_a_reference_is_unscored(tmp_path: Path) -> None:
    assert verdicts(write_lines(tmp_path / "a.jsonl", ANSWERED[0], {"id": "open", "output": "x"})) == [
        (True, None),
        (None, None),
    ]


def test_a_file_in_which_nothing_can_be_judged_is_refused_with_its_fields(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ID,Good,question\nq1,true,a\n")
    with pytest.raises(
        DataError, match=r"expected one of 'correct'.* fields Good, question, ID \(--column correct=NAME"
    ):
        read_run(tmp_path / "a.csv")


def confident(*scores: float) -> list[dict[str, Any]]:
    outputs = ["A", "B", "A"]
    return [
        {"id": n, "output": out, "reference": "A", "score": score}
        for n, (out, score) in enumerate(zip(outputs, scores, strict=True))
    ]


@pytest.mark.parametrize("columns", [None, {"score": "score"}, {"slice.sure": "score"}])
def test_a_score_that_contradicts_the_answers_is_refused_unless_it_is_named(
    tmp_path: Path, columns: dict[str, str] | None
) -> None:
    path = write_lines(tmp_path / "a.jsonl", *confident(0, 1, 1))
    if columns is None:
        with pytest.raises(
            DataError,
            match=r"line 1, field 'score': found 0 .*1 where it is not \(line 2\).*--column score=score",
        ):
            read_run(path)
        return
    frame = read_run(path, columns=columns).frame
    assert frame["correct"].to_list() == ([None] * 3 if "score" in columns else [True, False, True])


def test_that_a_score_decides_beside_answers_is_noted(tmp_path: Path) -> None:
    run = read_run(write_lines(tmp_path / "a.jsonl", *confident(1, 0, 1)))
    assert run.metadata["readings"] == [
        "score 'score' decides what is better; outputs are not compared with references"
    ]
    assert run.frame["correct"].null_count() == 3


def test_a_score_beside_verdicts_may_be_a_confidence(tmp_path: Path) -> None:
    rows = [row | {"correct": row["output"] == "A"} for row in confident(0.2, 0.9, 0.8)]
    assert read_run(write_lines(tmp_path / "a.jsonl", *rows)).frame["correct"].to_list() == [
        True,
        False,
        True,
    ]


RUNS = [
    "lm_eval/0.4.13/toy__model-1",
    "inspect/kitchen-1.json",
    "promptfoo/v2.json",
    "lighteval",
    "helm",
    "every_eval_ever",
]
JUDGED = ["task", "filter", "repeat", "id", "correct", "error", "output", "choice"]


@pytest.mark.parametrize("out", ["run", "run.jsonl", "run.parquet"])
@pytest.mark.parametrize("name", RUNS)
def test_converting_changes_no_verdict_even_where_there_is_none(name: str, out: str, tmp_path: Path) -> None:
    whole = read_run(FILES / name)
    blanked = pl.int_range(pl.len()) % 3 == 0
    scores = [column for column in whole.frame.columns if column.startswith("score.")]
    frame = whole.frame.with_columns(
        pl.when(~blanked).then(column).alias(column) for column in ("correct", *scores[:1])
    )
    run = replace(whole, frame=frame, metadata={}, unread=())
    convert(run, tmp_path / out)
    back = read_run(tmp_path / out).frame
    assert [column for column in back.columns if column.startswith("score.")] == scores
    assert back.select(*JUDGED, *scores).sort(JUDGED[:4]).equals(frame.select(*JUDGED, *scores).sort(JUDGED[:4]))


def test_a_run_without_any_verdict_comes_back_without(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "task": "t",
            "id": ["1", "2"],
            "output": ["A", "B"],
            "reference": [["A"], ["A"]],
            "score.a": [None, None],
        }
    )
    write_records(tmp_path / "a.jsonl", frame)
    back = read_run(tmp_path / "a.jsonl").frame
    assert back["correct"].null_count() == 2 and "score.a" in back.columns


def test_a_task_that_was_called_after_its_file_is_called_after_the_new_one(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "old.jsonl", *ANSWERED)
    convert(path, tmp_path / "other.jsonl")
    convert(path, tmp_path / "folder")
    assert read_run(tmp_path / "other.jsonl").metadata["default_task"] == "other"
    assert read_run(tmp_path / "folder").metadata["default_task"] == "old"


def lossy(tmp_path: Path) -> Run:
    run = read_run(write_lines(tmp_path / "a.jsonl", *ANSWERED))
    return replace(run, unread=(Unread("3 samples that are null", "x.json", 3), Unread("not read", "y.gz")))


def test_a_folder_and_a_baseline_keep_what_was_not_read(tmp_path: Path) -> None:
    run = lossy(tmp_path)
    convert(run, tmp_path / "run")
    assert read_run(tmp_path / "run").unread == run.unread
    save_baseline(run, "main", tmp_path / "kept")
    assert load_baseline("main", tmp_path / "kept").unread == run.unread


def test_a_folder_whose_losses_are_damaged_is_refused(tmp_path: Path) -> None:
    convert(lossy(tmp_path), tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text('{"unread": [{"what": 3}]}')
    with pytest.raises(DataError, match=r"run\.json, field 'unread'"):
        read_run(tmp_path / "run")


def test_a_single_file_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.jsonl: expected a folder.*3 samples that are null"):
        convert(lossy(tmp_path), tmp_path / "out" / "a.jsonl")
    run = read_run(write_lines(tmp_path / "b.jsonl", {"id": 1, "score": {"wer": 0.5}}))
    with pytest.raises(ConfigError, match="that less is better of wer"):
        convert(replace(run, metadata={"higher_is_better": {"wer": False}}), tmp_path / "out" / "b.parquet")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".csv", ".json", ".arrow", ".eval"])
def test_a_file_that_is_not_written_is_no_folder(tmp_path: Path, suffix: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", *ANSWERED)
    with pytest.raises(ConfigError, match=r"expected a \.jsonl or \.parquet file, or a folder"):
        convert(path, tmp_path / f"x{suffix}")
    assert not (tmp_path / f"x{suffix}").exists()
