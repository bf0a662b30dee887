"""A sweep whose old model is a record: its controls are those that take no old weights."""

import pytest

from helpers.command_line import muscle
from muscle.sweep.sweep import sweep
from muscle.yaml_files import yaml_text
from tiny.bases import TASK_YAML, save_base, write_choice_rows

TRAINING = {"epochs": 1, "learning_rate": 5e-3, "warmup_steps": 1, "batch_size": 8, "precision": "float32"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("sweep")
    (root / "tools.yaml").write_text(TASK_YAML)
    files = [write_choice_rows(root / f"{name}.jsonl", 24, start=start) for name, start in (("train", 0), ("test", 99))]
    for seed, name in enumerate(("old", "new"), start=1):
        save_base(root / name, seed=seed)
    given = ("record", "--model", root / "old", "--task", root / "tools.yaml", "--precision", "float32")
    more = (word for file in files for word in ("--data", file))
    assert muscle(*given, *more, "--out", root / "record.jsonl").code == 0
    config = {
        "old": {"record": "record.jsonl"},
        "new": "new",
        "tasks": [{"task": "tools.yaml", "train": "train.jsonl", "test": "test.jsonl"}],
        "lora": {"r": 4, "alpha": 8},
        "training": TRAINING,
        "alignment": {"method": "options"},
        "sweep": {"vary": {"alignment.old_share": [0.5, 0.8]}},
    }
    (root / "update.yaml").write_text(yaml_text(config))
    return sweep(root / "update.yaml", out=root / "out")


def test_every_row_but_those_that_take_old_weights_is_there(finished):
    assert not finished.failed
    names = [row.name for row in finished.leaderboard.rows]
    shares = [f"old_share={share}" for share in (0.5, 0.8)]
    assert set(names) == {
        *("old", "plain update", "bare new base", "twin: new recipe again", "longer: cross-entropy"),
        *("no teacher: labels alone", *shares, *(f"{name}, twin as old" for name in shares)),
    }


def test_the_old_row_has_the_record_s_answers(finished):
    old = next(row for row in finished.leaderboard.rows if row.name == "old")
    path = next(finished.folder.glob("groups/*/seed-0/tasks/predictions/old/tools.jsonl"))
    assert len(path.read_text().splitlines()) == 24
    assert not list(finished.folder.glob("groups/*/seed-0/*/adapters/old"))
    assert old.role == "old"
