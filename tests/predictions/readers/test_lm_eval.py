"""Reading runs of lm-evaluation-harness, in the layouts of three releases."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import polars as pl
import pytest
from harness_files import change_line, one_file

from helpers.places import DATA
from muscle import Run, read_run
from muscle.errors import DataError
from muscle.predictions.readers import lm_eval

FILES = DATA / "readers" / "lm_eval"
RELEASES = {"0.4.13": "0.4.13/toy__model-1", "0.4.5": "0.4.5/toy__model-1", "0.4.2": "0.4.2"}
CHOICE_METRICS = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")


def rows(run: Run, task: str, filter: str = "none") -> pl.DataFrame:
    return run.frame.filter((pl.col("task") == task) & (pl.col("filter") == filter))


def copy_run(folder: Path, release: str = "0.4.13") -> Path:
    return Path(shutil.copytree(FILES / RELEASES[release], folder / "model"))


@pytest.mark.parametrize("release", RELEASES)
def test_every_aggregate_of_the_harness_comes_out_of_the_records(release: str) -> None:
    run = read_run(FILES / RELEASES[release])
    checked = 0
    for task, metrics in run.metadata["results"].items():
        for name, value in metrics.items():
            metric, filter = name.split(",")
            if metric in (*CHOICE_METRICS, "exact_match"):
                assert rows(run, task, filter)[f"score.{metric}"].mean() == pytest.approx(value), (task, name)
                checked += 1
    assert checked >= 9


@pytest.mark.parametrize("release", RELEASES)
def test_perplexities_come_back_from_likelihoods_where_higher_is_better(release: str) -> None:
    run = read_run(FILES / RELEASES[release])
    word = rows(run, "last")
    assert math.exp(-word["score.gold_logprob"].mean()) == pytest.approx(
        run.metadata["results"]["last"]["perplexity,none"]
    )
    text = rows(run, "roll")
    num_bytes = text["reference"].list.first().str.len_bytes()
    bits = -(text["score.logprob_per_byte"] * num_bytes).sum() / num_bytes.sum() / math.log(2)
    assert bits == pytest.approx(run.metadata["results"]["roll"]["bits_per_byte,none"])


@pytest.mark.parametrize("metric", CHOICE_METRICS)
def test_the_pick_of_each_metric_is_right_exactly_where_the_harness_says(metric: str) -> None:
    run = lm_eval.read(FILES / RELEASES["0.4.13"], metric=metric)
    frame = rows(run, "pick")
    assert frame["choice"].null_count() == 0
    picked = frame["choices"].list.get(frame["choice"])
    assert picked.to_list() == frame["output"].to_list()
    assert (picked == frame["reference"].list.first()).to_list() == (frame[f"score.{metric}"] == 1).to_list()
    assert frame["correct"].to_list() == (frame[f"score.{metric}"] == 1).to_list()


def test_the_pick_of_the_mean_metric_is_the_prediction_that_the_file_holds_for_mcc() -> None:
    folder = FILES / RELEASES["0.4.13"]
    lines = one_file(folder, "samples_pick_*").read_text(encoding="utf-8").splitlines()
    predictions = [json.loads(line)["mcc"][1] for line in lines]
    assert rows(read_run(folder), "pick")["choice"].to_list() == predictions


def test_the_right_options_share_is_the_softmax_that_the_file_holds_for_brier_score() -> None:
    folder = FILES / RELEASES["0.4.13"]
    lines = one_file(folder, "samples_pick_*").read_text(encoding="utf-8").splitlines()
    samples = [json.loads(line) for line in lines]
    shares = [float(sample["brier_score"][1].strip("[]").split()[sample["brier_score"][0]]) for sample in samples]
    assert rows(read_run(folder), "pick")["score.gold_probability"].to_list() == pytest.approx(shares, abs=1e-6)


def test_metrics_that_are_lists_are_not_taken_for_scores() -> None:
    names = read_run(FILES / RELEASES["0.4.13"]).score_names()
    assert not {"f1", "mcc", "brier_score", "word_perplexity", "perplexity"} & set(names)
    assert names[0] == "gold_probability"


def test_the_layouts_of_three_releases_give_the_same_records() -> None:
    runs = [read_run(FILES / folder) for folder in RELEASES.values()]
    for task, filter in (
        ("letters", "none"),
        ("fill", "none"),
        ("many", "none"),
        ("sums", "strict"),
        ("sums", "flexible"),
    ):
        tables = [
            rows(run, task, filter)
            .sort(pl.col("id").cast(pl.Int64))
            .select("id", "input_hash", "choices", "reference", "output", "choice", "correct", "logprobs")
            for run in runs
        ]
        assert tables[0].height > 0
        assert all(table.equals(tables[0]) for table in tables), (task, filter)


def test_a_mutual_information_task_that_release_0_4_5_scored_wrongly_is_pointed_out() -> None:
    run = read_run(FILES / RELEASES["0.4.5"])
    (note,) = run.metadata["notes"]
    assert "pick: the likeliest option contradicts the stored metric in 10 items" in note
    assert rows(run, "pick")["choice"].null_count() == 10


def test_targets_are_found_as_index_letter_list_and_shared_ending() -> None:
    run = read_run(FILES / RELEASES["0.4.13"])
    assert rows(run, "pick")["reference"][0].to_list() == ["knife"]
    assert rows(run, "letters")["reference"][1].to_list() == ["B"]
    assert rows(run, "many")["reference"][1].to_list() == ["knife", "saw"]
    ending = rows(run, "fill")
    assert ending["input"][0] == "washed pan number 0."
    assert ending["reference"].list.first().to_list() == ["The cook", "The guest"] * 3 + ["The cook"]


def test_exact_ties_and_coarse_likelihoods_are_counted() -> None:
    run = read_run(FILES / RELEASES["0.4.13"])
    for task in ("pick", "fill", "many", "letters"):
        best = [sorted(values)[-2:] for values in rows(run, task)["logprobs"].to_list()]
        assert run.metadata["tasks"][task]["num_ties"] == sum(one == other for one, other in best)
        assert run.metadata["tasks"][task]["logprob_step"] == 0.5


def test_an_answer_is_what_the_filter_took_out() -> None:
    run = read_run(FILES / RELEASES["0.4.13"])
    assert rows(run, "sums", "strict")["output"][0] == "0"
    assert "[invalid]" in rows(run, "sums", "strict")["output"].to_list()


def test_metadata_say_what_a_comparison_needs() -> None:
    metadata = read_run(FILES / RELEASES["0.4.13"]).metadata
    assert metadata["format"] == "lm_eval"
    assert metadata["model"]["name"] == "toy/model-1"
    assert metadata["versions"] == {"lm_eval": "0.4.13", "transformers": "5.23.0"}
    task = metadata["tasks"]["sums"]
    assert task["generation"] == {"until": ["Q:"], "do_sample": False}
    assert (task["num_fewshot"], task["num_items"], task["repeats"], task["metric"]) == (
        0,
        8,
        2,
        "exact_match",
    )
    assert len(task["data_fingerprint"]) == 64
    assert metadata["higher_is_better"]["acc"] is True


def test_filters_without_a_results_file_are_numbered_and_this_is_said(tmp_path: Path) -> None:
    folder = copy_run(tmp_path, "0.4.5")
    one_file(folder, "results_*").unlink()
    run = read_run(one_file(folder, "samples_sums_*"))
    assert run.frame["filter"].unique().sort().to_list() == ["filter-1", "filter-2"]
    assert rows(run, "sums", "filter-1")["correct"].mean() == 0.625
    assert any("called filter-1, filter-2" in reading for reading in run.metadata["readings"])


def test_of_several_dated_runs_each_tasks_newest_is_read_and_named(tmp_path: Path) -> None:
    folder = copy_run(tmp_path)
    older = {}
    for file in sorted(folder.iterdir()):
        stem, _, date = file.name.rpartition("_")
        if stem in ("samples_last", "samples_sums", "results"):
            older[stem] = Path(shutil.copy(file, folder / f"{stem}_2025-01-01T00-00-00.000000{Path(date).suffix}"))
    change_line(older["samples_last"], 0, acc=1 - json.loads(older["samples_last"].read_text().splitlines()[0])["acc"])
    run = read_run(folder)
    assert run.frame.equals(read_run(FILES / RELEASES["0.4.13"]).frame)
    assert sorted(reading.split(":")[0] for reading in run.metadata["readings"]) == ["last", "sums"]
    assert "also there: 2025-01-01T00-00-00.000000" in run.metadata["readings"][0]
    chosen = read_run(older["results"])
    assert sorted(chosen.tasks) == ["last", "sums"]
    assert rows(chosen, "last")["correct"].to_list() != rows(run, "last")["correct"].to_list()


def test_the_parent_of_one_model_is_read_and_of_two_is_refused() -> None:
    assert read_run(FILES / "0.4.5").name == "toy/model-1"
    with pytest.raises(
        DataError, match=r"samples of one model, found 2 models \(toy__model-1, toy__model-2\); name one"
    ):
        lm_eval.read(FILES / "0.4.13")


def test_samples_that_were_appended_a_second_time_are_kept_and_counted(tmp_path: Path) -> None:
    folder = copy_run(tmp_path)
    file = one_file(folder, "samples_letters_*")
    file.write_bytes(file.read_bytes() * 2)
    run = read_run(folder)
    assert rows(run, "letters").height == 14
    assert any("letters: 7 samples stand in" in note for note in run.metadata["notes"])


def test_a_single_file_is_read_with_the_results_beside_it() -> None:
    run = read_run(one_file(FILES / RELEASES["0.4.2"], "*_sums.jsonl"))
    assert run.tasks == ["sums"]
    assert run.frame["filter"].unique().sort().to_list() == ["flexible", "strict"]


def test_truth_values_that_were_written_as_words_count(tmp_path: Path) -> None:
    file = one_file(copy_run(tmp_path), "samples_letters_*")
    for place, word in enumerate(("True", "False")):
        change_line(file, place, acc=word)
    assert read_run(file).frame["score.acc"].head(2).to_list() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "3"}, "line 2, field 'target': expected the index of one of 3 options, from 0, found 3"),
        ({"acc": float("nan")}, "line 2, field 'acc': expected a finite number, found nan"),
        (
            {"filtered_resps": [["x", "False"]] * 3},
            "line 2, field 'filtered_resps': expected log-likelihoods",
        ),
        (
            {"filtered_resps": [["-1.0", "False"]]},
            "line 2, field 'filtered_resps': expected 3 log-likelihoods",
        ),
        ({"arguments": {}}, "line 2, field 'arguments': expected the requests of the item"),
        ({"arguments": {"gen_args_0": "x"}}, "line 2, field 'arguments': expected the requests of the item"),
        ({"arguments": [["a", " b"], ["a", None]]}, "line 2, field 'arguments': expected a text for each option"),
        ({"doc_id": [1]}, "line 2, field 'doc_id': expected a number or a text, found a list"),
        ({"filter": {"a": 1}}, "line 2, field 'filter': expected a filter's name, found an object"),
        ({"acc": 10**400}, "line 2, field 'acc': expected a finite number"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_line(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    file = one_file(copy_run(tmp_path), "samples_letters_*")
    change_line(file, 1, **changes)
    with pytest.raises(DataError) as caught:
        read_run(file)
    assert f"{file}, {message}" in str(caught.value)


def test_a_field_that_is_missing_is_named_with_its_line(tmp_path: Path) -> None:
    file = one_file(copy_run(tmp_path), "samples_letters_*")
    lines = file.read_text().splitlines()
    sample = json.loads(lines[2])
    del sample["filtered_resps"]
    file.write_text("\n".join([*lines[:2], json.dumps(sample), *lines[3:]]))
    with pytest.raises(DataError, match=r"line 3, field 'filtered_resps': expected a sample"):
        read_run(file)


def test_a_list_that_is_cut_off_is_said_so(tmp_path: Path) -> None:
    file = one_file(copy_run(tmp_path, "0.4.2"), "*_letters.jsonl")
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"_letters.jsonl, \[6\].*: the JSON is cut off in the middle"):
        read_run(file)
