"""Reading Inspect AI's logs: deflate, zstd, chunked, `.json`, unfinished."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from helpers.places import DATA
from muscle import read_run
from muscle.errors import DataError
from muscle.predictions.readers import inspect
from muscle.predictions.readers.shared import zip_archive as _zip

FILES = DATA / "readers" / "inspect"
GARDENS = [f"garden-1.{kind}" for kind in ("deflate.eval", "zstd.eval", "chunked.eval", "json")]


def members(log: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(log) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def with_sample(name: str, **changes: object) -> dict[str, bytes]:
    entries = members(FILES / "garden-1.deflate.eval")
    entries[name] = json.dumps(json.loads(entries[name]) | changes).encode()
    return entries


@pytest.mark.parametrize("name", GARDENS)
def test_every_layout_gives_the_same_records(name: str) -> None:
    order = ["id", "repeat"]
    expected = read_run(FILES / "garden-1.deflate.eval").frame.sort(order)
    frame = read_run(FILES / name).frame
    assert frame.height == 10
    assert frame.select(expected.columns).sort(order).equals(expected)


@pytest.mark.parametrize(
    "name", [*GARDENS, "garden-2.zstd.eval", "garden-2.json", "kitchen-1.zstd.eval", "kitchen-1.json"]
)
def test_every_aggregate_of_the_harness_comes_out_of_the_records(name: str) -> None:
    run = read_run(FILES / name)
    (results,) = run.metadata["results"].values()
    assert results
    for key, value in results.items():
        epochs_first = run.frame.group_by("id").agg(pl.col(f"score.{key.split(',')[0]}").mean().alias("score"))
        assert epochs_first["score"].mean() == pytest.approx(value), key


def test_epochs_are_repeats_and_ids_come_from_inside_the_samples() -> None:
    frame = read_run(FILES / "garden-1.zstd.eval").frame
    assert set(frame["id"]) == {"1", "q/31", "..", "x_epoch_2", "long"}
    assert frame.group_by("id").agg(pl.col("repeat").sort())["repeat"].to_list() == [[0, 1]] * 5


def test_a_sample_that_raised_is_missing_not_wrong() -> None:
    frame = read_run(FILES / "garden-1.zstd.eval").frame.filter(pl.col("id") == "q/31")
    assert frame["error"].to_list() == ["RuntimeError('the tool broke')"] * 2
    assert frame["correct"].null_count() == 2
    assert frame["score.match"].null_count() == 2


def test_a_score_that_is_nan_is_left_out_where_another_score_decides() -> None:
    frame = read_run(FILES / "garden-1.json").frame.filter(pl.col("id") == "1")
    assert frame["score.lengthy"].null_count() == 2
    assert frame["correct"].to_list() == [True, True]


def test_a_sample_whose_main_score_is_nan_is_missing(tmp_path: Path) -> None:
    scores = {"match": {"value": float("nan"), "answer": "lemon"}}
    log = pack(tmp_path / "x.eval", with_sample("samples/1_epoch_1.json", scores=scores))
    row = read_run(log).frame.filter((pl.col("id") == "1") & (pl.col("repeat") == 0))
    assert row["error"].to_list() == ["unscored: match is NaN"]
    assert row["correct"].to_list() == [None]


def test_texts_are_whole_not_those_of_the_summaries() -> None:
    for name in GARDENS:
        text = read_run(FILES / name).frame.filter(pl.col("id") == "long")["input"][0]
        assert text == "Say the long word. " + "word " * 400


def test_letters_become_the_option_that_was_picked() -> None:
    frame = read_run(FILES / "kitchen-1.zstd.eval").frame
    assert frame["choice"].to_list() == [0] * 6
    assert frame["output"].to_list() == ["a knife"] * 6
    assert frame["reference"].list.first().to_list() == ["a knife", "a spoon", "a cup"] * 2
    assert frame["correct"].to_list() == [True, False, False] * 2
    assert frame["slice.tool"].to_list() == ["knife", "spoon", "cup"] * 2


def test_partial_credit_is_not_correct_and_keeps_its_score(tmp_path: Path) -> None:
    scores = {"match": {"value": "P", "answer": "lemon"}}
    log = pack(tmp_path / "x.eval", with_sample("samples/1_epoch_1.json", scores=scores))
    row = read_run(log).frame.filter((pl.col("id") == "1") & (pl.col("repeat") == 0))
    assert (row["correct"][0], row["score.match"][0]) == (False, 0.5)


def test_a_run_that_was_killed_is_read_as_far_as_it_came(tmp_path: Path) -> None:
    entries = members(FILES / "garden-1.deflate.eval")
    kept = {name: data for name, data in entries.items() if name.startswith("_journal/") or "_epoch_1.json" in name}
    run = read_run(pack(tmp_path / "killed.eval", kept))
    assert run.frame.height == 5
    assert run.metadata["model"]["name"] == "mockllm/model"
    assert run.metadata["notes"] == ["garden: the run did not finish; read 5 samples that it had logged"]


def test_of_equal_member_names_the_last_counts(tmp_path: Path) -> None:
    entries = members(FILES / "garden-1.deflate.eval")
    log = pack(tmp_path / "x.eval", entries)
    name = "samples/1_epoch_1.json"
    changed = json.dumps(json.loads(entries[name]) | {"input": "asked again"}).encode()
    with zipfile.ZipFile(log, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(name, changed)
    frame = read_run(log).frame
    assert frame.height == 10
    assert "asked again" in frame["input"].to_list()


def test_a_folder_gives_the_newest_log_of_each_task(tmp_path: Path) -> None:
    for date, name in (("2026-01-01", "garden-1"), ("2026-01-02", "garden-2"), ("2026-01-01b", "kitchen-1")):
        (tmp_path / f"{date}_{name}.eval").write_bytes((FILES / f"{name}.zstd.eval").read_bytes())
    run = read_run(tmp_path)
    assert run.tasks == ["garden", "kitchen"]
    assert run.metadata["readings"] == ["garden: read 2026-01-02_garden-2.eval; also there: 2026-01-01_garden-1.eval"]
    garden = run.frame.filter(pl.col("task") == "garden")
    assert garden["output"].to_list() == read_run(FILES / "garden-2.zstd.eval").frame["output"].to_list()


def test_metadata_say_what_a_comparison_needs() -> None:
    metadata = read_run(FILES / "garden-1.zstd.eval").metadata
    assert metadata["format"] == "inspect"
    assert metadata["versions"] == {"inspect_ai": "0.3.285"}
    task = metadata["tasks"]["garden"]
    assert (task["epochs"], task["metric"], task["scorers"]) == (2, "match", ["match", "lengthy", "multi"])
    assert task["dataset"]["name"] == "garden"


def test_a_member_that_points_out_of_the_archive_is_refused(tmp_path: Path) -> None:
    log = pack(tmp_path / "x.eval", {**members(FILES / "garden-1.deflate.eval"), "../x": b"{}"})
    with pytest.raises(DataError, match=r"x.eval, member '../x': expected a name inside the archive"):
        read_run(log)


def test_a_sample_without_an_epoch_is_named(tmp_path: Path) -> None:
    log = pack(tmp_path / "x.eval", with_sample("samples/1_epoch_1.json", epoch=None))
    with pytest.raises(DataError, match=r"member 'samples/1_epoch_1.json', field 'epoch': expected it in a sample"):
        read_run(log)


@pytest.mark.parametrize("name", ["garden-1.zstd.eval", "garden-1.deflate.eval"])
def test_an_archive_that_is_cut_off_is_said_so(tmp_path: Path, name: str) -> None:
    log = tmp_path / name
    log.write_bytes((FILES / name).read_bytes()[:-700])
    with pytest.raises(DataError, match="expected a whole zip archive, found a damaged one"):
        read_run(log)


@pytest.mark.parametrize("name", ["garden-1.zstd.eval", "garden-1.deflate.eval"])
def test_a_damaged_member_is_named(tmp_path: Path, name: str) -> None:
    data = bytearray((FILES / name).read_bytes())
    start = data.index(b"samples/long_epoch_1.json") + 60
    data[start : start + 200] = bytes(200)
    log = tmp_path / name
    log.write_bytes(data)
    with pytest.raises(DataError, match=r"member 'samples/long_epoch_1.json'"):
        read_run(log)


def test_an_archive_that_is_no_log_says_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a member header.json or _journal/start.json, found photo.png"):
        inspect.read(pack(tmp_path / "x.eval", {"photo.png": b"1"}))


# Folders


def log(
    task: str = "puddles", scores: list[Any] | None = None, *, status: str = "success", **facts: Any
) -> dict[str, Any]:
    """Write a log of made-up samples: facts are fields of `eval`."""
    values = ["C", "C", "I"] if scores is None else scores
    samples = [
        {
            "id": place,
            "epoch": 1,
            "input": f"Is puddle {place} of {task} wet?",
            "target": "yes",
            "output": {"completion": "yes"},
            "scores": {} if value == "none" else {"match": {"value": value}, "length": {"value": 3}},
        }
        for place, value in enumerate(values)
    ]
    evaluated = {
        "created": "2026-01-01T10:00:00+00:00",
        "task": task,
        "model": "m-1",
        "dataset": {"name": "ponds", "samples": len(values)},
        "scorers": [{"name": "match"}, {"name": "length"}],
        **facts,
    }
    results = {"total_samples": len(values), "scores": [{"name": "match", "scorer": "match"}]}
    return {"version": 2, "status": status, "eval": evaluated, "results": results, "samples": samples}


def write_log(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(content))
        return path
    header = {name: value for name, value in content.items() if name != "samples"}
    entries = {"header.json": json.dumps(header).encode()}
    for sample in content["samples"]:
        entries[f"samples/{sample['id']}_epoch_{sample['epoch']}.json"] = json.dumps(sample).encode()
    return pack(path, entries)


def test_a_folder_of_archives_and_json_logs_is_read_whole(tmp_path: Path) -> None:
    write_log(tmp_path / "1_puddles.json", log("puddles"))
    write_log(tmp_path / "2_ponds.eval", log("ponds"))
    run = read_run(tmp_path)
    assert sorted(run.tasks) == ["ponds", "puddles"]
    assert run.frame.height == 6
    assert run.unread == ()


def test_the_newest_log_is_so_by_its_own_time_not_by_its_name(tmp_path: Path) -> None:
    write_log(tmp_path / "b.json", log(scores=["C"], created="2026-01-01T10:00:00+00:00"))
    write_log(tmp_path / "a.eval", log(scores=["I"], created="2026-01-01T11:00:00+02:00"))
    assert read_run(tmp_path).frame["correct"].to_list() == [True]
    assert read_run(tmp_path).metadata["readings"] == ["puddles: read b.json; also there: a.eval"]


def test_one_task_with_other_arguments_is_another_task(tmp_path: Path) -> None:
    for level in ("hard", "easy"):
        write_log(tmp_path / f"{level}.json", log(task_args={"level": level, "size": 3}))
    run = read_run(tmp_path)
    assert sorted(run.tasks) == ["puddles (level=easy)", "puddles (level=hard)"]
    assert set(run.metadata["tasks"]) == set(run.tasks)


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"solver": "chain"}, "puddles (solver="),
        ({"model_roles": {"grader": {"model": "judge-2"}}}, "puddles (grader=judge-2)"),
        ({"dataset": {"name": "lakes", "samples": 3}}, "puddles (dataset=lakes)"),
        ({"task_version": 2}, "puddles (version=2)"),
        ({"model_generate_config": {"temperature": 0.7}}, "puddles (temperature=0.7)"),
        ({"config": {"message_limit": 9}}, "puddles (message_limit=9)"),
    ],
)
def test_another_set_up_is_another_task(tmp_path: Path, facts: dict[str, Any], name: str) -> None:
    write_log(tmp_path / "1.json", log())
    write_log(tmp_path / "2.json", log(**facts))
    tasks = read_run(tmp_path).tasks
    assert len(tasks) == 2
    assert any(task.startswith(name) for task in tasks), tasks


def test_settings_that_change_no_answer_do_not_make_another_task(tmp_path: Path) -> None:
    write_log(tmp_path / "1.json", log(model_generate_config={"max_connections": 4}))
    write_log(
        tmp_path / "2.json",
        log(model_generate_config={"max_connections": 8}, created="2026-01-02T10:00:00+00:00"),
    )
    run = read_run(tmp_path)
    assert run.tasks == ["puddles"]
    assert run.metadata["readings"] == ["puddles: read 2.json; also there: 1.json"]


@pytest.mark.parametrize("status", ["cancelled", "error", "started"])
def test_an_older_whole_log_counts_before_a_newer_one_that_broke_off(tmp_path: Path, status: str) -> None:
    write_log(tmp_path / "1.json", log())
    newer = log(scores=["I"], status=status, created="2026-01-05T10:00:00+00:00")
    write_log(tmp_path / "2.json", newer)
    run = read_run(tmp_path)
    assert run.frame.height == 3
    assert run.metadata["readings"] == [f"puddles: read 1.json; also there: 2.json ({status})"]


def test_a_log_of_all_data_counts_before_a_newer_one_of_a_part(tmp_path: Path) -> None:
    write_log(tmp_path / "1.json", log())
    write_log(tmp_path / "2.json", log(scores=["C"], config={"limit": 1}, created="2026-01-05T10:00:00+00:00"))
    assert read_run(tmp_path).frame.height == 3


def test_files_of_a_folder_that_are_not_read_are_counted(tmp_path: Path) -> None:
    write_log(tmp_path / "1.json", log())
    write_log(tmp_path / "below" / "2.json", log("ponds"))
    (tmp_path / "other.jsonl").write_text("{}")
    (tmp_path / "logs.json").write_text("{}")
    (tmp_path / "README.md").write_text("logs")
    unread = read_run(tmp_path).unread
    assert [Path(each.where).name for each in unread] == ["other.jsonl", "below"]
    assert [each.num_items for each in unread] == [None, None]


def test_one_model_with_other_arguments_is_another_model(tmp_path: Path) -> None:
    write_log(tmp_path / "1.json", log(model_args={"adapter": "old"}))
    write_log(tmp_path / "2.json", log(model_args={"adapter": "new"}))
    with pytest.raises(DataError, match="expected the logs of one model, found m-1 with other arguments"):
        read_run(tmp_path)


def test_judges_and_package_versions_of_all_logs_are_kept(tmp_path: Path) -> None:
    write_log(tmp_path / "1.json", log(model_roles={"grader": {"model": "j"}}, packages={"inspect_ai": "1"}))
    write_log(tmp_path / "2.json", log("ponds", packages={"inspect_ai": "2"}))
    metadata = read_run(tmp_path).metadata
    assert metadata["tasks"]["puddles"]["judge"] == {"grader": {"model": "j"}}
    assert metadata["versions"] == {"inspect_ai": "1, 2"}


def test_a_thousand_logs_in_a_folder_take_seconds(tmp_path: Path) -> None:
    for place in range(1_000):
        write_log(tmp_path / f"{place}.json", log(f"task-{place}"))
    begin = time.process_time()
    run = read_run(tmp_path)
    assert run.frame.height == 3_000
    assert time.process_time() - begin < 15


# What the log holds and what was read


def test_samples_that_are_none_are_counted(tmp_path: Path) -> None:
    content = log(scores=["C"] * 6)
    content["samples"][1], content["samples"][2], content["samples"][4] = None, "lost", {}
    run = read_run(write_log(tmp_path / "x.json", content))
    assert run.frame.height == 3
    assert [(each.what, each.num_items) for each in run.unread] == [
        ("3 samples that are null, empty or no objects (samples[1], samples[2], samples[4])", 3)
    ]


@pytest.mark.parametrize("name", ["x.json", "x.eval"])
def test_samples_that_the_totals_name_and_the_log_lacks_are_counted(tmp_path: Path, name: str) -> None:
    content = log(scores=["C"] * 6)
    del content["samples"][2:4]
    run = read_run(write_log(tmp_path / name, content))
    assert [(each.what, each.num_items) for each in run.unread] == [
        ("2 of 6 samples that the log says it was to hold are not in it", 2)
    ]


def test_without_totals_the_samples_of_the_data_set_are_expected_once_an_epoch(tmp_path: Path) -> None:
    content = log(dataset={"name": "ponds", "samples": 9, "sample_ids": [0, 1, 2, 3]}, config={"epochs": 2})
    del content["results"]
    (unread,) = read_run(write_log(tmp_path / "x.json", content)).unread
    assert unread.num_items == 4 * 2 - 3


def test_scores_that_the_log_itself_leaves_out_are_counted(tmp_path: Path) -> None:
    content = log(scores=["C", "C", "C", "I"])
    content["results"]["scores"][0]["scored_samples"] = 3
    (unread,) = read_run(write_log(tmp_path / "x.json", content)).unread
    assert unread.num_items == 1
    assert unread.what.startswith("1 of 4 scored items that the log leaves out of its own match")


def with_own(content: dict[str, Any], value: float, metric: str = "accuracy", **more: Any) -> dict[str, Any]:
    """Give a log its own figure of its main score, and of how many samples that is."""
    scored = len({sample["id"] for sample in content["samples"]})
    own = {"metrics": {metric: {"name": metric, "value": value, "params": {}}}, "scored_samples": scored}
    content["results"]["scores"][0] |= own | more
    return content


@pytest.mark.parametrize("metric", ["accuracy", "mean"])
def test_samples_whose_mean_is_not_that_of_the_log_are_told(tmp_path: Path, metric: str) -> None:
    path = write_log(tmp_path / "x.eval", with_own(log(scores=["C", "C", "I", "P"]), 0.625, metric))
    assert read_run(path).unread == ()
    path = write_log(tmp_path / "y.eval", with_own(log(scores=["C", "C", "C", "P"]), 0.625, metric))
    (unread,) = read_run(path).unread
    assert str(unread) == (f"{path}: match is 0.875 by its samples, 0.625 by the log itself: some were lost or changed")
    assert unread.num_items is None
    content = with_own(log(scores=["C", "C", "C", "P"]), 0.625, metric)
    del content["results"]["scores"][0]["scored_samples"]  # of which samples the mean is, is not known then
    assert read_run(write_log(tmp_path / "z.eval", content)).unread == ()


@pytest.mark.parametrize("mean", [(1 / 2 + 1 / 3) / 2, 2 / 5])
def test_a_mean_over_epochs_may_be_of_items_or_of_samples(tmp_path: Path, mean: float) -> None:
    content = log(scores=["C", "I", "C", "I", "I"])
    for sample, (identity, epoch) in zip(content["samples"], [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)], strict=True):
        sample |= {"id": identity, "epoch": epoch}
    assert read_run(write_log(tmp_path / "x.json", with_own(content, mean))).unread == ()


@pytest.mark.parametrize("mean", [1.0, 0.5])
def test_a_log_may_count_the_score_of_a_sample_that_failed_or_not(tmp_path: Path, mean: float) -> None:
    content = log(scores=["C", "I"])
    content["samples"][1]["error"] = {"message": "broke"}
    assert read_run(write_log(tmp_path / "x.json", with_own(content, mean))).unread == ()


@pytest.mark.parametrize(
    "own",
    [
        {"reducer": "mode"},
        {"metrics": {"accuracy": {"value": 0.1, "params": {"to_float": "turned"}}}},
        {"metrics": {"grouped": {"value": 0.1}, "stderr": {"value": 0.2}}},
        {"metrics": {"accuracy": {"value": None}}},
    ],
)
def test_a_figure_that_is_no_plain_mean_is_not_held_against_the_samples(tmp_path: Path, own: dict[str, Any]) -> None:
    assert read_run(write_log(tmp_path / "x.json", with_own(log(), 0.1, **own))).unread == ()


def test_a_metric_that_a_task_itself_calls_accuracy_is_not_held_against_the_samples(tmp_path: Path) -> None:
    for place, (name, num_told) in enumerate([("inspect_ai/accuracy", 1), ("accuracy", 0), ("pond/accuracy", 0)]):
        scorers = [{"name": "match", "metrics": {"wet": [{"name": name, "options": {}}]}}]
        content = with_own(log(scorers=scorers), 0.1)
        assert len(read_run(write_log(tmp_path / f"{place}.json", content)).unread) == num_told


def test_a_word_that_is_no_score_counts_as_zero_in_the_logs_own_figure(tmp_path: Path) -> None:
    content = with_own(log(scores=["C", "fine", "C", float("nan")]), 2 / 3)
    run = read_run(write_log(tmp_path / "x.json", content))
    assert run.unread == () and run.frame["error"].null_count() == 2


def test_items_that_a_reducer_leaves_out_are_no_loss(tmp_path: Path) -> None:
    content = log(scores=["C", "C", "I"])
    content["results"]["scores"][0] |= {"scored_samples": 1, "reducer": "pass_at_2"}
    assert read_run(write_log(tmp_path / "x.json", content)).unread == ()


def test_more_samples_than_the_log_counts_are_noted(tmp_path: Path) -> None:
    content = log()
    content["results"]["total_samples"] = 2
    notes = read_run(write_log(tmp_path / "x.json", content)).metadata["notes"]
    assert notes == ["puddles: the log holds 3 samples, and says that it was to hold 2"]


def test_several_models_that_answered_are_named(tmp_path: Path) -> None:
    content = log(scores=["C"] * 4, model="sky/rain")
    for sample, model in zip(content["samples"], ["rain-1", "rain-1", "rain-2", "sky/rain"], strict=True):
        sample["output"]["model"] = model
    notes = read_run(write_log(tmp_path / "x.json", content)).metadata["notes"]
    assert notes == ["puddles: its samples were answered by 2 models: rain-1 (2), rain-2 (1)"]
    content["samples"][2]["output"]["model"] = "rain-1"
    assert read_run(write_log(tmp_path / "y.json", content)).metadata["notes"] == []


def test_a_model_that_a_service_fell_back_to_is_named(tmp_path: Path) -> None:
    content = log(model="sky/rain")
    for sample in content["samples"]:
        sample["output"]["model"] = "rain"
    content["samples"][0]["output"]["fallback"] = {"model": "rain", "fallback_model": "drizzle", "count": 1}
    notes = read_run(write_log(tmp_path / "x.json", content)).metadata["notes"]
    assert notes == ["puddles: its samples were answered by 2 models: rain (2), drizzle (1)"]


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ({"match": {"value": None, "answer": "yes"}, "length": {"value": 1}}, "unscored: match is null"),
        ({"length": {"value": 1}}, "unscored: no match"),
        ({"match": {"value": "fine"}, "length": {"value": 1}}, "unscored: match is 'fine', no number"),
        ({}, "no score"),
        (None, "no score"),
    ],
)
def test_a_sample_without_the_score_that_decides_is_missing_and_no_other_score_stands_in(
    tmp_path: Path, scores: Any, why: str
) -> None:
    content = log(scores=["C", "C", "C"])
    content["samples"][1]["scores"] = scores
    frame = read_run(write_log(tmp_path / "x.json", content)).frame
    assert frame["error"].to_list() == [None, why, None]
    assert frame["correct"].to_list() == [True, None, True]
    assert frame["score.match"].to_list() == [1.0, None, 1.0]
    assert frame.columns[-2:] == ["score.match", "score.length"]


def test_scores_that_were_edited_after_the_run_are_told(tmp_path: Path) -> None:
    content = log()
    edited = {"value": "C", "history": [{"value": "I"}, {"value": "C", "provenance": {"author": "somebody"}}]}
    content["samples"][2]["scores"]["match"] = edited
    notes = read_run(write_log(tmp_path / "x.json", content)).metadata["notes"]
    assert notes == [
        "puddles: the match scores of 1 of 3 samples were edited after the run, and count as they stand now"
    ]
    assert read_run(write_log(tmp_path / "y.json", log())).metadata["notes"] == []


def test_a_log_whose_samples_all_lack_the_score_that_decides_is_refused(tmp_path: Path) -> None:
    content = log()
    for sample in content["samples"]:
        del sample["scores"]["match"]
    with pytest.raises(DataError, match="expected the samples to have the score 'match', which decides, found length"):
        read_run(write_log(tmp_path / "x.json", content))


def test_another_metric_decides_where_it_is_asked_for(tmp_path: Path) -> None:
    content = log(scores=["C", None, "good"])
    frame = read_run(write_log(tmp_path / "x.json", content), metric="length").frame
    assert frame["error"].to_list() == [None] * 3
    assert frame["score.length"].to_list() == [3.0] * 3


def test_a_score_that_is_a_number_written_as_text_is_no_verdict(tmp_path: Path) -> None:
    frame = read_run(write_log(tmp_path / "x.json", log(scores=["0.25", "1", "0.5"]))).frame
    assert frame["score.match"].to_list() == [0.25, 1.0, 0.5]
    assert frame["correct"].null_count() == 3


def test_a_sample_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    content = log()
    content["samples"][2]["id"] = "1"
    with pytest.raises(DataError, match="expected each sample once, found id '1', epoch 1 2 times"):
        read_run(write_log(tmp_path / "x.json", content))


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("eval", "task"), 3, "field 'task': expected a text"),
        (("eval", "dataset"), [], "field 'dataset': expected an object"),
        (("eval", "scorers"), ["match"], "field 'scorers[0]': expected an object"),
        (("eval", "config"), "x", "field 'config': expected an object"),
        (("results", "scores"), ["match"], "field 'scores[0]': expected an object"),
        (("results", "total_samples"), -1, "field 'total_samples': expected a whole number from 0"),
        (("samples", 1, "id"), True, "samples[1], field 'id': expected it in a sample"),
        (("samples", 1, "epoch"), 0, "samples[1], field 'epoch': expected it in a sample"),
        (("samples", 1, "choices"), [{"text": "a"}], "samples[1], field 'choices[0]': expected a text"),
        (("samples", 1, "scores"), ["C"], "samples[1], field 'scores': expected an object"),
        (("samples", 1, "output"), "yes", "samples[1], field 'output': expected an object"),
        (("samples", 1, "output", "completion"), 7, "output, field 'completion': expected a text"),
        (("samples", 1, "metadata"), "x", "samples[1], field 'metadata': expected an object"),
        (("samples", 1, "error"), 7, "samples[1], field 'error': expected a text"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_by_place_and_field(
    tmp_path: Path, place: tuple[str | int, ...], value: Any, named: str
) -> None:
    content: Any = log()
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(DataError) as caught:
        read_run(write_log(tmp_path / "x.json", content))
    assert named in str(caught.value)


def test_what_stands_after_the_document_is_refused(tmp_path: Path) -> None:
    path = write_log(tmp_path / "x.json", log())
    path.write_text(path.read_text() + path.read_text())
    with pytest.raises(DataError, match=r"expected one JSON document, found .* after its end"):
        read_run(path)


def test_an_input_nested_five_hundred_deep_is_refused(tmp_path: Path) -> None:
    content = log()
    for _ in range(500):
        content["samples"][1]["input"] = [content["samples"][1]["input"]]
    with pytest.raises(DataError, match=r"samples\[1\].input: expected JSON nested less than 100 deep"):
        read_run(write_log(tmp_path / "x.json", content))


# Bombs


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused_though_each_member_is_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_zip, "FREE_BYTES", 4 << 20)
    header = {name: value for name, value in log().items() if name != "samples"}
    body = json.dumps({**log()["samples"][0], "events": ["a" * (1 << 20)]}).encode()
    members_of_it = {f"samples/{place}_epoch_1.json": body for place in range(12)}
    path = pack(tmp_path / "x.eval", {"header.json": json.dumps(header).encode(), **members_of_it})
    with pytest.raises(DataError, match=r"expected an archive that unpacks to at most \d+ MiB"):
        read_run(path)


def test_an_entry_of_millions_of_empty_objects_is_refused(tmp_path: Path) -> None:
    path = write_log(tmp_path / "x.json", log())
    many = "[" + ",".join(["{}"] * 2_100_000) + "]"
    path.write_text(path.read_text().replace('"target": "yes"', '"target": "yes", "metadata": ' + many, 1))
    with pytest.raises(DataError, match="expected an entry of at most 2,000,000 lists and objects"):
        read_run(path)


def test_the_fields_of_a_sample_are_bounded_together(tmp_path: Path) -> None:
    content = log()
    content["samples"][0] |= {"input": "a" * (20 << 20), "target": "b" * (20 << 20)}
    with pytest.raises(DataError, match=r"samples\[0\].*expected an entry of at most 32 MiB"):
        read_run(write_log(tmp_path / "x.json", content))
