"""Reading lighteval, HELM, NeMo Evaluator, OpenAI's hosted Evals, BFCL and prompt_id,score CSV."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness_files import bfcl_scores, helm_run, output_item, write, write_lines
from muscle.errors import DataError
from muscle.predictions import read_run
from muscle.predictions.readers.lighteval import details as _lighteval_details
from places import DATA

FILES = DATA / "readers"


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_run(path)
    return str(caught.value)


# lighteval


def test_lightevals_own_results_come_out_of_its_details() -> None:
    run = read_run(FILES / "lighteval")
    assert run.metadata["format"] == "lighteval"
    assert run.name == "toy/model-1"
    for task, metrics in run.metadata["results"].items():
        frame = run.frame.filter(pl.col("task") == task)
        for metric, value in metrics.items():
            assert frame[f"score.{metric}"].mean() == pytest.approx(value)
            assert frame["correct"].mean() == pytest.approx(value)


def test_lightevals_choices_have_likelihoods_and_a_pick_that_agrees_with_the_metric() -> None:
    frame = read_run(next((FILES / "lighteval").rglob("details_toy_choice*"))).frame
    assert frame["choice"].null_count() == 0
    assert (frame["output"] == frame["reference"].list.first()).to_list() == frame["correct"].to_list()
    assert frame["slice.tool"].unique().sort().to_list() == ["cup", "knife", "spoon"]
    assert frame["id"].to_list() == [str(place) for place in range(8)]
    assert frame["score.gold_probability"].is_between(0, 1).all()


def test_of_several_dates_of_lighteval_the_newest_is_read(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FILES / "lighteval", tmp_path / "out"))
    (new,) = (folder / "details" / "toy" / "model-1").iterdir()
    old = new.with_name("2025-01-01T00-00-00.000000")
    old.mkdir()
    (source,) = new.glob("details_toy_sums*")
    shutil.copy(source, old / f"details_toy_sums|0_{old.name}.parquet")
    assert read_run(folder).metadata["notes"] == [
        f"toy_sums|0: read the run of {new.name}; also there: {old.name}"
    ]


def test_a_parquet_file_of_lighteval_without_a_column_or_cut_off_is_said_so(tmp_path: Path) -> None:
    name = "details_x_2025-01-01T00-00-00.parquet"
    source = next((FILES / "lighteval").rglob("details_toy_sums*"))
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
def test_a_column_of_lighteval_of_another_type_is_named(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
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
    lighteval_results(
        tmp_path, config_tasks={"sums|0": {"effective_num_docs": 6}}, results={"other|0": {}, "all": {}}
    )
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
    assert "em is 0.5 by its rows and 0.6 by results_" in unread.what


def test_metrics_answers_and_tables_of_lighteval_that_are_not_read_are_told(tmp_path: Path) -> None:
    rows = [
        lighteval_row(place, metric__parts=[1.0, 2.0], model_response__text=["4", "5"]) for place in range(2)
    ]
    file = lighteval_file(tmp_path, rows)
    shutil.copy(file, tmp_path / "details_of_mine.parquet")
    run = read_run(tmp_path)
    assert run.metadata["notes"] == [
        "sums|0: metrics that are no number an item are passed over: parts",
        "sums|0: 2 items have several answers; the first of each is shown",
    ]
    assert [Path(each.where).name for each in run.unread] == ["details_of_mine.parquet"]


def test_a_parquet_file_of_lighteval_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lighteval_details, "FREE_BYTES", 1 << 20)
    rows = [lighteval_row(place, doc__query=str(place) + "a" * (1 << 20)) for place in range(8)]
    assert "expected a file that unpacks to at most 1 MiB, found 8 MiB" in refusal(
        lighteval_file(tmp_path, rows)
    )


def test_a_text_of_lighteval_that_stands_packed_in_every_row_is_unpacked_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lighteval_details, "BATCH_BYTES", 4_000)
    rows = [lighteval_row(place, doc__query="a" * 900) for place in range(9)]
    assert read_run(lighteval_file(tmp_path, rows)).frame["input"].str.len_chars().to_list() == [900] * 9
    rows[5]["doc"]["query"] = "a" * 2_100
    assert "row 6: expected texts of at most" in refusal(lighteval_file(tmp_path, rows))


# HELM


def test_helms_own_results_come_out_of_its_run() -> None:
    run = read_run(FILES / "helm")
    assert (run.name, run.tasks) == ("simple/model1", ["simple_mcqa"])
    own = run.metadata["results"]["simple_mcqa"]
    for metric in ("exact_match", "quasi_prefix_exact_match", "exact_match@5"):
        assert run.frame[f"score.{metric}"].mean() == pytest.approx(own[f"{metric},test"])
    assert run.frame["correct"].mean() == pytest.approx(5 / 9)
    assert (run.frame["output"] == run.frame["reference"].list.first()).to_list() == run.frame[
        "correct"
    ].to_list()
    assert run.frame["choice"].null_count() == 0


@pytest.mark.parametrize("state", [True, False])
def test_a_run_of_helm_gives_one_record_an_instance_and_perturbation(tmp_path: Path, state: bool) -> None:
    run = read_run(helm_run(tmp_path / "runs" / "kitchen:kind=bread,model=toy_model-1", state=state))
    assert run.metadata["format"] == "helm"
    assert (run.name, run.tasks) == ("toy/model-1", ["kitchen:kind=bread"])
    rows = {(row["id"], row["filter"]): row for row in run.frame.iter_rows(named=True)}
    assert rows["id1", "none"]["correct"] is True
    assert rows["id1", "none"]["output"] == "a knife"
    assert rows["id1", "none"]["score.quasi_exact_match"] == 1.0
    assert rows["id1", "lower"]["correct"] is False
    assert (rows["id1", "lower"]["choice"], rows["id1", "lower"]["input"]) == (1, "what cuts bread?")
    assert rows["id1", "none"]["reference"] == ["a knife"]
    assert run.score_names() == ["exact_match", "quasi_exact_match"]
    assert run.metadata["results"]["kitchen:kind=bread"] == {"exact_match,test": 0.5}


def test_a_request_that_failed_in_helm_is_missing(tmp_path: Path) -> None:
    row = read_run(helm_run(tmp_path)).frame.filter(pl.col("id") == "id2").row(0, named=True)
    assert (row["error"], row["correct"], row["score.exact_match"]) == ("overloaded", None, None)


def test_helm_runs_of_two_models_in_one_folder_are_refused(tmp_path: Path) -> None:
    for model in ("toy/a", "toy/b"):
        helm_run(tmp_path / model.replace("/", "_"), model=model)
    assert "expected the runs of one model, found toy/a, toy/b; name one folder" in refusal(tmp_path)


def test_a_score_in_helm_that_is_no_number_is_named(tmp_path: Path) -> None:
    folder = helm_run(tmp_path)
    file = folder / "per_instance_stats.json"
    file.write_text(file.read_text().replace('"sum": 1, "mean": 1', '"sum": 1, "mean": NaN', 1))
    assert f"{file}, [0], field 'stats.quasi_exact_match': expected a finite number, found nan" in refusal(
        folder
    )


# NeMo Evaluator


def nemo_bundle(folder: Path, rewards: list[Any], name: str = "gsm8k") -> Path:
    config = {"model": "toy/model-1", "temperature": 0.0, "benchmark": name}
    body = {"run_id": "eval-1", "config_hash": "sha256:0", "sdk_version": "0.4.0", "config": config}
    scores = {"mean_reward": {"value": 0.5}}
    write(
        folder / f"eval-1-{name}.json", body | {"benchmark": {"name": name, "repeats": 2, "scores": scores}}
    )
    rows = [
        {
            "problem_idx": place // 2,
            "repeat": place % 2,
            "reward": reward,
            "prompt": f"{place // 2}?",
            "expected_answer": "7",
            "model_response": "It is 7.",
            "extracted_answer": "7",
            "metadata": {"category": "sums" if place < 4 else "products"},
        }
        for place, reward in enumerate(rewards)
    ]
    write_lines(folder / "results.jsonl", rows)
    return folder


def test_a_bundle_of_nemo_evaluator_is_read_with_its_repeats(tmp_path: Path) -> None:
    run = read_run(nemo_bundle(tmp_path, [1.0, 0.0, 1, 1, 0, 0, 1, 0]))
    assert (run.metadata["format"], run.name, run.tasks) == ("nemo", "toy/model-1", ["gsm8k"])
    assert run.frame["repeat"].to_list() == [0, 1] * 4
    assert run.frame["correct"].sum() == 4
    assert run.frame["output"][0] == "7"
    assert run.frame["slice.category"].to_list() == ["sums"] * 4 + ["products"] * 4
    assert run.metadata["results"] == {"gsm8k": {"mean_reward": 0.5}}


def test_rewards_between_zero_and_one_are_no_verdicts(tmp_path: Path) -> None:
    frame = read_run(nemo_bundle(tmp_path, [1.0, 0.25])).frame
    assert frame["correct"].null_count() == 2
    assert frame["score.reward"].to_list() == [1.0, 0.25]


def test_a_folder_of_bundles_gives_a_task_each(tmp_path: Path) -> None:
    for name in ("gsm8k", "mmlu"):
        nemo_bundle(tmp_path / name, [1.0, 0.0], name)
    assert read_run(tmp_path).tasks == ["gsm8k", "mmlu"]


def test_a_reward_that_is_missing_or_no_number_is_named(tmp_path: Path) -> None:
    folder = nemo_bundle(tmp_path, [1.0, float("nan")])
    assert (
        f"{folder / 'results.jsonl'}, line 2, field 'reward': expected a finite number, found nan"
        in refusal(folder)
    )


def rewritten(folder: Path, **changes: Any) -> Path:
    """Change fields of a bundle's `eval-*.json`."""
    (file,) = folder.glob("eval-*.json")
    write(file, json.loads(file.read_text()) | changes)
    return folder


