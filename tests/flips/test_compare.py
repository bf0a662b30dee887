from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.two_versions import table, versions
from muscle import CompareOptions, Comparison, Run, compare, read_run
from muscle.errors import DataError, JoinError
from muscle.flips.measuring.metrics import BINARY_METRICS
from muscle.report.page.html import render_html
from muscle.report.text.markdown import render_markdown

METRICS = {*BINARY_METRICS, "mean_gain", "mean_regression"}


def only_task(comparison: Comparison) -> dict[str, Any]:
    (task,) = comparison.to_json()["tasks"].values()
    return task


def test_the_report_has_every_field_of_the_format() -> None:
    old, new = versions(60, 10, 15, 15)
    report = compare(old, new, candidate=old, others={"base": new}).to_json()
    assert {
        "format",
        "muscle_version",
        "created",
        "old",
        "new",
        "candidate",
        "sources",
        "verdict",
        "headline",
    } <= set(report)
    assert {"reasons", "warnings", "join", "tasks", "others", "flips", "flips_total", "flips_shown"} <= set(report)
    assert {"paired", "only_old", "only_new", "duplicates", "changed"} <= set(report["join"])
    task = report["tasks"]["all"]
    assert {"n", "kind", "score", "old_vs_new", "old_vs_candidate", "new_vs_candidate", "quadrants"} <= set(task)
    for side in ("old_vs_new", "old_vs_candidate", "new_vs_candidate"):
        assert METRICS | {"mcnemar_exact_p"} <= set(task[side])
        for name in METRICS:
            entry = task[side][name]
            assert {"value", "low", "high"} <= set(entry) and (entry["value"] is None) == ("why" in entry)
    assert report["others"][0]["name"] == "base" and set(report["others"][0]["tasks"]["all"]) >= METRICS
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_counts_and_rates_are_those_of_the_quadrants() -> None:
    task = only_task(compare(*versions(60, 10, 15, 15)))
    assert task["n"] == 100 and task["kind"] == "binary"
    cells = task["quadrants"]["old_vs_new"]
    assert (cells["both_right"], cells["negative_flips"], cells["positive_flips"], cells["both_wrong"]) == (
        60,
        10,
        15,
        15,
    )
    metrics = task["old_vs_new"]
    assert metrics["accuracy_old"]["value"] == 0.7 and metrics["accuracy_new"]["value"] == 0.75
    assert metrics["negative_flip_rate"]["value"] == 0.1 and metrics["accuracy_difference"]["value"] == 0.05
    assert metrics["mcnemar_exact_p"] == pytest.approx(0.42436, abs=1e-5)


def test_a_change_from_one_wrong_option_to_another_is_an_inconsistency() -> None:
    old = table([True, False, False, True], choice=[0, 1, 2, 0])
    new = table([True, False, False, False], choice=[0, 2, 2, 1])
    task = only_task(compare(old, new))
    cells = task["quadrants"]["old_vs_new"]
    assert (cells["both_wrong_same"], cells["both_wrong_different"], cells["both_right_changed"]) == (1, 1, 0)
    assert task["old_vs_new"]["inconsistency_rate"]["value"] == 0.5
    assert task["old_vs_new"]["churn"]["value"] == 0.5


def test_a_change_among_accepted_texts_is_counted_by_itself() -> None:
    old = table([True, True, False], output=["4", "four", "5"])
    new = table([True, True, False], output=[" 4 ", "4", "6"])
    cells = only_task(compare(old, new))["quadrants"]["old_vs_new"]
    assert (cells["both_right"], cells["both_right_changed"], cells["both_wrong_different"]) == (2, 1, 1)


def test_without_answers_what_needs_them_is_undefined_and_says_why() -> None:
    task = only_task(compare(*versions(6, 1, 2, 1)))
    assert task["old_vs_new"]["churn"]["value"] is None and "no answers" in task["old_vs_new"]["churn"]["why"]
    assert task["quadrants"]["old_vs_new"]["both_wrong_same"] is None
    assert "score" in task["old_vs_new"]["mean_gain"]["why"]


