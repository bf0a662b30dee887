"""What cannot be written is known before the work: before a base is read, data is loaded, or a run is compared."""

import json
import tempfile
from pathlib import Path

import pytest
import typer

from helpers.command_line import muscle
from muscle.cli import app
from muscle.errors import OutputError
from muscle.files import check_can_write

NOWHERE = "./no-such-base"


@pytest.fixture
def taken(tmp_path):
    """A file where a folder would have to be."""
    (tmp_path / "taken").write_text("mine")
    return tmp_path / "taken"


FOLDERS = [
    ("finetune", "--base", NOWHERE, "--task", "piqa", "--out"),
    ("align", "--old", f"{NOWHERE}+a", "--new", f"{NOWHERE}+b", "--task", "piqa", "--out"),
    ("evaluate", "--model", NOWHERE, "--task", "piqa", "--out"),
    ("export", NOWHERE, "--out"),
    ("sweep", "no.yaml", "--out"),
    ("demo", "--out"),
    ("convert", "no.jsonl", "--out"),
    ("baseline save", "no.jsonl", "--name", "a", "--folder"),
]
FILES = [
    ("compare", "old.jsonl", "new.jsonl", "--html"),
    ("compare", "old.jsonl", "new.jsonl", "--json"),
    ("gate", "old.jsonl", "new.jsonl", "--junit"),
    ("history", "old.jsonl", "new.jsonl", "--markdown"),
    ("collect", "run", "--latex"),
    ("report", "run", "--html"),
    ("plan", "old.jsonl", "--json"),
    ("confirm", "old.jsonl", "new.jsonl", "--json"),
    ("confirm", "old.jsonl", "new.jsonl", "--items"),
    ("watch", "old.jsonl", "--order"),
    ("watch", "old.jsonl", "new.jsonl", "--json"),
    ("convert", "no.jsonl", "--to", "eee", "--out"),
    ("record", "--model", NOWHERE, "--task", "piqa", "--out"),
    ("record", "--check", "no.jsonl", "--json"),
    ("route fit", "old.jsonl", "new.jsonl", "--out"),
    ("route check", "rule.yaml", "old.jsonl", "new.jsonl", "--html"),
    ("route apply", "rule.yaml", "old.jsonl", "new.jsonl", "--out"),
    ("route label", "old.jsonl", "new.jsonl", "--out"),
    ("init", "--task", "no.jsonl"),
    ("doctor", "--json"),
]
IN_PLACES_OF_THEIR_OWN = {"update"}
"""In the folder that its file names."""
NOTHING = {"closeness", "baseline list"}
"""They print alone."""


@pytest.mark.parametrize("words", FOLDERS, ids=lambda words: words[0])
@pytest.mark.parametrize("inside", [False, True])
def test_a_folder_is_refused_before_the_work(taken, words, inside):
    out = taken / "run" if inside else taken
    done = muscle(*words[0].split(), *words[1:], out)
    assert done.code == 3 and f"{out}: cannot be written: " in done.err
    assert taken.read_text() == "mine"


@pytest.mark.parametrize("words", FILES, ids=lambda words: f"{words[0]} {words[-1]}")
def test_a_file_is_refused_before_its_inputs_are_read(taken, words):
    out = taken / ("there.yaml" if words[0] == "init" else "there.jsonl")
    if words[0] == "convert":
        out = taken / "there"
    done = muscle(*words[0].split(), *words[1:], out)
    assert done.code == 3 and f"{out}: cannot be written: Not a directory" in done.err


def every_command(app, before=()):
    """The names of all commands, those below others too."""
    for name, command in getattr(app, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from every_command(command, (*before, name))
        else:
            yield " ".join((*before, name))


def test_every_command_is_tried_that_writes():
    tried = {words[0] for words in (*FOLDERS, *FILES)}
    assert set(every_command(typer.main.get_command(app))) == tried | IN_PLACES_OF_THEIR_OWN | NOTHING


def only_read(folder, monkeypatch):
    """Let a folder take no new file, for root too."""
    unlocked = tempfile.TemporaryFile

    def refused(*, dir):
        if Path(dir) == folder:
            raise PermissionError(13, "Permission denied")
        return unlocked(dir=dir)

    monkeypatch.setattr("muscle.files.tempfile.TemporaryFile", refused)


def test_a_folder_that_is_renamed_into_place_needs_the_folder_above(tmp_path, monkeypatch):
    (tmp_path / "adapter").mkdir()
    only_read(tmp_path, monkeypatch)
    check_can_write(tmp_path / "adapter", folder=True)
    with pytest.raises(OutputError, match="adapter: cannot be written: Permission denied"):
        check_can_write(tmp_path / "adapter", folder=True, whole=True)


def test_a_report_is_refused_where_the_folder_that_it_lies_in_takes_no_file(tmp_path, monkeypatch):
    (tmp_path / "old.jsonl").write_text(json.dumps({"id": "a", "input": "q", "output": "x", "correct": True}) + "\n")
    run = tmp_path / "run"
    assert muscle("compare", *[tmp_path / "old.jsonl"] * 2, "--json", run / "report.json").code == 2
    only_read(run, monkeypatch)
    done = muscle("report", run)
    assert done.code == 3 and f"{run / 'report.html'}: cannot be written: Permission denied" in done.err
    assert [path.name for path in run.iterdir()] == ["report.json"]


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
