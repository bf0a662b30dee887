"""The noise floor: from repeats, from a second run, unknown; what is beyond it; margins; the variance; the gate."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from helpers.report_examples import typed
from muscle import compare, read_run
from muscle.flips.noise.floor import UNKNOWN
from muscle.flips.result.verdict import JudgedTask, judge
from muscle.flips.statistics.intervals import Estimate
from muscle.gate import gate
from muscle.report.text.markdown import render_markdown
from muscle.report.text.terminal import print_report
from muscle.yaml_files import yaml_text


def run(passed: np.ndarray, num: int, *, seed: int = 0, score: bool = False) -> pl.DataFrame:
    """A run of `num` answers an item, each right with the item's probability."""
    generator = np.random.default_rng(seed)
    right = generator.random((passed.size, num)) < passed[:, None]
    table = pl.DataFrame(
        {
            "id": np.repeat(np.arange(passed.size), num).astype(str),
            "repeat": np.tile(np.arange(num), passed.size),
            "correct": right.ravel(),
        }
    )
    return table.drop("correct").with_columns(score=right.ravel() * 0.25 + 0.5) if score else table


def metrics(report: Any) -> dict[str, Any]:
    (task,) = report.to_json()["tasks"].values()
    return task["old_vs_new"]


def counted(pairs: dict[tuple[int, int], int], num: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two runs in which so many items have x right answers of the old version and y of the new."""
    rows: list[tuple[int, int]] = [pair for pair, count in pairs.items() for _ in range(count)]
    frames = []
    for side in (0, 1):
        frames.append(
            pl.DataFrame(
                [
                    {"id": str(i), "repeat": r, "correct": r < pair[side]}
                    for i, pair in enumerate(rows)
                    for r in range(num)
                ]
            )
        )
    return frames[0], frames[1]


def test_the_floor_of_repeats_is_the_mean_of_p_times_one_minus_p_without_bias() -> None:
    old, new = counted({(4, 4): 6, (2, 2): 3, (1, 1): 1}, 4)
    floor = metrics(compare(old, new))["noise_floor"]
    expected = (3 * 0.5 * 0.5 * 4 / 3 + 0.25 * 0.75 * 4 / 3) / 10
    assert floor["value"] == pytest.approx(expected)


def test_the_excess_is_the_rate_less_the_floor() -> None:
    p = np.repeat([1.0, 0.5, 0.0], 60)
    found = metrics(compare(run(p, 6, seed=1), run(p * 0.8, 6, seed=2)))
    difference = found["all_answers"]["negative_flip_rate"]["value"] - found["noise_floor"]["value"]
    assert found["excess_negative_flip_rate"]["value"] == pytest.approx(difference)
    assert found["excess_negative_flip_rate"]["low"] < difference < found["excess_negative_flip_rate"]["high"]


@pytest.mark.parametrize(("asked_old", "asked_new"), [(8, 1), (1, 6), (6, 4)])
def test_runs_that_asked_unequally_often_are_measured_by_all_their_answers(asked_old: int, asked_new: int) -> None:
    p = np.repeat([0.9, 0.5, 0.2], 40)
    old, new = run(p, asked_old, seed=3), run(p * 0.7, asked_new, seed=4)
    report = compare(old, new).to_json()
    found = metrics(compare(old, new))
    rates = [each.group_by("id").agg(pl.col("correct").mean()).sort("id")["correct"].to_numpy() for each in (old, new)]
    everything = found["all_answers"]
    assert everything["pass_rate_old"]["value"] == pytest.approx(rates[0].mean())
    assert everything["negative_flip_rate"]["value"] == pytest.approx((rates[0] * (1 - rates[1])).mean())
    # Every answer is in a pair, each item's pairs alike in number; where one number divides the other they are all
    # alike.
    assert found["n"] == 120 * max(asked_old, asked_new) and report["join"]["paired"] == 120 * min(asked_old, asked_new)
    near = 0.0 if max(asked_old, asked_new) % min(asked_old, asked_new) == 0 else 0.05
    for side, name in enumerate(("accuracy_old", "accuracy_new")):
        assert found[name]["value"] == pytest.approx(rates[side].mean(), abs=max(near, 1e-9))
    if asked_old > 1:
        own = (rates[0] * (1 - rates[0])).mean() * asked_old / (asked_old - 1)
        assert found["excess_negative_flip_rate"]["value"] == pytest.approx(
            everything["negative_flip_rate"]["value"] - own
        )


def test_the_first_answer_of_a_run_that_asked_more_often_has_no_say_of_its_own() -> None:
    old, new = run(np.repeat([0.9, 0.4], 60), 9, seed=5), run(np.repeat([0.6, 0.4], 60), 1, seed=6)
    turned = old.with_columns(repeat=(pl.col("repeat") + 4) % 9)
    assert compare(old, new).to_json()["tasks"] == compare(turned, new).to_json()["tasks"]


def test_a_model_has_no_flips_beyond_its_own_noise() -> None:
    p = np.repeat([1.0, 0.7, 0.3], 200)
    found = metrics(compare(run(p, 10, seed=1), run(p, 10, seed=2)))
    assert found["negative_flip_rate"]["value"] > 0.1
    excess = found["excess_negative_flip_rate"]
    assert excess["low"] < 0 < excess["high"] and excess["high"] < 0.02


def test_a_floor_of_no_flips_is_not_called_known_to_be_zero() -> None:
    found = metrics(compare(run(np.ones(50), 3), run(np.ones(50), 3)))
    assert found["noise_floor"]["value"] == 0.0
    assert found["noise_floor"]["high"] > 0.03


def test_a_second_run_gives_the_floor_where_items_were_asked_once() -> None:
    p = np.repeat([1.0, 0.5], 200)
    old, again, new = (run(p, 1, seed=seed) for seed in (1, 2, 3))
    report = compare(old, new, rerun=again).to_json()
    found = report["tasks"]["all"]["old_vs_new"]
    broken = (old["correct"] & ~again["correct"]).mean()
    assert found["noise_floor"]["value"] == pytest.approx(broken)
    assert found["excess_negative_flip_rate"]["value"] == pytest.approx(
        (old["correct"] & ~new["correct"]).mean() - broken
    )
    assert report["noise"]["source"] == "rerun"


def test_without_repeats_or_a_second_run_the_report_says_that_the_floor_is_unknown() -> None:
    p = np.repeat([1.0, 0.5], 50)
    report = compare(run(p, 1, seed=1), run(p, 1, seed=2)).to_json()
    found = report["tasks"]["all"]["old_vs_new"]
    for key in ("noise_floor", "excess_negative_flip_rate"):
        assert found[key] == {"value": None, "low": None, "high": None, "why": UNKNOWN}
    assert report["noise"] == {"source": "unknown", "sentence": UNKNOWN}
    assert "floor unknown; run the old model once more" in render_markdown(typed(report)).replace("\\", "")
    assert "floor unknown; run the old model once more" in shown(report)


def shown(report: dict[str, Any]) -> str:
    written = io.StringIO()
    print_report(typed(report), Console(width=200, file=written))
    return written.getvalue()


def test_terminal_and_markdown_tell_the_floor_the_excess_and_the_items_beside_the_plain_rates() -> None:
    p = np.repeat([1.0, 0.5], 100)
    report = compare(run(p, 10, seed=1), run(np.where(np.arange(200) < 20, 0.0, p), 10, seed=2)).to_json()
    for text in (shown(report), render_markdown(typed(report)).replace("\\", "")):
        assert "against itself (its repeats)" in text
        assert "regressed" in text and "cannot tell" in text
        assert "beyond noise" in text


def test_a_scores_floor_counts_the_draws_that_fall_below() -> None:
    p = np.repeat([1.0, 0.5, 0.0], 40)
    scored = metrics(compare(run(p, 5, seed=1, score=True), run(p, 5, seed=2, score=True)))
    graded = metrics(compare(run(p, 5, seed=1), run(p, 5, seed=2)))
    for key in ("noise_floor", "excess_negative_flip_rate"):
        assert scored[key]["value"] == pytest.approx(graded[key]["value"])


def test_the_variance_splits_as_published_for_the_tickets_of_evalstats() -> None:
    """Counts of right answers of three, gemma3:4b and gemma4:e2b, prompt P0, 60 tickets (ianarawjo/evalstats)."""
    tickets = {(0, 0): 12, (0, 1): 3, (0, 2): 1, (0, 3): 5, (1, 0): 1, (3, 0): 2, (3, 2): 1, (3, 3): 35}
    report = compare(*counted(tickets, 3)).to_json()["tasks"]["all"]
    split = report["variance"]["old_vs_new"]
    assert split["total"] == pytest.approx(0.15111, abs=1e-5)
    assert split["items"] == pytest.approx(0.11778, abs=1e-5)
    assert split["answers"] == pytest.approx(0.03333, abs=1e-5)
    assert split["standard_error_of_one_answer"] == pytest.approx(0.0502, abs=1e-4)
    assert split["standard_error"] == pytest.approx(0.0463, abs=1e-4)
    assert report["old_vs_new"]["all_answers"]["pass_rate_difference"]["value"] == pytest.approx(0.0667, abs=1e-4)


def likelihoods(leads: list[float], *, flipped: tuple[int, ...] = ()) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "id": str(i),
                "input": f"question {i}",
                "choices": ["yes", "no", "never"],
                "reference": ["yes"],
                "logprobs": [lead - 1, -1.0, -9.0],
                "choice": 0 if lead > 0 else 1,
                "correct": lead > 0,
            }
            for i, lead in enumerate(leads)
        ]
    )


def test_flips_within_the_differences_from_run_to_run_are_marked() -> None:
    generator = np.random.default_rng(0)
    leads = [0.05, 2.0, *([1.0] * 48)]
    again = [lead + shift for lead, shift in zip(leads, generator.uniform(-0.2, 0.2, 50), strict=True)]
    new = [-0.05, -2.0, *leads[2:]]
    report = compare(likelihoods(leads), likelihoods(new), rerun=likelihoods(again)).to_json()
    flips = {flip["id"]: flip for flip in report["flips"] if flip["kind"] == "negative_flip"}
    assert flips["0"]["within_noise"] is True and flips["1"]["within_noise"] is False
    assert flips["1"]["margin"] == {"old": pytest.approx(2.0), "new": pytest.approx(2.0), "candidate": None}
    within = report["tasks"]["all"]["old_vs_new"]["flips_within_noise"]
    assert within["negative_flip"] == {"count": 1, "of": 2}


def test_without_a_second_run_margins_are_shown_and_noise_is_not_claimed() -> None:
    report = compare(likelihoods([1.0, 2.0]), likelihoods([-1.0, 2.0])).to_json()
    (flip,) = report["flips"]
    assert flip["margin"]["old"] == pytest.approx(1.0) and flip["within_noise"] is None


def test_a_single_answer_a_side_fills_none_of_the_repeats_fields() -> None:
    (flip,) = compare(likelihoods([1.0, 2.0]), likelihoods([-1.0, 2.0])).to_json()["flips"]
    assert all(flip[key] is None for key in ("verdict", "p_value", "pass_rate", "repeats"))


def policy(path: Path, limit: float) -> Path:
    path.write_text(yaml_text({"default": {"excess_negative_flip_rate": limit}}))
    return path


def test_the_gate_takes_the_floor_from_repeats(tmp_path: Path) -> None:
    p = np.repeat([1.0, 0.5], 300)
    harmed = np.where(np.arange(600) < 60, 0.0, p)
    rule = policy(tmp_path / "policy.yaml", 0.03)
    same, worse = (gate(run(p, 8, seed=1), run(q, 8, seed=2), rule) for q in (p, harmed))
    assert same.verdict == "pass" and worse.verdict == "block"
    assert worse.findings[0].n == 600
    assert worse.findings[0].value == pytest.approx(0.1, abs=0.02)


def test_the_gate_cannot_tell_what_is_beyond_an_unknown_floor(tmp_path: Path) -> None:
    result = gate(run(np.ones(300), 1), run(np.ones(300), 1), policy(tmp_path / "policy.yaml", 0.03))
    assert result.verdict == "cannot_tell"
    assert UNKNOWN in result.findings[0].reason


def test_a_handful_of_items_that_never_flip_do_not_prove_a_limit_beyond_noise(tmp_path: Path) -> None:
    rule = policy(tmp_path / "policy.yaml", 0.005)
    assert gate(run(np.ones(150), 5), run(np.ones(150), 5), rule).verdict == "cannot_tell"
    assert gate(run(np.ones(700), 5), run(np.ones(700), 5), rule).verdict == "pass"


def test_the_excess_of_a_slice_is_of_its_own_items(tmp_path: Path) -> None:
    parts = pl.Series("slice.part", np.repeat(["a", "b"], 100 * 6))
    p = np.ones(200)
    old, new = run(p, 6), run(np.where(np.arange(200) < 30, 0.0, p), 6)
    path = tmp_path / "policy.yaml"
    path.write_text(yaml_text({"default": {}, "slices": [{"slice": "part", "excess_negative_flip_rate": 0.05}]}))
    findings = gate(old.with_columns(parts), new.with_columns(parts), path).findings
    assert {f.slice: f.value for f in findings} == {
        "part = a": pytest.approx(0.3),
        "part = b": pytest.approx(0.0),
    }


def test_the_candidates_noise_is_told_where_there_is_one() -> None:
    p = np.repeat([1.0, 0.5], 60)
    report = compare(run(p, 4, seed=1), run(p * 0, 4, seed=2), candidate=run(p, 4, seed=3)).to_json()
    for side in ("old_vs_new", "old_vs_candidate", "new_vs_candidate"):
        assert report["tasks"]["all"][side]["noise_floor"]["value"] is not None
    assert report["tasks"]["all"]["repeats"]["candidate"] == 4
    assert report["flips"][0]["pass_rate"]["candidate"] is not None
    assert len(report["flips"][0]["repeats"]["candidate"]) == 4


def test_the_verdict_counts_what_breaks_beyond_the_old_models_own_noise() -> None:
    p = np.repeat([1.0, 0.5], 2_000)
    noisy = compare(run(p, 8, seed=1), run(p, 8, seed=2))
    assert metrics(noisy)["negative_flip_rate"]["value"] > 0.1 and noisy.verdict == "pass"
    assert "beyond the old model's own noise, at most" in noisy.to_json()["reasons"][0]
    moved = np.where(np.arange(4_000) < 200, 0.0, np.where(np.arange(4_000) >= 3_400, 0.9, p))
    worse = compare(run(p, 8, seed=1), run(moved, 8, seed=2))
    assert worse.verdict == "warn" and "even at the lower bound" in worse.to_json()["reasons"][0]


def test_few_items_that_never_flip_leave_the_verdict_open() -> None:
    few = compare(run(np.ones(50), 5), run(np.ones(50), 5))
    assert few.verdict == "cannot_tell"
    result = few.report.tasks["all"]
    assert result.old_vs_new is not None
    numbers = replace(result.old_vs_new, excess_negative_flip_rate=Estimate(0.001, -0.002, 0.004))
    task = JudgedTask(result.kind, numbers, result.quadrants["old_vs_new"])
    judged = judge({"all": task}, tolerance=0.01)
    assert judged.word == "cannot_tell"
    assert "at most 0.4% (let pass: 1.0%), but 50 items are fewer than the 299" in judged.reasons[0]
    assert judge({"all": task}, tolerance=1.0).word == "pass"
    assert compare(run(np.ones(400), 5), run(np.ones(400), 5)).verdict == "pass"


def test_a_second_run_of_the_same_model_is_not_asked_whether_it_is_a_control() -> None:
    answers = run(np.ones(20), 1).with_columns(task=pl.lit("t"))
    old, again, new = (read_run(answers) for _ in range(3))
    for part, model in ((old, "a"), (again, "a"), (new, "a")):
        part.metadata["model"] = {"name": model}
    found = compare(old, new, rerun=again).to_json()["comparability"]
    assert [entry["what"] for entry in found["old_vs_new"]] == ["model"]
    assert found["old_vs_rerun"] == []


def test_thirds_that_cancel_are_exactly_zero() -> None:
    old, new = counted({(2, 1): 40, (1, 2): 40, (3, 3): 20}, 3)
    excess = metrics(compare(old, new))["excess_negative_flip_rate"]
    assert excess["value"] == round(excess["value"], 12) and "e-" not in compare(old, new).to_json()["reasons"][0]
