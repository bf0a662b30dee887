import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from helpers.places import TESTS
from muscle import IGNORE_INDEX, CompatibilityTrainer, OnlineTeachers, align, compatibility_loss, finetune
from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import LoraSettings, TrainingSettings
from muscle.errors import ConfigError, DataError, ModelError, OutputError, ResourceError
from muscle.models.adapters import load_adapter
from muscle.tasks.task import Example
from muscle.training.arguments import training_arguments
from muscle.training.data.batches import PaddingCollator
from muscle.training.data.examples import tokenize
from muscle.training.trainer import AdapterTrainer, next_token_objective
from tiny.pair import tiny_base, tiny_task

LORA = LoraSettings(r=4, alpha=8)
SETTINGS = TrainingSettings(
    epochs=2, learning_rate=5e-3, warmup_steps=2, batch_size=8, gradient_accumulation=1, precision="float32"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    task, split = tiny_task(root, 60)
    return root, task, split, {name: tiny_base(root, name, seed=seed) for name, seed in (("old", 1), ("new", 2))}


def train_task_adapter(world, name: str, out: Path, settings: TrainingSettings = SETTINGS):
    _, task, split, bases = world
    return finetune(
        bases[name],
        task,
        train_examples=split.train,
        validation_examples=split.validation,
        lora=LORA,
        settings=settings,
        out=out,
    )


@pytest.fixture(scope="module")
def adapters(world):
    root = world[0]
    for name in ("old", "new"):
        train_task_adapter(world, name, root / f"adapter-{name}")
    return root / "adapter-old", root / "adapter-new"


def test_a_loss_that_is_no_number_ends_the_training_before_a_checkpoint_is_written(world, tmp_path):
    wild = {"learning_rate": 1e30, "max_grad_norm": 1e30, "warmup_steps": 0}
    with pytest.raises(ConfigError, match=r"expected a finite loss, found nan at step 2; set a smaller training.learn"):
        train_task_adapter(world, "new", tmp_path / "wild", SETTINGS.model_copy(update=wild))
    assert not (tmp_path / "wild").exists() and not list(tmp_path.glob(".wild.*/checkpoint-*"))


def test_validation_data_without_a_loss_ends_the_training_too(world, tmp_path):
    one_step = {"learning_rate": 1e30, "max_grad_norm": 1e30, "warmup_steps": 0, "batch_size": 60}
    with pytest.raises(ConfigError, match="expected a finite validation loss, found nan at step 1; set a smaller"):
        train_task_adapter(world, "new", tmp_path / "wild", SETTINGS.model_copy(update=one_step))


def test_a_base_that_gives_no_numbers_is_told_from_a_wild_learning_rate(tmp_path):
    task, split = tiny_task(tmp_path, 30)
    base = tiny_base(tmp_path, "broken", seed=1)
    base.model.get_output_embeddings().weight[3] = torch.nan
    with pytest.raises(ConfigError, match="found nan before training; nothing was learnt yet, so look at the base"):
        train_task_adapter((tmp_path, task, split, {"new": base}), "new", tmp_path / "adapter")


def test_an_adapter_takes_the_place_of_no_other_folder(world, adapters, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"mine: expected a new folder, or an adapter's, .* found notes.txt in it"):
        train_task_adapter(world, "new", tmp_path / "mine")
    with pytest.raises(OutputError, match=r"mine: expected a new folder"):
        train_compatibility(world, adapters, tmp_path / "mine")
    with pytest.raises(OutputError, match="expected a name for the adapter's folder"):
        train_compatibility(world, adapters, Path())
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]


def train_compatibility(world, adapters, out: Path, settings: TrainingSettings = SETTINGS, **alignment):
    _, task, split, bases = world
    return align(
        bases["old"],
        adapters[0],
        bases["new"],
        adapters[1],
        task,
        train_examples=split.train,
        validation_examples=split.validation,
        alignment=AlignmentSettings(**alignment),
        settings=settings,
        out=out,
    )


def test_the_whole_text_is_learnt_and_padding_and_first_token_are_not():
    batch = PaddingCollator(pad_token_id=9)([{"input_ids": [1, 2, 3]}, {"input_ids": [4, 5]}])
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 5, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[IGNORE_INDEX, 2, 3], [IGNORE_INDEX, 5, IGNORE_INDEX]]


