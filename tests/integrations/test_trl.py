"""TRL's SFTTrainer with our loss ends in the adapter that `muscle align` makes."""

import re
from functools import partial
from pathlib import Path

import pytest
from align_world import SETTINGS, World, close

from helpers.json_lines import write_lines
from helpers.places import ROOT
from muscle.errors import DataError
from muscle.integrations.settings import Teaching

trl = pytest.importorskip("trl", reason="TRL is not installed")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def sft(world, out: Path, **changes):
    return trl.SFTConfig(
        **{
            "output_dir": str(out),
            "num_train_epochs": SETTINGS.epochs,
            "learning_rate": SETTINGS.learning_rate,
            "warmup_steps": SETTINGS.warmup_steps,
            "per_device_train_batch_size": SETTINGS.batch_size,
            "per_device_eval_batch_size": SETTINGS.batch_size,
            "gradient_accumulation_steps": SETTINGS.gradient_accumulation,
            "train_sampling_strategy": "group_by_length",
            "activation_checkpointing": False,
            "eval_strategy": "epoch",
            "save_strategy": "epoch",
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
            "seed": 0,
            "data_seed": 0,
            "bf16": False,
            "use_cpu": True,
            "report_to": "none",
            "logging_steps": 1,
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            **changes,
        }
    )


def trained(world, out: Path, *, arguments=None, train=None, evaluation=None, **teaching):
    from muscle.integrations.for_trl import CompatibilityTrainer

    trainer = CompatibilityTrainer(
        teaching=Teaching(
            old=world.model("old"), new=world.model("new"), store=str(out / "teachers"), precision="float32", **teaching
        ),
        model=world.student(),
        args=arguments or sft(world, out),
        train_dataset=train or world.data("train"),
        eval_dataset=evaluation or world.data("validation"),
        processing_class=world.bases["new"].tokenizer,
    )
    trainer.train()
    trainer.save_model(str(out / "adapter"))
    return trainer


@pytest.mark.parametrize(
    "formula", [{"temperature": 2.0}, {"temperature": 1.0, "mask": "sequence_likelihood", "ce_weight": 0.25}]
)
def test_the_adapter_is_the_one_that_muscle_align_makes(world, tmp_path, formula):
    result = world.align(tmp_path / "ours", **formula)
    trainer = trained(world, tmp_path, **formula)
    assert close(tmp_path / "ours", tmp_path / "adapter") < 1e-4
    # Not by having stayed where it began.
    assert close(world.root / "adapter-new", tmp_path / "adapter") > 0.01
    logged = trainer.state.log_history
    for name in ("loss", "masked_share", "kl_old", "kl_new", "cross_entropy"):
        ours = [line[name] for line in result.log if name in line]
        theirs = [line[name] for line in logged if name in line]
        assert theirs == pytest.approx(ours, rel=1e-3, abs=1e-5), name
    assert [line["eval_loss"] for line in logged if "eval_loss" in line] == pytest.approx(
        result.validation_losses, rel=1e-4
    )


def test_packed_by_trl_the_loss_is_that_of_the_same_sequences_unpacked(world, tmp_path):
    alone = sft(world, tmp_path / "alone", num_train_epochs=1, per_device_train_batch_size=48, learning_rate=0.0)
    packed = sft(world, tmp_path / "packed", num_train_epochs=1, learning_rate=0.0, packing=True, max_length=64)
    losses = [
        trained(world, tmp_path / name, arguments=arguments).state.log_history
        for name, arguments in (("alone", alone), ("packed", packed))
    ]
    # Nothing was learnt, so that the means over all evaluation tokens are of one model.
    first, second = (next(line for line in lines if "eval_loss" in line) for lines in losses)
    for name in ("eval_loss", "eval_kl_old", "eval_masked_share"):
        assert second[name] == pytest.approx(first[name], rel=1e-3)


def test_data_that_the_teachers_have_not_read_is_refused(world, tmp_path):
    trainer = trained(world, tmp_path, arguments=sft(world, tmp_path, num_train_epochs=1))
    stranger = world.data("validation").map(lambda row: {name: [*row[name], 7] for name in ("input_ids", "labels")})
    with pytest.raises(DataError, match="a batch holds a sequence of"):
        trainer.evaluate(eval_dataset=stranger)


@pytest.mark.filterwarnings("default::FutureWarning")
def test_the_snippet_of_the_page_runs_as_it_stands(world, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"## TRL\n\n```python\n(.*?)```", text, re.DOTALL)
    for side in ("old", "new"):
        for place, there in ((f"bases/{side}", side), (f"adapters/{side}/tools", f"adapter-{side}")):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).symlink_to(world.root / there)
    rows = [{"prompt": example.context, "completion": example.target} for example in world.split.train[:8]]
    write_lines(tmp_path / "train.jsonl", *rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    # TRL's own default is a GPU that computes in bf16.
    monkeypatch.setattr(trl, "SFTConfig", partial(trl.SFTConfig, use_cpu=True, bf16=False, report_to="none"))
    names: dict[str, object] = {}
    exec(snippet, names)
    logged = [line for line in names["trainer"].state.log_history if "masked_share" in line]
    assert logged and all(line["loss"] > 0 for line in logged)
    assert close(world.root / "adapter-new", tmp_path / "compat") > 1e-4
