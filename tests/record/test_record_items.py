"""Which items are asked: of several files, with labels and without."""

import json

import pytest

from muscle.errors import DataError
from muscle.record.items import load_items
from muscle.tasks import get_task
from tiny.bases import TASK_YAML, write_choice_rows


@pytest.fixture
def task(tmp_path):
    (tmp_path / "tools.yaml").write_text(TASK_YAML)
    return get_task(tmp_path / "tools.yaml")


def test_items_of_one_file_keep_their_ids(task, tmp_path):
    file = write_choice_rows(tmp_path / "train.jsonl", 3)
    assert [item.id for item in load_items(task, [str(file)])] == ["row-0", "row-1", "row-2"]


def test_items_of_several_files_are_told_apart_by_their_files_names(task, tmp_path):
    train, test = write_choice_rows(tmp_path / "train.jsonl", 2), write_choice_rows(tmp_path / "test.jsonl", 2, start=9)
    found = load_items(task, [str(train), str(test)])
    assert [item.id for item in found] == ["train:row-0", "train:row-1", "test:row-9", "test:row-10"]


def test_an_item_that_stands_in_two_files_is_asked_once_with_its_label(task, tmp_path):
    train, traffic = write_choice_rows(tmp_path / "train.jsonl", 2), write_choice_rows(tmp_path / "traffic.jsonl", 4)
    found = load_items(task, [str(train)], [str(traffic)])
    assert [(item.id, item.gold is None) for item in found] == [
        ("train:row-0", False),
        ("train:row-1", False),
        ("traffic:row-2", True),
        ("traffic:row-3", True),
    ]


def test_unlabelled_items_need_no_label(task, tmp_path):
    file = tmp_path / "traffic.jsonl"
    file.write_text(json.dumps({"id": "x", "goal": "for hay", "a": "fork", "b": "rope"}) + "\n")
    (item,) = load_items(task, [], [str(file)])
    assert (item.gold, item.target, item.choices) == (None, "", ("fork", "rope"))


def test_no_file_and_two_of_one_name_are_refused(task, tmp_path):
    with pytest.raises(DataError, match="--data: expected a file"):
        load_items(task, [])
    (tmp_path / "more").mkdir()
    two = [write_choice_rows(tmp_path / folder / "train.jsonl", 2) for folder in ("", "more")]
    with pytest.raises(DataError, match="two files are called train"):
        load_items(task, [str(file) for file in two])
