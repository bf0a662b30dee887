"""What to label first, the list and its way back, and what stays unknown."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from muscle.errors import ConfigError, DataError
from muscle.route import FitOptions, check_route, fit_route, list_to_label, read_labels, write_list
from muscle.route.labelling.labels import Labels, expected_gain
from muscle.route.worth import is_apart
from two_models import two_answers, two_runs


def unjudged(frames: tuple[pl.DataFrame, pl.DataFrame]) -> list[pl.DataFrame]:
    return [frame.with_columns(correct=pl.lit(None, dtype=pl.Boolean)) for frame in frames]


def word(old: bool, new: bool) -> str:
    return {(True, False): "old", (False, True): "new", (True, True): "both", (False, False): "neither"}[(old, new)]


def filled(path: Path, frames: tuple[pl.DataFrame, pl.DataFrame]) -> Path:
    """Fill in a list with the truth, as a person would."""
    truth = {i: word(a, b) for i, a, b in zip(frames[0]["id"], frames[0]["correct"], frames[1]["correct"], strict=True)}
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "label": truth[row["id"]]} for row in rows)
    return path


def test_the_gain_by_hand() -> None:
    # Old right 3 to 1, in half of the disagreements exactly one side is right: .375 and .125.
    odds = np.log([3.0, 3.0])
    assert expected_gain(odds[:1], 0.5, 0.0) == pytest.approx([0.125]), (
        "the old answer is kept, the new one may be right"
    )
    assert expected_gain(-odds[:1], 0.5, math.log(2)) == pytest.approx([2 * 0.125]), "a lost answer counts twice"
    assert expected_gain(-odds[:1], 0.5, math.inf) == pytest.approx([0.375])


def test_disagreements_alone_are_listed_the_best_first_and_a_random_part_for_the_bound() -> None:
    frames = two_answers(400)
    rule = fit_route(*two_answers(400, seed=3, start=900)).rule
    found = list_to_label(*unjudged(frames), num=60, for_bound=0.5, rule=rule)
    fit, bound = (found.frame.filter(pl.col("purpose") == name) for name in ("fit", "bound"))
    assert fit.height == bound.height == 30
    assert fit["gain"].is_sorted(descending=True)
    assert all(is_apart(each, 0.5) for each in bound["fingerprint"])
    assert not any(is_apart(each, 0.5) for each in fit["fingerprint"])
    assert bound["fingerprint"].is_sorted() and (found.frame["old_answer"] != found.frame["new_answer"]).all()
    assert found.judged == 0 and found.unknown == found.disagreements - 60


def test_labels_come_back_into_a_rule_and_what_stays_unknown_is_counted(tmp_path: Path) -> None:
    frames = two_answers(900)
    runs = unjudged(frames)
    first = list_to_label(*runs, num=160)
    write_list(tmp_path / "list.csv", first)
    labels = read_labels(filled(tmp_path / "list.csv", frames))
    found = fit_route(*runs, labels=labels, fit=FitOptions(flip_limit=0.05))
    counts = found.report.bound.counts
    assert 0 < counts.judged <= 80 and counts.unknown == counts.differ - counts.judged > 0
    assert any(f"{counts.unknown} answers that are not the old one's have no" in note for note in found.report.notes)
    assert found.report.ways[2].accuracy is None and found.report.ways[2].gain is not None
    again = list_to_label(*runs, num=50, labels=labels, rule=found.rule)
    assert again.judged == 160 and not set(again.frame["fingerprint"]) & set(first.frame["fingerprint"])


def test_a_random_part_of_labels_says_what_all_labels_say(tmp_path: Path) -> None:
    frames = two_answers(3000)
    runs = unjudged(frames)
    write_list(tmp_path / "list.csv", list_to_label(*runs, num=500))
    labels = read_labels(filled(tmp_path / "list.csv", frames))
    rule = fit_route(*runs, labels=labels, fit=FitOptions(flip_limit=0.05))
    whole = fit_route(*frames, fit=FitOptions(flip_limit=0.05))
    assert rule.report.ways[1].negative_flip_rate == pytest.approx(whole.report.ways[1].negative_flip_rate, abs=0.03)


def test_two_rounds_of_labels_give_a_rule_that_keeps_its_limit_and_gains(tmp_path: Path) -> None:
    frames = two_answers(3000)
    runs = unjudged(frames)
    write_list(tmp_path / "first.csv", list_to_label(*runs, num=200))
    first = read_labels(filled(tmp_path / "first.csv", frames))
    rule = fit_route(*runs, labels=first, fit=FitOptions(flip_limit=0.03)).rule
    write_list(tmp_path / "next.csv", list_to_label(*runs, num=200, rule=rule, labels=first))
    further = read_labels(filled(tmp_path / "next.csv", frames))
    both = Labels("both", {**first.words, **further.words}, 0)
    rule = fit_route(*runs, labels=both, fit=FitOptions(flip_limit=0.03)).rule
    old, new, way = check_route(rule, *two_answers(4000, seed=6, start=9000)).ways
    assert way.negative_flip_rate < 0.04 < new.negative_flip_rate
    assert way.accuracy > max(old.accuracy, new.accuracy)


def test_verdicts_of_the_record_alone_do_not_flatter_the_rule() -> None:
    """The record is judged, of the new answers a random half: what is kept is known, what is not is known to a half."""
    old, new = two_answers(4000)
    half = np.random.default_rng(0).random(4000) < 0.5
    partly = new.with_columns(correct=pl.Series([v if h else None for v, h in zip(new["correct"], half, strict=True)]))
    whole = fit_route(old, new, fit=FitOptions(flip_limit=0.05)).report
    part = fit_route(old, partly, fit=FitOptions(flip_limit=0.05), labelled_at_random=True).report
    for one, other in zip(whole.ways, part.ways, strict=True):
        assert other.negative_flip_rate == pytest.approx(one.negative_flip_rate, abs=0.015)
        assert other.accuracy == pytest.approx(one.accuracy, abs=0.02)
    assert part.bound.high > whole.bound.high


def test_a_list_is_written_and_read_as_lines_too_and_by_likelihoods(tmp_path: Path) -> None:
    runs = [frame.drop("reference") for frame in unjudged(two_runs(200))]
    rule = fit_route(*two_runs(300, seed=5, start=900)).rule
    found = list_to_label(*runs, num=10, rule=rule)
    write_list(tmp_path / "list.jsonl", found)
    rows = [json.loads(line) for line in (tmp_path / "list.jsonl").read_text().splitlines()]
    assert rows[0]["choices"] == ["tea", "milk", "soup", "rice"] and rows[0]["label"] is None
    labels = read_labels(tmp_path / "list.jsonl")
    assert labels.words == {} and labels.empty == 10
    with pytest.raises(ConfigError, match=r"expected a \.jsonl or \.csv file"):
        write_list(tmp_path / "list.txt", found)


def test_a_formula_in_an_answer_stays_a_text_in_a_spreadsheet(tmp_path: Path) -> None:
    old, new = unjudged(two_answers(30))
    found = list_to_label(old.with_columns(output=pl.lit("=HYPERLINK(1)")), new, num=5)
    write_list(tmp_path / "list.csv", found)
    with (tmp_path / "list.csv").open(newline="") as handle:
        assert {row["old_answer"] for row in csv.DictReader(handle)} == {"'=HYPERLINK(1)"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"fingerprint": "a", "label": "yes"}',
            "item 1, label: expected old, new, both, neither or nothing, found 'yes'",
        ),
        ('{"label": "old"}', "item 1: expected a list written by muscle route label, found no fingerprint"),
        ('{"fingerprint": "a", "label": "old"}\n{"fingerprint": "a", "label": "new"}', "item 2: labelled twice"),
        ("[1]", "item 1: expected the fields of an item"),
        ("{", "expected a list written by muscle route label, found"),
    ],
)
def test_a_list_that_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(path)


def test_a_label_against_a_verdict_and_a_list_of_other_items_are_refused() -> None:
    frames = two_answers(300)
    listed = list_to_label(*unjudged(frames), num=1).frame
    row = frames[0]["id"].to_list().index(listed["id"][0])
    right = word(frames[0]["correct"][row], frames[1]["correct"][row])
    wrong = "neither" if right == "both" else "both"
    with pytest.raises(DataError, match="contradicts the runs' verdict"):
        fit_route(*frames, labels=Labels("list", {listed["fingerprint"][0]: wrong}, 0))
    with pytest.raises(DataError, match="found none of them among the runs'"):
        fit_route(*frames, labels=Labels("list", {"f" * 16: "old"}, 0))
