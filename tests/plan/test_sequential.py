"""The sequential test: known E-values, false alarms under stopping at will, refused orders, and `muscle watch`."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helpers.command_line import muscle
from muscle import read_run
from muscle.errors import ConfigError, DataError, JoinError
from muscle.flips.options import CompareOptions
from muscle.plan.sequential import (
    SequentialTest,
    check_order,
    log_betainc,
    log_e_below,
    log_e_harm,
    log_e_value,
    rate_bound,
)
from muscle.plan.watch import look, write_order
from muscle.predictions.run import Unread


def e_values(lost: int, gained: int) -> tuple[float, float]:
    b, c = np.array(float(lost)), np.array(float(gained))
    return math.exp(log_e_value(b, c)), math.exp(log_e_harm(b, c))


@pytest.mark.parametrize(
    ("lost", "gained", "two_sided", "harm"),
    [
        (8, 0, 50.27, 100.5),
        (7, 0, 26.81, 53.54),
        (6, 0, 14.44, 28.78),
        (20, 5, 19.49, 38.93),
        (48, 32, 0.445, 0.858),
    ],
)
def test_the_e_values_are_the_known_ones(lost: int, gained: int, two_sided: float, harm: float) -> None:
    assert e_values(lost, gained) == pytest.approx((two_sided, harm), rel=2e-3)


def test_the_e_value_is_a_fair_bet() -> None:
    for lost, gained in ((0, 0), (3, 1), (10, 12)):
        now = e_values(lost, gained)
        lose, gain = e_values(lost + 1, gained), e_values(lost, gained + 1)
        assert (lose[0] + gain[0]) / 2 == pytest.approx(now[0])
        assert (lose[1] + gain[1]) / 2 == pytest.approx(now[1])


def test_gains_never_count_as_harm() -> None:
    test = SequentialTest()
    test.extend([False] * 400, [True] * 400)
    assert test.e_harm < 1 and test.decision == "accept" and test.p_value < 1e-9


def beta_tail(a: float, b: float, x: float) -> float:
    """log I_x(a, b) by its series of positive terms, DLMF 8.17.8; no library is asked."""
    term = total = 1.0
    for k in range(100_000):
        term *= (a + b + k) / (a + 1 + k) * x
        total += term
        if term < 1e-17 * total:
            break
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return a * math.log(x) + b * math.log1p(-x) - math.log(a) - log_beta + math.log(total)


@pytest.mark.parametrize(
    ("a", "b", "x"),
    [(1800.5, 250.5, 0.5), (900.5, 2200.5, 0.05), (6000.5, 14000.5, 0.1), (40_000.5, 60_000.5, 0.02)],
)
def test_a_tail_too_small_for_a_number_keeps_its_logarithm(a: float, b: float, x: float) -> None:
    found = float(log_betainc(np.array(a), np.array(b), x))
    assert found < -600 and found == pytest.approx(beta_tail(a, b, x), rel=1e-10)


def test_many_more_gains_than_losses_are_never_harm() -> None:
    generator = np.random.default_rng(5)
    moved = generator.permutation(np.repeat([-1, 1, 0], [300, 2_500, 3_200]))
    test = SequentialTest()
    test.extend(moved >= 0, moved <= 0)
    assert (test.lost, test.gained) == (2_500, 300) and test.decision == "harm"
    test = SequentialTest(limit=None)
    test.extend(moved <= 0, moved >= 0)
    assert (test.lost, test.gained) == (300, 2_500)
    assert test.decision == "go_on" and test.e_harm < 1 and test.p_harm > 0.99


def test_a_rate_far_above_the_limit_is_never_accepted() -> None:
    generator = np.random.default_rng(6)
    moved = generator.permutation(np.repeat([-1, 1, 0], [1_500, 1_500, 2_000]))
    test = SequentialTest(limit=0.05)
    test.extend(moved <= 0, moved >= 0)
    assert test.first_accept is None and 0.3 < test.negative_flip_rate_bound < 0.35


@pytest.mark.parametrize("flips", [10, 300, 2_000, 20_000])
def test_evidence_for_harm_falls_with_each_gain_and_rises_with_each_loss(flips: int) -> None:
    lost = np.arange(0.0, flips + 1)
    found = log_e_harm(lost, flips - lost)
    assert np.isfinite(found).all() and (np.diff(found) > 0).all()
    assert (found[lost <= flips / 2] <= 1e-9).all()
    assert (np.diff(log_e_harm(np.full(lost.shape, 50.0), lost)) < 0).all()


@pytest.mark.parametrize("limit", [0.01, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("items", [100, 3_000, 20_000])
def test_evidence_for_a_low_rate_falls_with_each_loss(items: int, limit: float) -> None:
    lost = np.arange(0.0, items + 1)
    found = log_e_below(lost, np.full(lost.shape, float(items)), limit)
    assert np.isfinite(found).all() and (np.diff(found) < 0).all()
    assert (found[lost >= limit * items] <= 1e-9).all()


def test_harm_is_found_at_the_sixth_flip_in_a_row() -> None:
    test = SequentialTest()
    for place in range(6):
        assert test.decision == "go_on", place
        test.add(old=True, new=False)
    assert test.decision == "harm" and test.first_harm == 6


def test_the_state_does_not_hang_on_how_the_items_are_fed() -> None:
    generator = np.random.default_rng(0)
    old, new = generator.random(300) < 0.8, generator.random(300) < 0.75
    at_once, one_by_one = SequentialTest(), SequentialTest()
    at_once.extend(old, new)
    for a, b in zip(old, new, strict=True):
        one_by_one.add(old=bool(a), new=bool(b))
    assert asdict(at_once.state()) == pytest.approx(asdict(one_by_one.state()))


def test_a_test_that_looks_after_every_item_seldom_cries_wolf() -> None:
    generator = np.random.default_rng(1)
    alarms = two_sided = 0
    for _ in range(400):
        old, new = generator.random(1_000) < 0.8, generator.random(1_000) < 0.8
        test = SequentialTest(limit=None)
        test.extend(old, new)
        alarms += test.first_harm is not None
        two_sided += test.p_value <= 0.05
    # 5 % and 2.33 standard errors of 400 draws.
    assert alarms <= 30 and two_sided <= 30


def test_the_bound_of_the_rate_seldom_fails_at_any_look() -> None:
    generator = np.random.default_rng(2)
    failed = 0
    seen = np.arange(1.0, 801.0)
    for _ in range(300):
        lost = np.cumsum(generator.random(800) < 0.05).astype(float)
        failed += bool((log_e_below(lost, seen, 0.05) >= math.log(20)).any())
    assert failed <= 0.05 * 300
    refuted = log_e_below(lost, seen, rate_bound(lost, seen) + 1e-6) >= math.log(20)
    assert refuted.any()


def test_items_without_a_flip_are_accepted_later_than_by_one_look() -> None:
    test = SequentialTest(limit=0.05)
    test.extend([True] * 300, [True] * 300)
    assert test.decision == "accept" and test.first_accept is not None and 59 < test.first_accept < 150


def test_impossible_levels_and_unequal_sides_are_refused() -> None:
    with pytest.raises(ConfigError, match="alpha"):
        SequentialTest(alpha=0.0)
    with pytest.raises(ValueError, match="one truth an item"):
        SequentialTest().extend([True], [True, False])


@pytest.mark.parametrize("order", ["rising", "falling", "nearly"])
def test_an_order_that_is_not_random_is_refused(order: str) -> None:
    places = np.arange(200)
    if order == "falling":
        places = places[::-1].copy()
    if order == "nearly":
        places[:20] = places[19::-1]
    with pytest.raises(DataError, match="random"):
        check_order(places, "the order of the file")


def test_random_orders_pass() -> None:
    for seed in range(200):
        check_order(np.random.default_rng(seed).permutation(150), "the order of the file")


def table(right: np.ndarray) -> pl.DataFrame:
    ids = [f"q{i}" for i in range(right.size)]
    return pl.DataFrame({"id": ids, "input": [f"what is {i}?" for i in ids], "correct": right})


@pytest.fixture
def runs() -> tuple[pl.DataFrame, pl.DataFrame]:
    right = np.arange(300) % 10 > 0
    return table(right), table(right & (np.arange(300) % 8 > 0))


def test_the_file_order_is_refused_and_the_ids_order_too(runs: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    old, new = runs
    with pytest.raises(DataError, match="old run's file"):
        look(old, new.head(100))
    with pytest.raises(DataError, match="ids"):
        look(old.sample(fraction=1, shuffle=True, seed=3), new)


def test_a_shuffled_run_is_tested_as_it_came(runs: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    old, new = runs
    watched = look(old, new.sample(fraction=1, shuffle=True, seed=3))
    assert watched.decision == "harm" and watched.items == 300


def test_with_the_seed_items_count_in_its_order_however_they_arrive(
    runs: tuple[pl.DataFrame, pl.DataFrame], tmp_path: Path
) -> None:
    old, new = runs
    write_order(old, tmp_path / "order.jsonl", seed=4)
    order = [json.loads(line)["id"] for line in (tmp_path / "order.jsonl").read_text().splitlines()]
    assert order != old["id"].to_list() and sorted(order) == sorted(old["id"])
    head = new.filter(pl.col("id").is_in(order[:80] + order[90:120]))
    watched = look(old, head, seed=4)
    assert watched.items == 80 and watched.waiting == 30 and watched.total == 300
    assert look(old.reverse(), head.reverse(), seed=4) == watched


def test_scores_and_repeats_are_refused(runs: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    old, new = runs
    scored = [t.drop("correct").with_columns(score=pl.Series(np.linspace(0, 0.9, 300))) for t in (old, new)]
    with pytest.raises(DataError, match="right or wrong"):
        look(*scored, seed=0)
    twice = [pl.concat([t.with_columns(repeat=pl.lit(r)) for r in (0, 1)]) for t in (old, new)]
    with pytest.raises(DataError, match="repeats"):
        look(*twice, seed=0)


def test_the_same_order_comes_from_another_format_of_the_run(
    runs: tuple[pl.DataFrame, pl.DataFrame], tmp_path: Path
) -> None:
    old, _ = runs
    old.write_ndjson(tmp_path / "old.jsonl")
    write_order(old, tmp_path / "a.csv", seed=1)
    write_order(
        read_run(tmp_path / "old.jsonl", name="old").frame.with_columns(task=pl.lit("all")),
        tmp_path / "b.csv",
        seed=1,
    )
    assert pl.read_csv(tmp_path / "a.csv")["id"].equals(pl.read_csv(tmp_path / "b.csv")["id"])


def test_the_command_writes_the_order_watches_and_ends_with_its_codes(
    runs: tuple[pl.DataFrame, pl.DataFrame], tmp_path: Path
) -> None:
    old, new = runs
    paths = [tmp_path / f"{name}.jsonl" for name in ("old", "new", "same", "order")]
    old.write_ndjson(paths[0])
    new.write_ndjson(paths[1])
    old.write_ndjson(paths[2])
    written = muscle("watch", paths[0], "--order", paths[3], "--seed", 0)
    assert written.code == 0 and "--seed 0" in written.out
    harm = muscle("watch", paths[0], paths[1], "--seed", 0)
    assert harm.code == 1 and "stop: more is lost" in harm.out, harm.err
    assert muscle("watch", paths[0], paths[2], "--seed", 0).code == 0
    nothing = muscle("watch", paths[0], paths[2], "--seed", 0, "--limit", 0.0001)
    assert nothing.code == 2 and nothing.out.startswith("no items left, and nothing is proven")
    new.head(20).write_ndjson(paths[2])
    early = muscle("watch", paths[0], paths[2], "--seed", 0, "--limit", 0.0001)
    assert early.code == 2 and early.out.startswith("go on: nothing is proven yet")
    refused = muscle("watch", paths[0], paths[1])
    assert refused.code == 3 and "random order" in refused.err and "Traceback" not in refused.err
    tables = [tmp_path / f"{name}.csv" for name in ("old", "new")]
    for frame, path in zip(runs, tables, strict=True):
        frame.rename({"correct": "is_right"}).write_csv(path)
    named = muscle("watch", tables[0], f"{tables[1]}::name=v2", "--column", "correct=is_right", "--seed", 0)
    assert named.code == 1 and named.out == harm.out, named.err
    state = json.loads(muscle("watch", paths[0], paths[1], "--seed", 0, "--limit", 0.9, "--json", "-").out)
    assert state["items"] == 300 and state["first_accept"] is not None


def in_order(rows: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    return rows.sample(fraction=1, shuffle=True, seed=seed)


@pytest.mark.parametrize("seed", [0, None])
def test_an_item_that_was_answered_in_two_ways_counts_as_broken(seed: int | None) -> None:
    """Retries of what went wrong must not hide it: each broken item stands there once wrong and once right."""
    old = table(np.ones(400, dtype=np.bool_))
    new = table(np.arange(400) % 5 > 0)
    assert look(old, in_order(new), seed=seed).decision == "harm"
    retried = pl.concat([in_order(new), new.filter(~pl.col("correct")).with_columns(correct=pl.lit(True))])
    found = look(old, retried, seed=seed)
    assert (found.decision, found.items, found.missing, found.waiting, found.total) == ("go_on", 400, 80, 0, 400)


@pytest.mark.parametrize("seed", [0, None])
def test_answers_to_items_that_the_old_run_lacks_count_as_broken(seed: int | None) -> None:
    old = table(np.ones(200, dtype=np.bool_))
    strangers = old.head(30).with_columns(id="x" + pl.col("id"), input="x" + pl.col("input"))
    found = look(old, pl.concat([in_order(old), strangers]), seed=seed)
    assert (found.decision, found.items, found.missing, found.total) == ("go_on", 230, 30, 230)


def test_an_item_that_stands_twice_in_the_old_run_is_asked_once_and_holds_nothing_up(tmp_path: Path) -> None:
    old = table(np.ones(200, dtype=np.bool_))
    doubled = pl.concat([old, old.head(20)])
    assert write_order(doubled, tmp_path / "order.jsonl") == 200
    found = look(doubled, in_order(old), seed=0)
    assert (found.decision, found.items, found.total) == ("accept", 200, 200)


def test_items_without_an_answer_are_told_of_where_no_seed_says_what_was_asked() -> None:
    old = table(np.ones(300, dtype=np.bool_))
    found = look(old, in_order(old).head(200))
    assert found.decision == "accept"
    assert found.warnings == [
        "100 items of table have no answer in table: an item that was asked and left none is not counted without --seed"
    ]


def test_answers_that_all_failed_are_a_look_too() -> None:
    old = table(np.ones(50, dtype=np.bool_))
    failed = in_order(old).head(7).with_columns(correct=pl.lit(None, pl.Boolean), error=pl.lit("timeout"))
    assert look(old, failed).missing == 7


def test_runs_that_differ_in_more_than_the_model_are_not_watched() -> None:
    old = table(np.ones(200, dtype=np.bool_)).with_columns(output=pl.lit("a"), reference=pl.lit("a"))
    new = in_order(old).drop("correct").with_columns(output=pl.lit("b"))
    judged = old.with_columns(correct=pl.lit(False))
    with pytest.raises(JoinError, match=r"differ in more than the model.*--allow metric"):
        look(judged, new, seed=0)
    found = look(judged, new, seed=0, options=CompareOptions(allow=["metric"]))
    assert found.items == 200 and any(note.startswith("differs beside the model: ") for note in found.warnings)


def test_a_run_that_cannot_be_watched_is_refused_before_its_order_is_written(tmp_path: Path) -> None:
    right = table(np.ones(20, dtype=np.bool_))
    twice = pl.concat([right.with_columns(repeat=pl.lit(r)) for r in (0, 1)])
    scored = right.drop("correct").with_columns(score=pl.Series(np.linspace(0, 0.9, 20)))
    for run, told in ((twice, "found repeats"), (scored, "right or wrong")):
        with pytest.raises(DataError, match=told):
            write_order(run, tmp_path / "order.jsonl")
    assert not (tmp_path / "order.jsonl").exists()


def test_one_file_in_the_place_of_both_runs_is_not_accepted(tmp_path: Path) -> None:
    table(np.ones(300, dtype=np.bool_)).write_ndjson(tmp_path / "old.jsonl")
    found = muscle("watch", tmp_path / "old.jsonl", tmp_path / "old.jsonl", "--seed", 0)
    assert found.code == 3 and "OLD and NEW are one file" in found.err


def test_a_file_that_is_being_written_is_looked_at_as_far_as_it_is_whole(tmp_path: Path) -> None:
    right = table(np.ones(300, dtype=np.bool_))
    right.write_ndjson(tmp_path / "old.jsonl")
    lines = in_order(right).write_ndjson()
    (tmp_path / "new.jsonl").write_text("".join(line + "\n" for line in lines.splitlines()[:40]) + '{"id": "q1')
    found = muscle("watch", tmp_path / "old.jsonl", tmp_path / "new.jsonl", "--json", "-")
    assert found.code == 2 and json.loads(found.out)["items"] == 40


def test_following_waits_for_the_first_answer_and_prints_one_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = table(np.ones(300, dtype=np.bool_))
    right.write_ndjson(tmp_path / "old.jsonl")
    asked = in_order(right)
    # What the harness has written by the time of each look after the first.
    states = ["", '{"id": "q1', asked.head(30).write_ndjson(), asked.write_ndjson()]
    monkeypatch.setattr(time, "sleep", lambda _: (tmp_path / "new.jsonl").write_text(states.pop(0)))
    found = muscle("watch", tmp_path / "old.jsonl", tmp_path / "new.jsonl", "--follow", "--json", "-")
    assert found.code == 0 and json.loads(found.out)["decision"] == "accept" and not states
    assert [line.rpartition("; ")[2] for line in found.err.splitlines()] == ["looking again"] * 3
    (tmp_path / "new.jsonl").unlink()
    assert muscle("watch", tmp_path / "old.jsonl", tmp_path / "new.jsonl").code == 3
    assert muscle("watch", tmp_path / "none.jsonl", tmp_path / "new.jsonl", "--follow").code == 3


def test_what_is_missing_does_not_help_to_accept_and_is_no_harm() -> None:
    rng = np.random.default_rng(3)
    old = rng.random(1_500) < 0.9
    new = old & (rng.random(1_500) > 0.12)
    whole, hidden = SequentialTest(limit=0.05), SequentialTest(limit=0.05)
    whole.extend(old, new)
    hidden.extend(old, new, missing=old & ~new)
    assert whole.first_harm is not None and hidden.first_harm is None
    assert hidden.decision == "go_on" and hidden.lost == 0 and hidden.missing == whole.lost
    assert hidden.negative_flip_rate_bound == whole.negative_flip_rate_bound


@pytest.mark.parametrize("num_items", [400, None])
def test_a_run_that_was_not_read_whole_is_not_accepted(num_items: int | None) -> None:
    frame = pl.DataFrame({"id": [f"q{n}" for n in range(1_000)], "correct": [True] * 1_000})
    old = read_run(frame)
    assert look(old, old, seed=0).decision == "accept"
    short = replace(old, unread=(Unread("samples that are null", "log.json", num_items),))
    watched = look(old, short, seed=0)
    assert watched.decision == "go_on"
    assert watched.warnings == ["not read: log.json: samples that are null"]
