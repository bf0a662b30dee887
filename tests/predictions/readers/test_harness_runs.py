"""Two versions of a model as the harnesses themselves wrote them: read, compared, and every number counted again.

`tests/data/harness_runs/README.md` says how the files were made. What is expected is taken from the raw files here,
by other code than the readers'.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from scipy.stats import binomtest

import muscle
from helpers.places import DATA
from muscle import read_run
from muscle.predictions.writers.convert import convert

FILES = DATA / "harness_runs"
RELEASES = ("0.4.13", "0.4.2")
SUMS, TOOLS = ("sums/strict", "sums/flexible"), "tools"
INSPECT = ("zstd.eval", "deflate.eval", "json")
Cells = dict[str, int]
Answers = dict[Any, bool]


def cells(old: Answers, new: Answers) -> Cells:
    """Count the four cells over the items that both sides have."""
    shared = [(old[key], new[key]) for key in old if key in new]
    counted = Counter(shared)
    return {
        "both_right": counted[True, True],
        "negative_flips": counted[True, False],
        "positive_flips": counted[False, True],
        "both_wrong": counted[False, False],
    }


def assert_counts(report: dict[str, Any], task: str, old: Answers, new: Answers) -> None:
    """Check a task's counts, rates and test against what was counted from the raw files."""
    expected = cells(old, new)
    found, measured = report["tasks"][task]["quadrants"]["old_vs_new"], report["tasks"][task]["old_vs_new"]
    assert {name: found[name] for name in expected} == expected
    total = sum(expected.values())
    negative, positive = expected["negative_flips"], expected["positive_flips"]
    assert report["tasks"][task]["n"] == total
    assert measured["negative_flip_rate"]["value"] == pytest.approx(negative / total)
    assert measured["positive_flip_rate"]["value"] == pytest.approx(positive / total)
    assert measured["accuracy_difference"]["value"] == pytest.approx((positive - negative) / total)
    flips = negative + positive
    p_value = binomtest(negative, flips).pvalue if flips else 1.0
    assert measured["mcnemar_exact_p"] == pytest.approx(p_value)


def lm_eval_answers(folder: Path, task: str) -> Answers:
    """Read the harness's own metric out of its samples; release 0.4.2 names no filter: blocks, in the task's order."""
    name, _, filter = task.partition("/")
    (file,) = folder.glob(f"*_{name}*.jsonl")
    text = file.read_text(encoding="utf-8")
    samples = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    if filter and "filter" not in samples[0]:
        half = len(samples) // 2
        samples = samples[:half] if filter == "strict" else samples[half:]
    elif filter:
        samples = [sample for sample in samples if sample["filter"] == filter]
    metric = "exact_match" if filter else "acc"
    return {sample["doc_id"]: bool(float(sample[metric])) for sample in samples}


def lm_eval_accuracy(folder: Path, task: str) -> float:
    """Read what the harness's results file says."""
    (file,) = folder.glob("results*.json")
    name, _, filter = task.partition("/")
    results = json.loads(file.read_text())["results"][name]
    return float(results[f"exact_match,{filter}" if filter else "acc,none"])


@pytest.fixture(scope="module", params=RELEASES)
def lm_eval_runs(request: pytest.FixtureRequest) -> tuple[Path, Path, dict[str, Any]]:
    folder = FILES / "lm_eval" / str(request.param)
    old, new = folder / "old", folder / "new"
    return old, new, muscle.compare(old, new).to_json()


@pytest.mark.parametrize("task", [*SUMS, TOOLS])
def test_flips_of_lm_eval_runs_are_those_of_its_samples(
    lm_eval_runs: tuple[Path, Path, dict[str, Any]], task: str
) -> None:
    old, new, report = lm_eval_runs
    assert_counts(report, task, lm_eval_answers(old, task), lm_eval_answers(new, task))


@pytest.mark.parametrize("task", [*SUMS, TOOLS])
def test_accuracies_are_those_of_the_harness_own_results_file(
    lm_eval_runs: tuple[Path, Path, dict[str, Any]], task: str
) -> None:
    old, new, report = lm_eval_runs
    measured = report["tasks"][task]["old_vs_new"]
    assert measured["accuracy_old"]["value"] == pytest.approx(lm_eval_accuracy(old, task))
    assert measured["accuracy_new"]["value"] == pytest.approx(lm_eval_accuracy(new, task))


def test_the_files_hold_flips_both_ways_and_filters_that_differ() -> None:
    """Without these the tests above would prove little."""
    folder = FILES / "lm_eval" / "0.4.13"
    counted = cells(lm_eval_answers(folder / "old", TOOLS), lm_eval_answers(folder / "new", TOOLS))
    assert min(counted["negative_flips"], counted["positive_flips"]) > 0
    assert lm_eval_answers(folder / "new", SUMS[0]) != lm_eval_answers(folder / "new", SUMS[1])


