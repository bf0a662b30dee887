"""A record in the old teacher's place: the formula by hand, and whole trainings on the tiny pair."""

import json
from dataclasses import replace

import pytest
import torch

from helpers.command_line import muscle
from muscle.evaluation.sampling import Sampling
from muscle.record.local import LocalModel, record_local
from muscle.record.log import RecordLog
from muscle.record.read import read_record
from muscle.tasks.recorded import teaches
from muscle.training.options.data import OptionData
from muscle.training.options.recorded import answered, read_recorded
from tiny.pair import aligned, tiny_pair, trained, weights

EVEN = torch.zeros(1, 4)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return tiny_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def lines(pair):
    """The lines of a record of the old model's answers to all items, as `muscle record` writes them."""
    base, adapter = pair.side("old")
    model = LocalModel("old", base, adapter, 16, Sampling())
    log = RecordLog(pair.root / "whole.jsonl", model.identity(pair.task))
    record_local(model, pair.task, [*pair.split.train, *pair.split.validation, *pair.further], log)
    # Train and test files each count their own ids; here they are unique.
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def record_of(tmp_path, lines, task="tools"):
    path = tmp_path / "record.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_record([str(path)], task)


def answers_alone(lines, repeats=1):
    kept = ({key: value for key, value in line.items() if key != "logprobs"} for line in lines)
    return [{**line, "repeat": repeat} for line in kept for repeat in range(repeats)]


def probabilities(counts, new, trust):
    return answered(torch.tensor([counts]), new, trust).exp()[0].tolist()


def test_an_answer_is_believed_as_far_as_it_is_trusted_and_the_new_model_has_the_rest():
    new = torch.tensor([[0.1, 0.2, 0.6, 0.1]]).log()
    assert probabilities([1.0, 0.0, 0.0, 0.0], new, 0.8) == pytest.approx([0.8, 0.2 * 2 / 9, 0.2 * 6 / 9, 0.2 / 9])


def test_several_answers_share_the_trust_by_their_counts():
    assert probabilities([3.0, 1.0, 0.0, 0.0], EVEN, 0.9) == pytest.approx([0.675, 0.225, 0.05, 0.05])


def test_where_all_options_were_answered_nothing_is_left_for_others():
    assert probabilities([3.0, 1.0], torch.zeros(1, 2), 0.5) == pytest.approx([0.75, 0.25])


def test_what_was_answered_stays_the_likeliest_however_sure_the_new_model_is_of_another():
    new = torch.tensor([[0.0, 30.0, 0.0]])
    found = probabilities([1.0, 0.0, 0.0], new, 0.2)
    assert found[0] > found[1] and found[:2] == pytest.approx([0.5, 0.5], abs=1e-3)
    found = probabilities([2.0, 0.0, 1.0], new, 0.2)  # t = 1 / (2/3 + 1)
    assert found == pytest.approx([0.4, 0.4, 0.2], abs=1e-3) and found[0] > found[1]


def test_an_option_that_an_item_does_not_have_stays_out():
    new = torch.tensor([[0.0, 0.0, 0.0, -torch.inf]])
    found = answered(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), new, 0.5)
    assert found.exp().tolist() == [pytest.approx([0.5, 0.25, 0.25, 0.0])]


def test_a_far_too_sure_new_model_leaves_every_option_a_number():
    found = answered(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.0, -500.0, -900.0]]), 0.7)
    assert bool(found.isfinite().all()) and found.exp().sum() == pytest.approx(1.0)


def test_trust_is_how_often_the_right_option_is_among_the_answers(pair, lines, tmp_path):
    data = OptionData(pair.task, pair.split.train, pair.split.validation)
    recorded = read_recorded(record_of(tmp_path, answers_alone(lines)), data)
    held = {example.context for example in pair.split.validation}
    right = sum(line["correct"] for line in lines if line["input"] in held)
    assert recorded.trust() == (right + 1) / (len(held) + 2)
    assert recorded.needs_new and recorded.counts.sum(-1).tolist() == [1.0] * len(data.all)


