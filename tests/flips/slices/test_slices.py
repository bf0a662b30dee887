from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats

from helpers.two_versions import verdicts
from muscle import read_run
from muscle.errors import ConfigError, DataError
from muscle.flips.measuring.tally import tally
from muscle.flips.pairing.items import task_items
from muscle.flips.pairing.join import join_runs
from muscle.flips.slices.cuts import cut_tasks, measure_cuts
from muscle.flips.slices.slice_by import parse_slice
from muscle.flips.slices.slice_numbers import TaskSlices
from muscle.flips.statistics.counts import upper_tail
from muscle.flips.statistics.intervals import mcnemar
from muscle.report.text.slices import print_slices, slice_rows, slices_markdown
from muscle.typed_json import from_json, to_json


def typed(report: dict[str, Any]) -> TaskSlices:
    return from_json(TaskSlices, report, where="slices")


def sliced(old: dict[str, list[Any]], new: dict[str, list[Any]] | None = None, **options: Any) -> dict[str, Any]:
    """Slice one task; what `new` leaves out is as in `old`."""
    size = len(next(iter(old.values())))
    ids = {"id": [str(i) for i in range(size)]}
    runs = [read_run(pl.DataFrame({**ids, **old, **(more or {})})) for more in ({}, new)]
    cluster = options.pop("cluster", None)
    joined = join_runs(*runs)
    tasks = task_items(joined, cluster=cluster, epsilon=options.pop("epsilon", 0.0))
    wholes = {name: tally(items) for name, items in tasks.items()}
    cuts = cut_tasks(joined, tasks, wholes, by=options.pop("by", None))
    report = to_json(measure_cuts(cuts, tasks, **options))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    return next(iter(report.values()))