def test_a_score_without_correctness_is_compared_smoothly() -> None:
    ids = ["a", "b", "c", "d"]
    old = pl.DataFrame({"id": ids, "score": [0.5, 0.5, 0.5, 0.2]})
    new = pl.DataFrame({"id": ids, "score": [0.7, 0.4, 0.5, 0.5]})
    task = only_task(compare(old, new))
    assert task["kind"] == "continuous" and task["score"] == "score"
    assert task["quadrants"]["old_vs_new"] == {"better": 2, "worse": 1, "equal": 1}
    metrics = task["old_vs_new"]
    assert metrics["mean_gain"]["value"] == pytest.approx(0.25) and metrics["mean_regression"][
        "value"
    ] == pytest.approx(0.1)
    assert metrics["accuracy_difference"]["value"] == pytest.approx(0.1)
    assert metrics["churn"]["value"] is None and "continuous" in metrics["churn"]["why"]
    histogram = task["difference_histogram"]
    assert sum(histogram["old_vs_new"]) == 4 and len(histogram["edges"]) == len(histogram["old_vs_new"]) + 1
    assert histogram["old_vs_new"][20] == 1, "no change is the middle bin"


def test_a_dead_band_keeps_small_differences_equal() -> None:
    old = pl.DataFrame({"id": ["a", "b"], "score": [0.5, 0.5]})
    new = pl.DataFrame({"id": ["a", "b"], "score": [0.55, 0.3]})
    assert only_task(compare(old, new, options=CompareOptions(epsilon=0.1)))["quadrants"]["old_vs_new"] == {
        "better": 0,
        "worse": 1,
        "equal": 1,
    }


def test_a_score_of_which_less_is_better_is_turned() -> None:
    old = pl.DataFrame({"id": ["a", "b"], "score.loss": [2.5, 2.5]})
    new = pl.DataFrame({"id": ["a", "b"], "score.loss": [2.0, 3.5]})
    task = only_task(compare(old, new, options=CompareOptions(lower_is_better=["loss"])))
    assert task["quadrants"]["old_vs_new"] == {"better": 1, "worse": 1, "equal": 0}
    assert task["old_vs_new"]["mean_regression"]["value"] == 1.0
    assert task["score"] == "-loss" and task["old_vs_new"]["accuracy_old"]["value"] == -2.5


def test_the_harness_says_which_way_a_score_counts() -> None:
    frames = [pl.DataFrame({"id": ["a", "b"], "score.loss": values}) for values in ([2.0, 3.0], [1.0, 4.0])]
    old, new = (read_run(frame, name=name) for frame, name in zip(frames, ("one", "two"), strict=True))
    task = only_task(compare(Run("one", old.frame, {"higher_is_better": {"loss": False}}), new))
    assert task["quadrants"]["old_vs_new"] == {"better": 1, "worse": 1, "equal": 0}
    assert task["old_vs_new"]["accuracy_old"]["value"] == -2.5


def test_what_readers_say_is_passed_on_by_its_kind_and_once() -> None:
    facts = {"notes": ["the run did not finish"], "readings": ["read the newest of 3 runs"]}
    old, new = (Run(name, read_run(table([True, False])).frame, facts) for name in ("one", "two"))
    report = compare(old, new).to_json()
    assert report["warnings"] == ["one, two: the run did not finish"]
    assert report["readings"] == ["one, two: read the newest of 3 runs"]


def test_scores_of_zero_and_one_are_right_and_wrong() -> None:
    old, new = (pl.DataFrame({"id": ["a", "b"], "score": values}) for values in ([1.0, 0.0], [0.0, 0.0]))
    task = only_task(compare(old, new))
    assert task["kind"] == "binary" and task["quadrants"]["old_vs_new"]["negative_flips"] == 1