def test_long_examples_lose_their_beginning_and_are_counted(world):
    tokenizer = world[3]["old"].tokenizer
    example = Example(id="1", context="Use the soup", reference=(), target=" bowl")
    data = tokenize([example], tokenizer, max_length=3, end_of_text=True)
    assert tokenizer.decode(data.sequences[0]) == "soup bowl <eos>"
    assert data.num_cut == 1


def test_no_examples_and_empty_examples_are_refused(world):
    tokenizer = world[3]["old"].tokenizer
    with pytest.raises(DataError, match="expected at least one example"):
        tokenize([], tokenizer, max_length=10, end_of_text=False)
    with pytest.raises(DataError, match="example 7: expected at least two tokens"):
        tokenize(
            [Example(id="7", context="", reference=(), target="bowl")],
            tokenizer,
            max_length=9,
            end_of_text=False,
        )


def test_a_teacher_whose_weights_were_sharded_away_is_noticed():
    teacher = torch.nn.Linear(2, 2)
    teacher.weight.data = torch.empty(0)  # what ZeRO-3 leaves
    batch = PaddingCollator(0)([{"input_ids": [1, 2, 3]}])
    with pytest.raises(ModelError, match="engine online: a teacher shares the student's base, which ZeRO-3"):
        OnlineTeachers(teacher, teacher)(batch)


def test_fine_tuning_lowers_the_validation_loss_and_keeps_the_best_epoch(world, tmp_path):
    result = train_task_adapter(world, "new", tmp_path / "a")
    _, _, split, bases = world
    assert result.validation_losses[1] < result.validation_losses[0]
    assert result.best_epoch == result.validation_losses.index(min(result.validation_losses)) + 1
    model = load_adapter(bases["new"], tmp_path / "a")
    total, count = 0.0, 0
    for example in split.validation:  # one by one, without padding: the mean over tokens must be the same
        ids = torch.tensor([bases["new"].tokenizer(example.context + example.target)["input_ids"]])
        with torch.no_grad():
            log_p = model(input_ids=ids).logits.log_softmax(-1)
        total -= log_p[0, :-1].gather(-1, ids[0, 1:, None]).sum().item()
        count += ids.shape[1] - 1
    assert min(result.validation_losses) == pytest.approx(total / count, rel=1e-5)


def test_the_same_seed_gives_the_same_adapter_and_another_one_another(world, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_task_adapter(world, "new", tmp_path / name, SETTINGS.model_copy(update={"seed": seed}))
    first, second, third = (load_file(tmp_path / name / "adapter_model.safetensors") for name in "abc")
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], third[key]) for key in first)


def test_a_loss_that_still_falls_at_the_end_is_told(world, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="muscle"):
        result = train_task_adapter(world, "old", tmp_path / "a")
    assert not result.converged
    assert "still falling at its last epoch (2)" in caplog.text


def test_early_stopping_ends_a_training_that_gets_worse(world, tmp_path):
    hot = SETTINGS.model_copy(update={"epochs": 12, "learning_rate": 0.1, "early_stopping_patience": 1})
    result = train_task_adapter(world, "new", tmp_path / "a", hot)
    assert result.num_epochs < 12
    assert result.best_epoch == result.num_epochs - 1
    assert result.converged


def test_gradient_accumulation_gives_the_same_steps_as_one_large_batch(world, tmp_path):
    one_by_one = SETTINGS.model_copy(update={"batch_size": 2, "gradient_accumulation": 4})
    whole = train_task_adapter(world, "new", tmp_path / "a", SETTINGS)
    parts = train_task_adapter(world, "new", tmp_path / "b", one_by_one)
    assert whole.num_steps == parts.num_steps
    assert parts.validation_losses == pytest.approx(whole.validation_losses, rel=1e-4)


