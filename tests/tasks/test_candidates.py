"""Candidate answers: each text once, wordings of one answer together, the reference first; and their file."""

import pytest

from muscle.errors import DataError
from muscle.tasks import get_task
from muscle.tasks.candidates import (
    Candidate,
    Drawn,
    candidates_of,
    read_candidates,
    with_candidates,
    write_candidates,
)
from muscle.tasks.task import Example, check_unit

LABELLED = Example(id="1", context="2 + 2 =", reference=("4",), target=" 4")
UNLABELLED = Example(id="2", context="2 + 2 =", reference=(), target="")


def test_a_text_stands_once_with_everyone_who_gave_it():
    drawn = [Drawn(" 5", "old greedy"), Drawn("5 ", "new sample"), Drawn("5", "new sample"), Drawn("  ", "new greedy")]
    assert candidates_of(UNLABELLED, drawn) == (Candidate("5", 0, ("old greedy", "new sample")),)


def test_what_the_scorer_accepts_is_the_references_answer():
    drawn = [Drawn("five", "old"), Drawn("4.0", "new", correct=True), Drawn("4", "old", correct=True)]
    found = candidates_of(LABELLED, drawn)
    assert [(each.text, each.answer) for each in found] == [("4", 0), ("five", 1), ("4.0", 0)]
    assert found[0].sources == ("reference", "old")
    example = with_candidates(LABELLED, found)
    assert (example.choices, example.answers, example.gold) == (("4", "five", "4.0"), (0, 1, 0), 0)
    assert example.num_answers == 2


def test_wordings_out_of_which_the_task_reads_the_same_are_one_answer():
    drawn = [
        Drawn("so #### 5", "old", correct=False, extracted="5"),
        Drawn("thus #### 5", "new", correct=False, extracted="5"),
        Drawn("dunno", "old", correct=False, extracted="[invalid]"),
        Drawn("no idea", "new", correct=False, extracted="[invalid]"),
    ]
    assert [each.answer for each in candidates_of(UNLABELLED, drawn)] == [0, 0, 1, 2]


def test_the_right_answer_of_an_unlabelled_item_is_not_known():
    found = candidates_of(UNLABELLED, [Drawn("4", "old", correct=False), Drawn("5", "new", correct=False)])
    example = with_candidates(UNLABELLED, found)
    assert (example.gold, example.answers) == (None, (0, 1))


def test_what_is_read_out_of_a_worked_answer_is_no_candidate_but_further_references_are():
    worked = get_task("gsm8k").to_example({"id": "1", "question": "2 + 2?", "answer": "Add.\n#### 4"}, 0)
    assert [each.text for each in candidates_of(worked, [])] == ["Add.\n#### 4"]
    several = Example(id="1", context="a", reference=("big", "large"), target=" big")
    assert [(each.text, each.answer) for each in candidates_of(several, [])] == [("big", 0), ("large", 0)]


def test_a_file_of_candidates_comes_back_and_a_damaged_one_is_named(tmp_path):
    items = {"train/1": candidates_of(LABELLED, [Drawn("five\n\u2028", "old")]), "unlabelled/1": ()}
    write_candidates(tmp_path / "c.jsonl", items)
    assert read_candidates(tmp_path / "c.jsonl") == items
    (tmp_path / "c.jsonl").write_text('{"item": "a", "candidates": [{"text": "b"}]}\n')
    with pytest.raises(DataError, match=r"c\.jsonl, line 1: damaged candidate answers; delete the file to draw"):
        read_candidates(tmp_path / "c.jsonl")


def test_each_unit_belongs_to_its_kind_of_task():
    for unit, name in (("tokens", "piqa"), ("options", "piqa"), ("tokens", "gsm8k"), ("answers", "samsum")):
        check_unit(get_task(name), unit)