def test_a_likelihood_gives_a_binary_task_its_gains() -> None:
    old = table([True, False], **{"score.acc": [1.0, 0.0], "score.p": [0.8, 0.3]})
    new = table([True, True], **{"score.acc": [1.0, 1.0], "score.p": [0.6, 0.9]})
    task = only_task(compare(old, new))
    assert task["score"] == "p" and task["old_vs_new"]["mean_gain"]["value"] == pytest.approx(0.6)
    assert task["old_vs_new"]["mean_regression"]["value"] == pytest.approx(0.2)


def test_errored_items_are_missing_not_wrong() -> None:
    old = table([True, True, True], error=[None, None, None])
    new = table([True, None, None], error=[None, "timeout", "timeout"])
    report = compare(old, new).to_json()
    assert report["tasks"]["all"]["n"] == 1 and report["join"]["errors_new"] == 2
    assert report["tasks"]["all"]["old_vs_new"]["negative_flip_rate"]["value"] == 0
    assert any("2 without an answer in the second" in warning for warning in report["warnings"])


def test_a_run_of_errors_leaves_nothing_to_judge() -> None:
    broken = pl.DataFrame({"id": ["0", "1"], "error": ["timeout", "timeout"]})
    comparison = compare(table([True, False]), broken)
    report = comparison.to_json()
    assert comparison.verdict == "cannot_tell" and report["tasks"] == {} and report["flips"] == []
    assert report["join"]["errors_new"] == 2 and "no task is scored" in report["reasons"][0]
    for render in (render_markdown, render_html):
        assert "Cannot tell" in render(comparison.report)


def test_a_candidate_that_was_scored_otherwise_is_refused() -> None:
    old, new = (pl.DataFrame({"id": ["0", "1"], "score.rouge1": s, "score.f1": s}) for s in ([0.5, 0.2], [0.4, 0.3]))
    with pytest.raises(JoinError, match="main score rouge1 against f1"):
        compare(old, new, candidate=pl.DataFrame({"id": ["0", "1"], "score.f1": [0.1, 0.9]}))


def test_correctness_on_one_side_only_is_refused() -> None:
    old = table([True, False])
    new = pl.DataFrame({"id": ["0", "1"], "score.rouge1": [0.5, 0.25]})
    with pytest.raises(JoinError, match="task 'all': expected `correct` or one score on both sides"):
        compare(old, new)


def test_several_filters_of_a_task_are_tasks_of_their_own() -> None:
    rows = pl.DataFrame({"id": ["1", "1"], "task": "gsm8k", "filter": ["strict", "flexible"], "correct": [False, True]})
    tasks = compare(rows, rows).to_json()["tasks"]
    assert set(tasks) == {"gsm8k/strict", "gsm8k/flexible"} and tasks["gsm8k/strict"]["n"] == 1


@pytest.mark.parametrize(
    ("cells", "verdict"),
    [
        ((500, 40, 10, 50), "block"),
        ((500, 40, 60, 50), "warn"),
        ((900, 0, 3, 97), "pass"),
        ((60, 1, 1, 10), "cannot_tell"),
    ],
)
def test_the_verdict_follows_the_flips(cells: tuple[int, int, int, int], verdict: str) -> None:
    comparison = compare(*versions(*cells))
    assert comparison.verdict == verdict and len(comparison.to_json()["reasons"]) == 1


def test_the_headline_never_gives_the_net_alone() -> None:
    headline = compare(*versions(500, 40, 60, 50)).headline
    assert "+60" in headline and "-40" in headline and "net +20" in headline and "650" in headline
    old, new = versions(500, 40, 60, 50)
    with_candidate = compare(old, new, candidate=old).headline
    assert "+0" in with_candidate and "-0" in with_candidate and "-40" in with_candidate


