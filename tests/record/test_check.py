"""What a record is good for, counted by hand."""

import io
import json

import polars as pl
import pytest
from rich.console import Console

from helpers.command_line import muscle, write
from muscle.predictions.read import read_run
from muscle.record.check import check_record
from muscle.record.shown import print_check, uses


def checked(rows, **calls):
    run = read_run(pl.DataFrame(rows), name="old")
    (task,) = check_record(run).tasks
    return task


def rows(*answers, **more):
    """A row for each text of answers: item, its answers' verdicts as 1, 0 and - (none came)."""
    found = []
    for item, verdicts in enumerate(answers):
        for repeat, verdict in enumerate(verdicts):
            came = verdict in "01"
            found.append(
                {
                    "id": f"i{item}",
                    "input": f"question {item}",
                    "repeat": repeat,
                    "output": ("yes" if verdict == "1" else "no") if came else None,
                    "correct": verdict == "1" if came else None,
                    "error": None if came else "call failed: HTTP 500",
                    **more,
                }
            )
    return found


def test_inputs_answers_and_what_did_not_come_are_counted():
    task = checked(rows("11", "1-", "--", "01"))
    assert (task.inputs, task.answers, task.failed, task.answered, task.repeated) == (4, 8, 3, 3, 2)
    assert task.repeats == {0: 1, 1: 1, 2: 2}
    assert (task.judged, task.accuracy) == (5, pytest.approx(4 / 5))


def test_an_id_that_stands_for_two_texts_is_two_items():
    two = [{**row, "input": f"question {number}"} for number, row in enumerate(rows("10"))]
    task = checked([{key: value for key, value in row.items() if key != "repeat"} for row in two])
    assert (task.inputs, task.repeats, task.floor.value, task.differ.value) == (2, {1: 2}, None, None)


def test_a_row_without_answer_verdict_and_score_is_empty_and_no_answer():
    bare = {"output": None, "correct": None}
    task = checked([{**row, **(bare if number < 2 else {})} for number, row in enumerate(rows("1", "1", "1"))])
    assert (task.inputs, task.answered, task.failed, task.empty) == (3, 1, 2, 2)


def test_a_record_of_failures_alone_is_good_for_nothing_and_one_of_scores_is_compared_by_them():
    assert list(uses(checked(rows("-", "-")))) == ["nothing: no answer came"]
    scored = [{**row, "correct": None, "score.rouge": 0.3} for row in rows("1", "1")]
    assert "compare, gate: by a score (rouge)" in uses(checked(scored))


def test_a_stack_is_promised_where_every_input_has_likelihoods_alone():
    given = [{**row, "choices": ["yes", "no"], "choice": 0, "logprobs": [-0.1, -2.0]} for row in rows("1", "1")]
    assert "route: stack or gate" in uses(checked(given))
    given[0]["logprobs"] = None
    assert any(line.startswith("route: gate; a stack takes") for line in uses(checked(given)))


def test_answers_that_name_no_option_are_nothing_to_learn_from():
    given = [{**row, "choices": ["yes", "no"], "choice": None} for row in rows("00", "00")]
    task = checked(given)
    assert (task.no_option, task.learnt_from, task.repeated, task.answered) == (4, 0, 0, 2)
    assert "align: no; no answer names an option: see whether the prompt names them, or take --ask options" in uses(
        task
    )
    given[0]["choice"] = 1
    task = checked(given)
    assert (task.no_option, task.learnt_from, task.repeated) == (3, 1, 0)
    assert any(line.startswith("align: from one answer an input, of 1 inputs") for line in uses(task))


def test_the_floor_is_that_of_items_with_two_answers_at_least():
    # p (1 - p) K / (K - 1): 3 answers with one right 1/3, two answers apart 1/2, alike 0; a single one says nothing.
    task = checked(rows("100", "10", "11", "1"))
    assert task.floor.value == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)
    # Two draws of three answers, two alike: 1 - 2 / 6.
    assert task.differ.value == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_without_labels_it_is_told_how_often_answers_differ():
    unjudged = [{**row, "correct": None} for row in rows("10", "11")]
    task = checked(unjudged)
    assert task.floor.value is None and task.differ.value == pytest.approx(0.5)
    assert next(iter(uses(task))).startswith("compare, gate: no answer is judged")


def test_one_answer_each_leaves_the_floor_unknown_and_says_what_to_do():
    task = checked(rows("1", "0"))
    assert task.floor.value is None
    assert "record it with --repeats 3" in list(uses(task))[-1]


def test_options_and_their_likelihoods_are_counted():
    choices = {"choices": ["tea", "milk"], "task": "meals"}
    given = [
        {"id": "a", "input": "1", "output": "tea", "choice": 0, "logprobs": [-0.1, -2.0], "correct": True, **choices},
        {"id": "b", "input": "2", "output": "tea", "choice": 0, "logprobs": None, "correct": False, **choices},
        {"id": "c", "input": "3", "output": "soup", "choice": None, "logprobs": None, "correct": False, **choices},
    ]
    task = checked(given)
    assert (task.options, task.no_option, task.likelihoods) == ({"tea": 2}, 1, 1)
    assert "align: from log-probabilities of the options, of 1 inputs" in list(uses(task))


def test_blank_answers_are_told_apart_from_failed_ones():
    found = checked([*rows("1-"), {**rows("-")[0], "id": "x", "input": "x", "error": "no answer"}])
    assert (found.failed, found.empty) == (2, 1)


def test_a_file_of_another_program_is_checked_too(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("question,expected,prediction\nWhat?,tea,tea\nWhich?,milk,tea\n")
    done = muscle("record", "--check", file, "--json", "-")
    assert done.code == 0, done.err
    (task,) = json.loads(done.out)["tasks"]
    assert (task["inputs"], task["accuracy"], task["failed"]) == (2, 0.5, 0)


def test_dates_and_models_come_from_the_calls(tmp_path):
    call = {"asked_with": "x", "way": "chat"}
    given = [
        {**row, "muscle_call": {**call, "model": f"m-{place % 2}", "asked": f"2026-01-0{9 - place}T00:00:00Z"}}
        for place, row in enumerate(rows("1", "1", "0"))
    ]
    told = json.loads(muscle("record", "--check", write(tmp_path / "old.jsonl", given), "--json", "-").out)
    assert told["models"] == {"m-0": 2, "m-1": 1}
    assert (told["first"], told["last"]) == ("2026-01-07T00:00:00Z", "2026-01-09T00:00:00Z")


def test_it_is_shown_in_eighty_columns():
    run = read_run(pl.DataFrame(rows("11", "10", "1-", task="a rather long name of a task")), name="old")
    console = Console(width=80, record=True, file=io.StringIO())
    print_check(check_record(run), console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "2 x 2" in text and "noise floor: it breaks of itself" in text
