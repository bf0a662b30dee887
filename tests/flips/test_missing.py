"""What is missing makes a verdict more careful, never better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muscle import CompareOptions, compare, read_run
from muscle.errors import JoinError
from muscle.gate import Policy, gate
from muscle.gate.policy import Harm, Limit, Rules, SliceRules
from muscle.predictions.run import Unread

RANK = {"pass": 0, "warn": 1, "cannot_tell": 2, "block": 2}


def _side(correct: Any, **columns: Any) -> pl.DataFrame:
    verdicts = list(correct)
    ids = [f"q{n}" for n in range(len(verdicts))]
    return pl.DataFrame(
        {
            "id": ids,
            "input": [f"question {i}" for i in ids],
            "correct": pl.Series(verdicts, dtype=pl.Boolean),
            **columns,
        }
    )


def _update(size: int, lost: int, gained: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return two runs in which the first items broke and the last were gained."""
    old = [True] * (size - gained) + [False] * gained
    new = [False] * lost + [True] * (size - lost)
    return _side(old), _side(new)


STRICT = Policy(name="strict", default=Rules(negative_flip_rate=Limit(limit=0.02)))


@pytest.mark.parametrize("why", ["unscored", "error", "unread"])
def test_a_warning_that_would_be_a_block_with_what_is_missing_cannot_be_told(why: str) -> None:
    old, new = _update(2_000, 120, 40)
    assert compare(old, new).verdict == "block"
    hidden = pl.int_range(2_000) < 80
    if why == "unread":
        kept = read_run(new.filter(~hidden))
        lacking: Any = replace(kept, unread=(Unread("80 records", "here", 80),))
    elif why == "error":
        lacking = new.with_columns(error=pl.when(hidden).then(pl.lit("timeout")))
    else:
        lacking = new.with_columns(correct=pl.when(~hidden).then("correct"))
    result = compare(old, lacking)
    assert result.verdict == "cannot_tell"
    assert compare(old.filter(~hidden), new.filter(~hidden)).verdict == "warn"


def test_a_warning_that_stays_one_whatever_is_missing_is_kept() -> None:
    old, new = _update(2_000, 40, 80)
    new = new.with_columns(correct=pl.when(pl.int_range(2_000) != 1_000).then("correct"))
    assert compare(old, new).verdict == "warn"


def test_unscored_items_are_missing_and_named() -> None:
    old, new = _update(400, 0, 0)
    new = new.with_columns(correct=pl.when(pl.int_range(400) >= 100).then("correct"))
    result = gate(old, new)
    assert result.exit_code == 2
    assert result.to_json()["missing"]["old_vs_new"] == {
        "total": 400,
        "errors": 0,
        "unscored": 100,
        "only_old": 0,
        "only_new": 0,
        "unread": 0,
    }
    assert any("100 of 400 answers are missing (100 unscored)" in f.reason for f in result.findings)
    assert any("100 without a verdict" in warning for warning in result.to_json()["warnings"])


@pytest.mark.parametrize("blank", ["correct", "error", "row"])
def test_a_limit_must_hold_even_if_what_is_missing_broke(blank: str) -> None:
    old, new = _update(1_000, 10, 10)
    assert gate(old, new, STRICT).verdict == "pass"  # 10 of 1,000: at most 1.7 %
    gone = pl.int_range(1_000).is_between(500, 511)
    if blank == "correct":
        new = new.with_columns(correct=pl.when(~gone).then("correct"))
    elif blank == "error":
        new = new.with_columns(error=pl.when(gone).then(pl.lit("timeout")))
    else:
        new = new.filter(~gone)
    result = gate(old, new, STRICT)
    assert result.verdict == "cannot_tell"
    assert "if they had broken" in next(f.reason for f in result.findings if f.verdict == "cannot_tell")


def test_repeats_that_all_failed_are_taken_at_their_worst_in_a_limit_beyond_noise() -> None:
    policy = Policy(name="noise", max_missing=1.0, default=Rules(excess_negative_flip_rate=Limit(limit=0.05)))
    items = [f"q{place // 2}" for place in range(800)]
    old = pl.DataFrame({"id": items, "repeat": [0, 1] * 400, "correct": [True] * 800})
    assert gate(old, old.clone(), policy).verdict == "pass"
    failed = pl.int_range(800) < 160
    new = old.with_columns(error=pl.when(failed).then(pl.lit("timeout")))
    assert gate(old, new, policy).verdict == "cannot_tell"


def test_what_cannot_change_the_verdict_does_not() -> None:
    old, new = _update(1_000, 2, 10)
    new = new.with_columns(correct=pl.when(pl.int_range(1_000) != 500).then("correct"))
    assert gate(old, new, STRICT).verdict == "pass"