@pytest.mark.parametrize("version", ["old", "new"])
def test_the_same_weights_under_two_releases_do_not_flip_in_single_precision(version: str) -> None:
    report = muscle.compare(*(FILES / "lm_eval" / release / version for release in RELEASES[::-1])).to_json()
    for task in (*SUMS, TOOLS):
        found = report["tasks"][task]["quadrants"]["old_vs_new"]
        assert found["negative_flips"] == found["positive_flips"] == found["both_wrong_different"] == 0
    (difference,) = (each for each in report["comparability"]["old_vs_new"] if each["what"] != "order")
    assert "transformers 4.57.1 against 5.23.0" in difference["message"]


def inspect_answers(version: str) -> Answers:
    """Read Inspect's own verdicts out of its `.json` log: item and epoch to right or wrong; errors are left out."""
    log = json.loads((FILES / "inspect" / f"{version}.json").read_text())
    return {
        (sample["id"], sample["epoch"]): sample["scores"]["match"]["value"] == "C"
        for sample in log["samples"]
        if not sample.get("error")
    }


@pytest.mark.parametrize("layouts", list(itertools.product(INSPECT, INSPECT)))
def test_flips_of_inspect_logs_are_those_of_its_scores_in_every_layout(layouts: tuple[str, str]) -> None:
    old, new = (FILES / "inspect" / f"{name}.{layout}" for name, layout in zip(("old", "new"), layouts, strict=True))
    report = muscle.compare(old, new).to_json()
    assert report["join"]["errors_new"] == 1
    assert report["tasks"]["colours"]["repeats"] == {"old": 3, "new": 3, "candidate": None}
    assert_counts(report, "colours", inspect_answers("old"), inspect_answers("new"))


@pytest.mark.parametrize("version", ["old", "new"])
def test_the_accuracy_of_an_inspect_log_is_the_harness_own(version: str) -> None:
    log = json.loads((FILES / "inspect" / f"{version}.json").read_text())
    stated = log["results"]["scores"][0]["metrics"]["accuracy"]["value"]
    frame = read_run(FILES / "inspect" / f"{version}.zstd.eval").frame
    # Inspect averages an item's epochs first.
    by_item = frame.group_by("id").agg(pl.col("correct").cast(pl.Float64).mean())
    assert by_item["correct"].mean() == pytest.approx(stated)


def promptfoo_answers(version: str) -> Answers:
    """Read promptfoo's own verdicts, by the shop that a test is about; a failed provider is left out."""
    document = json.loads((FILES / "promptfoo" / f"{version}.json").read_text())
    return {
        result["vars"]["shop"]: result["success"]
        for result in document["results"]["results"]
        if result["failureReason"] != 2
    }


@pytest.mark.parametrize("suffixes", list(itertools.product(("json", "jsonl"), repeat=2)))
def test_flips_of_promptfoo_runs_are_right_though_the_tests_stand_in_another_order(
    suffixes: tuple[str, str],
) -> None:
    old, new = promptfoo_answers("old"), promptfoo_answers("new")
    assert list(old) != list(new)
    files = (FILES / "promptfoo" / f"{name}.{suffix}" for name, suffix in zip(("old", "new"), suffixes, strict=True))
    report = muscle.compare(*files).to_json()
    assert report["join"]["errors_new"] == 1
    assert_counts(report, "promptfoo", old, new)


@pytest.mark.parametrize("version", ["old", "new"])
def test_the_counts_of_a_promptfoo_run_are_those_of_its_own_statistics(version: str) -> None:
    stats = json.loads((FILES / "promptfoo" / f"{version}.json").read_text())["results"]["stats"]
    frame = read_run(FILES / "promptfoo" / f"{version}.jsonl").frame
    assert frame["correct"].sum() == stats["successes"]
    assert (~frame["correct"]).sum() == stats["failures"]
    assert frame["error"].count() == stats["errors"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lm_eval/0.4.13/old", "lm_eval/0.4.13/new"),
        ("lm_eval/0.4.2/old", "lm_eval/0.4.2/new"),
        ("inspect/old.zstd.eval", "inspect/new.json"),
        ("promptfoo/old.json", "promptfoo/new.jsonl"),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_converted_records_compare_as_the_files_themselves(tmp_path: Path, old: str, new: str, suffix: str) -> None:
    converted = [tmp_path / f"{name}{suffix}" for name in ("old", "new")]
    for source, target in zip((old, new), converted, strict=True):
        convert(FILES / source, target)
    direct, again = muscle.compare(FILES / old, FILES / new).to_json(), muscle.compare(*converted).to_json()
    for task, found in direct["tasks"].items():
        assert again["tasks"][task]["quadrants"] == found["quadrants"]
        assert again["tasks"][task]["old_vs_new"] == found["old_vs_new"]
