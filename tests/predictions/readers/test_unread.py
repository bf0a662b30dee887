"""What the foreign readers do with samples that a source counts and does not hold, or holds without a verdict."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from harness_files import bfcl_scores, change_line, helm_run, one_file, output_item, stat, write

from helpers.json_lines import write_lines
from helpers.places import DATA
from muscle import Run, read_run
from muscle.errors import DataError, JoinError
from muscle.flips.pairing.comparability import check_comparable
from muscle.predictions.writers.convert import convert

FILES = DATA / "readers"
LM_EVAL = FILES / "lm_eval" / "0.4.13" / "toy__model-1"


def losses(run: Run) -> list[int | None]:
    return [loss.num_items for loss in run.unread]


def harness_folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LM_EVAL, tmp_path / "run"))


def drop_lines(file: Path, count: int) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(lines[:-count]), encoding="utf-8")


# lm-evaluation-harness


def test_a_whole_run_of_the_harness_has_lost_nothing() -> None:
    assert read_run(LM_EVAL).unread == ()


def test_samples_that_the_harness_counts_and_the_file_lacks_are_counted(tmp_path: Path) -> None:
    folder = harness_folder(tmp_path)
    drop_lines(one_file(folder, "samples_letters_*"), 3)
    (loss,) = read_run(folder).unread
    assert loss.num_items == 3
    assert loss.what == "task letters: 3 of the 7 items that the results file counts"
    assert loss.where.endswith(".jsonl")


def test_items_that_one_of_two_filters_lacks_are_counted(tmp_path: Path) -> None:
    folder = harness_folder(tmp_path)
    file = one_file(folder, "samples_sums_*")
    lines = file.read_text().splitlines()
    gone = next(line for line in lines if json.loads(line)["filter"] == "strict")
    file.write_text("\n".join(line for line in lines if line != gone))
    (loss,) = read_run(folder).unread
    told = "task sums: 1 of the 8 items that the results file counts (under the filters strict)"
    assert (loss.num_items, loss.what) == (1, told)


def test_a_filter_that_the_results_name_and_the_file_lacks_is_counted(tmp_path: Path) -> None:
    folder = harness_folder(tmp_path)
    file = one_file(folder, "samples_sums_*")
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line for line in lines if json.loads(line)["filter"] != "strict"))
    assert losses(read_run(folder)) == [8]


@pytest.mark.parametrize(
    ("pattern", "metric", "told"),
    [
        ("samples_letters_*", "acc", "task letters: acc is 0.571429 by its samples, 0.428571"),
        ("samples_sums_*", "exact_match", "task sums: exact_match (strict) is 0.75 by its samples, 0.625"),
    ],
)
def test_samples_whose_mean_is_not_that_of_the_results_are_told(
    tmp_path: Path, pattern: str, metric: str, told: str
) -> None:
    folder = harness_folder(tmp_path)
    file = one_file(folder, pattern)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    line = next(place for place, row in enumerate(rows) if row[metric] == 0 and row["filter"] in ("none", "strict"))
    change_line(file, line, **{metric: 1.0})
    (loss,) = read_run(folder).unread
    assert loss.num_items is None and loss.what.startswith(told)
    assert loss.what.endswith("by the results file: some were lost or changed")


@pytest.mark.parametrize("run", ["0.4.13/toy__model-1", "0.4.13/toy__model-2", "0.4.5/toy__model-1", "0.4.2"])
@pytest.mark.parametrize("metric", [None, "acc_norm", "f1", "exact_match"])
def test_no_whole_run_of_the_harness_is_said_to_have_other_figures(run: str, metric: str | None) -> None:
    options = {} if metric is None else {"metric": metric}
    try:
        found = read_run(FILES / "lm_eval" / run, **options)
    except DataError as error:
        assert "expected the metric 'f1'" in str(error)  # one that no sample has as a number
    else:
        assert found.unread == ()


def test_a_metric_that_is_not_averaged_is_not_held_against_the_samples(tmp_path: Path) -> None:
    folder = harness_folder(tmp_path)
    file = one_file(folder, "results_*.json")
    results = json.loads(file.read_text())
    results["results"]["letters"]["acc,none"] = 0.1
    for aggregation in ("mean", "def of_letters(items): ..."):
        results["configs"]["letters"]["metric_list"][0]["aggregation"] = aggregation
        write(file, results)
        assert len(read_run(folder).unread) == (aggregation == "mean")


def test_a_task_of_the_harness_without_a_file_of_samples_is_named_with_its_items(tmp_path: Path) -> None:
    folder = harness_folder(tmp_path)
    one_file(folder, "samples_letters_*").unlink()
    (loss,) = read_run(folder).unread
    assert (loss.num_items, loss.what) == (7, "task letters: 7 samples are counted, and no file holds them")


def test_samples_that_are_not_read_for_their_name_or_place_are_named(tmp_path: Path) -> None:
    folder = harness_folder(tmp_path)
    source = one_file(folder, "samples_letters_*")
    shutil.copy(source, folder / "more.jsonl")
    (folder / "second").mkdir()
    shutil.copy(source, folder / "second" / source.name)
    assert {Path(loss.where).name: loss.num_items for loss in read_run(folder).unread} == {
        "more.jsonl": None,
        "second": None,
    }


def test_the_newest_run_of_the_harness_is_the_one_that_says_so_not_the_one_that_is_named_so(
    tmp_path: Path,
) -> None:
    folder = harness_folder(tmp_path)
    for file in list(folder.iterdir()):
        stem, _, date = file.name.rpartition("_")
        copied = folder / f"{stem}_2027-01-01T00-00-00.000000{Path(date).suffix}"
        shutil.copy(file, copied)
        if stem == "results":
            write(copied, json.loads(file.read_text()) | {"date": 1.0})
    readings = read_run(folder).metadata["readings"]
    assert len(readings) == 7 and all("read the run of 2026-11-24" in reading for reading in readings)


@pytest.mark.parametrize(("stated", "is_told"), [(2e9, True), (1.0, False)])
def test_a_newer_run_of_the_harness_without_samples_is_told(tmp_path: Path, stated: float, is_told: bool) -> None:
    folder = harness_folder(tmp_path)
    newer = folder / "results_2027-01-01T00-00-00.000000.json"
    write(newer, json.loads(one_file(folder, "results_*.json").read_text()) | {"date": stated})
    told = [(Path(loss.where), loss.what.partition(";")[0], loss.num_items) for loss in read_run(folder).unread]
    what = "a newer run of fill, last, letters, many, pick, roll, sums without samples"
    assert told == [(newer, what, None)] * is_told


def test_a_sample_without_the_main_metric_has_no_verdict_and_no_other_metric_gives_one(
    tmp_path: Path,
) -> None:
    folder = harness_folder(tmp_path)
    whole = read_run(folder).frame.filter(pl.col("task") == "pick")
    file = one_file(folder, "samples_pick_*")
    for line in (0, 4):
        change_line(file, line, acc=None, metrics=["acc_norm", "acc_bytes"])
    found = read_run(folder).frame.filter(pl.col("task") == "pick")
    assert found.filter(pl.col("correct").is_null())["id"].to_list() == ["0", "4"]
    kept = pl.col("correct").is_not_null()
    assert found.filter(kept)["correct"].equals(whole.filter(found["correct"].is_not_null())["correct"])
    assert found.height == whole.height


def test_the_whole_answer_stands_beside_the_one_that_the_filter_took_out(tmp_path: Path) -> None:
    folder = harness_folder(tmp_path)
    file = one_file(folder, "samples_sums_*")
    for line in range(len(file.read_text().splitlines())):
        change_line(file, line, resps=[["Three and four make 7.\n#### 7"]], filtered_resps=["7"])
    frame = read_run(folder).frame.filter(pl.col("task") == "sums")
    assert set(frame["output"]) == {"Three and four make 7.\n#### 7"}
    assert set(frame["extracted_answer"]) == {"7"}
    assert read_run(folder).frame.filter(pl.col("task") == "letters")["extracted_answer"].null_count() == 7


# promptfoo


def document(tmp_path: Path, count: int, **stats: int) -> Path:
    value = json.loads((FILES / "promptfoo" / "v1.json").read_text())
    value["results"]["results"] = value["results"]["results"][:count]
    value["results"]["stats"] |= stats
    return write(tmp_path / "x.json", value)


def test_results_that_promptfoo_counts_and_the_file_lacks_are_counted(tmp_path: Path) -> None:
    assert read_run(document(tmp_path, 20)).unread == ()
    run = read_run(document(tmp_path, 15))
    assert losses(run) == [5]
    assert run.unread[0].what == "5 of the 20 results that its own stats count are not in it"


def test_more_results_than_promptfoo_counts_are_noted(tmp_path: Path) -> None:
    run = read_run(document(tmp_path, 20, successes=2))
    assert run.unread == ()
    assert "its own stats count 6 results, but it holds 20" in run.metadata["notes"][0]


@pytest.mark.parametrize("place", ["first", "later"])
def test_a_record_is_recognised_however_long_it_is(tmp_path: Path, place: str) -> None:
    rows = [json.loads(line) for line in (FILES / "promptfoo" / "v1.jsonl").read_text().splitlines()]
    long = dict(rows[0])
    long = {"id": "a", "latencyMs": 1, "aLongOne": "words " * 20_000, **long}
    path = write_lines(tmp_path / "x.jsonl", *([long, *rows[1:]] if place == "first" else [*rows[1:], long]))
    run = read_run(path)
    assert (run.metadata["format"], run.frame.height) == ("promptfoo", 20)


def test_a_document_of_promptfoo_is_recognised_behind_a_long_beginning(tmp_path: Path) -> None:
    value = json.loads((FILES / "promptfoo" / "v1.json").read_text())
    path = write(tmp_path / "x.json", {"config": {"description": "words " * 20_000}, **value})
    assert read_run(path).metadata["format"] == "promptfoo"


# OpenAI's hosted Evals


def items(*places: int) -> list[dict[str, Any]]:
    return [output_item(place) for place in places]


def test_a_last_page_that_says_more_follow_is_a_loss_of_unknown_size(tmp_path: Path) -> None:
    page = {"object": "list", "data": items(0, 1), "has_more": True}
    run = read_run(write(tmp_path / "x.json", page))
    assert losses(run) == [None] and "has_more" in run.unread[0].what
    rest = {"object": "list", "data": items(2), "has_more": False}
    assert read_run(write(tmp_path / "x.json", [page, rest])).unread == ()


@pytest.mark.parametrize(
    ("between", "words"),
    [
        ({"error": {"message": "Rate limit reached"}}, "an error in place of a page ('Rate limit reached')"),
        ({"object": "list", "data": None}, "a page without items (its data is null)"),
    ],
)
def test_what_stands_in_place_of_a_page_is_a_loss(tmp_path: Path, between: Any, words: str) -> None:
    pages = [{"object": "list", "data": items(0)}, between, {"object": "list", "data": items(1)}]
    run = read_run(write(tmp_path / "x.json", pages))
    assert run.frame.height == 2
    assert [(loss.what, loss.num_items) for loss in run.unread] == [(words, None)]


def test_items_that_are_null_are_counted(tmp_path: Path) -> None:
    assert losses(read_run(write(tmp_path / "x.json", [*items(0), None, None]))) == [1, 1]


def test_the_runs_own_count_says_how_much_is_missing(tmp_path: Path) -> None:
    page = {"object": "list", "data": items(0, 1), "has_more": True, "result_counts": {"total": 9}}
    (loss,) = read_run(write(tmp_path / "x.json", page)).unread
    assert loss.num_items == 7
    assert loss.what.startswith("7 of the 9 items") and "has_more" in loss.what


def test_an_item_that_a_grader_left_out_has_no_verdict(tmp_path: Path) -> None:
    one, none = output_item(1), output_item(2, results=[])
    rows = [output_item(0), one | {"results": one["results"][1:]}, none]
    frame = read_run(write_lines(tmp_path / "x.jsonl", *rows)).frame
    assert frame["correct"].to_list() == [True, None, None]
    assert frame["error"].null_count() == 3


# HELM


def test_an_instance_of_helm_without_the_deciding_score_is_unscored(tmp_path: Path) -> None:
    folder = helm_run(tmp_path)
    file = folder / "per_instance_stats.json"
    entries = json.loads(file.read_text())
    entries[1]["stats"] = entries[1]["stats"][1:]  # id1 keeps quasi_exact_match, its second measure
    write(file, entries)
    row = read_run(folder).frame.filter((pl.col("id") == "id1") & (pl.col("filter") == "none")).row(0, named=True)
    assert (row["correct"], row["error"], row["score.quasi_exact_match"]) == (None, None, 1.0)


@pytest.mark.parametrize("state", [True, False])
def test_an_instance_of_helm_that_was_asked_and_not_scored_is_kept(tmp_path: Path, state: bool) -> None:
    folder = helm_run(tmp_path, state=state)
    file = folder / "per_instance_stats.json"
    write(file, [entry for entry in json.loads(file.read_text()) if entry["instance_id"] != "id2"])
    row = read_run(folder).frame.filter(pl.col("id") == "id2").row(0, named=True)
    assert row["correct"] is None and row["input"] == "What cuts soup?"


def test_instances_that_helm_counts_and_the_run_lacks_are_counted(tmp_path: Path) -> None:
    folder = helm_run(tmp_path)
    file = folder / "stats.json"
    count = {"name": {"name": "num_instances", "split": "test"}, "count": 1, "sum": 8, "mean": 8.0}
    write(file, [*json.loads(file.read_text()), count])
    assert losses(read_run(folder)) == [6]
    assert read_run(FILES / "helm").unread == ()


def test_a_run_of_helm_that_did_not_end_is_named(tmp_path: Path) -> None:
    helm_run(tmp_path / "whole")
    helm_run(tmp_path / "cut")
    (tmp_path / "cut" / "per_instance_stats.json").unlink()
    (tmp_path / "oven:kind=cake,model=toy_model-1").mkdir()
    (tmp_path / "eval_cache").mkdir()
    told = {Path(loss.where).name: loss.what for loss in read_run(tmp_path).unread}
    assert told == {
        "cut": "a run that did not end (no per_instance_stats.json)",
        "oven:kind=cake,model=toy_model-1": "a run that did not end (no run_spec.json and no per_instance_stats.json)",
    }


def test_perturbed_copies_do_not_stand_in_for_instances_that_are_gone(tmp_path: Path) -> None:
    folder = helm_run(tmp_path, state=False)
    (folder / "instances.json").unlink()
    robust = {"name": "lower", "robustness": True, "computed_on": "perturbed"}
    counts = [stat("num_instances", 2), stat("num_instances", 1, perturbation=robust)]
    write(folder / "stats.json", [stat("exact_match", 0.5), *counts])
    assert read_run(folder).unread == ()
    file = folder / "per_instance_stats.json"
    write(file, [entry for entry in json.loads(file.read_text()) if entry["instance_id"] != "id2"])
    (loss,) = read_run(folder).unread
    told = "1 of the 3 instances that stats.json counts (num_instances)"
    assert (loss.what, loss.num_items) == (told, 1)


def test_scores_whose_mean_is_not_that_of_helm_are_told(tmp_path: Path) -> None:
    folder = helm_run(tmp_path)
    write(folder / "stats.json", [stat("exact_match", 0.75), stat("quasi_exact_match", 0.1)])
    (loss,) = read_run(folder).unread
    assert loss.num_items is None
    assert loss.what.startswith("exact_match is 0.5 by its samples, 0.75 by stats.json")


@pytest.mark.parametrize(
    "parts",
    [
        [stat("exact_match", 0.7), stat("exact_match", 0.2) | {"name": {"name": "exact_match", "split": "valid"}}],
        [stat("exact_match", 0.7), stat("exact_match", 0.2, sub_split="hard")],
        [stat("exact_match", 0.7, perturbation={"name": "lower"}), stat("exact_match", 0.5)],
        [{"name": {"name": "exact_match", "split": "test"}, "count": 0, "sum": 0}],
    ],
)
def test_means_of_parts_and_of_perturbed_copies_are_not_held_against_the_whole(
    tmp_path: Path, parts: list[dict[str, Any]]
) -> None:
    folder = helm_run(tmp_path)
    write(folder / "stats.json", parts)
    assert read_run(folder).unread == ()


# BFCL


def test_a_failure_that_was_lost_from_a_bfcl_score_file_is_not_taken_for_right(tmp_path: Path) -> None:
    file = bfcl_scores(tmp_path)
    file.write_text(file.read_text().splitlines()[0])
    with pytest.raises(DataError, match="field 'correct_count': expected 2, by the items of the result file, found 1"):
        read_run(file)


def test_answers_of_bfcl_without_scores_are_counted(tmp_path: Path) -> None:
    bfcl_scores(tmp_path)
    write_lines(
        tmp_path / "result" / "toy" / "BFCL_v4_java_result.json",
        *({"id": str(i), "result": ""} for i in range(4)),
    )
    run = read_run(tmp_path)
    assert losses(run) == [4] and run.unread[0].where.endswith("BFCL_v4_java_result.json")


# Every Eval Ever


def metric(name: str, kind: str = "binary", num: int | None = None) -> dict[str, Any]:
    uncertainty = {"uncertainty": {"num_samples": num}} if num else {}
    return {
        "evaluation_result_id": name,
        "evaluation_name": "qa",
        "metric_config": {"metric_id": name, "score_type": kind},
        "score_details": {"score": 0.5, **uncertainty},
    }


def eee(folder: Path, metrics: list[dict[str, Any]], rows: list[tuple[str, str, float]], **details: Any) -> Path:
    """Write a run: rows of sample, metric and score."""
    base = {"schema_version": "0.3.0", "evaluation_id": "e"}
    aggregate = base | {"model_info": {"id": "toy/m"}, "evaluation_results": metrics}
    write(folder / "x.json", aggregate | {"detailed_evaluation_results": details})
    written = [
        base
        | {
            "evaluation_name": "qa",
            "evaluation_result_id": name,
            "sample_id": sample,
            "input": {"raw": f"{sample}?", "reference": ["a"]},
            "output": {"raw": ["a"]},
            "evaluation": {"score": score, "is_correct": score == 1},
        }
        for sample, name, score in rows
    ]
    write_lines(folder / "x_samples.jsonl", *written)
    return folder


def test_a_sample_without_a_row_for_the_main_metric_has_no_verdict_of_another(tmp_path: Path) -> None:
    rows = [("1", "exact", 1.0), ("1", "loose", 1.0), ("2", "loose", 1.0), ("3", "exact", 0.0)]
    frame = read_run(eee(tmp_path, [metric("exact"), metric("loose")], rows)).frame
    assert dict(frame.select("id", "correct").iter_rows()) == {"1": True, "2": None, "3": False}


def test_two_runs_of_which_one_has_rows_for_a_looser_metric_only_are_refused(tmp_path: Path) -> None:
    metrics = [metric("exact"), metric("loose")]
    old = eee(tmp_path / "old", metrics, [(sample, name, 0.0) for sample in "123" for name in ("exact", "loose")])
    new = eee(tmp_path / "new", metrics, [(sample, "loose", 1.0) for sample in "123"])
    with pytest.raises(JoinError, match=r"task qa: metric exact against loose.*--allow metric"):
        check_comparable(read_run(old), read_run(new))


def test_samples_and_rows_that_an_aggregate_counts_and_the_file_lacks_are_counted(tmp_path: Path) -> None:
    rows = [("1", "exact", 1.0), ("2", "exact", 0.0)]
    assert read_run(eee(tmp_path, [metric("exact", num=2)], rows, total_rows=2)).unread == ()
    (loss,) = read_run(eee(tmp_path, [metric("exact", num=6)], rows, total_rows=6)).unread
    assert (loss.what, loss.num_items) == ("4 of the 6 samples of qa that the aggregate counts", 4)
    assert losses(read_run(eee(tmp_path, [metric("exact")], rows, total_rows=5))) == [3]


def test_an_aggregate_without_samples_in_a_folder_is_named(tmp_path: Path) -> None:
    folder = eee(tmp_path, [metric("exact")], [("1", "exact", 1.0), ("2", "exact", 0.0)])
    shutil.copy(folder / "x.json", folder / "y.json")
    (loss,) = read_run(folder).unread
    assert (Path(loss.where).name, loss.num_items) == ("y.json", None)


def test_what_a_conversion_keeps_of_a_run_is_all_that_decides_a_comparison(tmp_path: Path) -> None:
    rows = [output_item(0), output_item(1, status="pass", results=[]), output_item(2, passed=False)]
    source = write(tmp_path / "x.json", {"object": "list", "data": rows, "has_more": True})
    run = read_run(source)
    convert(source, tmp_path / "eee", to="eee")
    back = read_run(tmp_path / "eee")
    assert back.frame["correct"].to_list() == run.frame["correct"].to_list() == [True, None, False]
    assert back.frame["error"].null_count() == 3
    assert back.unread == run.unread
    assert back.metadata["tasks"] == run.metadata["tasks"]


# damaged structure


@pytest.mark.parametrize("results", [["passed"], "passed", [{"passed": "yes"}], [{"passed": True, "score": 10**400}]])
def test_graders_of_another_shape_are_refused_at_their_place(tmp_path: Path, results: Any) -> None:
    path = write_lines(tmp_path / "x.jsonl", output_item(0), output_item(1, results=results))
    with pytest.raises(DataError, match=f"{path}, line 2, field '"):
        read_run(path)


def test_stats_of_helm_and_accuracies_of_bfcl_that_are_null_are_refused(tmp_path: Path) -> None:
    folder = helm_run(tmp_path / "helm")
    file = folder / "per_instance_stats.json"
    write(file, [{"instance_id": "id1", "stats": None}])
    with pytest.raises(DataError, match=r"\[0\], field 'stats': expected a list"):
        read_run(folder)
    scores = bfcl_scores(tmp_path / "bfcl")
    scores.write_text(scores.read_text().replace('"accuracy": 0.5', '"accuracy": null'))
    with pytest.raises(DataError, match="line 1, field 'accuracy': expected a finite number, found None"):
        read_run(scores)


def test_other_formats_are_recognised_behind_a_long_first_field(tmp_path: Path) -> None:
    long = {"aLongOne": "words " * 20_000}
    rows = [long | {key: value for key, value in output_item(n).items() if key != "object"} for n in (0, 1)]
    assert read_run(write_lines(tmp_path / "lines.jsonl", *rows)).metadata["format"] == "openai_evals"
    assert read_run(write(tmp_path / "list.json", rows)).metadata["format"] == "openai_evals"
    assert read_run(write(tmp_path / "page.json", {"data": rows})).metadata["format"] == "openai_evals"
    folder = eee(tmp_path / "eee", [metric("exact")], [("1", "exact", 1.0), ("2", "exact", 0.0)])
    samples = folder / "x_samples.jsonl"
    write_lines(samples, *(long | json.loads(line) for line in samples.read_text().splitlines()))
    write(folder / "x.json", long | json.loads((folder / "x.json").read_text()))
    for path in (folder, samples, folder / "x.json"):
        assert read_run(path).metadata["format"] == "every_eval_ever"
