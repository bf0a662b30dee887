"""Reading lighteval's details."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from harness_files import refusal, write

from helpers.places import DATA
from muscle import read_run
from muscle.predictions.readers.lighteval import details as _lighteval_details


def test_lightevals_own_results_come_out_of_its_details() -> None:
    run = read_run(DATA / "readers" / "lighteval")
    assert run.metadata["format"] == "lighteval"
    assert run.name == "toy/model-1"
    for task, metrics in run.metadata["results"].items():
        frame = run.frame.filter(pl.col("task") == task)
        for metric, value in metrics.items():
            assert frame[f"score.{metric}"].mean() == pytest.approx(value)
            assert frame["correct"].mean() == pytest.approx(value)


def test_lightevals_choices_have_likelihoods_and_a_pick_that_agrees_with_the_metric() -> None:
    frame = read_run(next((DATA / "readers" / "lighteval").rglob("details_toy_choice*"))).frame
    assert frame["choice"].null_count() == 0
    assert (frame["output"] == frame["reference"].list.first()).to_list() == frame["correct"].to_list()
    assert frame["slice.tool"].unique().sort().to_list() == ["cup", "knife", "spoon"]
    assert frame["id"].to_list() == [str(place) for place in range(8)]
    assert frame["score.gold_probability"].is_between(0, 1).all()


def test_of_several_dates_of_lighteval_the_newest_is_read(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DATA / "readers" / "lighteval", tmp_path / "out"))
    (new,) = (folder / "details" / "toy" / "model-1").iterdir()
    old = new.with_name("2025-01-01T00-00-00.000000")
    old.mkdir()
    (source,) = new.glob("details_toy_sums*")
    shutil.copy(source, old / f"details_toy_sums|0_{old.name}.parquet")
    assert read_run(folder).metadata["readings"] == [f"toy_sums|0: read the run of {new.name}; also there: {old.name}"]


def test_a_parquet_file_of_lighteval_without_a_column_or_cut_off_is_said_so(tmp_path: Path) -> None:
    name = "details_x_2025-01-01T00-00-00.parquet"
    source = next((DATA / "readers" / "lighteval").rglob("details_toy_sums*"))
    pl.read_parquet(source).drop("metric").write_parquet(tmp_path / name)
    assert "column 'metric': expected a struct" in refusal(tmp_path / name)
    (tmp_path / name).write_bytes(source.read_bytes()[:-50])
    assert "expected a whole Parquet file" in refusal(tmp_path / name)


DATE = "2026-01-01T00-00-00"


def lighteval_file(folder: Path, rows: list[dict[str, Any]], task: str = "sums|0") -> Path:
    path = folder / "details" / "toy" / "m" / DATE / f"details_{task}_{DATE}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, strict=False, infer_schema_length=None).write_parquet(path)
    return path


def lighteval_row(place: int, **changes: Any) -> dict[str, Any]:
    doc = {"query": f"{place} + {place}?", "choices": [str(2 * place)], "gold_index": 0, "id": str(place)}
    row = {"doc": doc, "model_response": {"text": ["4"], "logprobs": None}, "metric": {"em": place % 2}}
    for name, value in changes.items():
        part, _, field = name.partition("__")
        row[part] = {**row[part], field: value} if field else value
    return row


def lighteval_results(folder: Path, **content: Any) -> None:
    write(folder / "results" / "toy" / "m" / f"results_{DATE}.json", content)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"doc__query": ["a"]}, "column 'doc', field 'query': expected text"),
        ({"doc__choices": "a"}, "column 'doc', field 'choices': expected a list of text"),
        ({"doc__gold_index": "a"}, "column 'doc', field 'gold_index': expected whole numbers"),
        ({"model_response__logprobs": ["a"]}, "field 'logprobs': expected a list of numbers"),
        ({"model_response__text": "a"}, "field 'text': expected a list of text"),
    ],
)
def test_a_column_of_lighteval_of_another_type_is_named(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    assert named in refusal(lighteval_file(tmp_path, [lighteval_row(place, **changes) for place in range(3)]))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"doc__choices": ["a", None]}, "row 2, field 'doc.choices[1]'"),
        ({"model_response__logprobs": [0.1, float("nan")]}, "row 2, field 'model_response.logprobs[1]'"),
        ({"doc__gold_index": 7}, "row 2, field 'doc.gold_index'"),
        ({"metric__em": float("inf")}, "row 2, field 'metric.em': expected a finite number"),
        ({"doc": None}, "row 2, field 'doc': expected an object"),
    ],
)
def test_a_row_of_lighteval_with_a_gap_is_named(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    rows = [lighteval_row(0), lighteval_row(1, **changes), lighteval_row(2)]
    assert named in refusal(lighteval_file(tmp_path, rows))


def test_items_that_lightevals_results_tell_of_and_its_details_lack_are_counted(tmp_path: Path) -> None:
    lighteval_file(tmp_path, [lighteval_row(place) for place in range(4)])
    lighteval_results(tmp_path, config_tasks={"sums|0": {"effective_num_docs": 6}}, results={"other|0": {}, "all": {}})
    unread = read_run(tmp_path).unread
    assert [(each.what.partition(" that")[0], each.num_items) for each in unread] == [
        ("2 of 6 items", 2),
        ("task other|0 has results but no details; run lighteval with --save-details", None),
    ]


def test_details_whose_mean_is_not_that_of_lightevals_results_are_counted(tmp_path: Path) -> None:
    lighteval_file(tmp_path, [lighteval_row(place) for place in range(4)])
    lighteval_results(tmp_path, results={"sums|0": {"em": 0.5}})
    assert read_run(tmp_path).unread == ()
    lighteval_results(tmp_path, results={"sums|0": {"em": 0.6}})
    (unread,) = read_run(tmp_path).unread
    assert "em is 0.5 by its samples and 0.6 by results_" in unread.what


@pytest.mark.parametrize(
    ("metrics", "is_told"),
    [
        ([{"metric_name": "em", "corpus_level_fn": "mean"}], True),
        ([{"metric_name": ["em", "f1"], "corpus_level_fn": {"em": "max", "f1": "max"}}], False),
        ([{"metric_name": ["em", "f1"], "corpus_level_fn": {"em": "mean", "f1": "max"}}], True),
        ([{"metric_name": "em", "corpus_level_fn": "<CorpusLevelF1Score object>"}], False),
    ],
)
def test_only_a_metric_that_lighteval_averages_is_held_against_its_results(
    tmp_path: Path, metrics: list[dict[str, Any]], is_told: bool
) -> None:
    lighteval_file(tmp_path, [lighteval_row(place) for place in range(4)])
    lighteval_results(tmp_path, config_tasks={"sums|0": {"metrics": metrics}}, results={"sums|0": {"em": 1.0}})
    assert bool(read_run(tmp_path).unread) == is_told


def test_a_number_that_is_no_verdict_is_held_against_lightevals_results_too(tmp_path: Path) -> None:
    lighteval_file(tmp_path, [lighteval_row(place, metric={"rouge1": place / 4}) for place in range(4)])
    lighteval_results(tmp_path, results={"sums|0": {"rouge1": 0.9}})
    (unread,) = read_run(tmp_path).unread
    assert unread.what.startswith("rouge1 is 0.375 by its samples and 0.9 by results_")


def test_results_of_a_newer_run_without_details_are_told(tmp_path: Path) -> None:
    file = lighteval_file(tmp_path, [lighteval_row(place) for place in range(4)])
    lighteval_results(tmp_path, results={"sums|0": {"em": 0.5}})
    newer = tmp_path / "results" / "toy" / "m" / "results_2026-02-01T00-00-00.json"
    write(newer, {"results": {"sums|0": {"em": 0.1}}})
    write(tmp_path / "results" / "toy" / "other" / newer.name, {})
    told = f"{newer}: results of a newer run without details; read that of {DATE}"
    assert [str(each) for each in read_run(tmp_path).unread] == [told]
    assert read_run(file).unread == read_run(file.parent).unread == ()


def test_metrics_answers_and_tables_of_lighteval_that_are_not_read_are_told(tmp_path: Path) -> None:
    rows = [lighteval_row(place, metric__parts=[1.0, 2.0], model_response__text=["4", "5"]) for place in range(2)]
    file = lighteval_file(tmp_path, rows)
    shutil.copy(file, tmp_path / "details_of_mine.parquet")
    run = read_run(tmp_path)
    assert run.metadata["readings"] == [
        "sums|0: metrics that are no number an item are passed over: parts",
        "sums|0: 2 items have several answers; the first of each is shown",
    ]
    assert [Path(each.where).name for each in run.unread] == ["details_of_mine.parquet"]


def test_a_parquet_file_of_lighteval_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lighteval_details, "FREE_BYTES", 1 << 20)
    rows = [lighteval_row(place, doc__query=str(place) + "a" * (1 << 20)) for place in range(8)]
    assert "expected a file that unpacks to at most 1 MiB, found 8 MiB" in refusal(lighteval_file(tmp_path, rows))


def test_a_text_of_lighteval_that_stands_packed_in_every_row_is_unpacked_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lighteval_details, "BATCH_BYTES", 4_000)
    rows = [lighteval_row(place, doc__query="a" * 900) for place in range(9)]
    assert read_run(lighteval_file(tmp_path, rows)).frame["input"].str.len_chars().to_list() == [900] * 9
    rows[5]["doc"]["query"] = "a" * 2_100
    assert "row 6: expected texts of at most" in refusal(lighteval_file(tmp_path, rows))
