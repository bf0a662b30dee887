"""Plans, the list of items to confirm and the judgement of fresh answers, and their commands."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from helpers.command_line import muscle
from muscle import CompareOptions, Run, compare
from muscle.errors import ConfigError, DataError, JoinError
from muscle.flips.statistics.power import minimum_detectable_difference
from muscle.plan.confirm import confirm
from muscle.plan.item_list import choose, read_items, write_items
from muscle.plan.planner import Plan, Proof, assumptions_of, make_plan
from muscle.plan.resolution import (
    Variances,
    best_repeats,
    detectable,
    item_power,
    items_needed,
    mcnemar_power,
    minimum_repeats,
    power_of,
    repeats_for_change,
)
from muscle.plan.wish import Wish
from muscle.predictions.run import Unread


def run(passed: np.ndarray, num: int, *, seed: int) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    right = generator.random((passed.size, num)) < passed[:, None]
    return pl.DataFrame(
        {
            "id": np.repeat(np.arange(passed.size), num).astype(str),
            "input": [f"question {i}" for i in np.repeat(np.arange(passed.size), num)],
            "repeat": np.tile(np.arange(num), passed.size),
            "correct": right.ravel(),
        }
    )


RATES = np.repeat([1.0, 0.9, 0.5, 0.0], 50)
HARMED = np.where(np.arange(200) < 12, 0.0, RATES)


def test_the_bound_of_the_detectable_difference_is_the_known_one() -> None:
    known = {(0.10, 100): 0.0886, (0.10, 500): 0.0396, (0.10, 1000): 0.0280, (0.05, 1000): 0.0198}
    for (rho, items), difference in known.items():
        assert minimum_detectable_difference(rho, items) == pytest.approx(difference, abs=5e-5)


def test_the_standard_error_is_wangs() -> None:
    split = Variances(0.117778, 0.033333)
    assert math.sqrt(split.of(1) / 60) == pytest.approx(0.0502, abs=1e-4)
    assert math.sqrt(split.of(3) / 60) == pytest.approx(0.0463, abs=1e-4)


def test_the_power_of_mcnemars_test_is_that_of_all_outcomes_summed_up() -> None:
    from scipy.stats import binom, binomtest

    items, rho, difference = 40, 0.4, 0.2
    total = 0.0
    for flips in range(items + 1):
        for lost in range(flips + 1):
            if flips and binomtest(lost, flips).pvalue <= 0.05:
                share = 0.5 + difference / (2 * rho)
                total += binom.pmf(flips, items, rho) * binom.pmf(lost, flips, share)
    assert mcnemar_power(items, rho, difference) == pytest.approx(total, abs=1e-6)


def test_the_items_asked_for_reach_the_power_and_fewer_do_not() -> None:
    split = Variances(0.05, 0.05)
    for repeats in (1, 4):
        items = items_needed(split, 0.03, repeats)
        assert power_of(split, 0.03, items, repeats) >= 0.8
        assert power_of(split, 0.03, round(0.9 * items), repeats) < 0.8
        assert detectable(split, items, repeats) == pytest.approx(0.03, abs=1e-3)


def test_repeats_pay_where_items_are_dear_and_answers_vary() -> None:
    assert best_repeats(Variances(0.05, 0.2), item_cost=9, answer_cost=1) == 6
    assert best_repeats(Variances(0.05, 0.2), item_cost=0, answer_cost=1) == 1
    assert best_repeats(Variances(0.05, 0.0), item_cost=9, answer_cost=1) == 1


def test_the_least_repeats_for_a_verdict_are_the_known_ones() -> None:
    assert [minimum_repeats(n) for n in (100, 300, 500, 1000, 10_000)] == [8, 8, 9, 9, 11]


def test_the_power_of_an_items_verdict_is_that_of_its_outcomes() -> None:
    assert item_power(1.0, 0.0, 5, 0.01) == pytest.approx(1.0)
    assert item_power(1.0, 0.0, 5, 0.005) == 0.0
    repeats = repeats_for_change(0.9, 0.5, changed=0.05)
    assert repeats is not None and item_power(0.9, 0.5, repeats, 0.05 * 0.05 * 0.8) >= 0.8
    assert repeats_for_change(0.51, 0.5, changed=0.05) is None


def only_plan(wish: Wish, *runs: pl.DataFrame) -> Plan:
    first, second = (runs[place] if len(runs) > place else None for place in (0, 1))
    (assumption,) = assumptions_of(first, second, wish)
    return make_plan(assumption, wish)


def test_a_plan_from_nothing_says_what_it_assumes() -> None:
    plan = only_plan(Wish(difference=0.03))
    assert "assumed" in plan.variance.source
    assert plan.best.repeats == 1 and plan.best.power >= 0.8
    assert plan.prove == Proof(limit=0.01, items=299)


def test_a_pilot_with_repeats_gives_the_variances() -> None:
    plan = only_plan(Wish(), run(RATES, 10, seed=1), run(HARMED, 10, seed=2))
    answers = 2 * np.mean(RATES * (1 - RATES))
    assert plan.variance.answers == pytest.approx(answers, rel=0.2)
    assert plan.variance.source == "from the pilot's repeats"


def test_a_pilot_of_one_version_gives_the_variance_of_its_answers() -> None:
    plan = only_plan(Wish(changed=0.08), run(RATES, 10, seed=1))
    assert plan.variance.items == 0.08
    assert plan.variance.answers == pytest.approx(2 * np.mean(RATES * (1 - RATES)), rel=0.2)


def test_a_pilot_that_asked_once_gives_the_flips() -> None:
    old, new = run(RATES, 1, seed=1), run(HARMED, 1, seed=2)
    plan = only_plan(Wish(), old, new)
    moved = new["correct"].cast(int) - old["correct"].cast(int)
    assert plan.variance.total == pytest.approx(float(np.var(moved.to_numpy())))


def test_a_given_number_of_items_is_answered_with_what_it_shows() -> None:
    given = only_plan(Wish(items=400)).given
    assert given is not None and given.items == 400 and given.power < 0.8 and given.detectable > 0.02


def test_a_budget_buys_items() -> None:
    given = only_plan(Wish(budget=3000, item_cost=1.0, repeats=2)).given
    assert given is not None and (given.items, given.repeats, given.cost) == (1000, 2, 3000)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(difference=0.0), "difference"),
        (Wish(difference=0.2), "disagreement"),
        (Wish(power=1.0), "power"),
        (Wish(noise_share=1.5), "noise_share"),
        (Wish(answer_cost=0.0), "cost"),
        (Wish(budget=1.0), "budget"),
        (Wish(budget=float("inf")), "budget"),
        (Wish(answer_cost=float("inf")), "cost"),
        (Wish(item_cost=float("nan")), "cost"),
        (Wish(items=500, budget=499), "budget of 500 or more for 500 items with 1 answer a side"),
        (Wish(items=500, repeats=3, budget=1000), "budget of 1500 or more for 500 items with 3 answers a side"),
        (Wish(difference=1e-150), "difference"),
        (Wish(limit=1e-300), "limit"),
        (Wish(items=10**400), "items"),
        (Wish(repeats=10**400), "repeats"),
    ],
)
def test_an_impossible_wish_is_refused(wish: Wish, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        only_plan(wish)


def test_a_budget_is_spent_to_the_last_answer_and_never_beyond() -> None:
    """2 buys five at 0.4, though the 0.4 of a computer is a little more."""
    given = only_plan(Wish(budget=2.0, answer_cost=0.4, repeats=1)).given
    assert given is not None and given.items == 5
    given = only_plan(Wish(items=100, budget=250.0)).given
    assert given is not None and (given.repeats, given.cost) == (2, 200)


def test_a_difference_beyond_what_is_assumed_can_be_planned_from_a_pilot() -> None:
    old, new = first_pass()
    assert only_plan(Wish(difference=0.2), old, new).best.items > 1
    with pytest.raises(ConfigError, match="--disagreement"):
        only_plan(Wish(difference=0.2), old)


def test_a_level_near_nothing_still_has_a_quantile() -> None:
    assert only_plan(Wish(alpha=1e-300)).best.items > 2000


def test_pilots_that_cannot_be_compared_give_no_variances(tmp_path: Path) -> None:
    old, new = (each.with_columns(reference=pl.lit("a")) for each in first_pass())
    with pytest.raises(JoinError, match="--allow references"):
        only_plan(Wish(), old, new.with_columns(reference=pl.lit("b")))
    old.write_ndjson(tmp_path / "old.jsonl")
    found = muscle("plan", tmp_path / "old.jsonl", tmp_path / "old.jsonl")
    assert found.code == 3 and "OLD and NEW are one file" in found.err


def test_a_plan_takes_the_options_that_its_refusals_name(tmp_path: Path) -> None:
    losses = [each.with_columns(loss=pl.col("correct").cast(pl.Float64) + 0.3).drop("correct") for each in first_pass()]
    for name, each in zip(("old", "new"), losses, strict=True):
        each.write_ndjson(tmp_path / f"{name}.jsonl")
    words = (
        "plan",
        tmp_path / "old.jsonl",
        tmp_path / "new.jsonl",
        "--column",
        "score.loss=loss",
        "--difference",
        0.05,
    )
    refused = muscle(*words)
    assert refused.code == 3 and "--lower-is-better loss" in refused.err, refused.err
    assert muscle(*words, "--lower-is-better", "loss").code == 0


def test_a_pilot_without_any_difference_is_refused() -> None:
    with pytest.raises(ConfigError, match="some answers differ"):
        only_plan(Wish(), run(np.ones(20), 1, seed=0), run(np.ones(20), 1, seed=1))


def first_pass() -> tuple[pl.DataFrame, pl.DataFrame]:
    return run(RATES, 1, seed=1), run(HARMED, 1, seed=2)


def test_all_flips_and_a_share_of_the_others_are_asked_again() -> None:
    old, new = first_pass()
    chosen = choose(old, new, share=0.25)
    flipped = set(old.filter(old["correct"] != new["correct"])["id"])
    assert set(chosen.filter(pl.col("why") != "unflipped")["id"]) == flipped
    rest = chosen.filter(pl.col("why") == "unflipped")
    assert rest.height == -(-(200 - len(flipped)) // 4) and not flipped & set(rest["id"])
    assert rest["of"].unique().to_list() == [200 - len(flipped)]
    assert chosen["repeats"].unique().to_list() == [10]


def test_the_choice_hangs_on_the_seed_and_not_on_the_order_of_rows() -> None:
    old, new = first_pass()
    first = choose(old, new, seed=5)
    assert first.equals(choose(old.reverse(), new.sample(fraction=1, shuffle=True, seed=1), seed=5))
    assert set(choose(old, new, seed=6)["id"]) != set(first["id"])


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_the_list_is_read_as_it_was_written(tmp_path: Path, suffix: str) -> None:
    chosen = choose(*first_pass())
    path = tmp_path / f"ask.{suffix}"
    write_items(path, chosen)
    read = read_items(path)
    assert read.select("id", "task", "why", "of").equals(chosen.select("id", "task", "why", "of"))


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_the_list_is_read_whatever_its_texts_hold(tmp_path: Path, suffix: str) -> None:
    odd = ["a\u2028b", "a\u0085b", "a\x0cb", "a\x1cb", "a\r\nb", 'a"b,c\n', "=1+1", " a ", "ä\ufeff"]
    ids = [f"{text}{number}" for number, text in enumerate(odd)]
    old = pl.DataFrame({"id": ids, "input": [f"Q {text}" for text in ids], "correct": True})
    chosen = choose(old, old.with_columns(correct=pl.lit(False)))
    write_items(tmp_path / f"ask.{suffix}", chosen)
    read = read_items(tmp_path / f"ask.{suffix}")
    assert sorted(read["id"]) == sorted(ids) and read["input_hash"].equals(chosen["input_hash"])
    again = old.join(pl.DataFrame({"repeat": [0, 1, 2]}), how="cross")
    assert confirm(read, again, again).unanswered == 0


def test_a_flip_of_a_score_is_one_beyond_epsilon_as_in_a_comparison() -> None:
    scores = [0.5, 0.9, 0.1, 0.45, 0.55]
    old = pl.DataFrame({"id": list("abcde"), "input": list("abcde"), "score": [0.5] * 5})
    new = old.with_columns(score=pl.Series(scores))
    (task,) = compare(old, new, options=CompareOptions(epsilon=0.1)).report.tasks.values()
    chosen = choose(old, new, options=CompareOptions(epsilon=0.1)).filter(pl.col("why") != "unflipped")
    assert dict(chosen.select("id", "why").iter_rows()) == {"b": "positive_flip", "c": "negative_flip"}
    assert task.old_vs_new is not None and task.old_vs_new.negative_flip_rate.value == 0.2
    assert choose(old, new).filter(pl.col("why") != "unflipped").height == 4


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"id": "1"}', "found no task, filter, why, of"),
        ("[1]", "item 1: expected the fields"),
        ('{"task": "t", "id": "1", "filter": "f", "why": "odd", "of": 1}', "one of negative_flip"),
        ('{"task": "t", "id": 1, "filter": "f", "why": "unflipped", "of": 1}', "texts as task"),
        ('{"task": "t", "id": "1", "filter": "f", "why": "unflipped", "of": "x"}', "expected a count"),
        (
            '{"task": "t", "id": "1", "filter": "f", "why": "unflipped", "of": 1, "input_hash": 3}',
            "input_hash",
        ),
        ('{"task": "t", "id": ', "expected a list written by muscle confirm"),
        ('{"task": "t", "id": "\\ud800", "filter": "f", "why": "unflipped", "of": 1}', "expected a list"),
        ("", "found no items"),
        ("[" * 100_000, "expected a list written by muscle confirm"),
    ],
)
def test_a_damaged_list_is_refused(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "list.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=told):
        read_items(tmp_path / "list.jsonl")


@pytest.mark.parametrize(
    ("option", "value"), [("share", 0.0), ("repeats", 1), ("repeats", 0), ("repeats", 10**20), ("seed", -1)]
)
def test_an_impossible_choice_is_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match="confirm: expected a share"):
        choose(*first_pass(), **{option: value})


def test_fresh_answers_confirm_what_is_real_and_weigh_the_strata() -> None:
    old, new = first_pass()
    chosen = choose(old, new, share=0.5, repeats=20)
    asked = pl.col("id").is_in(chosen["id"].to_list())
    fresh = [run(p, 20, seed=seed).filter(asked) for p, seed in ((RATES, 11), (HARMED, 12))]
    found = confirm(chosen, *fresh)
    (task,) = found.tasks.values()
    real = {str(i) for i in range(12)}
    assert {flip.id for flip in task.flips if flip.verdict == "regressed"} <= real
    flips, all_items = task.strata["negative_flip"], task.all_items.regressed
    assert flips.regressed.count == 12 and flips.answered == flips.of
    assert all_items.value == pytest.approx(12 / 200)
    assert all_items.high is not None and all_items.high > 12 / 200
    assert found.unanswered == 0


def test_one_fresh_answer_an_item_is_refused() -> None:
    old, new = first_pass()
    with pytest.raises(DataError, match="several fresh answers"):
        confirm(choose(old, new), old, new)


def test_fresh_answers_that_are_missing_make_no_item_better() -> None:
    """Where each wrong answer of the new version failed in place of being wrong, nothing has improved by that."""
    chosen = choose(*first_pass(), share=1.0)
    old, new = run(RATES, 20, seed=5), run(HARMED, 20, seed=6)
    hidden = new.with_columns(correct=pl.when(pl.col("correct")).then(pl.lit(True)))
    found, whole = confirm(chosen, old, hidden), confirm(chosen, old, new)
    shares = [each.tasks["all"].all_items for each in (found, whole)]
    assert found.missing.unscored == new.filter(~pl.col("correct")).height and whole.missing.num == 0
    better = [{flip.id for flip in each.tasks["all"].flips if flip.verdict == "improved"} for each in (found, whole)]
    assert better[0] <= better[1] and len(better[1]) < 3
    assert shares[1].regressed.value is not None and shares[0].regressed.high is not None
    assert found.unanswered > 0 and shares[0].regressed.high > shares[1].regressed.value


def test_a_task_of_the_list_without_fresh_answers_is_told_of() -> None:
    both = [
        pl.concat(
            [each.with_columns(task=pl.lit("a")), each.with_columns(task=pl.lit("b"), input="b" + pl.col("input"))]
        )
        for each in first_pass()
    ]
    fresh = [run(rates, 12, seed=s).with_columns(task=pl.lit("a")) for s, rates in ((1, RATES), (2, HARMED))]
    found = confirm(choose(*both), *fresh)
    assert list(found.tasks) == ["a", "b"] and found.tasks["b"].all_items.regressed.value is None
    assert found.unanswered == found.asked - sum(each.answered for each in found.tasks["a"].strata.values()) > 0


def test_a_list_is_judged_beside_its_own_first_pass_alone(files: Path) -> None:
    pair = (files / "old.jsonl", files / "new.jsonl")
    ask = ("--items", files / "ask.jsonl")
    fresh = ("--fresh-old", files / "fresh_old.jsonl", "--fresh-new", files / "fresh_new.jsonl")
    early = muscle("confirm", *pair, *ask, "--json", "-")
    assert early.code == 3 and "expected --fresh-old and --fresh-new with it" in early.last and early.out == ""
    assert muscle("confirm", *pair, *ask).code == 0
    stale = muscle("confirm", *reversed(pair), *ask, *fresh)
    assert stale.code == 3 and "expected the list that was written for new and old" in stale.err
    same = muscle("confirm", *pair, *ask, *fresh[:3], fresh[1])
    assert same.code == 3 and "FRESH OLD and FRESH NEW are one file" in same.err
    listed = (files / "ask.jsonl").read_text()
    (files / "ask.jsonl").write_text(listed + listed.splitlines()[0] + "\n")
    twice = muscle("confirm", *pair, *ask, *fresh)
    assert twice.code == 3 and "expected each item once" in twice.err


def test_fresh_answers_to_other_items_are_refused() -> None:
    chosen = choose(*first_pass())
    other = [run(RATES, 3, seed=s).with_columns(id="x" + pl.col("id"), input="x" + pl.col("input")) for s in (1, 2)]
    with pytest.raises(DataError, match="none of them"):
        confirm(chosen, *other)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, frame in zip(("old", "new"), first_pass(), strict=True):
        frame.write_ndjson(tmp_path / f"{name}.jsonl")
    for name, p, seed in (("fresh_old", RATES, 21), ("fresh_new", HARMED, 22)):
        run(p, 12, seed=seed).write_ndjson(tmp_path / f"{name}.jsonl")
    return tmp_path


@pytest.mark.parametrize("command", ["plan", "confirm", "watch"])
def test_a_command_without_a_report_names_what_was_not_read(
    files: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from muscle.commands import sources

    read = sources.read_source

    def partly(*words: Any) -> Run:
        return replace(read(*words), unread=(Unread("3 samples that are null", "log.json", 3),))

    monkeypatch.setattr(sources, "read_source", partly)
    monkeypatch.chdir(files)
    done = muscle(command, "old.jsonl", "new.jsonl")
    assert done.err.count("not read: log.json: 3 samples that are null\n") == 2, done


def test_the_command_plans_from_nothing_and_from_a_pilot(files: Path) -> None:
    plain = muscle("plan", "--difference", "0.05")
    assert plain.code == 0 and "cheapest" in plain.out
    done = muscle("plan", files / "old.jsonl", files / "new.jsonl", "--json", "-")
    plans = json.loads(done.out)
    assert plans["all"]["format"] == "muscle-plan/1"
    wrong = muscle("plan", "--difference", "2")
    assert wrong.code == 3 and "difference" in wrong.err and "Traceback" not in wrong.err


def test_the_commands_take_runs_as_compare_does(files: Path) -> None:
    for name in ("old", "new", "fresh_old", "fresh_new"):
        path = files / f"{name}.jsonl"
        pl.read_ndjson(path).rename({"correct": "is_right"}).write_csv(files / f"{name}.csv")
    pair = [files / "old.csv", f"{files / 'new.csv'}::name=v2"]
    columns = ("--column", "correct=is_right")
    planned = muscle("plan", *pair, *columns, "--json", "-")
    same = muscle("plan", files / "old.jsonl", files / "new.jsonl", "--json", "-")
    assert planned.code == 0 and json.loads(planned.out) == json.loads(same.out), planned.err
    ask = ("--items", files / "ask.jsonl")
    first = muscle("confirm", *pair, *ask, "--repeats", 12, *columns)
    assert first.code == 0 and "that flipped" in first.out, first.err
    fresh = ("--fresh-old", files / "fresh_old.csv", "--fresh-new", f"{files / 'fresh_new.csv'}::name=again")
    second = muscle("confirm", *pair, *ask, *fresh, *columns)
    assert second.code == 0 and "regressed" in second.out, second.err
    again = muscle("confirm", *pair, *ask, "--fresh-old", f"{pair[0]}::name=x", "--fresh-new", pair[1], *columns)
    assert again.code == 3 and "the first pass again" in again.err
    for command in ("plan", "confirm", "watch"):
        unknown = muscle(command, f"{pair[0]}::what=1", pair[1], *columns)
        assert unknown.code == 3 and "expected ::key=value" in unknown.err


def test_the_command_writes_the_list_and_then_judges_fresh_answers(files: Path) -> None:
    ask = files / "ask.jsonl"
    pair = (files / "old.jsonl", files / "new.jsonl")
    first = muscle("confirm", *pair, "--items", ask, "--repeats", 12)
    assert first.code == 0 and "ask each 12 times" in first.out
    fresh = ("--fresh-old", files / "fresh_old.jsonl", "--fresh-new", files / "fresh_new.jsonl")
    second = muscle("confirm", *pair, "--items", ask, *fresh)
    assert second.code == 0 and "regressed" in second.out, second.err
    again = muscle("confirm", *pair, "--items", ask, "--fresh-old", pair[0], "--fresh-new", pair[1])
    assert again.code == 3 and "the first pass again" in again.err
    half = muscle("confirm", *pair, "--fresh-old", pair[0])
    assert half.code == 3 and "together" in half.err