def two_slices(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    one, other = verdicts(*first), verdicts(*second)
    names = ["a"] * len(one[0]) + ["b"] * len(other[0])
    return {"correct": one[0] + other[0], "slice.topic": names}, {"correct": one[1] + other[1]}


def row(report: dict[str, Any], value: str) -> dict[str, Any]:
    return next(r for r in report["rows"] if r["value"] == value)


def test_each_slice_has_its_own_flips_rates_and_test() -> None:
    report = sliced(*two_slices((30, 10, 2, 8), (60, 1, 5, 34)), by=["topic"])
    first = row(report, "a")
    assert (first["n"], first["negative_flips"], first["positive_flips"]) == (50, 10, 2)
    assert first["negative_flip_rate"]["value"] == 0.2 and first["positive_flip_rate"]["value"] == 0.04
    assert first["accuracy_difference"]["value"] == pytest.approx(-0.16) and first["direction"] == "worse"
    assert first["p"] == mcnemar(10, 2).exact
    assert row(report, "b")["direction"] == "better"


def test_p_values_are_corrected_over_the_slices() -> None:
    report = sliced(*two_slices((30, 10, 2, 8), (60, 1, 5, 34)), by=["topic"])
    p_values = [row(report, value)["p"] for value in "ab"]
    assert [row(report, v)["bh_p"] for v in "ab"] == pytest.approx(stats.false_discovery_control(p_values))
    assert row(report, "a")["holm_p"] == pytest.approx(2 * min(p_values))


def test_a_slice_with_few_items_is_counted_and_not_tested() -> None:
    report = sliced(*two_slices((30, 10, 2, 8), (5, 2, 1, 2)), by=["topic"])
    assert [r["value"] for r in report["rows"]] == ["a"]
    assert report["by"][0]["small"] == {"slices": 1, "items": 10, "negative_flips": 2, "positive_flips": 1}


def test_items_without_a_value_are_in_no_slice() -> None:
    old, new = two_slices((30, 10, 2, 8), (5, 2, 1, 2))
    old["slice.topic"] = ["a"] * 50 + [None] * 10
    report = sliced(old, new, by=["topic"])
    assert report["by"][0]["without_value"] == 10 and report["by"][0]["slices"] == 1


def test_slices_against_the_whole_are_named() -> None:
    # LLMDrift's shape: a large slice loses, a small one gains.
    report = sliced(*two_slices((10, 200, 0, 90), (20, 0, 60, 20)), by=["topic"])
    (case,) = report["simpson"]
    assert case["kind"] == "against_the_whole" and case["overall"]["direction"] == "worse"
    assert case["better"] == ["b"] and case["worse"] == ["a"]


def test_slices_that_cancel_out_are_named() -> None:
    report = sliced(*two_slices((60, 20, 0, 20), (60, 0, 20, 20)), by=["topic"])
    (case,) = report["simpson"]
    assert case["kind"] == "cancels_out" and not case["overall"]["clear"]


def test_slices_that_all_go_the_same_way_are_no_case() -> None:
    assert sliced(*two_slices((60, 20, 0, 20), (60, 20, 1, 20)), by=["topic"])["simpson"] == []


def test_the_slice_in_which_flips_concentrate_is_ranked_first() -> None:
    generator = np.random.default_rng(0)
    topic = generator.choice(["law", "art", "sea"], 3_000)
    lost = generator.random(3_000) < np.where(topic == "law", 0.15, 0.03)
    old = {
        "correct": [True] * 3_000,
        "slice.topic": topic.tolist(),
        "slice.noise": generator.choice(list("xyz"), 3_000).tolist(),
    }
    report = sliced(old, {"correct": (~lost).tolist()})
    first = report["concentrated"][0]
    assert (first["by"], first["value"], first["significant"]) == ("topic", "law", True)
    assert first["excess"]["low"] < 0.12 < first["excess"]["high"]
    assert not any(entry["significant"] for entry in report["concentrated"] if entry["by"] == "noise")


def test_flips_that_fall_on_any_item_alike_do_not_seem_to_concentrate() -> None:
    generator = np.random.default_rng(1)
    columns = {f"slice.{n}": generator.choice(list("abcdef"), 900).tolist() for n in range(40)}
    lost = generator.random(900) < 0.1
    report = sliced({"correct": [True] * 900, **columns}, {"correct": (~lost).tolist()})
    p_values = [r["excess"]["p"] for r in report["rows"]]
    assert len(p_values) == 240 and min(p_values) < 0.05  # some look odd by themselves
    assert not any(entry["significant"] for entry in report["concentrated"])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_test_of_concentration_is_fishers(inside: int, outside: int, data: st.DataObject) -> None:
    flips_in = data.draw(st.integers(0, inside))
    flips_out = data.draw(st.integers(0, outside))
    table = [[flips_in, inside - flips_in], [flips_out, outside - flips_out]]
    expected = stats.fisher_exact(table, alternative="greater").pvalue
    assert upper_tail(flips_in, inside, flips_in + flips_out, inside + outside) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("flips_in", [20_050, 20_300, 21_500])
def test_the_test_of_concentration_holds_for_a_million_items(flips_in: int) -> None:
    expected = stats.hypergeom.sf(flips_in - 1, 1_000_000, 100_000, 200_000)
    assert upper_tail(flips_in, 200_000, 100_000, 1_000_000) == pytest.approx(expected, rel=1e-6)


def test_slices_by_a_regular_expression() -> None:
    old = {"correct": [True] * 40, "input": [f"item {i}" for i in range(40)]}
    new = {"correct": [i >= 10 for i in range(40)]}
    report = sliced(old, new, by=[r"two digits=/\d\d/"], min_items=5)
    assert row(report, "matches")["n"] == 30 and row(report, "does not match")["negative_flips"] == 10
    assert report["rows"][0]["by"] == "two digits"


def test_a_damaged_regular_expression_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a regular expression"):
        parse_slice("/(/")


def test_slices_by_length_hold_about_a_quarter_each() -> None:
    old = {"correct": [True] * 80, "input": ["w " * (i + 1) for i in range(80)]}
    report = sliced(old, by=["length:words"], min_items=1)
    assert [r["n"] for r in report["rows"]] == [20, 20, 20, 20]
    assert {r["value"] for r in report["rows"]} >= {"up to 20 words", "21 to 40 words", "over 60 words"}


def test_inputs_of_one_length_are_one_slice() -> None:
    report = sliced({"correct": [True] * 40, "input": [f"{i:03}" for i in range(40)]}, by=["length"])
    assert [(r["value"], r["n"]) for r in report["rows"]] == [("any number of characters", 40)]


def test_classes_and_slices_are_taken_without_asking_and_a_name_for_each_item_is_not() -> None:
    old = {
        "correct": [True] * 60,
        "reference": ["yes", "no"] * 30,
        "slice.topic": ["a"] * 30 + ["b"] * 30,
        "slice.same": ["x"] * 60,
    }
    assert {entry["by"] for entry in sliced(old)["by"]} == {"topic", "reference"}


def test_a_column_with_too_many_values_is_passed_over_and_says_why() -> None:
    size = 1_100
    report = sliced({"correct": [True] * size, "slice.name": [str(i) for i in range(size)]})
    assert "1,100 different values" in report["by"][0]["skipped"] and report["rows"] == []


def test_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"slice 'topc': expected a slice .* found the slices topic"):
        sliced(*two_slices((30, 10, 2, 8), (60, 1, 5, 34)), by=["topc"])