def test_a_record_with_likelihoods_gives_the_adapter_that_the_old_model_gives(pair, lines, tmp_path):
    method = {"method": "options", "unlabelled": "x", "unlabelled_epochs": 2}
    trained(pair, tmp_path / "model", further=pair.further, **method)
    old = (record_of(tmp_path, lines), None)
    result, told = aligned(pair, tmp_path / "record", further=pair.further, old=old, **method)
    assert told["old_record"] == {"items_with_likelihoods": 100}
    expected, found = weights(tmp_path / "model"), weights(tmp_path / "record")
    size = max(value.abs().max().item() for value in expected.values())
    assert max((expected[key] - found[key]).abs().max().item() for key in expected) < 1e-4 * size
    written = json.loads((tmp_path / "model" / "training.json").read_text())
    assert told["temperatures"] == {
        key: pytest.approx(value, rel=1e-3) for key, value in written["temperatures"].items()
    }
    assert result.validation_losses == pytest.approx(written["validation_losses"], rel=1e-4)


@pytest.mark.parametrize("method", ["options", "relabel", "ldi", "pct"])
def test_every_method_on_options_takes_answers_alone(pair, lines, tmp_path, method):
    old = (record_of(tmp_path, answers_alone(lines)), None)
    _, told = aligned(pair, tmp_path / "out", old=old, method=method)
    assert told["old_record"]["items_with_answers_alone"] == 60
    assert 0 < told["old_record"]["trust"] < 1


def test_relabelling_by_a_record_is_relabelling_by_its_answers(pair, lines, tmp_path):
    trained(pair, tmp_path / "model", method="relabel")
    old = (record_of(tmp_path, answers_alone(lines)), None)
    trained(pair, tmp_path / "record", old=old, method="relabel")
    expected, found = weights(tmp_path / "model"), weights(tmp_path / "record")
    size = max(value.abs().max().item() for value in expected.values())
    assert max((expected[key] - found[key]).abs().max().item() for key in expected) < 1e-4 * size


def test_items_are_found_by_their_text_whatever_their_ids_and_by_the_input_alone_without_options(pair, lines, tmp_path):
    bare = [
        {"id": str(n), "input": line["input"].upper(), "output": line["output"], "correct": None}
        for n, line in enumerate(lines)
    ]
    record = record_of(tmp_path, bare)
    whole = record_of(tmp_path, lines)
    for example in pair.split.train:
        (found,), (expected,) = record.answers_to(example), whole.answers_to(example)
        assert found.option == expected.option and teaches(record, example)


def test_one_input_with_two_lists_of_options_is_not_found_by_its_input_alone(pair, lines, tmp_path):
    first = pair.split.train[0]
    other = {**lines[0], "id": "other", "input": first.context, "choices": ["a", "b"], "choice": 0, "output": "a"}
    other.pop("input_hash")
    record = record_of(tmp_path, [other])
    assert teaches(record, replace(first, choices=("a", "b")))
    two = record_of(tmp_path, [other, {**other, "id": "third", "choices": ["a", "c"]}])
    assert not teaches(two, first)


def test_what_failed_and_what_names_no_option_is_nothing(pair, lines, tmp_path):
    first, second = pair.split.train[:2]
    by_input = {line["input"]: line for line in answers_alone(lines)}
    failed = {**by_input[first.context], "error": "call failed: HTTP 500", "output": None, "choice": None}
    vague = {**by_input[second.context], "output": "no idea", "choice": None}
    record = record_of(tmp_path, [failed, vague])
    assert not teaches(record, first) and not teaches(record, second)
    assert record.answers_to(first) == () and len(record.answers_to(second)) == 1


def test_the_command_that_made_the_record_says_the_same_of_it(pair, lines, tmp_path):
    record_of(tmp_path, lines)
    done = muscle("record", "--check", tmp_path / "record.jsonl", "--json", "-")
    (task,) = json.loads(done.out)["tasks"]
    assert task["likelihoods"] == task["inputs"] == 100
