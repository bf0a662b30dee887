"""Every Eval Ever, read and written, and the conversion of runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.places import DATA
from muscle import read_run
from muscle.errors import ConfigError, DataError
from muscle.predictions.writers.convert import convert

FILES = DATA / "readers"
RUNS = [
    "lm_eval/0.4.13/toy__model-1",
    "lm_eval/0.4.2",
    "inspect/garden-1.zstd.eval",
    "inspect/kitchen-1.json",
    "promptfoo/v2.json",
]
KEY = ["task", "id", "filter", "repeat"]
THEIRS = FILES / "every_eval_ever"


def samples_of(folder: Path, task: str) -> Path:
    (found,) = (folder / "data" / task).rglob("*_samples.jsonl")
    return found


def copy_of(tmp_path: Path, **changes: Any) -> Path:
    """Copy the samples of one task and change its second row."""
    file = tmp_path / "x_samples.jsonl"
    lines = samples_of(THEIRS, "letters").read_text(encoding="utf-8").splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | changes)
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", RUNS)
def test_a_run_comes_back_whole_from_every_eval_ever(name: str, tmp_path: Path) -> None:
    run = read_run(FILES / name)
    files = convert(FILES / name, tmp_path / "out", to="eee")
    assert all(file.is_file() for file in files)
    back = read_run(tmp_path / "out")
    assert back.metadata["format"] == "every_eval_ever"
    expected, found = run.frame.sort(KEY), back.frame.sort(KEY)
    assert sorted(found.columns) == sorted(expected.columns)
    assert found.select(expected.columns).equals(expected)


@pytest.mark.parametrize("out", ["run", "run.jsonl", "run.parquet"])
@pytest.mark.parametrize("name", RUNS)
def test_a_run_comes_back_whole_from_our_records(name: str, out: str, tmp_path: Path) -> None:
    run = read_run(FILES / name)
    convert(FILES / name, tmp_path / out)
    back = read_run(tmp_path / out)
    expected, found = run.frame.sort(KEY), back.frame.sort(KEY)
    filled = [column for column in expected.columns if expected[column].null_count() < expected.height]
    assert found.select(filled).equals(expected.select(filled))


def test_records_in_a_folder_keep_what_is_known_of_the_run(tmp_path: Path) -> None:
    files = convert(FILES / "lm_eval/0.4.13/toy__model-1", tmp_path / "run")
    names = [file.name for file in files]
    assert names == [f"{task}.jsonl" for task in ("fill", "last", "letters", "many", "pick", "roll", "sums")] + [
        "run.json"
    ]
    metadata = read_run(tmp_path / "run").metadata
    assert metadata["versions"]["lm_eval"] == "0.4.13"
    assert metadata["tasks"]["sums"]["repeats"] == 2


def test_records_that_have_only_scores_are_right_where_the_score_is_one(tmp_path: Path) -> None:
    scores: list[dict[str, float]] = [{"exact": 1.0, "f1": 1.0}, {"exact": 0.0, "f1": 0.2}, {"exact": 1.0}]
    rows = [{"id": str(n), "task": "t", "input": f"{n}?", "score": score} for n, score in enumerate(scores)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    convert(tmp_path / "x.jsonl", tmp_path / "out", to="eee")
    frame = read_run(tmp_path / "out").frame
    assert frame["correct"].to_list() == [True, False, True]
    assert frame["score.exact"].to_list() == [1.0, 0.0, 1.0]


def test_an_item_without_an_input_has_none_when_it_comes_back(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "1", "task": "t", "correct": true}\n')
    convert(tmp_path / "x.jsonl", tmp_path / "out", to="eee")
    assert read_run(tmp_path / "out").frame["input"].to_list() == [None]


def test_aggregate_and_samples_say_the_same_of_each_other(tmp_path: Path) -> None:
    aggregate_file, samples_file = convert(FILES / "lm_eval/0.4.13/toy__model-1", tmp_path, to="eee")
    aggregate = json.loads(aggregate_file.read_text())
    rows = [json.loads(line) for line in samples_file.read_text().splitlines()]
    detail = aggregate["detailed_evaluation_results"]
    assert tmp_path / detail["file_path"] == samples_file
    assert detail["total_rows"] == len(rows)
    assert detail["checksum"] == hashlib.sha256(samples_file.read_bytes()).hexdigest()
    by_result = {result["evaluation_result_id"]: result for result in aggregate["evaluation_results"]}
    assert {row["evaluation_result_id"] for row in rows} == set(by_result)
    for identity, result in by_result.items():
        scores = [row["evaluation"]["score"] for row in rows if row["evaluation_result_id"] == identity]
        assert sum(scores) / len(scores) == pytest.approx(result["score_details"]["score"])
    assert by_result["letters#accuracy"]["score_details"]["score"] == pytest.approx(3 / 7)


def test_a_sample_has_the_hash_that_the_schema_prescribes(tmp_path: Path) -> None:
    _, samples_file = convert(FILES / "inspect/kitchen-1.json", tmp_path, to="eee")
    row = json.loads(samples_file.read_text().splitlines()[0])
    body = {"raw": row["input"]["raw"], "reference": row["input"]["reference"]}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert row["sample_hash"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("name", RUNS)
def test_what_is_written_passes_the_schemas_own_validator(name: str, tmp_path: Path) -> None:
    core = pytest.importorskip(
        "every_eval_ever.validator.validation_core",
        reason="every-eval-ever is not installed (it needs Python 3.12)",
    )
    files = convert(FILES / name, tmp_path, to="eee")
    places = {file.relative_to(tmp_path).as_posix(): file for file in files}
    for place, file in places.items():
        report = core.validate_file(
            file,
            repo_path=place,
            available_files=places.keys(),
            read_repo_file=lambda wanted: places[wanted].read_text(encoding="utf-8"),
            run_semantic_checks=True,
        )
        assert not report.errors, report.errors
        assert not report.warnings, report.warnings


def test_what_its_own_converter_made_of_a_run_has_the_verdicts_of_that_run() -> None:
    theirs = read_run(THEIRS)
    ours = read_run(FILES / "lm_eval/0.4.13/toy__model-1")
    assert sorted(theirs.tasks) == sorted(ours.tasks)
    columns = [*KEY, "correct", "output", "reference"]
    for task in ("letters", "many", "pick", "sums"):
        mine = pl.col("task") == task
        expected = ours.frame.filter(mine).select(columns).sort(KEY)
        found = theirs.frame.filter(mine).select(columns).sort(KEY)
        # That converter keeps several right options as one text, and picks among requests without a context too.
        left_out = {"many": "reference", "pick": "output"}.get(task)
        kept = [name for name in columns if name != left_out]
        assert found.select(kept).equals(expected.select(kept)), task


def test_scores_that_are_not_zero_and_one_are_no_verdicts() -> None:
    frame = read_run(samples_of(THEIRS, "last")).frame
    assert frame["correct"].null_count() == frame.height
    assert frame["score.gold_logprob"].null_count() == 0


def test_samples_alone_are_read_and_this_is_said(tmp_path: Path) -> None:
    run = read_run(copy_of(tmp_path))
    assert run.frame.height == 7
    assert run.metadata["notes"] == ["no aggregate file beside the samples, so metrics and settings are not known"]


@pytest.mark.parametrize(("changed", "is_told"), [(False, False), (True, True)])
def test_samples_whose_share_of_right_ones_is_not_the_aggregates_are_told(
    tmp_path: Path, changed: bool, is_told: bool
) -> None:
    file = samples_of(THEIRS, "letters")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    verdict = rows[0]["evaluation"]
    if changed:
        verdict |= {"score": 1.0 - verdict["score"], "is_correct": not verdict["is_correct"]}
    (tmp_path / file.name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    aggregate = file.name.replace("_samples.jsonl", ".json")
    (tmp_path / aggregate).write_text(file.with_name(aggregate).read_text(encoding="utf-8"), encoding="utf-8")
    told = [loss.what for loss in read_run(tmp_path / file.name).unread]
    assert len(told) == is_told
    assert all(f"letters: accuracy is 0.285714 by its samples, 0.428571 by {aggregate}" in what for what in told)


def test_whole_runs_of_every_eval_ever_have_lost_nothing(tmp_path: Path) -> None:
    assert read_run(THEIRS).unread == ()
    for place, name in enumerate(RUNS):
        convert(FILES / name, tmp_path / str(place), to="eee")
        assert read_run(tmp_path / str(place)).unread == read_run(FILES / name).unread == ()


def test_the_same_sample_again_is_a_repeat(tmp_path: Path) -> None:
    first = json.loads(samples_of(THEIRS, "letters").read_text(encoding="utf-8").splitlines()[0])
    frame = read_run(copy_of(tmp_path, sample_id=first["sample_id"])).frame
    assert frame.filter(pl.col("id") == first["sample_id"])["repeat"].to_list() == [0, 1]


def test_a_sample_with_an_error_is_missing(tmp_path: Path) -> None:
    row = read_run(copy_of(tmp_path, error="timeout")).frame.row(1, named=True)
    assert (row["error"], row["correct"], row["score.score"]) == ("timeout", None, None)


def test_an_agents_last_words_are_its_answer(tmp_path: Path) -> None:
    messages = [
        {"turn_idx": 0, "role": "user", "content": "?"},
        {"turn_idx": 1, "role": "assistant", "content": "done"},
    ]
    file = copy_of(tmp_path, interaction_type="agentic", output=None, messages=messages, answer_attribution=[])
    assert read_run(file).frame["output"][1] == "done"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"evaluation": {"score": None, "is_correct": True}},
            "line 2, field 'evaluation.score': expected a finite number",
        ),
        ({"evaluation": {"score": float("nan"), "is_correct": True}}, "line 2, field 'evaluation.score'"),
        (
            {"evaluation": {"score": 1, "is_correct": "yes"}},
            "line 2, field 'evaluation.is_correct': expected true or false",
        ),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = copy_of(tmp_path, **changes)
    with pytest.raises(DataError) as caught:
        read_run(file)
    assert f"{file}, {message}" in str(caught.value)


def test_an_aggregate_without_samples_is_refused(tmp_path: Path) -> None:
    (aggregate,) = (THEIRS / "data" / "letters").rglob("*[0-9a-f].json")
    alone = tmp_path / aggregate.name
    alone.write_bytes(aggregate.read_bytes())
    with pytest.raises(DataError, match="aggregates alone cannot be compared"):
        read_run(alone)


def test_a_folder_with_a_task_twice_is_refused(tmp_path: Path) -> None:
    for _ in range(2):
        convert(FILES / "inspect/kitchen-1.json", tmp_path, to="eee")
    with pytest.raises(DataError, match="expected one run of one model, found a task twice; name one file"):
        read_run(tmp_path)


def test_a_conversion_into_what_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="to: expected 'records' or 'eee', found 'xml'"):
        convert(FILES / RUNS[0], tmp_path, to="xml")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected a folder for Every Eval Ever"):
        convert(FILES / RUNS[0], tmp_path / "x.jsonl", to="eee")


def test_a_task_with_a_slash_in_its_name_gets_a_file_of_its_own(tmp_path: Path) -> None:
    table = pl.DataFrame({"id": ["1", "2"], "task": ["a/b", "a_b"], "correct": [True, False]})
    files = convert(table, tmp_path / "run")
    assert [file.name for file in files] == ["a_b.jsonl", "a_b_.jsonl", "run.json"]
    assert read_run(tmp_path / "run").tasks == ["a/b", "a_b"]


def test_what_a_hostile_run_json_says_of_a_run_does_not_stop_its_conversion(tmp_path: Path) -> None:
    run = read_run(pl.DataFrame({"id": ["1", "2"], "correct": [True, False]}))
    settings = {"seed": 1 << 70, "stop": "\ud83d", "temperature": float("nan"), 3: "three"}
    convert(replace(run, metadata={"settings": settings}), tmp_path, to="eee")
    assert read_run(tmp_path).frame["correct"].to_list() == [True, False]


def test_scores_that_are_too_large_for_a_mean_are_refused(tmp_path: Path) -> None:
    table = pl.DataFrame({"id": ["1", "2"], "score.size": [1.7e308, 1.7e308]})
    with pytest.raises(DataError, match="task 'all': the values of 'size' are too large for a mean"):
        convert(table, tmp_path, to="eee")


def test_a_score_that_would_share_a_metric_with_correct_is_kept_or_refused(tmp_path: Path) -> None:
    table = pl.DataFrame({"id": ["1", "2"], "correct": [True, False], "score.accuracy": [1.0, 0.0]})
    convert(table, tmp_path / "same", to="eee")
    assert read_run(tmp_path / "same").frame["correct"].to_list() == [True, False]
    with pytest.raises(DataError, match="score 'accuracy': Every Eval Ever has one metric of that name"):
        convert(table.with_columns(pl.lit(0.5).alias("score.accuracy")), tmp_path / "other", to="eee")
