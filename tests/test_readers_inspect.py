"""Reading Inspect AI's logs: deflate, zstd, chunked, `.json`, unfinished."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import polars as pl
import pytest

from muscle.errors import DataError
from muscle.predictions import read_run
from muscle.predictions.readers import inspect

DATA = Path(__file__).parent / "data" / "readers" / "inspect"
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
    entries = members(DATA / "garden-1.deflate.eval")
    entries[name] = json.dumps(json.loads(entries[name]) | changes).encode()
    return entries


@pytest.mark.parametrize("name", GARDENS)
def test_every_layout_gives_the_same_records(name: str) -> None:
    order = ["id", "repeat"]
    expected = read_run(DATA / "garden-1.deflate.eval").frame.sort(order)
    frame = read_run(DATA / name).frame
    assert frame.height == 10
    assert frame.select(expected.columns).sort(order).equals(expected)


@pytest.mark.parametrize(
    "name", [*GARDENS, "garden-2.zstd.eval", "garden-2.json", "kitchen-1.zstd.eval", "kitchen-1.json"]
)
def test_every_aggregate_of_the_harness_comes_out_of_the_records(name: str) -> None:
    run = read_run(DATA / name)
    (results,) = run.metadata["results"].values()
    assert results
    for key, value in results.items():
        epochs_first = run.frame.group_by("id").agg(
            pl.col(f"score.{key.split(',')[0]}").mean().alias("score")
        )
        assert epochs_first["score"].mean() == pytest.approx(value), key


def test_epochs_are_repeats_and_ids_come_from_inside_the_samples() -> None:
    frame = read_run(DATA / "garden-1.zstd.eval").frame
    assert set(frame["id"]) == {"1", "q/31", "..", "x_epoch_2", "long"}
    assert frame.group_by("id").agg(pl.col("repeat").sort())["repeat"].to_list() == [[0, 1]] * 5


def test_a_sample_that_raised_is_missing_not_wrong() -> None:
    frame = read_run(DATA / "garden-1.zstd.eval").frame.filter(pl.col("id") == "q/31")
    assert frame["error"].to_list() == ["RuntimeError('the tool broke')"] * 2
    assert frame["correct"].null_count() == 2
    assert frame["score.match"].null_count() == 2


def test_a_score_that_is_nan_is_left_out_where_another_score_decides() -> None:
    frame = read_run(DATA / "garden-1.json").frame.filter(pl.col("id") == "1")
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
        text = read_run(DATA / name).frame.filter(pl.col("id") == "long")["input"][0]
        assert text == "Say the long word. " + "word " * 400


def test_letters_become_the_option_that_was_picked() -> None:
    frame = read_run(DATA / "kitchen-1.zstd.eval").frame
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
    entries = members(DATA / "garden-1.deflate.eval")
    kept = {
        name: data
        for name, data in entries.items()
        if name.startswith("_journal/") or "_epoch_1.json" in name
    }
    run = read_run(pack(tmp_path / "killed.eval", kept))
    assert run.frame.height == 5
    assert run.metadata["model"]["name"] == "mockllm/model"
    assert run.metadata["notes"] == ["garden: the run did not finish; read 5 samples that it had logged"]


def test_of_equal_member_names_the_last_counts(tmp_path: Path) -> None:
    entries = members(DATA / "garden-1.deflate.eval")
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
        (tmp_path / f"{date}_{name}.eval").write_bytes((DATA / f"{name}.zstd.eval").read_bytes())
    run = read_run(tmp_path)
    assert run.tasks == ["garden", "kitchen"]
    assert run.metadata["notes"] == [
        "garden: read 2026-01-02_garden-2.eval; also there: 2026-01-01_garden-1.eval"
    ]
    garden = run.frame.filter(pl.col("task") == "garden")
    assert garden["output"].to_list() == read_run(DATA / "garden-2.zstd.eval").frame["output"].to_list()


def test_metadata_say_what_a_comparison_needs() -> None:
    metadata = read_run(DATA / "garden-1.zstd.eval").metadata
    assert metadata["format"] == "inspect"
    assert metadata["versions"] == {"inspect_ai": "0.3.285"}
    task = metadata["tasks"]["garden"]
    assert (task["epochs"], task["metric"], task["scorers"]) == (2, "match", ["match", "lengthy", "multi"])
    assert task["dataset"]["name"] == "garden"


def test_a_member_that_points_out_of_the_archive_is_refused(tmp_path: Path) -> None:
    log = pack(tmp_path / "x.eval", {**members(DATA / "garden-1.deflate.eval"), "../x": b"{}"})
    with pytest.raises(DataError, match=r"x.eval, member '../x': expected a name inside the archive"):
        read_run(log)


def test_a_sample_without_an_epoch_is_named(tmp_path: Path) -> None:
    log = pack(tmp_path / "x.eval", with_sample("samples/1_epoch_1.json", epoch=None))
    with pytest.raises(
        DataError, match=r"member 'samples/1_epoch_1.json', field 'epoch': expected it in a sample"
    ):
        read_run(log)


@pytest.mark.parametrize("name", ["garden-1.zstd.eval", "garden-1.deflate.eval"])
def test_an_archive_that_is_cut_off_is_said_so(tmp_path: Path, name: str) -> None:
    log = tmp_path / name
    log.write_bytes((DATA / name).read_bytes()[:-700])
    with pytest.raises(DataError, match="expected a whole zip archive, found a damaged one"):
        read_run(log)


@pytest.mark.parametrize("name", ["garden-1.zstd.eval", "garden-1.deflate.eval"])
def test_a_damaged_member_is_named(tmp_path: Path, name: str) -> None:
    data = bytearray((DATA / name).read_bytes())
    start = data.index(b"samples/long_epoch_1.json") + 60
    data[start : start + 200] = bytes(200)
    log = tmp_path / name
    log.write_bytes(data)
    with pytest.raises(DataError, match=r"member 'samples/long_epoch_1.json'"):
        read_run(log)


def test_an_archive_that_is_no_log_says_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"expected a member header.json or _journal/start.json, found photo.png"
    ):
        inspect.read(pack(tmp_path / "x.eval", {"photo.png": b"1"}))
