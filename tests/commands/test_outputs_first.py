"""What cannot be written is known before the work: before a base is read, data is loaded, or a run is compared."""

import json

import pytest

from command_line import muscle
from muscle.errors import OutputError
from muscle.files import check_can_write

NOWHERE = "./no-such-base"


@pytest.fixture
def taken(tmp_path):
    """A file where a folder would have to be."""
    (tmp_path / "taken").write_text("mine")
    return tmp_path / "taken"


@pytest.mark.parametrize(
    "words",
    [
        ("finetune", "--base", NOWHERE, "--task", "piqa"),
        ("align", "--old", f"{NOWHERE}+a", "--new", f"{NOWHERE}+b", "--task", "piqa"),
        ("evaluate", "--model", NOWHERE, "--task", "piqa"),
        ("sweep", "no.yaml"),
        ("demo",),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_folder_is_refused_before_the_work(taken, words, inside):
    out = taken / "run" if inside else taken
    done = muscle(*words, "--out", out)
    assert done.code == 3 and f"{out}: cannot be written: " in done.err
    assert taken.read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "old.jsonl", "new.jsonl", "--html"),
        ("compare", "old.jsonl", "new.jsonl", "--json"),
        ("gate", "old.jsonl", "new.jsonl", "--junit"),
        ("history", "old.jsonl", "new.jsonl", "--markdown"),
        ("collect", "run", "--latex"),
        ("report", "run", "--html"),
        ("plan", "old.jsonl", "--json"),
        ("confirm", "old.jsonl", "new.jsonl", "--json"),
        ("route", "fit", "old.jsonl", "new.jsonl", "--out"),
        ("route", "apply", "rule.yaml", "old.jsonl", "new.jsonl", "--out"),
    ],
    ids=lambda words: " ".join(words[:2]) + words[-1],
)
def test_a_file_is_refused_before_its_inputs_are_read(taken, words):
    done = muscle(*words, taken / "there.html")
    assert done.code == 3 and f"{taken / 'there.html'}: cannot be written: Not a directory" in done.err


def test_nothing_is_left_where_it_was_tried(tmp_path):
    check_can_write(tmp_path / "a" / "b" / "report.html")
    check_can_write(tmp_path / "a" / "run", folder=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_there_of_the_other_kind_is_refused(tmp_path, folder):
    place = tmp_path / "there"
    place.write_text("x") if folder else place.mkdir()
    with pytest.raises(OutputError, match="expected a fil" if not folder else "expected a folder, found a file"):
        check_can_write(place, folder=folder)


def test_a_pipe_and_standard_output_are_taken(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    check_can_write(tmp_path / "pipe")
    (tmp_path / "old.jsonl").write_text(json.dumps({"id": "a", "input": "q", "output": "x", "correct": True}) + "\n")
    done = muscle("compare", tmp_path / "old.jsonl", tmp_path / "old.jsonl", "--json", "-")
    assert json.loads(done.out)["verdict"]
