"""Axolotl, ms-swift, Unsloth and LLaMA-Factory are not installed: modules with their documented interfaces stand in.

Each has what our file imports and the calls that the library makes; what a training with it does is run.
"""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest
import torch
from align_world import SETTINGS, World
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

from muscle.errors import ConfigError
from muscle.yaml_files import yaml_text

pytest.importorskip("datasets", reason="datasets is not installed")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def stand_in(monkeypatch):
    """Put modules in a library's place, and forget what of ours was made of them."""

    def put(**modules: dict[str, object]) -> None:
        for name, content in modules.items():
            parts = name.split("__")
            for depth in range(1, len(parts) + 1):
                path = ".".join(parts[:depth])
                if path not in sys.modules or depth == len(parts):
                    monkeypatch.setitem(sys.modules, path, ModuleType(path))
            for key, value in content.items():
                setattr(sys.modules[".".join(parts)], key, value)

    yield put
    for name in [name for name in sys.modules if name.startswith("muscle.integrations.for_")]:
        del sys.modules[name]


def shared(world, out: Path) -> dict[str, object]:
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(out),
        num_train_epochs=1,
        learning_rate=SETTINGS.learning_rate,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    tokenizer = world.bases["new"].tokenizer
    return {
        "model": world.student(),
        "args": arguments,
        "train_dataset": world.data("train"),
        "data_collator": DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8),
    }


def masked_shares(trainer) -> list[float]:
    trainer.train()
    return [line["masked_share"] for line in trainer.state.log_history if "masked_share" in line]


def muscle_yaml(world, folder: Path) -> Path:
    keys = {
        "old": world.model("old"),
        "new": world.model("new"),
        "store": str(folder / "teachers"),
        "precision": "float32",
    }
    (folder / "muscle.yaml").write_text(yaml_text(keys))
    return folder / "muscle.yaml"


def test_axolotl_takes_the_plugins_trainer_which_reads_its_section(world, tmp_path, stand_in):
    class AxolotlTrainer(Seq2SeqTrainer):
        axolotl_cfg: dict[str, object] | None = None

    class BasePlugin:
        """Every hook of the library's does nothing."""

    stand_in(
        axolotl__core__trainers__base={"AxolotlTrainer": AxolotlTrainer},
        axolotl__integrations__base={"BasePlugin": BasePlugin},
    )
    ours = importlib.import_module("muscle.integrations.for_axolotl")
    plugin = ours.MusclePlugin()
    with pytest.raises(ConfigError, match="section muscle: expected old, new and what differs from the defaults"):
        plugin.register({"base_model": "org/new"})
    with pytest.raises(ConfigError, match="section muscle: new: missing"):
        plugin.register({"muscle": {"old": "a+b"}})
    section = {"old": world.model("old"), "new": world.model("new"), "store": str(tmp_path), "precision": "float32"}
    config = {"muscle": {**section, "mask": None}}
    plugin.register(config)
    module, _, name = plugin.get_input_args().rpartition(".")
    assert getattr(importlib.import_module(module), name)(**config).muscle["new"] == world.model("new")
    trainer = plugin.get_trainer_cls(config)(**shared(world, tmp_path))
    trainer.axolotl_cfg = config
    shares = masked_shares(trainer)
    assert len(shares) == 6 and all(0 < share <= 1 for share in shares)


def test_swift_finds_the_trainer_by_its_dotted_name(world, tmp_path, stand_in, monkeypatch):
    class SwiftTrainer(Seq2SeqTrainer):
        def get_use_logits_to_keep(self, default_value: bool = True) -> bool:
            return default_value

        def _prepare_inputs(self, inputs):
            inputs = super()._prepare_inputs(inputs)
            assert not self.get_use_logits_to_keep(True), "labels would be cut"
            return {**inputs, "compute_loss_func": None, "channel": None}

    class TrainerFactory:
        TRAINER_MAPPING: ClassVar[dict[str, str]] = {
            "causal_lm": "swift.trainers.Seq2SeqTrainer",
            "dpo": "swift.rlhf_trainers.DPOTrainer",
        }

    stand_in(
        swift__trainers={"Seq2SeqTrainer": SwiftTrainer},
        swift__trainers__trainer_factory={"TrainerFactory": TrainerFactory},
    )
    importlib.import_module("muscle.integrations.for_swift")
    module, _, name = TrainerFactory.TRAINER_MAPPING["causal_lm"].rpartition(".")
    monkeypatch.setenv("MUSCLE_CONFIG", str(muscle_yaml(world, tmp_path)))
    trainer = getattr(importlib.import_module(module), name)(**shared(world, tmp_path))
    shares = masked_shares(trainer)
    assert len(shares) == 6 and all(0 < share <= 1 for share in shares)


def test_llamafactory_runs_with_its_trainer_replaced(world, tmp_path, stand_in, monkeypatch):
    class CustomSeq2SeqTrainer(Seq2SeqTrainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            raise AssertionError("the library's own loss")

    stand_in(
        llamafactory__train__sft={},
        llamafactory__train__sft__workflow={"CustomSeq2SeqTrainer": CustomSeq2SeqTrainer},
        llamafactory__train__tuner={"run_exp": lambda: None},
    )
    workflow = sys.modules["llamafactory.train.sft.workflow"]
    sys.modules["llamafactory.train.sft"].workflow = workflow
    importlib.import_module("muscle.integrations.for_llamafactory")
    monkeypatch.setenv("MUSCLE_CONFIG", str(muscle_yaml(world, tmp_path)))
    shares = masked_shares(workflow.CustomSeq2SeqTrainer(**shared(world, tmp_path)))
    assert len(shares) == 6 and all(0 < share <= 1 for share in shares)


def test_unsloth_gives_the_states_in_place_of_logits(world, tmp_path, stand_in):
    trl = pytest.importorskip("trl", reason="TRL is not installed")
    from muscle.integrations.settings import Teaching
    from muscle.models.head_states import head_states

    stand_in(unsloth={})
    ours = importlib.import_module("muscle.integrations.for_unsloth")
    given = shared(world, tmp_path)
    given["args"] = trl.SFTConfig(
        **{key: getattr(given["args"], key) for key in ("output_dir", "num_train_epochs", "use_cpu", "logging_steps")},
        **{"activation_checkpointing": False, "bf16": False, "report_to": "none", "save_strategy": "no"},
    )
    del given["data_collator"]
    model = given["model"]
    forward = model.forward
    asked = []

    def as_unsloth_does(*args: object, **kwargs: object):
        asked.append(os.environ.get("UNSLOTH_RETURN_HIDDEN_STATES"))
        if asked[-1] != "1":
            return forward(*args, **kwargs)
        model.forward = forward
        try:
            states = head_states(model, kwargs)
        finally:
            model.forward = as_unsloth_does
        return type("Output", (), {"logits": states})()

    model.forward = as_unsloth_does
    teaching = Teaching(
        old=world.model("old"), new=world.model("new"), store=str(tmp_path / "teachers"), precision="float32"
    )
    trainer = ours.CompatibilityTrainer(teaching=teaching, processing_class=world.bases["new"].tokenizer, **given)
    shares = masked_shares(trainer)
    assert "1" in asked and "UNSLOTH_RETURN_HIDDEN_STATES" not in os.environ
    assert shares and all(0 < share <= 1 for share in shares)
    assert isinstance(trainer.taught().head.weight, torch.Tensor)