def test_a_missing_old_answer_is_as_grave_where_the_new_one_is_wrong() -> None:
    old, new = _update(1_000, 14, 10)
    broken = gate(old, new, STRICT)
    hidden = gate(old.filter(pl.int_range(1_000) >= 14), new, STRICT)
    assert broken.verdict == "cannot_tell" and hidden.verdict == "cannot_tell"
    right = pl.int_range(1_000).is_between(500, 511)
    assert gate(*_update(1_000, 0, 10), STRICT).verdict == "pass"
    assert gate(old.with_columns(correct=True).filter(~right), old.with_columns(correct=True), STRICT).verdict == "pass"


def test_a_warning_does_not_go_with_the_items_that_caused_it() -> None:
    policy = Policy(name="w", default=Rules(negative_flip_rate=Limit(limit=0.02, tier="warn"), harm=Harm()))
    old, new = _update(1_000, 40, 60)
    assert gate(old, new, policy).verdict == "warn"
    assert RANK[gate(old, new.filter(pl.int_range(1_000) >= 40), policy).verdict] >= 1
    assert RANK[gate(old.filter(pl.int_range(1_000) >= 40), new, policy).verdict] >= 1


def test_a_slice_is_judged_with_its_own_missing_items() -> None:
    old, new = _update(1_000, 0, 0)
    topic = pl.Series(["law"] * 200 + ["art"] * 800)
    old, new = (frame.with_columns(topic.alias("slice.topic")) for frame in (old, new))
    slices = [SliceRules(slice="topic", negative_flip_rate=Limit(limit=0.05))]
    policy = Policy(name="s", default=Rules(), slices=slices)
    assert gate(old, new, policy).verdict == "pass"
    result = gate(old, new.with_columns(correct=pl.when(pl.int_range(1_000) >= 20).then("correct")), policy)
    told = {f.slice: f.verdict for f in result.findings if f.slice}
    assert told == {"topic = law": "cannot_tell", "topic = art": "pass"}


def test_repeats_that_a_side_lacks_for_some_items_are_missing() -> None:
    rows = [(f"q{n}", r, n >= 5 or r < 2) for n in range(300) for r in range(4)]
    new = pl.DataFrame(rows, schema=["id", "repeat", "correct"], orient="row")
    old = new.with_columns(correct=True)
    policy = Policy(name="p", default=Rules(negative_flip_rate=Limit(limit=0.0, test="point")))
    assert gate(old, new, policy).verdict == "block"
    assert gate(old, new.filter("correct"), policy).verdict == "cannot_tell"


def test_flips_beyond_noise_are_judged_without_the_help_of_a_short_second_run() -> None:
    old, new = _update(600, 20, 0)
    rerun = _side([False] * 20 + [True] * 580)
    policy = Policy(name="p", default=Rules(excess_negative_flip_rate=Limit(limit=0.015)))
    assert gate(old, new, policy, noise=rerun).verdict == "pass"
    assert gate(old, new, policy, noise=_side([True] * 600)).verdict == "block"
    short = _side([True] * 600).filter(pl.int_range(600) >= 20)
    result = gate(old, new, policy, noise=short)
    assert result.verdict == "cannot_tell"
    assert "of the second run 20 of 600 answers are missing" in result.findings[0].reason


@pytest.mark.parametrize("num_items", [3, None])
@pytest.mark.parametrize("side", [0, 1])
def test_what_was_not_read_cannot_pass(num_items: int | None, side: int) -> None:
    runs = [read_run(frame) for frame in _update(1_000, 0, 10)]
    assert gate(*runs).verdict == "pass" and compare(*runs).verdict == "pass"
    runs[side] = replace(runs[side], unread=(Unread("samples that are null", "log.json", num_items),))
    result = gate(*runs)
    assert result.exit_code == 2 and compare(*runs).verdict == "cannot_tell"
    reason = next(f.reason for f in result.findings if f.metric == "coverage")
    assert "log.json: samples that are null" in reason
    assert result.to_json()["unread"][("old", "new")[side]] == [
        {"what": "samples that are null", "where": "log.json", "num_items": num_items}
    ]
    assert result.to_json()["warnings"][0].endswith("not read: log.json: samples that are null")


def test_what_was_not_read_and_is_missing_in_the_join_counts_once() -> None:
    old, new = (read_run(frame) for frame in _update(1_000, 0, 10))
    short = replace(new, frame=new.frame.tail(999), unread=(Unread("1 sample that is null", "log.json", 1),))
    result = gate(old, short)
    assert result.to_json()["missing"]["old_vs_new"]["unread"] == 0
    assert result.verdict == "pass"


def test_a_task_with_nothing_to_compare_is_named(tmp_path: Path) -> None:
    old, new = _update(1_000, 0, 10)
    tasks = pl.Series(["a"] * 980 + ["b"] * 20)
    old, new = (frame.with_columns(task=tasks) for frame in (old, new))
    for frames in (
        (old, new.filter(pl.col("task") == "a")),
        (old.filter(pl.col("task") == "a"), new),
        (old, new.with_columns(error=pl.when(pl.col("task") == "b").then(pl.lit("timeout")))),
    ):
        result = gate(*frames)
        assert result.exit_code == 2
        assert [f.task for f in result.findings if f.metric == "coverage"] == ["b"]
        assert any("no item is scored in both runs of b" in warning for warning in result.to_json()["warnings"])
        assert compare(*frames).verdict == "cannot_tell"