def test_alignment_to_the_student_itself_has_nothing_to_learn(world, adapters, tmp_path):
    # With the new model as the old one too, both teachers are the student at its start: the loss begins at 0.
    _, task, split, bases = world
    result = align(
        bases["new"],
        adapters[1],
        bases["new"],
        adapters[1],
        task,
        train_examples=split.train,
        validation_examples=split.validation,
        alignment=AlignmentSettings(),
        settings=SETTINGS,
        out=tmp_path / "c",
    )
    first = result.log[0]
    assert [first[name] for name in ("loss", "kl_old", "kl_new")] == pytest.approx([0, 0, 0], abs=1e-6)
    assert max(result.validation_losses) < 0.01  # Adam turns rounding into small steps; they lead nowhere


def test_alignment_logs_loss_masked_share_and_both_divergences_each_step(world, adapters, tmp_path):
    result = train_compatibility(world, adapters, tmp_path / "c")
    steps = [line for line in result.log if "masked_share" in line]
    assert len(steps) == result.num_steps
    assert {"loss", "kl_old", "kl_new", "cross_entropy"} <= set(steps[0])
    assert all(0 <= line["masked_share"] <= 1 for line in steps)
    assert steps[0]["kl_new"] == pytest.approx(0, abs=1e-6)  # the student still is the new task model
    assert steps[-1]["kl_new"] > 1e-6
    assert any("eval_masked_share" in line for line in result.log)


