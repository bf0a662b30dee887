"""What to label first, the list and its way back, and what stays unknown."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helpers.two_models import two_answers, two_runs
from muscle.errors import ConfigError, DataError
from muscle.route import FitOptions, check_route, fit_route, list_to_label, read_labels, write_list
from muscle.route.items import pair_items
from muscle.route.labelling.draw import is_apart
from muscle.route.labelling.labels import Labels, Line, expected_gain

KEY = "0123456789abcdef-01234567"


def unjudged(frames: tuple[pl.DataFrame, pl.DataFrame]) -> list[pl.DataFrame]:
    return [frame.with_columns(correct=pl.lit(None, dtype=pl.Boolean)) for frame in frames]


def word(old: bool, new: bool) -> str:
    return {(True, False): "old", (False, True): "new", (True, True): "both", (False, False): "neither"}[(old, new)]


def filled(path: Path, frames: tuple[pl.DataFrame, pl.DataFrame], leave_out: Collection[str] = ()) -> Path:
    """Fill in a list with the truth, as a person would, but for the items that some words would be said of."""
    truth = {i: word(a, b) for i, a, b in zip(frames[0]["id"], frames[0]["correct"], frames[1]["correct"], strict=True)}
    with path.open(newline="") as handle:
        limit = csv.field_size_limit(1 << 20)  # questions may be long
        rows = list(csv.DictReader(handle))
        csv.field_size_limit(limit)
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        words = ((row, truth[row["id"]]) for row in rows)
        writer.writerows({**row, "label": "" if said in leave_out else said} for row, said in words)
    return path


def test_the_gain_by_hand() -> None:
    # Old right 3 to 1, in half of the disagreements exactly one side is right: .375 and .125.
    odds = np.log([3.0, 3.0])
    kept, lost = np.array([True]), np.array([False])
    assert expected_gain(odds[:1], kept, 0.5, 0.0) == pytest.approx([0.125]), "kept, and the new one may be right"
    assert expected_gain(-odds[:1], lost, 0.5, math.log(2)) == pytest.approx([2 * 0.125]), "a lost one counts twice"
    assert expected_gain(-odds[:1], kept, 0.5, math.inf) == pytest.approx([0.375])
    assert expected_gain(odds[:1], lost, 0.5, math.inf) == pytest.approx([0.375e6]), "the old model was not asked"


def test_where_the_old_model_is_not_asked_a_label_wins_what_its_answer_would() -> None:
    frames = two_answers(900)
    rule = fit_route(*frames, fit=FitOptions(flip_limit=0.05, ask_share=0.3)).rule
    runs = unjudged(two_answers(300, seed=4, start=4000))
    listed = list_to_label(*runs, num=300, rule=rule).frame
    items = pair_items(*runs)
    given = rule.rule()
    odds = dict(zip(items.old.frame["id"], given.log_odds(items), strict=True))
    asked = dict(zip(items.old.frame["id"], given.asked(items), strict=True))
    kappa = math.exp(rule.log_kappa)
    for item, gain in listed.select("id", "gain").iter_rows():
        old_won = 0.5 / (1 + math.exp(-odds[item]))  # nothing is judged: (0 + 1) / (0 + 2) are decided
        is_kept = asked[item] and -odds[item] <= rule.log_kappa
        assert gain == pytest.approx(0.5 - old_won if is_kept else kappa * old_won, abs=2e-6)
    assert 0 < sum(asked[item] for item in listed["id"]) < listed.height


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
    assert not set(first.words) & set(further.words)
    both = read_labels(tmp_path / "first.csv", tmp_path / "next.csv")
    assert both.words == {**first.words, **further.words} and len(both.words) == 400
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
            f'{{"fingerprint": "{KEY}", "purpose": "fit", "label": "yes"}}',
            "line 1, label: expected old, new, both, neither or nothing, found 'yes'",
        ),
        ('{"label": "old"}', "line 1: expected a list written by muscle route label, found no fingerprint"),
        ('{"fingerprint": "1.2E+15", "label": "old"}', "line 1: .*, found the fingerprint '1.2E\\+15'"),
        (f'{{"fingerprint": "{KEY}", "label": "old"}}', "line 1, purpose: expected fit or bound, .*, found None"),
        (
            "\n".join(f'{{"fingerprint": "{KEY}", "purpose": "fit", "label": "{each}"}}' for each in ("old", "new")),
            "line 2: labelled twice, as old, new",
        ),
        ("[1]", "line 1: expected the fields of an item"),
        ("{", "expected a list written by muscle route label, found"),
    ],
)
def test_a_list_that_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(path)


def test_a_wrong_label_of_a_spreadsheet_is_named_by_the_line_in_which_its_row_begins(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f'fingerprint,purpose,input,label\n{KEY},fit,"two\nlines",old\n\n{KEY},fit,one,yes\n')
    with pytest.raises(DataError, match=r"list\.csv, line 5, label: expected old, new, both, neither or nothing"):
        read_labels(path)


def test_a_label_against_a_verdict_and_a_list_of_other_items_are_refused() -> None:
    frames = two_answers(300)
    listed = list_to_label(*unjudged(frames), num=1).frame
    row = frames[0]["id"].to_list().index(listed["id"][0])
    right = word(frames[0]["correct"][row], frames[1]["correct"][row])
    wrong = "neither" if right == "both" else "both"
    with pytest.raises(DataError, match="contradicts the runs' verdict"):
        fit_route(*frames, labels=Labels("list", {listed["fingerprint"][0]: Line(wrong)}))
    with pytest.raises(DataError, match="found none of them among the runs'"):
        fit_route(*frames, labels=Labels("list", {KEY: Line("old")}))


def test_lines_left_empty_where_the_old_answer_was_right_do_not_better_the_verdict(tmp_path: Path) -> None:
    frames = two_answers(900)
    runs = unjudged(frames)
    write_list(tmp_path / "list.csv", list_to_label(*runs, num=200))
    whole = fit_route(*runs, labels=read_labels(filled(tmp_path / "list.csv", frames)), fit=FitOptions(flip_limit=0.2))
    labels = read_labels(filled(tmp_path / "list.csv", frames, leave_out={"old"}))
    partly = fit_route(*runs, labels=labels, fit=FitOptions(flip_limit=0.2, keep_accuracy=True)).report
    counts = partly.bound.counts
    assert counts.flips == 0 and counts.passed_over > 5 and partly.bound.high > whole.report.bound.high
    assert any(f"{labels.empty} of 200 lines have no label" in note for note in partly.notes)


def test_a_list_that_is_filled_in_from_its_beginning_as_far_as_one_likes_leaves_nothing_out(tmp_path: Path) -> None:
    frames = two_answers(900)
    runs = unjudged(frames)
    listed = list_to_label(*runs, num=200, for_bound=0.5)
    path = tmp_path / "list.csv"
    write_list(path, replace(listed, frame=listed.frame.filter(pl.col("purpose") == "fit")))
    first = read_labels(filled(path, frames))
    write_list(path, replace(listed, frame=listed.frame.filter(pl.col("purpose") == "bound").head(40)))
    begun = read_labels(filled(path, frames))
    rest = {key: Line(None) for key in listed.frame.filter(pl.col("purpose") == "bound")["fingerprint"][40:]}
    labels = Labels("list", {**first.lines, **begun.lines, **rest})
    counts = fit_route(*runs, labels=labels, fit=FitOptions(flip_limit=0.2)).report.bound.counts
    assert counts.passed_over == 0 and 0 < counts.drawn <= 40 and labels.empty == 60


def test_verdicts_that_the_runs_came_with_are_not_taken_for_a_random_part(tmp_path: Path) -> None:
    """Only what the new model has right is judged beforehand, as by a matching text: nothing of it flips."""
    old, new = two_answers(900)
    runs = [frame.with_columns(correct=pl.when(new["correct"]).then(frame["correct"])) for frame in (old, new)]
    write_list(tmp_path / "list.csv", list_to_label(*runs, num=80))
    labels = read_labels(filled(tmp_path / "list.csv", (old, new)))
    found = fit_route(*runs, labels=labels, fit=FitOptions(flip_limit=0.05)).report
    counts = found.bound.counts
    outside, rest = counts.judged - counts.drawn, counts.differ - (counts.judged - counts.drawn)
    assert outside > 10 and 0 < counts.drawn <= 40 and counts.flips == counts.drawn_flips
    assert found.bound.value == pytest.approx(rest * counts.drawn_flips / counts.drawn / counts.num)
    assert found.ways[2].negative_flip_rate == pytest.approx(found.bound.value)


def test_labels_that_were_chosen_by_their_gain_say_nothing_of_the_others(tmp_path: Path) -> None:
    rule = fit_route(*two_answers(900), fit=FitOptions(flip_limit=0.05)).rule
    frames = two_answers(900, seed=5, start=5000)
    runs = unjudged(frames)
    write_list(tmp_path / "list.csv", list_to_label(*runs, num=120, rule=rule))
    labels = read_labels(filled(tmp_path / "list.csv", frames))
    found = check_route(rule, *runs, labels=labels)
    assert found.bound.counts.num == sum(is_apart(each, 0.5) for each in pair_items(*runs).fingerprints)
    assert found.bound.counts.judged == found.bound.counts.drawn <= 60
    assert any("of the part that labels were chosen in for a fit are left out" in note for note in found.notes)
    with pytest.raises(
        DataError, match=r"labels that were chosen for the fit are of items to report on .* give --apart"
    ):
        fit_route(*runs, labels=labels, fit=FitOptions(apart=0.9))


def test_a_list_for_the_bound_alone_is_drawn_from_all_items_and_judges_a_rule_on_all_of_them(tmp_path: Path) -> None:
    rule = fit_route(*two_answers(900), fit=FitOptions(flip_limit=0.05)).rule
    frames = two_answers(900, seed=5, start=5000)
    runs = unjudged(frames)
    listed = list_to_label(*runs, num=150, rule=rule, for_bound=1)
    assert set(listed.frame["purpose"]) == {"bound"} and listed.frame["fingerprint"].is_sorted()
    assert 30 < sum(is_apart(each, 0.5) for each in listed.frame["fingerprint"]) < 120
    write_list(tmp_path / "list.csv", listed)
    counts = check_route(rule, *runs, labels=read_labels(filled(tmp_path / "list.csv", frames))).bound.counts
    assert counts.num == 900 and counts.judged == counts.drawn > 10 and counts.passed_over == 0


def test_a_label_is_of_both_answers_and_is_left_out_where_a_model_now_says_something_else(tmp_path: Path) -> None:
    frames = two_answers(900)
    old, new = unjudged(frames)
    write_list(tmp_path / "list.csv", list_to_label(old, new, num=160))
    labels = read_labels(filled(tmp_path / "list.csv", frames))
    moved = [line.name.split()[-1] for line in labels.lines.values()][:7]
    changed = new.with_columns(output=pl.when(pl.col("id").is_in(moved)).then(pl.lit("else")).otherwise("output"))
    found = list_to_label(old, changed, num=10, labels=labels)
    assert found.judged == 153
    assert "7 labels are of items or answers that the runs do not have, and are left out: " in found.notes[0]
    assert moved[0] in found.notes[0]


def test_the_same_question_under_two_ids_is_labelled_by_what_was_answered_to_each(tmp_path: Path) -> None:
    old, new = unjudged(two_answers(60))
    twice = [pl.concat([each, each.head(1).with_columns(id=pl.lit("again"))]) for each in (old, new)]
    answers = pl.Series(["a", *["tea"] * 59, "b"])
    twice = [twice[0].with_columns(output=answers), twice[1].with_columns(output=pl.lit("c"))]
    listed = list_to_label(*twice, num=61).frame.filter(pl.col("old_answer").is_in(["a", "b"]))
    assert listed["fingerprint"].n_unique() == 2 and listed["fingerprint"].str.head(16).n_unique() == 1
    lines = dict(zip(listed["fingerprint"], [Line("old"), Line("new")], strict=True))
    assert list_to_label(*twice, labels=Labels("list", lines)).judged == 2


@pytest.mark.parametrize(("encoding", "separator"), [("utf-8-sig", ";"), ("utf-16", "\t"), ("cp1252", ";")])
def test_a_list_is_read_as_spreadsheets_write_it_back(tmp_path: Path, encoding: str, separator: str) -> None:
    frames = two_answers(60)
    old, new = unjudged(frames)
    old = old.with_columns(input=pl.col("input") + " é " + "x" * 200_000)
    new = new.with_columns(input=old["input"])
    path = tmp_path / "list.csv"
    write_list(path, list_to_label(old, new, num=8))
    with filled(path, frames).open(newline="", encoding="utf-8") as handle:
        limit = csv.field_size_limit(1 << 20)
        rows = list(csv.reader(handle))
        csv.field_size_limit(limit)
    with path.open("w", newline="", encoding=encoding) as handle:
        csv.writer(handle, delimiter=separator, lineterminator="\r\n").writerows(rows)
    assert len(read_labels(path).words) == 8
