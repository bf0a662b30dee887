"""Reading HELM's run folders."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from harness_files import helm_run, refusal

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
