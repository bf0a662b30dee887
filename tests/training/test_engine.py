import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, GraniteConfig, LlamaConfig, PhiConfig

from helpers.places import TESTS
from muscle import OnlineTeachers, compatibility_loss
from muscle.config.settings import BaseConfig
from muscle.errors import OutputError
from muscle.models.adapters import load_adapter, new_adapter
from muscle.models.bases import load_base
from muscle.training.arguments import training_arguments
from muscle.training.data.batches import PaddingCollator
from muscle.training.data.examples import tokenize
from muscle.training.stored_trainers import HeadlessTrainer, StoredTrainer, task_trainer
from muscle.training.teachers.choose_engine import choose_engine
from muscle.training.teachers.make_rows import RowForm, RunningTeachers, TaskModel, row_maker
from muscle.training.teachers.run_teachers import StoreSettings, store_teachers
from muscle.training.trainer import AdapterTrainer, next_token_objective
from tiny.bases import save_base
from tiny.pair import LORA, SETTINGS, tiny_pair, trained, weights


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tiny_pair(tmp_path_factory.mktemp("world"))


def largest_difference(first, second):
    return max((first[key] - second[key]).abs().max().item() for key in first)


def predictions(world, adapter):
    _, _, split, bases, _ = world
    model = load_adapter(bases["new"], adapter)
    data = tokenize(split.validation, bases["new"].tokenizer, max_length=64, end_of_text=False)
    batch = PaddingCollator(0)([data[index] for index in range(len(data))])
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return logits.argmax(-1)[batch["attention_mask"].bool()]


@pytest.mark.parametrize("mask", ["student_wrong", "sequence_likelihood"])
def test_a_whole_training_ends_in_the_same_adapter_from_every_engine(world, tmp_path, mask):
    settings = SETTINGS.model_copy(update={"epochs": 4, "batch_size": 4, "gradient_accumulation": 2})
    results = {
        engine: trained(world, tmp_path / engine, settings=settings, engine=engine, mask=mask, ce_weight=0.1)
        for engine in ("online", "projected", "hidden")
    }
    online = weights(tmp_path / "online")
    moved = largest_difference(online, weights(world[0] / "adapter-new"))
    for engine in ("projected", "hidden"):
        assert largest_difference(online, weights(tmp_path / engine)) < 1e-3 * moved
        assert torch.equal(predictions(world, tmp_path / engine), predictions(world, tmp_path / "online"))
        assert results[engine].validation_losses == pytest.approx(results["online"].validation_losses, rel=1e-4)
        for name in ("loss", "masked_share", "kl_old", "kl_new", "cross_entropy"):
            found, expected = (
                [line[name] for line in results[which].log if "masked_share" in line] for which in (engine, "online")
            )
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("engine", ["projected", "online"])
def test_gradient_checkpointing_recomputes_and_changes_nothing(world, tmp_path, engine):
    calls, results = {}, {}
    layer = world[3]["new"].model.model.layers[0]
    for checkpointing in (False, True):
        seen = []
        handle = layer.mlp.register_forward_pre_hook(lambda *_, seen=seen: seen.append(torch.is_grad_enabled()))
        settings = SETTINGS.model_copy(update={"gradient_checkpointing": checkpointing})
        out = tmp_path / str(checkpointing)
        results[checkpointing] = trained(world, out, settings=settings, engine=engine)
        handle.remove()
        calls[checkpointing] = sum(seen)  # teachers run without gradients
    assert calls[True] == 2 * calls[False] > 0
    losses = [[line["loss"] for line in result.log if "loss" in line] for result in results.values()]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert results[True].validation_losses == pytest.approx(results[False].validation_losses, rel=1e-6)
    assert largest_difference(weights(tmp_path / "True"), weights(tmp_path / "False")) < 1e-6


@pytest.mark.parametrize("mask", ["old_always", "old_right"])
def test_a_mixed_store_ends_in_the_projected_engines_adapter_with_half_the_vectors(world, tmp_path, mask):
    for engine in ("projected", "mixed"):
        trained(
            world,
            tmp_path / engine,
            engine=engine,
            store=tmp_path / f"{engine}-store",
            mask=mask,
            ce_weight=0.1,
        )
    projected, mixed = (weights(tmp_path / engine) for engine in ("projected", "mixed"))
    moved = largest_difference(projected, weights(world[0] / "adapter-new"))
    assert largest_difference(projected, mixed) < 1e-3 * moved
    sizes = [
        sum(file.stat().st_size for file in (tmp_path / f"{engine}-store").rglob("*.safetensors"))
        for engine in ("projected", "mixed")
    ]
    assert sizes[1] < 0.6 * sizes[0]


