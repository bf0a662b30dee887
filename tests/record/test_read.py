"""A record as an update reads it: whose answer is whose, whatever order, writing or file it comes in."""

import json

import pytest

from muscle.errors import DataError
from muscle.record.read import read_record
from muscle.tasks.recorded import answered_options, likelihoods, teaches
from muscle.tasks.task import Example

ITEM = Example("i", "Which one?", ("b",), target="b", choices=("a", "b", "c"), gold=1)


def record_of(tmp_path, *rows):
    path = tmp_path / "record.jsonl"
    path.write_text(
        "".join(
            json.dumps({"task": "t", "id": "x", "input": "Which one?", "correct": None, **row}) + "\n" for row in rows
        )
    )
    return read_record([str(path)], "t")


def test_likelihoods_follow_their_options_where_a_record_has_them_in_another_order(tmp_path):
    options = {"choices": ["c", "a", "b"], "choice": 2, "logprobs": [-3.0, -1.0, -2.0]}
    record = record_of(tmp_path, options)
    answers = record.answers_to(ITEM)
    assert likelihoods(answers, ITEM.choices) == (-1.0, -2.0, -3.0)
    assert answered_options(record, ITEM) == [1]


@pytest.mark.parametrize("options", [["a", "b", "d"], ["a", "b"], ["a", "b", "c", "d"], ["a", "b", "b"]])
def test_an_answer_among_other_options_is_none_to_this_item(tmp_path, options):
    record = record_of(tmp_path, {"choices": options, "choice": 1, "logprobs": [-1.0] * len(options)})
    assert record.answers_to(ITEM) == () and not teaches(record, ITEM)


def test_an_answer_in_a_file_without_options_is_one_by_its_text(tmp_path):
    record = record_of(tmp_path, {"input": " which  ONE? ", "output": "b"})
    assert answered_options(record, ITEM) == [1] and likelihoods(record.answers_to(ITEM), ITEM.choices) is None


def test_options_that_read_alike_are_taken_in_their_own_order_alone(tmp_path):
    twice = Example("i", "Which one?", ("a",), target="a", choices=("a", "a", "b"), gold=0)
    given = {"choice": 2, "logprobs": [-1.0, -2.0, -3.0]}
    record = record_of(tmp_path, {"choices": ["a", "a", "b"], **given})
    assert likelihoods(record.answers_to(twice), twice.choices) == (-1.0, -2.0, -3.0)
    record = record_of(tmp_path, {"choices": ["b", "a", "a"], **given})
    assert likelihoods(record.answers_to(twice), twice.choices) is None


def test_two_readings_of_one_answer_are_one_answer(tmp_path):
    readings = [{"filter": name, "output": "b", "repeat": repeat} for name in ("strict", "loose") for repeat in (0, 1)]
    assert len(record_of(tmp_path, *readings).answers_to(ITEM)) == 2


def test_several_answers_are_counted_unevenly_and_failed_or_blank_ones_not_at_all(tmp_path):
    answers = [{"output": "b"}, {"output": " "}, {"output": "a", "error": "timeout"}, {"output": "b"}, {"output": "?"}]
    record = record_of(tmp_path, *({"repeat": number, **answer} for number, answer in enumerate(answers)))
    assert len(record.answers_to(ITEM)) == 3 and answered_options(record, ITEM) == [1, 1]


def test_a_log_probability_that_is_an_infinity_to_a_training_is_refused_with_its_item(tmp_path):
    with pytest.raises(DataError, match=r"record\.jsonl: item x: expected log-probabilities in nats, found -1e\+300"):
        record_of(tmp_path, {"choices": ["a", "b", "c"], "choice": 0, "logprobs": [-0.1, -1e300, -2.0]})