def test_results_that_the_bundle_tells_of_and_the_file_lacks_are_counted(tmp_path: Path) -> None:
    for name, changes in (
        ("a", {"n_results": 6}),
        ("b", {"benchmark": {"name": "b", "samples": 3, "repeats": 2}}),
    ):
        (unread,) = read_run(
            rewritten(nemo_bundle(tmp_path / name, [1.0, 0.0, 1, 1], name), **changes)
        ).unread
        assert unread.num_items == 2
        assert unread.what.startswith("2 of 6 results that eval-1-")


def test_rewards_of_further_scorers_are_kept(tmp_path: Path) -> None:
    folder = nemo_bundle(tmp_path, [1.0, 0.0])
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    write_lines(folder / "results.jsonl", [row | {"scorer_rewards": {"scorer:f1": 0.25}} for row in rows])
    assert read_run(folder).frame["score.scorer:f1"].to_list() == [0.25, 0.25]


def test_bundles_of_several_models_or_of_one_benchmark_are_refused(tmp_path: Path) -> None:
    for name in ("gsm8k", "mmlu"):
        nemo_bundle(tmp_path / name, [1.0, 0.0], name)
    rewritten(tmp_path / "mmlu", config={"model": "toy/model-2"})
    assert "expected the results of one model, found toy/model-1, toy/model-2" in refusal(tmp_path)
    rewritten(tmp_path / "mmlu", config={"model": "toy/model-1"}, benchmark={"name": "gsm8k"})
    assert "expected one bundle a benchmark, found several of gsm8k" in refusal(tmp_path)