def test_a_mixture_of_both_models_ends_in_the_same_adapter_from_every_engine(world, tmp_path):
    mixture = {"target": "mixture", "old_share": 0.3}
    for engine in ("projected", "hidden", "topk", "online"):
        store = tmp_path / f"{engine}-store"
        trained(world, tmp_path / engine, engine=engine, store=store, topk=1000, **mixture)
    trained(world, tmp_path / "alone", engine="online", mask="old_always")
    online = weights(tmp_path / "online")
    moved = largest_difference(online, weights(world[0] / "adapter-new"))
    for engine in ("projected", "hidden", "topk"):
        assert largest_difference(online, weights(tmp_path / engine)) < 1e-3 * moved
    assert largest_difference(online, weights(tmp_path / "alone")) > 0.1 * moved
    # The target is the same whoever the student is: one vector a token is enough.
    assert [path.name for path in (tmp_path / "projected-store").iterdir() if path.is_dir()] == ["mixed"]
    # Another share is another store.
    trained(world, tmp_path / "more", store=tmp_path / "projected-store", target="mixture", old_share=0.9)
    assert largest_difference(weights(tmp_path / "projected"), weights(tmp_path / "more")) > 0.1 * moved


def test_a_top_k_store_of_the_whole_vocabulary_ends_in_the_online_engines_adapter(world, tmp_path):
    trained(world, tmp_path / "online", engine="online")
    trained(world, tmp_path / "topk", engine="topk", topk=1000)
    moved = largest_difference(weights(tmp_path / "online"), weights(world[0] / "adapter-new"))
    assert largest_difference(weights(tmp_path / "online"), weights(tmp_path / "topk")) < 1e-3 * moved


def test_packed_training_ends_in_the_adapter_of_padded_training(world, tmp_path):
    for mask in ("student_wrong", "sequence_likelihood"):
        for packing in ("off", "on"):
            settings = SETTINGS.model_copy(update={"packing": packing})
            trained(world, tmp_path / f"{mask}-{packing}", settings=settings, mask=mask)
        off, on = (weights(tmp_path / f"{mask}-{packing}") for packing in ("off", "on"))
        assert largest_difference(off, on) < 1e-3 * largest_difference(off, weights(world[0] / "adapter-new"))


def models(world):
    root, _, _, bases, _ = world
    return {name: TaskModel.load(bases[name], root / f"adapter-{name}") for name in ("old", "new")}


def stores(world, folder, **changes):
    """Both teachers' stores on the training and validation data, and what they were made with."""
    root, _, split, bases, _ = world
    sides = models(world)
    data = [
        tokenize(part, bases["new"].tokenizer, max_length=64, end_of_text=False)
        for part in (split.train, split.validation)
    ]
    student = load_adapter(bases["new"], root / "adapter-new", trainable=True)
    kind, heads = choose_engine(
        changes.pop("engine", "projected"),
        student=student,
        old=sides["old"].model,
        new=sides["new"].model,
        sample=data[0].sequences[0],
    )
    settings = StoreSettings(**{"temperature": 2.0, "batch_size": 8, "description": "test", **changes})
    teachers = store_teachers(folder, RunningTeachers(**sides, heads=heads), data, kind=kind, settings=settings)
    return teachers, student, data, sides