@pytest.mark.parametrize("nearness", [1e-3, 1e-5, 1e-8])
def test_a_bound_beside_its_limit_is_written_with_the_digits_that_make_the_sentence_true(
    nearness: float,
) -> None:
    old, new = versions(900, 40, 60, 50)
    metrics = only_task(compare(old, new))["old_vs_new"]
    low, high = (metrics[f"negative_flip_rate_{end}_bound"] for end in ("lower", "upper"))

    def told(tolerance: float) -> str:
        return str(compare(old, new, options=CompareOptions(tolerance=tolerance)).to_json()["reasons"][0])

    warned = re.search(r"more than ([\d.]+)% even at the lower bound ([\d.]+)%", told(low * (1 - nearness)))
    assert warned and float(warned[2]) > float(warned[1])
    passed = re.search(r"to be at most ([\d.]+)% \(let pass: ([\d.]+)%\)", told(high * (1 + nearness)))
    assert passed and float(passed[1]) <= float(passed[2])
    for tolerance in (low * (1 + nearness), high * (1 - nearness)):
        unproven = re.search(r"from ([\d.]+)% to ([\d.]+)% fits; at most ([\d.]+)%", told(tolerance))
        assert unproven and float(unproven[1]) <= float(unproven[3]) < float(unproven[2])


def test_a_limit_is_written_as_it_was_given() -> None:
    old, new = versions(900, 40, 60, 50)
    assert (
        "more than 1.25% even at the lower bound"
        in compare(old, new, options=CompareOptions(tolerance=0.0125)).to_json()["reasons"][0]
    )
    assert (
        "more than 1.0% even at the lower bound"
        in compare(old, new, options=CompareOptions(tolerance=0.01)).to_json()["reasons"][0]
    )


def test_the_verdict_of_several_tasks_is_the_worst_one() -> None:
    parts = []
    for task, cells in (("good", (900, 0, 3, 97)), ("bad", (500, 40, 10, 50))):
        old, new = versions(*cells)
        parts.append([side.with_columns(task=pl.lit(task)) for side in (old, new)])
    old, new = (pl.concat(sides) for sides in zip(*parts, strict=True))
    comparison = compare(old, new)
    assert comparison.verdict == "block" and comparison.to_json()["reasons"][0].startswith("bad:")
    assert list(comparison.to_json()["tasks"]) == ["good", "bad"]


def test_chance_in_one_of_many_tasks_does_not_block() -> None:
    parts = []
    for number in range(20):
        lost = 8 if number == 0 else 0
        old, new = versions(90, lost, 1, 10)
        parts.append([side.with_columns(task=pl.lit(f"t{number}")) for side in (old, new)])
    old, new = (pl.concat(sides) for sides in zip(*parts, strict=True))
    assert compare(parts[0][0], parts[0][1]).verdict == "block"
    assert compare(old, new).verdict != "block"


def test_the_candidate_is_set_against_the_plain_update_item_by_item() -> None:
    old = table([True] * 80 + [False] * 20)
    new = table([True] * 60 + [False] * 20 + [True] * 10 + [False] * 10)
    candidate = table([True] * 75 + [False] * 5 + [True] * 8 + [False] * 12)
    task = only_task(compare(old, new, candidate=candidate))
    effect = task["candidate_effect"]
    assert effect["n"] == 100
    assert effect["negative_flip_rate_change"]["value"] == pytest.approx(-0.15)
    assert effect["negative_flip_rate_change_percent"]["value"] == pytest.approx(-75)
    assert effect["accuracy_change"]["value"] == pytest.approx(0.13)
    assert effect["negative_flips_mcnemar_exact_p"] == pytest.approx(2 * 0.5**15)
    assert effect["negative_flip_rate_change"]["high"] < 0
    assert effect["mean_gain_change"]["value"] is None and effect["mean_gain_change"]["why"]
    assert task["quadrants"]["old_vs_candidate"]["negative_flips"] == 5
    assert task["new_vs_candidate"]["positive_flip_rate"]["value"] == pytest.approx(0.15)


def asked(rows: list[pl.DataFrame], *times: int) -> list[pl.DataFrame]:
    """The same answers again and again: no more is known than from one each."""
    return [
        pl.concat([frame.with_columns(repeat=pl.lit(r)) for r in range(k)])
        for frame, k in zip(rows, times, strict=True)
    ]


