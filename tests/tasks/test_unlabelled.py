"""Inputs without labels: in the task's own columns, no label needed or read, nothing that is tested on."""

import dataclasses

import polars as pl
import pytest

from helpers.json_lines import write_lines
from muscle.errors import DataError
from muscle.tasks import get_task, load_examples, load_task_data, load_unlabelled
from muscle.tasks.sources import load_rows
from tiny.bases import GENERATION_YAML, TASK_YAML

PIQA = {"goal": "Open a jar", "sol1": "Twist.", "sol2": "Sing."}
HELLASWAG = {"activity_label": "Cooking", "ctx_a": "She stirs.", "ctx_b": "then", "endings": ["a b", "c", "d", "e"]}
TOOLS = {"id": "t1", "goal": "for soup", "a": "bowl", "b": "fork"}


@pytest.fixture
def tools(tmp_path):
    (tmp_path / "tools.yaml").write_text(TASK_YAML)
    return get_task(tmp_path / "tools.yaml")


@pytest.mark.parametrize("name", ["piqa", "hellaswag", "tools"])
def test_a_question_is_the_example_without_its_answer(tools, name):
    task, row = {
        "piqa": (get_task("piqa"), PIQA),
        "hellaswag": (get_task("hellaswag"), HELLASWAG),
        "tools": (tools, TOOLS),
    }[name]
    assert task.to_question is not None
    question, example = task.to_question(row, 3), task.to_example({**row, "label": 1}, 3)
    assert (question.gold, question.reference, question.target) == (None, (), "")
    assert question.answered(1) == example
    # A label that fits nothing is not looked at.
    assert task.to_question({**row, "label": "?"}, 3) == question


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_kind_of_file_does(tools, tmp_path, suffix):
    path = tmp_path / f"more{suffix}"
    rows = [TOOLS, {**TOOLS, "id": "t2", "goal": "for hay"}]
    frame = pl.DataFrame(rows)
    if suffix == ".jsonl":
        write_lines(path, *rows)
    elif suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    assert [example.context for example in load_unlabelled(tools, path, known=())] == [
        "for soup Use the",
        "for hay Use the",
    ]


def test_what_is_known_and_what_stands_twice_is_left_out_and_counted(tools, tmp_path, caplog):
    known = load_examples(tools, write_lines(tmp_path / "known.jsonl", {**TOOLS, "label": 0}))
    again = [{**TOOLS, "id": "x"}, {**TOOLS, "id": "y", "goal": "for  Hay"}, {**TOOLS, "id": "z", "goal": "for hay"}]
    found = load_unlabelled(tools, write_lines(tmp_path / "more.jsonl", *again), known=known)
    assert [example.id for example in found] == ["y"]
    assert "2 of 3 unlabelled inputs stand in the other data too, or twice; they are left out" in caplog.text
    with pytest.raises(DataError, match=r"known\.jsonl: expected inputs of its own, found none"):
        load_unlabelled(tools, tmp_path / "known.jsonl", known=known)


def test_a_missing_column_is_named_with_its_place(tools, tmp_path):
    path = write_lines(tmp_path / "more.jsonl", TOOLS, {"id": "t2", "goal": "for hay", "a": "bowl"})
    with pytest.raises(DataError, match=r"more\.jsonl, line 2, choices\.1: the template cannot be filled in: 'b'"):
        load_unlabelled(tools, path, known=())
    with pytest.raises(DataError, match=r"line 1, field 'sol2': expected a column of this name"):
        load_unlabelled(get_task("piqa"), write_lines(tmp_path / "p.jsonl", {"goal": "a", "sol1": "b"}), known=())


def test_a_task_whose_answers_are_generated_has_questions_too(tmp_path):
    (tmp_path / "write.yaml").write_text(GENERATION_YAML)
    given = {
        "gsm8k": ({"question": "1 + 1?"}, {"answer": "One.\n#### 2"}),
        "samsum": ({"dialogue": "A: Hi\r\nB: Ho"}, {"summary": "They greet."}),
        str(tmp_path / "write.yaml"): ({"id": "1", "goal": "for soup"}, {"a": "bowl", "b": "fork", "label": 0}),
    }
    for name, (row, answer) in given.items():
        task = get_task(name)
        (question,) = load_unlabelled(task, write_lines(tmp_path / "more.jsonl", row), known=())
        example = task.to_example({**row, **answer}, 0)
        assert (question.context, question.id) == (example.context, example.id)
        assert (question.gold, question.reference, question.target, question.choices) == (None, (), "", ())


def test_a_task_that_reads_no_row_without_its_answer_refuses_one(tools, tmp_path):
    path = write_lines(tmp_path / "more.jsonl", TOOLS)
    closed = dataclasses.replace(tools, to_question=None)
    with pytest.raises(DataError, match=r"line 1: task tools doesn't say how a row without its answer is read"):
        load_unlabelled(closed, path, known=())
    assert load_rows(path)


def test_a_tasks_data_holds_them_apart_with_a_fingerprint_of_their_own(tools, tmp_path):
    parts = {}
    for name, start, count in (("train", 0, 20), ("test", 100, 5), ("more", 200, 7)):
        rows = [{**TOOLS, "id": str(n), "goal": f"for soup w{n}", "label": 0} for n in range(start, start + count)]
        parts[name] = write_lines(tmp_path / f"{name}.jsonl", *rows)
    without = load_task_data(tools, train=parts["train"], test=parts["test"])
    data = load_task_data(tools, train=parts["train"], test=parts["test"], unlabelled=parts["more"])
    assert (len(data.unlabelled), len(without.unlabelled)) == (7, 0)
    assert data.fingerprints["train"] == without.fingerprints["train"]
    assert data.fingerprints["unlabelled"] != without.fingerprints["unlabelled"]


def test_an_input_that_is_tested_on_in_another_order_of_its_options_is_left_out(tools, tmp_path):
    test = {**TOOLS, "label": 0}
    write_lines(tmp_path / "test.jsonl", test)
    write_lines(tmp_path / "train.jsonl", *({**test, "id": f"r{n}", "goal": f"for {n}"} for n in range(9)))
    more = ({**TOOLS, "id": "s", "a": "Fork", "b": "bowl"}, {**TOOLS, "id": "u", "b": "rope"})
    write_lines(tmp_path / "more.jsonl", *more)
    data = load_task_data(
        tools, train=tmp_path / "train.jsonl", test=tmp_path / "test.jsonl", unlabelled=tmp_path / "more.jsonl"
    )
    assert [example.id for example in data.unlabelled] == ["u"]
    write_lines(tmp_path / "test.jsonl", {**test, "a": "fork", "b": "bowl", "goal": "for 3"})
    assert load_task_data(tools, train=tmp_path / "train.jsonl", test=tmp_path / "test.jsonl").num_leaked == 1
