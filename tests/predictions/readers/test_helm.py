"""Reading HELM's run folders."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from harness_files import helm_run, refusal, stat, write

from helpers.places import DATA
from muscle import read_run


def test_helms_own_results_come_out_of_its_run() -> None:
    run = read_run(DATA / "readers" / "helm")
    assert (run.name, run.tasks) == ("simple/model1", ["simple_mcqa"])
    own = run.metadata["results"]["simple_mcqa"]
    for metric in ("exact_match", "quasi_prefix_exact_match", "exact_match@5"):
        assert run.frame[f"score.{metric}"].mean() == pytest.approx(own[f"{metric},test"])
    assert run.frame["correct"].mean() == pytest.approx(5 / 9)
    assert (run.frame["output"] == run.frame["reference"].list.first()).to_list() == run.frame["correct"].to_list()
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
    assert f"{file}, [0], field 'stats.quasi_exact_match': expected a finite number, found nan" in refusal(folder)


def test_perturbations_of_one_name_stay_apart(tmp_path: Path) -> None:
    folder = helm_run(tmp_path)
    file = folder / "per_instance_stats.json"
    entries = json.loads(file.read_text())[:2]
    for mode, score in (("terms", 1), ("pronouns", 0)):
        kind = {"name": "gender", "mode": mode, "fairness": True}
        entries.append(entries[0] | {"perturbation": kind, "stats": [stat("exact_match", score)]})
    write(file, entries)
    frame = read_run(folder).frame.filter(pl.col("filter").str.starts_with("gender"))
    found = dict(zip(frame["filter"], frame["correct"], strict=True))
    assert found == {"gender (mode=terms)": True, "gender (mode=pronouns)": False}


def test_an_instance_that_helm_scores_twice_in_other_ways_is_refused(tmp_path: Path) -> None:
    folder = helm_run(tmp_path)
    file = folder / "per_instance_stats.json"
    entries = json.loads(file.read_text())
    again = {"instance_id": "id1", "train_trial_index": 0, "stats": [stat("exact_match", 0)]}
    write(file, [*entries, again])
    expected = "[4], field 'stats.exact_match': expected one value an instance (1.0), found 0.0"
    assert expected in refusal(folder)
    write(file, [*entries, again | {"train_trial_index": 1}, again | {"stats": [stat("exact_match", 1)]}])
    frame = read_run(folder).frame.filter((pl.col("id") == "id1") & (pl.col("filter") == "none"))
    assert frame.select("repeat", "correct").rows() == [(0, True), (1, False)]


def test_an_item_asked_an_option_at_a_time_has_failed_where_one_request_did(tmp_path: Path) -> None:
    folder = helm_run(tmp_path)
    file = folder / "scenario_state.json"
    content = json.loads(file.read_text())
    first, _, failed = content["request_states"]
    second = first | {"reference_index": 1, "result": failed["result"]}
    content["request_states"] = [first | {"reference_index": 0}, second]
    write(file, content)
    row = read_run(folder).frame.filter((pl.col("id") == "id1") & (pl.col("filter") == "none")).row(0, named=True)
    assert (row["error"], row["correct"]) == ("overloaded", None)


def test_what_the_model_is_called_is_no_part_of_a_task_of_helm(tmp_path: Path) -> None:
    names = {}
    for model in ("old", "new"):
        folder = helm_run(tmp_path / model, model=model)
        spec = json.loads((folder / "run_spec.json").read_text())
        spec["name"] = f"mmlu:model={model},subject=law,model_deployment=host_{model}"
        write(folder / "run_spec.json", spec)
        names[model] = read_run(folder).tasks
    assert names == {"old": ["mmlu:subject=law"], "new": ["mmlu:subject=law"]}


@pytest.mark.parametrize("name", ["per_instance_stats.json", "scenario_state.json", "stats.json", "run_spec.json"])
def test_a_file_of_helm_that_is_cut_short_is_named(tmp_path: Path, name: str) -> None:
    file = helm_run(tmp_path) / name
    file.write_text(file.read_text()[:-40])
    assert name in refusal(tmp_path)


def test_a_run_of_helm_that_names_no_model_is_refused(tmp_path: Path) -> None:
    folder = helm_run(tmp_path)
    spec = json.loads((folder / "run_spec.json").read_text())
    del spec["adapter_spec"]["model"]
    write(folder / "run_spec.json", spec)
    assert "run_spec.json, adapter_spec, field 'model': expected a text or a number" in refusal(folder)