@pytest.mark.parametrize("times", [(4, 4, 4), (1, 4, 4), (4, 1, 1), (1, 4, 1), (1, 1, 4)])
def test_answers_that_only_repeat_make_a_candidates_effect_no_surer(times: tuple[int, int, int]) -> None:
    draw = random.Random(1)
    sides = [table([draw.random() < rate for _ in range(200)]) for rate in (0.8, 0.7, 0.75)]
    once = only_task(compare(sides[0], sides[1], candidate=sides[2]))["candidate_effect"]
    old, new, candidate = asked(sides, *times)
    again = only_task(compare(old, new, candidate=candidate))["candidate_effect"]
    for key in ("negative_flip_rate_change", "negative_flip_rate_change_percent", "accuracy_change"):
        assert again[key]["value"] == pytest.approx(once[key]["value"])
        width, plain = (each[key]["high"] - each[key]["low"] for each in (again, once))
        assert width == pytest.approx(plain, rel=0.1)
    assert again["negative_flips_mcnemar_exact_p"] == pytest.approx(once["negative_flips_mcnemar_exact_p"])


def test_the_effect_on_scores_is_the_difference_of_the_means() -> None:
    draw = random.Random(0)
    ids = [str(i) for i in range(300)]
    old, new, candidate = ([draw.random() for _ in ids] for _ in range(3))
    frames = [pl.DataFrame({"id": ids, "score": values}) for values in (old, new, candidate)]
    effect = only_task(compare(frames[0], frames[1], candidate=frames[2]))["candidate_effect"]
    gains = [[x - o for o, x in zip(old, side, strict=True) if x > o] for side in (new, candidate)]
    expected = sum(gains[1]) / len(gains[1]) - sum(gains[0]) / len(gains[0])
    change = effect["mean_gain_change"]
    assert change["value"] == pytest.approx(expected) and change["low"] < expected < change["high"]
    assert effect["accuracy_change"]["value"] == pytest.approx((sum(candidate) - sum(new)) / 300)


def test_a_candidate_that_misses_items_is_compared_on_the_shared_ones() -> None:
    old, new = versions(60, 20, 10, 10)
    report = compare(old, new, candidate=old.head(98)).to_json()
    task = report["tasks"]["all"]
    assert task["n"] == 100 and task["old_vs_candidate"]["n"] == 98 and task["candidate_effect"]["n"] == 98


def test_the_flips_are_listed_with_all_answers() -> None:
    old = table(
        [True, False, True, True],
        input=["q0", "q1", "q2", "q3"],
        output=["a", "b", "c", "d"],
        reference=["a", "x", "c", "d"],
    )
    new = table(
        [False, True, True, True],
        input=["q0", "q1", "q2", "q3"],
        output=["z", "x", "c", "d"],
        reference=["a", "x", "c", "d"],
    )
    candidate = table(
        [True, True, False, True],
        input=["q0", "q1", "q2", "q3"],
        output=["a", "x", "y", "d"],
        reference=["a", "x", "c", "d"],
    )
    report = compare(old, new, candidate=candidate).to_json()
    flips = {flip["id"]: flip for flip in report["flips"]}
    assert set(flips) == {"0", "1", "2"} and report["flips_shown"] == 3
    assert report["flips_total"] == {"negative_flip": 1, "positive_flip": 1, "other_wrong": 1}
    assert (flips["0"]["kind"], flips["0"]["fixed"], flips["0"]["introduced"]) == (
        "negative_flip",
        True,
        False,
    )
    assert (flips["1"]["kind"], flips["1"]["fixed"]) == ("positive_flip", None)
    assert (flips["2"]["kind"], flips["2"]["introduced"]) == ("other_wrong", True)
    assert flips["0"]["input"] == "q0" and flips["0"]["reference"] == ["a"]
    assert (flips["0"]["old"]["output"], flips["0"]["new"]["output"], flips["0"]["candidate"]["output"]) == (
        "a",
        "z",
        "a",
    )


