"""Fitting on a part, reporting on the other, refusing what was fitted on, and the rule's file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helpers.two_models import two_answers, two_runs
from muscle import CompareOptions
from muscle.errors import ConfigError, DataError
from muscle.predictions.read import read_run
from muscle.predictions.run import Unread
from muscle.route import FitOptions, Prices, apply_route, check_route, fit_route, read_rule, write_rule
from muscle.route.bound import Counts, bound
from muscle.route.items import pair_items
from muscle.route.labelling.draw import is_apart


def test_a_gate_saves_flips_at_no_loss_of_accuracy_on_items_kept_apart() -> None:
    found = fit_route(*two_answers(1500), fit=FitOptions(flip_limit=0.03), prices=Prices(old=0, new=2))
    old, new, rule = found.report.ways
    assert found.rule.kind == "gate" and found.report.kind == "gate"
    assert rule.accuracy > max(old.accuracy, new.accuracy)
    assert rule.negative_flip_rate < 0.5 * new.negative_flip_rate
    assert found.report.flips_saved == pytest.approx(1 - rule.negative_flip_rate / new.negative_flip_rate)
    assert (old.cost, new.cost, rule.cost) == (0, 2000, 2000)


def test_the_report_counts_what_a_count_by_hand_counts() -> None:
    old, new = two_runs(800)
    found = fit_route(old, new, fit=FitOptions(ask_share=0.5))
    items = pair_items(old, new)
    apart = np.array([is_apart(each, 0.5) for each in items.fingerprints])
    served = apply_route(found.rule, old, new).frame.sort("id")
    by_id = dict(zip(served["id"], served["correct"], strict=True))
    right = np.array([by_id[each] for each in items.old.frame["id"]])
    way = found.report.ways[2]
    assert way.accuracy == pytest.approx(right[apart].mean())
    flips = int(((items.old.right == 1) & ~right)[apart].sum())
    assert found.report.bound.counts.flips == flips
    assert way.negative_flip_rate == pytest.approx(flips / apart.sum())
    assert found.report.bound.counts.num == apart.sum()
    assert way.cost == pytest.approx(1000 * (1 + way.asked_share))


def test_what_was_fitted_on_is_refused_and_can_be_left_out() -> None:
    old, new = two_answers(400)
    found = fit_route(old, new)
    fitted = int((~np.array([is_apart(each, 0.5) for each in pair_items(old, new).fingerprints])).sum())
    assert len(found.rule.fingerprints) == fitted == found.report.num_fitted
    with pytest.raises(DataError, match=rf"fitted on {fitted} of these 400 items .*--leave-out-fitted"):
        check_route(found.rule, old, new)
    again = check_route(found.rule, old, new, leave_out_fitted=True)
    assert again.bound == found.report.bound and again.ways == found.report.ways


def test_one_fitted_item_among_fresh_ones_is_refused_in_a_file_of_another_task_name() -> None:
    old, new = two_answers(400)
    found = fit_route(old, new)
    fresh = two_answers(200, seed=9, start=1000)
    assert check_route(found.rule, *fresh).bound.counts.num == 200
    mixed = [pl.concat([a, b]).with_columns(task=pl.lit("other")) for a, b in zip((old, new), fresh, strict=True)]
    with pytest.raises(DataError, match="the rule was fitted on"):
        check_route(found.rule, *mixed)


def test_a_fitted_item_is_refused_where_one_of_the_two_files_has_it_without_its_options() -> None:
    bare = two_answers(400)
    options = pl.concat_list(pl.lit("tea"), pl.lit("coffee"))
    whole = [frame.with_columns(choices=options) for frame in bare]
    for fitted, checked in ((whole, bare), (bare, whole)):
        found = fit_route(*fitted)
        with pytest.raises(DataError, match=r"the rule was fitted on .* of these 400 items"):
            check_route(found.rule, *checked)
    other = [frame.with_columns(choices=options.list.reverse()) for frame in bare]
    assert check_route(fit_route(*whole).rule, *other).bound.counts.num == 400


def test_a_rule_that_knows_items_by_text_cannot_be_checked_on_bare_ids() -> None:
    found = fit_route(*two_answers(400))
    bare = [frame.drop("input") for frame in two_answers(200, seed=9, start=1000)]
    with pytest.raises(DataError, match="cannot be told whether it was fitted on them"):
        check_route(found.rule, *bare)


def test_a_rule_that_knows_some_items_by_text_cannot_be_checked_on_bare_ids_either() -> None:
    old, new = two_answers(400)
    some = [frame.with_columns(input=pl.when(pl.col("id") != "m0").then("input")) for frame in (old, new)]
    rule = fit_route(*some).rule
    assert rule.known_by == "input and id" and check_route(rule, *some, leave_out_fitted=True).bound is not None
    with pytest.raises(DataError, match="by input and id, these runs have theirs by id"):
        check_route(rule, *(frame.drop("input") for frame in (old, new)))


def test_one_flip_is_not_written_as_several() -> None:
    told = [bound(Counts(9, 9, 9, flips), limit=0.01).how for flips in (0, 1, 2)]
    assert told == ["0 flips in 9 items", "1 flip in 9 items", "2 flips in 9 items"]


def test_missing_and_unscored_items_count_as_flips_and_are_named() -> None:
    old, new = two_answers(600)
    found = fit_route(old, new, fit=FitOptions(flip_limit=0.2))
    fresh_old, fresh_new = two_answers(300, seed=9, start=1000)
    before = check_route(found.rule, fresh_old, fresh_new)
    gone = check_route(found.rule, fresh_old, fresh_new[:-6], options=CompareOptions())
    assert gone.bound.counts.missing == 6 and gone.bound.high > before.bound.high
    assert "m1299: only in the old run" in gone.missing or "m1294: only in the old run" in gone.missing
    differ = fresh_old["output"] != fresh_new["output"]
    places = differ.arg_true()[:5]
    blank = fresh_new.with_columns(
        correct=pl.Series([None if i in places.to_list() else v for i, v in enumerate(fresh_new["correct"])])
    )
    unscored = check_route(found.rule, fresh_old, blank)
    assert unscored.bound.counts.unknown > 0 and unscored.bound.high > before.bound.high
    assert any("have no verdict and are taken for flips" in note for note in unscored.notes)


def test_what_is_missing_counts_wherever_it_falls_when_fitted_items_are_left_out() -> None:
    old, new = two_answers(400)
    rule = fit_route(old, new, fit=FitOptions(flip_limit=0.2)).rule
    fresh_old, fresh_new = two_answers(300, seed=9, start=1000)
    joined = pl.concat([old, fresh_old]), pl.concat([new, fresh_new[:-14]])
    assert check_route(rule, *joined, leave_out_fitted=True).bound.counts.missing == 14


def test_what_could_not_be_read_counts_beside_answers_that_failed() -> None:
    """3 answers failed, 2 items lack a new answer, and of the new run 5 lines could not be read: 3 + 2 + 3."""
    rule = fit_route(*two_answers(400), fit=FitOptions(flip_limit=0.2)).rule
    old, new = two_answers(300, seed=9, start=1000)
    failed = old.with_columns(error=pl.when(pl.col("id").is_in(["m1000", "m1001", "m1002"])).then(pl.lit("timeout")))
    run = replace(read_run(new[:-2]), unread=(Unread("5 lines", "new.jsonl", 5),))
    assert check_route(rule, failed, run).bound.counts.missing == 8
    assert check_route(rule, failed, replace(run, unread=())).bound.counts.missing == 5


def test_items_without_likelihoods_among_others_make_a_gate_and_are_counted() -> None:
    old, new = two_runs(200)
    some = new.with_columns(logprobs=pl.when(pl.int_range(200) >= 20).then("logprobs"))
    found = fit_route(old, some)
    assert found.rule.kind == "gate"
    assert any("20 of 200 items lack likelihoods of the options" in note for note in found.report.notes)
    assert fit_route(old, new).rule.kind == "stack"


def test_numbers_too_large_for_a_spread_are_refused_by_their_name() -> None:
    old, new = two_answers(200)
    huge = new.with_columns(pl.col("score.confidence") * 1e300)
    with pytest.raises(DataError, match=r"new_confidence \(the score 'confidence'\): expected numbers with a mean"):
        fit_route(old, huge)


def test_a_bound_just_above_the_limit_does_not_read_as_if_it_were_the_limit() -> None:
    report = fit_route(*two_answers(400)).report
    one_short = bound(Counts(298, 0, 0, 0), limit=0.01)
    assert "at most a little more than 1% (95%" in replace(report, bound=one_short).headline
    assert "at most 0.997% (95%" in replace(report, bound=bound(Counts(299, 0, 0, 0), limit=0.01)).headline
    unjudged = replace(report, bound=bound(Counts(400, 5, 0, 0), limit=0.01))
    assert "old right and answer wrong in an unknown share of the items" in unjudged.headline


def test_verdicts_follow_the_bound() -> None:
    found = fit_route(*two_answers(800), fit=FitOptions(flip_limit=0.05))
    fresh = two_answers(1000, seed=9, start=5000)
    assert check_route(found.rule.model_copy(update={"flip_limit": 0.5}), *fresh).verdict == "pass"
    always_new = found.rule.model_copy(update={"kappa": 1.0, "gate": replace_intercept(found.rule.gate, -100)})
    assert check_route(always_new, *fresh).verdict == "block"
    assert check_route(found.rule.model_copy(update={"flip_limit": 0.0}), *fresh).verdict in ("block", "cannot_tell")


def replace_intercept(gate, intercept):
    return gate.model_copy(update={"intercept": intercept, "features": (), "slices": ()})


def test_an_infinite_kappa_keeps_every_recorded_answer_and_never_flips() -> None:
    old, new = two_answers(300)
    rule = fit_route(old, new).rule.model_copy(update={"kappa": "infinite", "fitted_on": ()})
    served = apply_route(rule, old, new).frame.sort("id")
    assert served["output"].to_list() == old.sort("id")["output"].to_list()
    report = check_route(rule, old, new)
    assert report.bound.counts.flips == 0 and report.ways[2].accuracy == pytest.approx(old["correct"].mean())


def test_a_rule_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    fits = [
        fit_route(*two_answers(400), fit=FitOptions(slices=("course",), ask_share=0.5)),
        fit_route(*two_runs(400)),
        fit_route(*two_runs(400), fit=FitOptions(kind="mixture", share=0.3)),
    ]
    for number, found in enumerate(fits):
        path = tmp_path / f"rule{number}.yaml"
        write_rule(path, found.rule)
        assert read_rule(path) == found.rule
        assert len(path.read_text().split("fitted_on:")[0].splitlines()) < 60, "small enough to read"
    assert [each.rule.kind for each in fits] == ["gate", "stack", "mixture"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("kind: gate", "kind: stack"), "kind: expected all that a stack is made of"),
        (("version: 1", "version: 2"), "version: expected 1, found 2"),
        (("flip_limit:", "flip_limits:"), "unknown key; did you mean 'flip_limit'"),
        (("fitted_on:\n- ", "fitted_on:\n- z"), "expected fingerprints of 16 hex digits"),
        (("    weight:", "    weights: 1\n    weight:"), r"gate\.features\.0\.weights"),
        (("    weight: ", "    weight: .nan #"), r"gate\.features\.0\.weight.*finite"),
        (("    spread: ", "    spread: 0.0 #"), "expected a spread above 0"),
    ],
)
def test_a_rule_that_was_changed_is_refused_with_its_key(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "rule.yaml"
    write_rule(path, fit_route(*two_answers(300)).rule)
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(ConfigError, match=message):
        read_rule(path)


def test_a_rule_that_was_cut_off_no_longer_knows_what_it_was_fitted_on_and_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rule.yaml"
    write_rule(path, fit_route(*two_answers(400)).rule)
    lines = path.read_text().splitlines()
    begin = lines.index("fitted_on:")
    count = lines.index(next(line for line in lines if line.startswith("num_fitted_on:")))
    for kept in (lines[: begin + 9], lines[:begin], [*lines[:count], *lines[count + 1 : begin]]):
        path.write_text("\n".join(kept) + "\n")
        with pytest.raises(ConfigError, match=r"fitted_on: expected the fingerprints of all items .* cut off\?"):
            read_rule(path)


def test_the_items_that_are_refused_are_named_and_the_others_counted() -> None:
    frames = two_answers(400)
    rule = fit_route(*frames).rule
    with pytest.raises(DataError, match=rf"\(meals m\d+(, meals m\d+){{4}} and {len(rule.fingerprints) - 5} more\)"):
        check_route(rule, *frames)


def test_too_few_judged_items_are_refused() -> None:
    old, new = two_answers(30)
    with pytest.raises(DataError, match="expected at least 20 judged items to fit on"):
        fit_route(old, new)
    with pytest.raises(ConfigError, match="apart: expected a share"):
        FitOptions(apart=1.0)


def test_asking_needs_something_that_tells_where_the_new_model_is_unsure() -> None:
    old, new = (frame.drop("score.confidence") for frame in two_answers(300))
    with pytest.raises(DataError, match="expected likelihoods, repeated answers or a score 'confidence'"):
        fit_route(old, new, fit=FitOptions(ask_share=0.25))


def test_answers_alone_are_enough_and_agreement_of_repeats_is_used() -> None:
    generator = np.random.default_rng(0)
    old, new = (frame.drop("score.confidence") for frame in two_answers(600))
    confidence = two_answers(600)[1]["score.confidence"].to_numpy()
    again = [new.with_columns(repeat=pl.lit(0))]
    for repeat in (1, 2, 3):
        kept = generator.random(600) < confidence
        other = pl.Series("output", np.where(kept, new["output"], "water"))
        again.append(new.with_columns(other, repeat=pl.lit(repeat)))
    found = fit_route(old, pl.concat(again), fit=FitOptions(flip_limit=0.05))
    assert {"new_agreement"} <= {each.of for each in found.rule.gate.features}
    assert found.report.ways[1].cost == 4000, "four calls an item"
    assert any("4 calls of the new model" in note for note in found.report.notes)
    assert fit_route(old, new).rule.gate.features, "the length alone is left"


def test_asked_shares_make_a_curve_from_the_new_model_to_both() -> None:
    curve = fit_route(*two_runs(800)).report.by_asked
    assert [round(point.asked_share, 1) for point in curve] == [0, 0, 0.1, 0.2, 0.5, 1] or curve[-1].asked_share == 1
    assert curve[0].asked_share == 0 and curve[0].gain == 0
    assert curve[0].flips > curve[-1].flips
    assert all(point.cost == pytest.approx(1000 * (1 + point.asked_share)) for point in curve)


def test_shares_to_ask_that_come_to_the_same_are_one_point() -> None:
    old, new = two_answers(400)
    sure = fit_route(old, new.with_columns(pl.lit(1.0).alias("score.confidence"))).report
    assert [point.asked_share for point in sure.by_asked] == [0.0, 1.0]


def test_no_item_kept_apart_gives_a_rule_and_no_bound() -> None:
    found = fit_route(*two_runs(200), fit=FitOptions(apart=0))
    assert found.report.bound is None and found.report.verdict == "cannot_tell"
    assert len(found.rule.fingerprints) == 200
    assert replace(found.report, notes=()).headline == "cannot tell: no item was kept apart from the fit"


@pytest.mark.parametrize("frames", [two_answers(2000), two_runs(2000)], ids=["gate", "stack"])
def test_accuracy_can_be_kept_in_place_of_a_limit(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    kept = fit_route(*frames, fit=FitOptions(keep_accuracy=True)).report
    limited = fit_route(*frames, fit=FitOptions(flip_limit=0.08)).report
    assert kept.ways[2].accuracy > kept.ways[1].accuracy - 0.02
    assert kept.ways[2].negative_flip_rate < limited.ways[2].negative_flip_rate