def test_the_trainers_loss_is_the_formula_on_the_models_logits(world, adapters, tmp_path):
    _, _, split, bases = world
    teachers = OnlineTeachers(load_adapter(bases["old"], adapters[0]), load_adapter(bases["new"], adapters[1]))
    student = load_adapter(bases["new"], adapters[1], trainable=True)
    data = tokenize(split.train, bases["new"].tokenizer, max_length=64, end_of_text=False)
    trainer = CompatibilityTrainer(
        model=student,
        teachers=teachers,
        ce_weight=0.1,
        args=training_arguments(SETTINGS, tmp_path),
        train_dataset=data,
        eval_dataset=data,
        data_collator=PaddingCollator(0),
    )
    batch = PaddingCollator(0)([data[index] for index in range(6)])
    found = trainer.compute_loss(student, dict(batch))
    taught = teachers(batch)
    expected = compatibility_loss(
        student(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1],
        taught.old[:, :-1],
        taught.new[:, :-1],
        batch["labels"][:, 1:],
        ce_weight=0.1,
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_alignment_with_every_mask_trains(world, adapters, tmp_path):
    one = SETTINGS.model_copy(update={"epochs": 1})
    for mask in ("old_right", "old_always", "token_likelihood", "sequence_likelihood"):
        result = train_compatibility(world, adapters, tmp_path / mask, one, mask=mask, ce_weight=0.2)
        assert result.validation_losses[0] > 0


def test_an_adapter_is_a_plain_peft_folder_that_peft_loads(world, adapters):
    from peft import PeftModel

    model = PeftModel.from_pretrained(world[3]["old"].model, adapters[0])
    assert model.peft_config["default"].r == 4
    assert sorted(path.name for path in adapters[0].iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "muscle.json",
        "training.json",
    ]


def test_the_objective_can_be_ones_own(world, tmp_path):
    _, _, split, bases = world
    from muscle.models.adapters import new_adapter

    data = tokenize(split.train, bases["new"].tokenizer, max_length=64, end_of_text=False)
    trainer = AdapterTrainer(
        model=new_adapter(bases["new"], LORA),
        objective=next_token_objective,
        args=training_arguments(SETTINGS.model_copy(update={"epochs": 1}), tmp_path),
        train_dataset=data,
        eval_dataset=data,
        data_collator=PaddingCollator(0),
    )
    trainer.train()
    assert trainer.state.log_history[-1]["train_loss"] > 0


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.models.bases import load_base
from muscle.tasks import get_task, load_examples, split_train_validation
from muscle.training.finetune import finetune
root, out = Path(sys.argv[1]), Path(sys.argv[2])
task = get_task(root / "tools.yaml")
split = split_train_validation(load_examples(task, root / "train.jsonl"), seed=0)
finetune(load_base(BaseConfig(base=str(root / "new")), precision="float32", device="cpu"), task,
         train_examples=split.train, validation_examples=split.validation, lora=LoraSettings(r=4, alpha=8),
         settings=TrainingSettings.model_validate_json(sys.argv[4]), out=out)
"""


def test_a_killed_training_goes_on_at_its_checkpoint_and_ends_in_the_same_adapter(world, tmp_path):
    root = world[0]
    settings = SETTINGS.model_copy(update={"epochs": 6})
    train_task_adapter(world, "new", tmp_path / "undisturbed", settings)
    out = tmp_path / "killed"
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(root), str(out), str(TESTS)]
    command.append(settings.model_dump_json())
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".killed.*.training/checkpoint-*/complete")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not out.exists()
    half = next(tmp_path.glob(".killed.*.training")) / "checkpoint-9999"
    half.mkdir()  # what a kill in the middle of writing a checkpoint leaves
    train_task_adapter(world, "new", out, settings)
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path / "undisturbed", out))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not list(tmp_path.glob(".killed.*"))


def halved(world, out: Path, settings: TrainingSettings, monkeypatch) -> Path:
    """Train for half of the epochs, as a kill would leave it, and return the folder of its checkpoints."""

    class Killed(BaseException):
        pass

    def kill(self, args, state, control, **_):
        if state.epoch == settings.epochs // 2 + 1:
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("muscle.training.checkpoints.CompletionMarks.on_epoch_begin", kill, raising=False)
        patched.setattr("muscle.training.checkpoints.CompletionMarks.on_evaluate", kill, raising=False)
        train_task_adapter(world, "new", out, settings)
    return next(out.parent.glob(f".{out.name}.*.training"))


FOUR_EPOCHS = SETTINGS.model_copy(update={"epochs": 4})


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    """The weights of a training of four epochs that nothing disturbs."""
    out = tmp_path_factory.mktemp("undisturbed") / "adapter"
    train_task_adapter(world, "new", out, FOUR_EPOCHS)
    return load_file(out / "adapter_model.safetensors")


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "moved"])
def test_a_damaged_checkpoint_is_told_and_the_training_ends_in_the_same_adapter(
    world, undisturbed, tmp_path, monkeypatch, caplog, damage
):
    workspace = halved(world, tmp_path / "killed", FOUR_EPOCHS, monkeypatch)
    out = tmp_path / "killed"
    if damage == "moved":  # which is no damage
        (tmp_path / "elsewhere").mkdir()
        out = tmp_path / "elsewhere" / "killed"
        workspace.rename(tmp_path / "elsewhere" / workspace.name)
    for weights in workspace.glob("checkpoint-*/adapter_model.safetensors"):
        held = bytearray(weights.read_bytes())
        held[-9] ^= 64
        weights.unlink() if damage == "missing" else weights.write_bytes(held[:-8] if damage == "cut" else held)
    train_task_adapter(world, "new", out, FOUR_EPOCHS)
    found = load_file(out / "adapter_model.safetensors")
    assert all(torch.equal(undisturbed[key], found[key]) for key in undisturbed)
    told = "adapter_model.safetensors is missing or damaged (its SHA-256 has changed); it is deleted" in caplog.text
    assert told == (damage != "moved")


def test_a_best_checkpoint_that_is_damaged_while_training_runs_is_never_taken(world, tmp_path, monkeypatch):
    def damage(self, args, state, control, **_):
        weights = Path(state.best_model_checkpoint) / "adapter_model.safetensors"
        held = bytearray(weights.read_bytes())
        held[-9] ^= 64
        weights.write_bytes(held)

    monkeypatch.setattr("muscle.training.run.Progress.on_save", damage, raising=False)
    with pytest.raises(DataError, match=r"is missing or damaged .*; run the same command again"):
        train_task_adapter(world, "new", tmp_path / "a", SETTINGS.model_copy(update={"epochs": 1}))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            Exception("I/O error: No space left on device (os error 28)"),
            OutputError,
            "a checkpoint cannot be written: No space left on device;",
        ),
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos"),
            OutputError,
            "the disk is full",
        ),
        (MemoryError(), ResourceError, r"out of memory .*; set a smaller training\.batch_size"),
    ],
)
def test_a_full_disk_or_memory_ends_a_training_in_one_line(world, tmp_path, monkeypatch, error, kind, message):
    def fail(self, *_):
        raise error

    monkeypatch.setattr("transformers.Trainer._save_optimizer_and_scheduler", fail)
    with pytest.raises(kind, match=message) as caught:
        train_task_adapter(world, "new", tmp_path / "a")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()