def test_the_size_of_a_choice_flip_is_the_margin_that_was_lost() -> None:
    shared = {"input": ["q"], "choices": [["x", "y"]], "reference": [["y"]]}
    old = table([True], choice=[1], logprobs=[[-5.0, -1.0]], **shared)
    new = table([False], choice=[0], logprobs=[[-2.0, -3.0]], **shared)
    (flip,) = compare(old, new).to_json()["flips"]
    assert flip["size"] == pytest.approx(5.0) and flip["old"]["logprobs"] == [-5.0, -1.0]


def test_an_impossible_option_does_not_break_the_report() -> None:
    shared = {"input": ["q"], "choices": [["x", "y"]], "reference": [["y"]]}
    old = table([True], choice=[1], logprobs=[[-float("inf"), -1.0]], **shared)
    (flip,) = compare(old, table([False], choice=[0], **shared)).to_json()["flips"]
    assert flip["old"]["logprobs"] == [None, -1.0] and flip["size"] is None
    json.dumps(flip, allow_nan=False)


def test_the_list_of_flips_is_sampled_beyond_its_limit_and_the_counts_are_not() -> None:
    report = compare(*versions(500, 300, 300, 100), options=CompareOptions(max_flips=100)).to_json()
    assert report["flips_total"] == {"negative_flip": 300, "positive_flip": 300, "other_wrong": 0}
    kinds = [flip["kind"] for flip in report["flips"]]
    assert report["flips_shown"] == len(kinds) == 100 and kinds == sorted(kinds)
    assert kinds.count("negative_flip") >= 60


def test_a_long_answer_is_cut_in_the_list() -> None:
    old = table([True], output=["x" * 100_000])
    (flip,) = compare(old, table([False], output=["y"])).to_json()["flips"]
    assert len(flip["old"]["output"]) < 21_000 and flip["old"]["output"].endswith("more characters]")


def test_coarse_likelihoods_and_ties_are_told() -> None:
    draw = random.Random(1)
    logprobs = [[-draw.randrange(40, 160) / 4, -draw.randrange(40, 160) / 4] for _ in range(49)] + [[-9.5, -9.5]]
    coarse = table([True] * 50, choice=[0] * 50, logprobs=logprobs)
    fine = table([True] * 50, choice=[0] * 50, logprobs=[[-draw.random(), -draw.random()] for _ in range(50)])
    warnings = compare(coarse, fine).to_json()["warnings"]
    ties = sum(pair[0] == pair[1] for pair in logprobs)
    assert len(warnings) == 1 and "grid of 0.25" in warnings[0] and f"and {ties} items tie" in warnings[0]


def test_a_flip_with_the_same_answer_points_at_the_scoring() -> None:
    old, new = table([True, True], output=["a", "b"]), table([False, True], output=["a", "b"])
    assert any("1 flip has the same answer" in warning for warning in compare(old, new).to_json()["warnings"])


def test_repeats_of_an_item_are_one_group() -> None:
    draw = random.Random(0)
    ids = [str(i) for i in range(60)]
    old = {i: draw.random() < 0.8 for i in ids}
    new = {i: draw.random() < 0.7 for i in ids}
    frames = [
        pl.DataFrame([{"id": i, "repeat": r, "correct": side[i]} for i in ids for r in range(10)])
        for side in (old, new)
    ]
    repeated = only_task(compare(*frames))["old_vs_new"]["negative_flip_rate"]
    single = only_task(compare(*[frame.filter(pl.col("repeat") == 0) for frame in frames]))["old_vs_new"][
        "negative_flip_rate"
    ]
    assert repeated["value"] == single["value"]
    assert repeated["high"] - repeated["low"] == pytest.approx(single["high"] - single["low"], rel=0.15)