def test_a_second_metric_does_not_take_the_main_ones_place() -> None:
    old, new = _update(400, 100, 0)
    old, new = (frame.with_columns(pl.lit(1.0).alias("score.length")) for frame in (old, new))
    with pytest.raises(JoinError, match="what decides must be the same"):
        gate(old, new.with_columns(correct=pl.lit(None, pl.Boolean)))
    scores = [
        frame.select("id", "input", **{"score.main": pl.col("correct").cast(pl.Float64) / 2, "score.length": 1.0})
        for frame in (old, new)
    ]
    assert gate(*scores).verdict == "block"
    with pytest.raises(JoinError, match="main score main against length"):
        gate(scores[0], scores[1].with_columns(pl.lit(None, pl.Float64).alias("score.main")))


def test_missing_scores_are_taken_at_their_worst() -> None:
    rng = np.random.default_rng(0)
    level = rng.uniform(0.4, 0.6, 500)
    old = pl.DataFrame({"id": [str(n) for n in range(500)], "score.rouge": level})
    new = old.with_columns(pl.Series("score.rouge", level + rng.normal(0.003, 0.01, 500)))
    assert gate(old, new).verdict == "pass"
    hidden = new.with_columns(pl.when(pl.int_range(500) >= 24).then("score.rouge").alias("score.rouge"))
    assert gate(old, hidden).verdict == "cannot_tell"


def test_a_candidate_that_breaks_more_and_scores_less_than_the_plain_update_is_warned_of() -> None:
    old, new = _update(2_000, 2, 8)
    candidate = new.with_columns(
        correct=pl.when(pl.int_range(2_000).is_in([1_500, 1_501])).then(False).otherwise("correct")
    )
    result = gate(old, new, candidate=candidate)
    assert result.verdict == "warn"
    finding = next(f for f in result.findings if f.metric == "against_plain")
    assert "gives nothing beside it" in finding.reason
    assert compare(old, new, candidate=candidate).verdict == "warn"


def test_a_null_answer_is_no_answer_and_no_change_of_scoring() -> None:
    size = 60
    right = [n >= 30 for n in range(size)]
    frames = []
    for blank in (None, "", "  "):
        texts = pl.Series(["A" if ok else blank for ok in right], dtype=pl.String)
        frames.append(_side(right, output=texts, reference=["A"] * size))
    old = _side([True] * size, output=["A"] * size, reference=["A"] * size)
    for new in frames:
        report = compare(old, new).report
        causes = report.tasks["all"].causes
        assert causes is not None and causes.old_vs_new is not None
        assert causes.old_vs_new.negative_flip == {"format": 30}
        assert not any("scoring changed" in warning for warning in report.warnings)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lost=st.integers(0, 12),
    gained=st.integers(0, 12),
    gone=st.integers(1, 30),
    side=st.integers(0, 1),
    how=st.sampled_from(["row", "correct", "error", "double"]),
    policy=st.sampled_from(["default", "point", "slices", "cluster"]),
)
def test_a_verdict_never_improves_when_something_is_lost(
    seed: int, lost: int, gained: int, gone: int, side: int, how: str, policy: str
) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(400)
    frames = [frame[order.tolist()] for frame in _update(400, lost, gained)]
    frames = [
        f.with_columns(pl.Series("slice.topic", rng.integers(0, 3, 400).astype(str))) for f in frames[:1]
    ] + frames[1:]
    policies = {
        "default": Policy(name="d"),
        "point": Policy(name="p", default=Rules(negative_flip_rate=Limit(limit=0.01, test="point"))),
        "slices": Policy(name="s", slices=[SliceRules(slice="topic", negative_flip_rate=Limit(limit=0.05))]),
        "cluster": Policy(name="c", default=Rules(negative_flip_rate=Limit(limit=0.05), harm=Harm())),
    }
    options = {"cluster": "topic"} if policy == "cluster" else {}
    if policy == "cluster":
        frames[0] = frames[0].with_columns(pl.Series("slice.topic", [str(n // 4) for n in range(400)]))
    before = gate(*frames, policies[policy], options=CompareOptions(**options)).verdict
    hit = pl.Series(np.isin(np.arange(400), rng.choice(400, gone, replace=False)))
    frame = frames[side]
    if how == "row":
        frames[side] = frame.filter(~hit)
    elif how == "double":
        frames[side] = pl.concat([frame, frame.filter(hit).with_columns(correct=~pl.col("correct"))])
    elif how == "correct":
        frames[side] = frame.with_columns(correct=pl.when(~hit).then("correct"))
    else:
        frames[side] = frame.with_columns(error=pl.when(hit).then(pl.lit("timeout")))
    try:
        after = gate(*frames, policies[policy], options=CompareOptions(max_unpaired=1.0, **options)).verdict
    except JoinError:
        return
    assert RANK[after] >= RANK[before], (before, after)