@pytest.mark.parametrize("engine", ["projected", "hidden"])
def test_the_trainers_loss_from_a_store_is_the_formula_on_the_models_logits(world, tmp_path, engine):
    teachers, student, data, sides = stores(world, tmp_path / "s", engine=engine)
    trainer = StoredTrainer(
        model=student,
        teachers=teachers,
        temperature=2.0,
        mask="student_wrong",
        ce_weight=0.1,
        args=training_arguments(SETTINGS, tmp_path),
        train_dataset=data[0],
        eval_dataset=data[1],
        data_collator=PaddingCollator(0),
    )
    with torch.no_grad():  # away from the new task model
        for parameter in student.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    for dataset in (trainer.train_dataset, trainer.eval_dataset):
        batch = trainer.data_collator([dataset[index] for index in (5, 0, 3)])
        taught = OnlineTeachers(sides["old"].model, sides["new"].model)(batch)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        expected = compatibility_loss(
            student(**inputs).logits[:, :-1],
            taught.old[:, :-1],
            taught.new[:, :-1],
            batch["labels"][:, 1:],
            ce_weight=0.1,
        )
        assert trainer.compute_loss(student, dict(batch)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_fine_tuning_in_chunks_ends_in_the_same_adapter_as_on_whole_logits(world, tmp_path):
    _, _, split, bases, _ = world
    data = tokenize(split.train, bases["new"].tokenizer, max_length=64, end_of_text=False)
    shared = {"train_dataset": data, "eval_dataset": data, "data_collator": PaddingCollator(0)}
    ends = []
    for build in (
        task_trainer,
        lambda model, **kw: AdapterTrainer(model=model, objective=next_token_objective, **kw),
    ):
        torch.manual_seed(0)
        model = new_adapter(bases["new"], LORA)
        trainer = build(model, args=training_arguments(SETTINGS, tmp_path), **shared)
        trainer.train()
        ends.append({name: p.detach() for name, p in model.named_parameters() if p.requires_grad})
        assert isinstance(trainer, HeadlessTrainer) == (build is task_trainer)
    assert largest_difference(*ends) < 1e-4 * max(value.abs().max().item() for value in ends[0].values())


def test_a_trained_head_is_fine_tuned_on_whole_logits(world, tmp_path):
    _, _, split, bases, _ = world
    model = new_adapter(bases["new"], LORA.model_copy(update={"target_modules": ["q_proj", "lm_head"]}))
    data = tokenize(split.train, bases["new"].tokenizer, max_length=64, end_of_text=False)
    trainer = task_trainer(model, args=training_arguments(SETTINGS, tmp_path), train_dataset=data, eval_dataset=data)
    assert type(trainer) is AdapterTrainer


def test_alignment_leaves_no_store_behind_unless_it_is_asked_for_one(world, tmp_path):
    trained(world, tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    trained(world, tmp_path / "b", store=tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept").glob("[!.]*")) == ["new", "old"]
    assert largest_difference(weights(tmp_path / "a"), weights(tmp_path / "b")) == 0


def test_a_kept_store_serves_another_mask_without_running_the_teachers(world, tmp_path, monkeypatch):
    trained(world, tmp_path / "a", store=tmp_path / "kept")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*")}
    trained(world, tmp_path / "b", store=tmp_path / "kept", mask="old_always", ce_weight=0.3)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*")} == before
    trained(world, tmp_path / "fresh", mask="old_always", ce_weight=0.3)
    assert largest_difference(weights(tmp_path / "b"), weights(tmp_path / "fresh")) == 0


def test_a_store_of_another_adapter_temperature_or_data_is_built_again(world, tmp_path, caplog):
    _, _, split, bases, _ = world
    trained(world, tmp_path / "a", store=tmp_path / "kept")

    def built_again(change, work):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="muscle"):
            work()
        assert f"made for another {change}; building it again" in caplog.text

    built_again("temperature", lambda: trained(world, tmp_path / "b", store=tmp_path / "kept", temperature=1.0))
    shorter = SETTINGS.model_copy(update={"max_length": 5, "epochs": 1})
    built_again("data, temperature", lambda: trained(world, tmp_path / "c", store=tmp_path / "kept", settings=shorter))
    stores(world, tmp_path / "kept")
    other = models(world)
    other["old"] = TaskModel(other["old"].model, bases["old"], "another adapter's hash")
    heads = choose_engine(
        "projected",
        student=other["new"].model,
        old=other["old"].model,
        new=other["new"].model,
        sample=[3, 4],
    )[1]
    data = [
        tokenize(part, bases["new"].tokenizer, max_length=64, end_of_text=False)
        for part in (split.train, split.validation)
    ]
    built_again(
        "adapter",
        lambda: store_teachers(
            tmp_path / "kept",
            RunningTeachers(**other, heads=heads),
            data,
            kind="projected",
            settings=StoreSettings(temperature=2.0, batch_size=8, description="test"),
        ),
    )


def test_a_store_whose_numbers_are_not_the_models_is_noticed_and_built_again(world, tmp_path, caplog):
    teachers, *_ = stores(world, tmp_path / "kept")
    expected = teachers.old.rows(range(5), head=teachers.heads.old)
    # The new model's rows under the old one's name: whole, rightly labelled and wrong.
    shutil.rmtree(tmp_path / "kept" / "old")
    shutil.copytree(tmp_path / "kept" / "new", tmp_path / "kept" / "old")
    manifest = tmp_path / "kept" / "old" / "manifest.json"
    sides = models(world)
    text = manifest.read_text().replace(sides["new"].adapter, sides["old"].adapter)
    manifest.write_text(text.replace(sides["new"].base.fingerprint, sides["old"].base.fingerprint, 1))
    with caplog.at_level(logging.WARNING, logger="muscle"):
        again, *_ = stores(world, tmp_path / "kept")
    assert "a few tokens computed again differ from it; building it again" in caplog.text
    found = again.old.rows(range(5), head=again.heads.old)
    assert torch.equal(found.vector, expected.vector)


def test_a_batchs_rows_are_those_of_its_examples_alone(world, tmp_path):
    teachers, _, data, sides = stores(world, tmp_path / "s")
    sequences = [*data[0].sequences, *data[1].sequences]
    alone = row_maker(
        sides["old"].model,
        teachers.heads.old,
        sequences,
        RowForm(2.0, teachers.heads.student),
        pad_token_id=0,
    )
    for index in (0, 17, len(sequences) - 1):
        found, expected = teachers.old.rows([index], head=teachers.heads.old), alone([index])
        assert len(found) == len(sequences[index]) - 1
        assert torch.allclose(found.vector, expected.vector, atol=1e-5)
        assert torch.allclose(found.log_p, expected.log_p, atol=1e-5)
        assert torch.equal(found.right, expected.right)


class Broken(BaseException):
    pass


def test_an_alignment_that_was_broken_off_while_the_teachers_ran_ends_the_same(world, tmp_path, monkeypatch):
    from muscle.training.teachers import make_rows

    trained(world, tmp_path / "undisturbed")
    calls = 0
    plain = make_rows.projected_rows

    def breaks(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 11:
            raise Broken
        return plain(*args, **kwargs)

    monkeypatch.setattr(make_rows, "projected_rows", breaks)
    with pytest.raises(Broken):
        trained(world, tmp_path / "broken")
    monkeypatch.undo()
    trained(world, tmp_path / "broken")
    assert largest_difference(weights(tmp_path / "undisturbed"), weights(tmp_path / "broken")) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "undisturbed"]


def test_a_full_disk_is_refused_before_a_teacher_runs(world, tmp_path, monkeypatch):
    from muscle.training.teachers import write_store

    full = shutil.disk_usage(tmp_path)._replace(free=1)
    monkeypatch.setattr(write_store.shutil, "disk_usage", lambda path: full)
    with pytest.raises(OutputError, match="make room, name another folder, or use the online engine"):
        trained(world, tmp_path / "a")


def other_world(root, config, precision):
    """The same task on bases of another architecture, with untrained but different task adapters."""
    loaded = {}
    for name, seed in (("old", 1), ("new", 2)):
        folder = save_base(root / name, seed=seed)
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(folder)
        loaded[name] = load_base(BaseConfig(base=str(folder)), precision=precision, device="cpu")
    return tiny_pair(root, bases=loaded, items=40, epochs=1, precision=precision)


SIZES = {
    "vocab_size": 54,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}


@pytest.mark.parametrize(
    ("config", "used"),
    [
        (PhiConfig(**SIZES), "projected"),  # a head with bias
        (GraniteConfig(**SIZES, logits_scaling=4.0), "projected"),  # scaled logits
        (Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=3.0), "hidden"),  # capped logits
    ],
    ids=["phi", "granite", "gemma2"],
)
def test_heads_with_bias_scale_and_cap_end_in_the_online_engines_adapter(tmp_path, config, used):
    world = other_world(tmp_path, config, "float32")
    for engine in ("online", "projected"):
        trained(world, tmp_path / engine, engine=engine)
    assert json.loads((tmp_path / "projected" / "muscle.json").read_text())["engine"] == used
    online = weights(tmp_path / "online")
    moved = largest_difference(online, weights(tmp_path / "adapter-new"))
    assert largest_difference(online, weights(tmp_path / "projected")) < 2e-3 * moved


def test_in_bfloat16_the_engines_end_near_each_other(tmp_path):
    config = LlamaConfig(**SIZES)
    world = other_world(tmp_path, config, "bf16")
    settings = SETTINGS.model_copy(update={"precision": "bf16"})
    results = {
        engine: trained(world, tmp_path / engine, engine=engine, settings=settings)
        for engine in ("online", "projected", "hidden")
    }
    online = predictions(world, tmp_path / "online")
    for engine in ("projected", "hidden"):
        assert results[engine].validation_losses == pytest.approx(results["online"].validation_losses, rel=0.02)
        assert (predictions(world, tmp_path / engine) == online).float().mean() >= 0.97


def test_leaving_out_the_casts_that_autocast_takes_back_changes_no_bit(tmp_path, monkeypatch):
    from contextlib import nullcontext

    from muscle.training import trainer

    world = other_world(tmp_path, LlamaConfig(**SIZES), "bf16")
    settings = SETTINGS.model_copy(update={"epochs": 1, "precision": "bf16"})
    trained(world, tmp_path / "without", settings=settings)
    monkeypatch.setattr(trainer, "disable_input_dtype_casting", lambda model, active: nullcontext())
    trained(world, tmp_path / "with", settings=settings)
    assert largest_difference(weights(tmp_path / "without"), weights(tmp_path / "with")) == 0


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from muscle.config.alignment import AlignmentSettings
from muscle.config.settings import BaseConfig, TrainingSettings
from muscle.models.bases import load_base
from muscle.tasks import get_task, load_examples, split_train_validation
from muscle.training.align import align
from muscle.training.stored_trainers import StoredTrainer
from muscle.training.teachers import make_rows, write_store
import time
root, out = Path(sys.argv[1]), Path(sys.argv[2])
task = get_task(root / "tools.yaml")
split = split_train_validation(load_examples(task, root / "train.jsonl"), seed=0)
bases = [load_base(BaseConfig(base=str(root / name)), precision="float32", device="cpu") for name in ("old", "new")]
def slowed(plain, seconds):  # so that many kills fall into the building of the stores, and into the training
    def slowly(*args, **kwargs):
        time.sleep(seconds)
        return plain(*args, **kwargs)
    return slowly
make_rows.projected_rows = slowed(make_rows.projected_rows, 0.2)
StoredTrainer.compute_loss = slowed(StoredTrainer.compute_loss, 0.1)
write_store.SHARD_BYTES = 3000
print("ready", flush=True)
align(bases[0], root / "adapter-old", bases[1], root / "adapter-new", task, train_examples=split.train,
      validation_examples=split.validation, alignment=AlignmentSettings(),
      settings=TrainingSettings.model_validate_json(sys.argv[4]), out=out)
"""


@pytest.mark.slow
def test_kills_at_random_moments_of_store_building_and_training_change_nothing(world, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 6})
    trained(world, tmp_path / "undisturbed", settings=settings)
    out, rng = tmp_path / "killed", random.Random(0)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        CHILD,
        str(world[0]),
        str(out),
        str(TESTS),
    ]
    command.append(settings.model_dump_json())
    num_kills, in_store, in_training = 0, 0, 0
    while num_kills < 20:
        if out.exists():  # came to its end between two kills
            assert largest_difference(weights(tmp_path / "undisturbed"), weights(out)) == 0
            shutil.rmtree(out)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
            assert child.stdout.readline() == "ready\n"
            # Every second kill waits for the training to begin, however slow the machine is today.
            while num_kills % 2 and child.poll() is None and not list(tmp_path.glob(".killed.*.training")):
                time.sleep(0.05)
            time.sleep(rng.uniform(0.1, 3.0))
            if child.poll() is None:
                os.kill(child.pid, signal.SIGKILL)
                num_kills += 1
                began = bool(list(tmp_path.glob(".killed.*.training")))
                in_store, in_training = in_store + (not began), in_training + began
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert in_store > 0 and in_training > 0
    assert largest_difference(weights(tmp_path / "undisturbed"), weights(out)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "undisturbed"]