def test_answers_to_the_same_few_items_do_not_block_as_independent_ones_would() -> None:
    lost, gained = ["a", "b"], ["c"]
    rows = [(i, r) for i in (*lost, *gained, *"defghijklmnop") for r in range(10)]
    old = pl.DataFrame([{"id": i, "repeat": r, "correct": i not in gained} for i, r in rows])
    new = pl.DataFrame([{"id": i, "repeat": r, "correct": i not in lost} for i, r in rows])
    metrics = only_task(compare(old, new))["old_vs_new"]
    assert metrics["mcnemar_harm_p"] > 0.05 or metrics["clustered_harm_p"] > 0.05
    assert compare(old, new).verdict != "block"
    as_items = [side.with_columns(id=pl.col("id") + pl.col("repeat").cast(pl.String), repeat=0) for side in (old, new)]
    assert only_task(compare(*as_items))["old_vs_new"]["mcnemar_harm_p"] < metrics["clustered_harm_p"]


def test_a_column_groups_items_that_belong_together() -> None:
    old, new = versions(600, 100, 100, 200)
    groups = [str(i // 50) for i in range(1000)]
    old = old.with_columns(pl.Series("slice.passage", groups))
    plain, grouped = compare(old, new), compare(old, new, options=CompareOptions(cluster="passage"))
    width = [e["high"] - e["low"] for e in (only_task(c)["old_vs_new"]["negative_flip_rate"] for c in (plain, grouped))]
    assert width[1] > 3 * width[0]
    with pytest.raises(DataError, match=r"cluster 'page': expected a slice.*passage"):
        compare(old, new, options=CompareOptions(cluster="page"))


def test_the_same_seed_gives_the_same_report() -> None:
    draw = random.Random(0)
    frames = [
        pl.DataFrame({"id": [str(i) for i in range(500)], "score": [draw.random() for _ in range(500)]})
        for _ in range(2)
    ]
    reports = [
        compare(*frames, options=CompareOptions(max_flips=50, seed=seed)).to_json() | {"created": "", "settings": {}}
        for seed in (0, 0, 1)
    ]
    assert reports[0] == reports[1] != reports[2]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_does_not_matter(rows: list[tuple[bool, bool, int, int]], chance: random.Random) -> None:
    old = table([r[0] for r in rows], choice=[r[2] for r in rows], **{"score.p": [r[2] / 3 for r in rows]})
    new = table([r[1] for r in rows], choice=[r[3] for r in rows], **{"score.p": [r[3] / 3 for r in rows]})
    shuffled = [side[chance.sample(range(len(rows)), len(rows))] for side in (old, new)]
    reports = [
        compare(*sides, options=CompareOptions(max_flips=5)).to_json() | {"created": ""}
        for sides in ((old, new), shuffled)
    ]
    assert reports[0] == reports[1]


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder, correct in (("v1", True), ("v2", False)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "piqa.jsonl").write_text(json.dumps({"id": 1, "correct": correct}) + "\n")
    report = compare(tmp_path / "v1" / "piqa.jsonl", tmp_path / "v2" / "piqa.jsonl").to_json()
    assert report["old"] != report["new"] and list(report["tasks"]) == ["piqa"]


def test_nothing_heavy_is_imported() -> None:
    import subprocess
    import sys

    code = (
        "import sys, muscle.comparison, muscle.report.text.markdown; "
        "print([m for m in ('torch', 'pandas', 'scipy.stats', 'pyarrow', 'transformers') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_a_run_that_is_a_copy_of_the_other_is_told() -> None:
    def answered(number: int, last: str) -> pl.DataFrame:
        answers = [*(f"answer {place}" for place in range(number - 1)), last]
        return pl.DataFrame({"id": [str(place) for place in range(number)], "output": answers, "correct": True})

    told = "old vs new: all 40 answers are the same texts: is one run a copy of the other?"
    assert told in compare(answered(40, "x"), answered(40, "x")).report.warnings
    for old, new in (((40, "x"), (40, "y")), ((10, "x"), (10, "x"))):
        assert not any("copy" in warning for warning in compare(answered(*old), answered(*new)).report.warnings)
