"""One question at a time: the same answers as over whole runs, and what is missing or impossible refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from helpers.two_models import two_answers, two_runs
from muscle.errors import DataError
from muscle.route import FitOptions, Question, Route, Said, apply_route, fit_route, load_route, write_rule


def said(row: dict[str, object]) -> Said:
    return Said(
        text=row["output"],
        option=row.get("choice"),
        logprobs=row.get("logprobs"),
        confidence=row.get("score.confidence"),
    )


def question(row: dict[str, object]) -> Question:
    slices = {"course": row["slice.course"]} if "slice.course" in row else {}
    return Question(row["input"], row.get("choices") or (), slices)


@pytest.mark.parametrize(
    ("runs", "fit"),
    [
        (two_answers, FitOptions(flip_limit=0.05)),
        (two_answers, FitOptions(flip_limit=0.05, slices=("course", "/bowl 1/", "old_answer"), ask_share=0.4)),
        (two_runs, FitOptions(flip_limit=0.05)),
        (two_runs, FitOptions(flip_limit=0.05, ask_share=0.3)),
        (two_runs, FitOptions(kind="mixture", share=0.4)),
    ],
    ids=["gate", "gate, slices, a part asked", "stack", "stack, a part asked", "mixture"],
)
def test_it_answers_as_apply_does(tmp_path: Path, runs, fit: FitOptions) -> None:
    rule = fit_route(*runs(400), fit=fit).rule
    write_rule(tmp_path / "rule.yaml", rule)
    route = load_route(str(tmp_path / "rule.yaml"))
    old, new = runs(120, seed=4, start=3000)
    applied = apply_route(rule, old, new)
    served = {row["id"]: (row["slice.route"], row["output"], row["choice"]) for row in applied.frame.to_dicts()}
    asked, whose = [], set()
    for a, b in zip(old.to_dicts(), new.to_dicts(), strict=True):
        asked.append(route.asks_old(question(b), said(b)))
        found = route.choose(question(b), old=said(a), new=said(b))
        assert (found.whose, found.text, found.option) == served[a["id"]]
        whose.add(found.whose)
        if not asked[-1]:
            assert route.choose(question(b), old=None, new=said(b)) == replace(found, whose="new")
    assert sum(asked) / len(asked) == pytest.approx(applied.asked_share)
    assert {"old", "new"} <= whose or fit.kind == "mixture"


def test_where_nothing_is_recorded_the_new_answer_is_given_and_said_so() -> None:
    route = Route(fit_route(*two_answers(400), fit=FitOptions(flip_limit=0.05)).rule)
    found = route.choose(Question("Who?"), old=None, new=Said(text="me"))
    assert (found.whose, found.text) == ("new, nothing recorded", "me")


def test_what_the_rule_goes_by_and_is_not_given_is_refused() -> None:
    stack = Route(fit_route(*two_runs(300)).rule)
    whole = Said(option=0, logprobs=[-0.1, -3.0])
    options = Question("Who?", ["me", "you"])
    assert stack.choose(options, old=whole, new=whole).whose == "both agree"
    for old, message in (
        (Said(option=0), "old answer: expected log-likelihoods of the options, which a stack goes by, found none"),
        (Said(option=0, logprobs=[-0.1]), "old answer: expected the log-likelihood of each of 2 options, found 1"),
        (Said(option=2, logprobs=[-0.1, -3.0]), "old answer: expected the place of one of 2 options, from 0, found 2"),
        (Said(option=0, logprobs=[-0.1, float("nan")]), "expected finite log-likelihoods, found nan"),
    ):
        with pytest.raises(DataError, match=message):
            stack.choose(options, old=old, new=whole)
    gate = Route(fit_route(*two_answers(400), fit=FitOptions(slices=("course",))).rule)
    with pytest.raises(DataError, match=r"slice 'course': expected a slice of the records, found none"):
        gate.choose(Question("Who?"), old=Said(text="a"), new=Said(text="b"))


def test_a_blank_old_answer_is_another_one_and_two_blanks_are_not_the_same() -> None:
    gate = Route(fit_route(*two_answers(400), fit=FitOptions(flip_limit=0.05)).rule)
    for old, new in ((" ", "b"), ("", " ")):
        assert gate.choose(Question("Who?"), old=Said(text=old), new=Said(text=new)).whose != "both agree"
