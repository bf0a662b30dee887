"""A training's log reaches the trackers that are named, and nothing else depends on them."""

import json
from pathlib import Path

import pytest

from muscle import finetune, load_config
from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import LoraSettings, TrainingSettings
from muscle.errors import ConfigError
from muscle.files import read_json
from muscle.sweep.jobs import group_name
from muscle.training.reporting import Reporting, check_reporters
from muscle.yaml_files import yaml_text
from tiny.bases import TASK_YAML
from tiny.pair import tiny_base, tiny_task

QUICK = {"epochs": 2, "learning_rate": 5e-3, "warmup_steps": 2, "batch_size": 8, "gradient_accumulation": 1}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    return *tiny_task(root, 40), tiny_base(root, "base", seed=1)


def train(world, out: Path, **settings):
    task, split, base = world
    return finetune(
        base,
        task,
        train_examples=split.train,
        validation_examples=split.validation,
        lora=LoraSettings(r=4, alpha=8),
        settings=TrainingSettings(**QUICK, precision="float32", **settings),
        out=out,
        description="fine-tune old on tools",
    )


def scalars(folder: Path) -> dict[str, list[float]]:
    """Read what TensorBoard would show: of each curve its values, in order."""
    pytest.importorskip("tensorboardX", reason="no TensorBoard writer is installed")
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[float]] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        data = file.read_bytes()
        while data:  # a record: its length in 8 bytes, 4 of a checksum, itself, 4 more
            size = int.from_bytes(data[:8], "little")
            event, data = Event.FromString(data[12 : 12 + size]), data[16 + size :]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append(value.simple_value)
    return found


def test_tensorboard_gets_the_losses_of_every_step_and_epoch_under_the_stages_name(world, tmp_path):
    pytest.importorskip("tensorboardX", reason="no TensorBoard writer is installed")
    out = tmp_path / "run" / "adapters" / "old" / "tools"
    result = train(world, out, report_to="tensorboard")
    (folder,) = (tmp_path / "run" / "tensorboard" / "fine-tune old on tools").iterdir()
    shown = scalars(folder)
    steps = [line["loss"] for line in result.log if "loss" in line]
    assert len(steps) == 8
    assert shown["train/loss"] == pytest.approx(steps, rel=1e-6)
    assert shown["eval/loss"] == pytest.approx([result.loss_before, *result.validation_losses], rel=1e-6)


def test_a_training_that_is_told_of_is_the_very_same_training(world, tmp_path):
    pytest.importorskip("tensorboardX", reason="no TensorBoard writer is installed")
    for name, settings in (("told", {"report_to": ["tensorboard"]}), ("alone", {})):
        train(world, tmp_path / name / "adapters" / "old" / "tools", **settings)
    files = [tmp_path / name / "adapters" / "old" / "tools" for name in ("told", "alone")]
    for file in ("adapter_model.safetensors", "muscle.json"):
        assert (files[0] / file).read_bytes() == (files[1] / file).read_bytes()
    assert not (tmp_path / "alone" / "tensorboard").exists()


def test_who_is_told_is_part_of_no_fingerprint():
    told = TrainingSettings(report_to="tensorboard")
    assert told.report_to == ["tensorboard"]
    assert told.identity() == TrainingSettings().identity()
    assert "report_to" not in told.identity()
    apart = AlignmentSettings(training={"epochs": 3, "report_to": "wandb"}).identity()
    assert apart == AlignmentSettings(training={"epochs": 3}).identity()


@pytest.mark.parametrize("word", ["none", None, []])
def test_none_is_nobody(word):
    assert TrainingSettings(report_to=word) == TrainingSettings()


def config(tmp_path: Path, **training):
    (tmp_path / "tools.yaml").write_text(TASK_YAML)
    content = {
        "old": "old",
        "new": "new",
        "tasks": [{"task": "tools.yaml", "train": "train.jsonl", "test": "test.jsonl"}],
        "training": training,
    }
    (tmp_path / "update.yaml").write_text(yaml_text(content))
    return tmp_path / "update.yaml"


def test_sweeps_share_what_they_shared_before(tmp_path):
    alone = group_name(load_config(config(tmp_path)))
    assert group_name(load_config(config(tmp_path, report_to=["mlflow"]))) == alone


def test_a_tracker_that_nobody_knows_is_refused_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"line \d+: training.report_to.0: expected 'tensorboard', 'wandb' or 'mlf"):
        load_config(config(tmp_path, report_to="tensorbored"))


def test_a_missing_package_is_refused_before_any_work(world, tmp_path, monkeypatch):
    monkeypatch.setattr("muscle.training.reporting.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^training.report_to: wandb: expected its package.* pip install wandb$"):
        check_reporters(["wandb"])
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        train(world, tmp_path / "a", report_to="tensorboard")
    assert not list(tmp_path.rglob("checkpoint-*"))


def test_runs_are_named_by_run_folder_and_stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "runs" / "update" / "adapters" / "compat" / "tools"
    inside = Reporting.of(["wandb"], out, "align on tools", "0123456789")
    assert inside.run == "runs/update: align on tools"
    assert inside.folder == tmp_path / "runs" / "update" / "tensorboard" / "align on tools" / "01234567"
    alone = Reporting.of(["wandb"], tmp_path / "mine", "align on tools", "0123456789")
    assert alone.run == f"{tmp_path.name}: align on tools"
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "boards"))
    assert Reporting.of([], out, "a/b", "01").folder == tmp_path / "boards" / "a b" / "01"


class Refusal(Exception):
    """As a tracker's own library raises it."""


Refusal.__module__ = "wandb.errors"


def test_what_a_tracker_refuses_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("muscle.training.reporting.check_reporters", lambda names: None)
    reporting = Reporting(["wandb"], "run", tmp_path)
    monkeypatch.setattr(Reporting, "_ended", _refusing)
    refused = pytest.raises(ConfigError, match=r"^training.report_to: wandb: no API key; run `wandb login` first")
    with refused, reporting.callbacks():
        pass


def test_what_anything_else_raises_stays_what_it_is(tmp_path):
    with pytest.raises(ZeroDivisionError), Reporting([], "run", tmp_path).callbacks():
        raise ZeroDivisionError


def _refusing(self):
    raise Refusal("no API key\nsecond line")


def test_the_log_in_the_adapters_folder_is_there_as_ever(world, tmp_path):
    pytest.importorskip("tensorboardX", reason="no TensorBoard writer is installed")
    train(world, tmp_path / "a", report_to="tensorboard")
    assert read_json(tmp_path / "a" / "training.json")["num_epochs"] == 2
    assert "report_to" not in json.loads((tmp_path / "a" / "muscle.json").read_text())["settings"]
