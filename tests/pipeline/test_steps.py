"""The single steps refuse a place where they would undo what is there, before a base is loaded."""

import json

import pytest

from helpers.command_line import muscle, refused
from muscle.locks import beside, take
from tiny.bases import TASK_YAML, save_base, write_choice_rows

QUICK = ("--precision", "float32")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("steps")
    for name in ("tools", "more"):
        (root / f"{name}.yaml").write_text(TASK_YAML.replace("name: tools", f"name: {name}"))
    write_choice_rows(root / "rows.jsonl", 4)
    save_base(root / "base", seed=1)
    return root


def words(command, inputs, out):
    """Return a command whose base is not there: it would be the next thing to be missed."""
    trained = ("--task", inputs / "tools.yaml", "--train", inputs / "rows.jsonl", "--out", out)
    return {
        "finetune": ("finetune", "--base", inputs / "none", *trained),
        "align": ("align", "--old", f"{inputs}/none+a", "--new", f"{inputs}/none+b", *trained),
        "evaluate": (
            *("evaluate", "--model", inputs / "none", "--task", inputs / "tools.yaml"),
            *("--data", inputs / "rows.jsonl", "--out", out),
        ),
    }[command]


@pytest.mark.parametrize("command", ["finetune", "align"])
def test_a_folder_of_something_else_is_not_replaced_by_an_adapter(inputs, tmp_path, command):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "mine: expected a new folder, or an adapter's" in refused(*words(command, inputs, tmp_path / "mine"))
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("command", ["finetune", "align", "evaluate"])
def test_two_commands_at_one_place_are_refused(inputs, tmp_path, command, monkeypatch):
    monkeypatch.setattr("muscle.pipeline.steps.fitting_method", lambda settings, *_: settings)
    with take(beside(tmp_path / "out"), busy=""):
        told = refused(*words(command, inputs, tmp_path / "out"))
    assert "out: another muscle process is making it" in told


@pytest.mark.parametrize("command", ["finetune", "align", "evaluate"])
@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_of_one_row_at_least(inputs, tmp_path, command, limit):
    told = refused(*words(command, inputs, tmp_path / "out"), "--limit", limit)
    assert "Invalid value for '--limit': Input should be greater than or equal to 1" in told


def test_answers_of_two_models_do_not_stand_in_one_run(inputs, tmp_path):
    def evaluate(model, task):
        given = ("--task", inputs / f"{task}.yaml", "--data", inputs / "rows.jsonl", "--out", tmp_path / "run", *QUICK)
        return ("evaluate", "--model", model, *given)

    (tmp_path / "other").symlink_to(inputs / "base")
    for task in ("tools", "more"):
        assert muscle(*evaluate(inputs / "base", task)).code == 0
    told = refused(*evaluate(tmp_path / "other", "tools"))
    assert f"found answers of '{inputs / 'base'}' to more; give another --out" in told
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (facts["name"], sorted(facts["tasks"])) == (str(inputs / "base"), ["more", "tools"])