def test_a_score_is_sliced_by_its_differences() -> None:
    generator = np.random.default_rng(3)
    old, new = generator.random(200), generator.random(200)
    topic = ["a", "b"] * 100
    report = sliced({"score": old.tolist(), "slice.topic": topic}, {"score": new.tolist()}, by=["topic"])
    first, difference = row(report, "a"), (new - old)[::2]
    assert first["negative_flips"] == int((difference < 0).sum())
    interval = stats.t.interval(0.95, 99, difference.mean(), difference.std(ddof=1) / 10)
    found = first["accuracy_difference"]
    assert (found["low"], found["value"], found["high"]) == pytest.approx((interval[0], difference.mean(), interval[1]))


def test_repeats_of_an_item_widen_the_intervals() -> None:
    generator = np.random.default_rng(4)
    lost = generator.random(60) < 0.3
    base = {
        "correct": [True] * 240,
        "id": [str(i // 4) for i in range(240)],
        "repeat": [i % 4 for i in range(240)],
    }
    base["slice.topic"] = ["ab"[(i // 4) % 2] for i in range(240)]
    report = sliced(base, {"correct": (~np.repeat(lost, 4)).tolist()}, by=["topic"])
    single = sliced(
        {"correct": [True] * 240, "slice.topic": base["slice.topic"]},
        {"correct": (~np.repeat(lost, 4)).tolist()},
        by=["topic"],
    )
    for value in "ab":
        grouped, alone = (row(r, value)["negative_flip_rate"] for r in (report, single))
        assert grouped["value"] == alone["value"]
        assert grouped["high"] - grouped["low"] > 1.5 * (alone["high"] - alone["low"])
        assert row(report, value)["p"] > row(single, value)["p"]
        wide, narrow = (row(r, value)["excess"] for r in (report, single))
        assert wide["value"] == pytest.approx(narrow["value"])
        assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


def test_groups_that_lie_across_slices_count_once_in_the_excess() -> None:
    generator = np.random.default_rng(5)
    doc = generator.integers(0, 50, 400)
    lost = generator.random(400) < 0.1 + 0.3 * (doc % 2)
    topic = generator.random(400) < 0.5
    old = {
        "correct": [True] * 400,
        "slice.doc": [str(d) for d in doc],
        "slice.topic": [str(t) for t in topic],
    }
    report = sliced(old, {"correct": (~lost).tolist()}, by=["topic"], cluster="doc")
    found = row(report, "True")["excess"]
    inside, outside = lost[topic].mean(), lost[~topic].mean()
    influence = topic * (lost - inside) / topic.sum() - ~topic * (lost - outside) / (~topic).sum()
    sums = np.bincount(doc, weights=influence)
    error = np.sqrt(np.square(sums).sum() * 50 / 49)
    assert found["value"] == pytest.approx(inside - outside)
    assert found["high"] - found["value"] == pytest.approx(stats.t.ppf(0.975, 49) * error)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abc")), min_size=1, max_size=60))
def test_slices_sum_to_the_whole_in_any_order_of_rows(items: list[tuple[bool, bool, str]]) -> None:
    old, new, topic = (list(column) for column in zip(*items, strict=True))
    report = sliced({"correct": old, "slice.topic": topic}, {"correct": new}, by=["topic"], min_items=1)
    assert sum(r["n"] for r in report["rows"]) == len(items)
    lost = sum(a and not b for a, b in zip(old, new, strict=True))
    assert sum(r["negative_flips"] for r in report["rows"]) == lost
    whole = sum(r["n"] * r["accuracy_difference"]["value"] for r in report["rows"])
    assert whole == pytest.approx(sum(new) - sum(old))


def test_terminal_and_markdown_say_where_flips_concentrate_and_escape_names() -> None:
    names = ["<b>@x"] * 200 + ["calm"] * 800
    old = {"correct": [True] * 1_000, "slice.topic": names}
    report = sliced(old, {"correct": [i >= 60 for i in range(1_000)]}, by=["topic"])
    console = Console(file=io.StringIO(), width=160)
    print_slices("qa", typed(report), console)
    shown, written = console.file.getvalue(), slices_markdown(typed(report))  # type: ignore[attr-defined]
    assert "topic = <b>@x: 30.0% of 200 items broke, 0.0% of the rest" in shown
    assert "<b>" not in written and "@x" not in written and "| 60: 30.0%" in written


def test_of_many_slices_the_surest_changes_are_shown() -> None:
    names = [f"s{i // 40:02}" for i in range(1_200)]
    old = {"correct": [True] * 1_200, "slice.topic": names}
    report = sliced(old, {"correct": [not 480 <= i < 500 for i in range(1_200)]}, by=["topic"])
    rows = slice_rows(typed(report), limit=5)
    assert len(rows) == 5 and rows[0][0] == "topic = s12"
    assert "10 more slices" in slices_markdown(typed(report))