def test_folders_beside_a_bundle_that_are_not_read_are_counted(tmp_path: Path) -> None:
    nemo_bundle(tmp_path, [1.0, 0.0])
    nemo_bundle(tmp_path / "mmlu", [1.0, 0.0], "mmlu")
    assert [Path(each.where).name for each in read_run(tmp_path).unread] == ["mmlu"]


@pytest.mark.parametrize("repeat", [2**63, 0.5, "1", -1, True])
def test_a_repeat_that_is_no_whole_number_is_named(tmp_path: Path, repeat: Any) -> None:
    folder = nemo_bundle(tmp_path, [1.0, 0.0])
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    write_lines(folder / "results.jsonl", [rows[0], rows[1] | {"repeat": repeat}])
    assert "results.jsonl, line 2, field 'repeat': expected a whole number from 0" in refusal(folder)


# OpenAI's hosted Evals


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


# prompt_id,score


def test_prompt_scores_of_zero_and_one_are_verdicts_and_an_empty_one_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("prompt_id,score,prompt\na,1,What?\nb,0,Who?\nc,,Why?\n")
    run = read_run(path)
    assert run.metadata["format"] == "prompt_scores"
    assert run.frame["correct"].to_list() == [True, False, None]
    assert run.frame["error"].to_list() == [None, None, None]
    assert run.frame["input"].to_list() == ["What?", "Who?", "Why?"]


def test_graded_prompt_scores_stay_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('"prompt_id","score"\n"a",0.5\n"b",1\n')
    frame = read_run(path).frame
    assert frame["score.score"].to_list() == [0.5, 1.0]
    assert frame["correct"].null_count() == 2


@pytest.mark.parametrize("score", ["high", "NaN", "inf"])
def test_a_prompt_score_that_is_no_number_is_named(tmp_path: Path, score: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"prompt_id,score\na,1\nb,{score}\n")
    assert (
        refusal(path)
        == f"{path}, line 3, field 'score': expected a finite number, or null where there is none, found '{score}'"
    )


# BFCL


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
    assert "line 1, field 'total_count': expected 2, by the items of the result file, found 3" in refusal(
        file
    )
