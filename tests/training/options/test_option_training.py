"""Trainings at option level on the tiny pair: every target, the starts, fidelity, resuming, and other tokenizers."""

import dataclasses

import pytest
import torch

from muscle.config.alignment import AlignmentSettings
from muscle.errors import ConfigError, DataError, ModelError
from muscle.models.adapters import load_adapter, new_adapter, start_adapter
from muscle.models.option_scores import option_log_likelihoods
from muscle.models.option_tree import encode_options, option_tree
from muscle.tasks.data import Split
from muscle.tasks.task import Example
from muscle.training.align import align
from muscle.training.arguments import training_arguments
from muscle.training.options.data import OptionData
from muscle.training.options.items import ItemCollator, character_factors
from muscle.training.options.lessons import label_lesson
from muscle.training.options.losses import TargetRows, option_terms
from muscle.training.options.targets import NO_LABEL, mixture
from muscle.training.options.train import reads_items, train_on_labels
from muscle.training.options.trainer import OptionLoss, OptionTrainer
from tiny.pair import LORA, SETTINGS, aligned, fine_tuned, tiny_base, tiny_pair, weights


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tiny_pair(tmp_path_factory.mktemp("options"))


NUMBERS = ("temperature", "ce_weight", "old_share", "kappa", "kl")
SHARED = {"temperature", "ce_weight", "old_share", "kl"}
NUMBERS_READ = {
    "labels": set(),
    "margin": set(),
    "mixture": SHARED,
    "reliability": SHARED,
    "stack": {"temperature", "ce_weight", "kappa", "kl"},
    "lifted": SHARED,
}
"""The numbers of a method that its losses read: no other one is told of it."""


@pytest.mark.parametrize(
    "more",
    [
        {"target": "labels"},
        {"target": "margin"},
        {"target": "mixture", "kl": "reverse", "ce_weight": 0.2},
        {"target": "reliability", "old_share": 0.7},
        {"target": "stack", "kappa": 3.0},
        {"target": "lifted", "selection": "cross_entropy"},
    ],
    ids=lambda more: more["target"],
)
def test_every_target_trains_and_says_what_it_did(world, tmp_path, more):
    further = () if more["target"] in ("labels", "margin") else world[4]
    result, written = aligned(world, tmp_path / "c", further=further, unit="options", temperature=1.0, **more)
    assert result.num_epochs == 2
    assert {**written, **more} == written
    assert {key for key in NUMBERS if key in written} == NUMBERS_READ[more["target"]]
    assert (written["num_labelled"], written["num_unlabelled"]) == (len(world[2].train), len(further))
    assert written["items_seen"] == 2 * (len(world[2].train) + len(further))
    for name in ("agreement", "kl", "cross_entropy"):
        assert len(written["validation"][name]) == 2
    assert all(0 <= share <= 1 for share in written["validation"]["agreement"])
    picked = "cross_entropy" if more.get("selection") else None
    assert result.best_epoch == 1 + min(range(2), key=lambda epoch: result.validation_losses[epoch])
    if picked:
        assert result.validation_losses == written["validation"][picked]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def test_the_preset_trains_on_labels_first_and_then_towards_the_mixture(world, tmp_path):
    _, written = aligned(world, tmp_path / "c", method="options", further=world[4], unlabelled_epochs=None)
    assert (written["unit"], written["target"], written["old_share"]) == ("options", "mixture", 0.5)
    first = written["labels_first"]
    assert first["num_epochs"] == 2
    assert len(first["validation"]["agreement"]) == 2
    assert set(written["temperatures"]) == {"old", "new"}
    trained = len(world[2].train)
    assert written["items_seen"] == 2 * trained + 2 * (trained + 40)
    assert written["control_epochs"] == -(-written["items_seen"] // trained)


def test_labels_that_gain_nothing_on_the_validation_items_are_left_out(world, tmp_path, caplog):
    tossed = SETTINGS.model_copy(update={"learning_rate": 0.5})  # so high that every epoch is worse than the start
    chosen = {"unit": "options", "target": "mixture", "old_share": 0.0, "temperature": 1.0, "ce_weight": 0.0}
    _, written = aligned(
        world, tmp_path / "c", settings=tossed, labels_first=True, training={"learning_rate": 1e-9}, **chosen
    )
    first = written["labels_first"]
    assert first["improved"] is False
    assert min(first["validation_losses"]) >= first["loss_before"]
    assert "the training on labels alone gained nothing" in caplog.text


def test_the_loss_before_training_is_the_starts_own_and_a_training_that_gains_nothing_is_told(world, tmp_path, caplog):
    still = SETTINGS.model_copy(update={"learning_rate": 1e-12})
    flat, _ = aligned(world, tmp_path / "flat", settings=still, unit="options", target="labels", temperature=1.0)
    assert flat.loss_before == pytest.approx(flat.validation_losses[0], rel=1e-4)
    assert [line["step"] > 0 for line in flat.log] == [True] * len(flat.log)
    caplog.clear()
    tossed = SETTINGS.model_copy(update={"learning_rate": 0.5})
    worse, written = aligned(world, tmp_path / "w", settings=tossed, unit="options", target="labels", temperature=1.0)
    assert (worse.improved, written["improved"], written["loss_before"]) == (False, False, flat.loss_before)
    assert "no epoch has a validation loss below that before training" in caplog.text


def test_a_student_that_starts_as_the_new_teacher_has_nothing_to_learn_from_a_share_of_0(world, tmp_path):
    result, written = aligned(world, tmp_path / "c", unit="options", target="mixture", old_share=0.0, temperature=1.0)
    # But for the teacher's calibration, which is the only thing that it does not say itself.
    calibrated = abs(1 - written["temperatures"]["new"])
    assert (result.log[0]["kl"] < 1e-6) == (calibrated < 1e-3)
    assert written["validation"]["agreement"][0] > 0.8


def test_equal_teachers_leave_the_student(world, tmp_path):
    own = (world[3]["new"], world[0] / "adapter-new")
    for share in (0.0, 0.3, 1.0):
        settings = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
        _, written = aligned(
            world,
            tmp_path / f"c{share}",
            settings=settings,
            old=own,
            unit="options",
            target="mixture",
            old_share=share,
            temperature=1.0,
        )
        assert written["temperatures"]["old"] == written["temperatures"]["new"]
        assert written["validation"]["agreement"] == [1.0]


def test_the_trainers_loss_is_the_formula_on_the_models_likelihoods(world, tmp_path):
    root, task, split, bases, further = world
    base, data = bases["new"], OptionData(task, split.train, split.validation, further)
    generator = torch.Generator().manual_seed(3)
    old, new = (torch.randn(len(data.all), 2, generator=generator) for _ in range(2))
    rows = TargetRows(mixture(old, new, 0.4), data.gold)
    student = load_adapter(base, root / "adapter-new", trainable=True)
    items = data.items(base.tokenizer, 64)
    trainer = OptionTrainer(
        model=student,
        targets=rows,
        loss=OptionLoss(temperature=2.0, ce_weight=0.3),
        pad_token_id=0,
        args=training_arguments(SETTINGS, tmp_path),
        train_dataset=items[0],
        eval_dataset=items[1],
        data_collator=ItemCollator(),
    )
    chosen = [0, len(split.train), len(split.train) + 3, 5]  # labelled and unlabelled ones together
    batch = ItemCollator()([items[0][place] for place in chosen])
    found = trainer.compute_loss(student, dict(batch))
    expected = 0.0
    for place in chosen:
        tree = option_tree(*encode_options(data.all[place], base.tokenizer, 64))
        (scores,) = option_log_likelihoods(student, [tree], pad_token_id=0)
        one = option_terms(scores[None], rows[torch.tensor([place])], temperature=2.0, ce_weight=0.3)
        expected += one.loss.item() / len(chosen)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_gradient_accumulation_gives_the_same_steps_as_one_large_batch(world, tmp_path):
    one_by_one = SETTINGS.model_copy(update={"batch_size": 2, "gradient_accumulation": 4})
    results = [
        aligned(world, tmp_path / name, settings=each, further=world[4], unit="options", target="mixture")[0]
        for name, each in (("a", SETTINGS), ("b", one_by_one))
    ]
    assert results[0].num_steps == results[1].num_steps
    assert results[1].validation_losses == pytest.approx(results[0].validation_losses, rel=1e-4)


class Killed(BaseException):
    """What a kill is in a test."""


@pytest.mark.parametrize("where", ["labels first", "the teachers", "the last training"])
def test_a_killed_training_ends_in_the_same_adapter(world, tmp_path, monkeypatch, where):
    choices = {"method": "options", "further": world[4]}
    _, undisturbed = aligned(world, tmp_path / "whole", **choices)
    calls = {"left": 3 if where == "the last training" else 1}

    def kill(self, args, state, control, **_):
        calls["left"] -= 1
        if calls["left"] == 0:
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        if where == "the teachers":
            patched.setattr("muscle.training.options.align.taught_lesson", lambda *_: (_ for _ in ()).throw(Killed()))
        else:
            patched.setattr("muscle.training.run.Progress.on_save", kill, raising=False)
        aligned(world, tmp_path / "killed", **choices)
    assert not (tmp_path / "killed").exists()
    _, written = aligned(world, tmp_path / "killed", **choices)
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert written["validation"] == undisturbed["validation"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


def test_a_kept_store_serves_the_next_method(world, tmp_path, monkeypatch):
    root, task, split, bases, further = world
    shared = {
        "train_examples": split.train,
        "validation_examples": split.validation,
        "settings": SETTINGS,
        "unlabelled_examples": further,
        "store": tmp_path / "kept",
    }
    sides = (bases["old"], root / "adapter-old", bases["new"], root / "adapter-new", task)
    align(*sides, alignment=AlignmentSettings(method="options"), out=tmp_path / "a", **shared)
    made = sorted(path.name for path in (tmp_path / "kept").glob("[!.]*"))
    assert [name.split("-")[0] for name in made] == ["labels", "options", "options"]
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.safetensors")}
    align(*sides, alignment=AlignmentSettings(method="options", old_share=0.7), out=tmp_path / "b", **shared)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.safetensors")} == stamps


def test_an_old_model_with_another_tokenizer_teaches_too(world, tmp_path):
    base = tiny_base(tmp_path, "wider", seed=5, extra_words=7)
    side = fine_tuned(world, base, tmp_path / "adapter")
    _, written = aligned(world, tmp_path / "c", old=side, further=world.further, method="options")
    assert len(written["validation"]["agreement"]) == 2


@pytest.mark.parametrize("start", ["old", "fresh"])
@pytest.mark.parametrize("unit", ["options", "tokens"])
def test_a_student_may_start_elsewhere(world, tmp_path, start, unit):
    method = {"unit": "options", "target": "mixture"} if unit == "options" else {}
    settings = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
    aligned(world, tmp_path / "c", settings=settings, start=start, **method)
    found = weights(tmp_path / "c")
    if start == "old":
        expected = weights(world[0] / "adapter-old")
        assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
    else:
        assert all(value.abs().max() < 1e-6 for name, value in found.items() if "lora_B" in name)


@pytest.mark.parametrize("rank", [4, 9])
def test_a_larger_rank_starts_with_the_same_logits(world, rank):
    root, _, _, bases, _ = world
    ids = torch.tensor([[3, 4, 5, 6, 7]])
    before = load_adapter(bases["new"], root / "adapter-new", trainable=True)(input_ids=ids).logits
    grown = start_adapter(bases["new"], root / "adapter-new", rank=rank)
    config = grown.peft_config["default"]
    assert (config.r, config.lora_alpha) == (rank, 2 * rank)
    torch.testing.assert_close(grown(input_ids=ids).logits, before, rtol=0, atol=1e-5)
    # What was added learns.
    grown(input_ids=ids).logits.square().sum().backward()
    slopes = [value.grad for name, value in grown.named_parameters() if "lora_B" in name]
    assert all((slope != 0).any(0).all() for slope in slopes)


def test_a_smaller_rank_is_refused(world):
    with pytest.raises(ModelError, match=r"alignment\.lora\.r: expected its rank 4 or more, found 3"):
        start_adapter(world[3]["new"], world[0] / "adapter-new", rank=3)


@pytest.mark.parametrize("method", ["options", "paper"])
def test_a_larger_rank_trains_in_every_unit_and_is_a_plain_peft_folder(world, tmp_path, method):
    aligned(world, tmp_path / "c", method=method, lora={"r": 8})
    load_adapter(world[3]["new"], tmp_path / "c")
    assert all(value.shape[0] == 8 for name, value in weights(tmp_path / "c").items() if "lora_A" in name)


def test_the_control_trains_on_labels_in_the_same_unit(world, tmp_path):
    root, task, split, bases, _ = world
    result = train_on_labels(
        bases["new"],
        root / "adapter-new",
        OptionData(task, split.train, split.validation),
        settings=SETTINGS,
        out=tmp_path / "control",
    )
    assert result.log[0]["kl"] == pytest.approx(result.log[0]["cross_entropy"], rel=1e-5)
    assert result.validation_losses[1] < result.validation_losses[0]


@pytest.fixture
def in_shards(monkeypatch):
    """What a launcher that puts models in shards says to each of two processes."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "ACCELERATE_USE_FSDP": "true"}.items():
        monkeypatch.setenv(name, value)


def of_two_tokens(world):
    """Items whose options are of two tokens and part in the first."""
    split = Split(
        *(
            tuple(dataclasses.replace(each, choices=tuple(f"{choice} w3" for choice in each.choices)) for each in part)
            for part in (world.split.train, world.split.validation)
        )
    )
    return world._replace(split=split)


@pytest.mark.usefixtures("in_shards")
@pytest.mark.parametrize("why", ["reads no trees", "window"])
def test_in_shards_a_base_that_reads_options_one_by_one_is_refused_before_anything_runs(
    world, tmp_path, monkeypatch, why
):
    if why == "window":
        monkeypatch.setattr(world.bases["new"].model.config, "sliding_window", 2, raising=False)
    else:
        monkeypatch.setattr("muscle.training.options.train.reads_trees", lambda *_, **__: False)
    with pytest.raises(ConfigError, match=r"alignment\.unit: expected a base that reads all options of an item in one"):
        aligned(of_two_tokens(world), tmp_path / "c", method="options")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("in_shards")
def test_in_shards_a_base_is_taken_that_reads_all_options_in_one_pass(world, monkeypatch):
    base = world.bases["new"]
    for pair in (world, of_two_tokens(world)):
        data = OptionData(pair.task, pair.split.train, pair.split.validation)
        assert reads_items(base.model, data.items(base.tokenizer, 64), 0)
    # Options of one token each need no tree.
    monkeypatch.setattr("muscle.training.options.train.reads_trees", lambda *_, **__: False)
    data = OptionData(world.task, world.split.train, world.split.validation)
    assert not reads_items(base.model, data.items(base.tokenizer, 64), 0)
    on_head = new_adapter(base, LORA.model_copy(update={"target_modules": ["lm_head"]}))
    with pytest.raises(ConfigError, match=r"lora\.target_modules: expected no adapter on the output head"):
        reads_items(on_head, data.items(base.tokenizer, 64), 0)


def test_many_options_are_read_by_the_beginnings_that_tell_them_apart(world):
    task, split = world[1], world[2]
    many = dataclasses.replace(split.train[0], choices=tuple(f"w{index} bowl" for index in range(9)))
    data = OptionData(task, [many], [many])
    assert data.distinguishing
    assert not OptionData(task, split.train, split.validation).distinguishing
    (items, _) = data.items(world[3]["new"].tokenizer, 64)
    assert {len(path) for path in items.trees[0].paths} == {1}
    by_character = OptionData(dataclasses.replace(task, choice_score="acc_norm"), [many], [many])
    assert not by_character.distinguishing


def test_a_task_scored_per_character_is_trained_so(world):
    example = Example(id="1", context="Use the", reference=(), target="", choices=("ab", "abcdef"), gold=0)
    values = torch.tensor([-1.0, -2.4])
    scores = values * character_factors(example)
    assert scores.tolist() == pytest.approx([-2.0, -1.6])
    assert scores.argmax() == (values / torch.tensor([2.0, 6.0])).argmax()


def test_labels_of_unlabelled_items_are_not_looked_at(world):
    _, task, split, _, further = world
    assert all(example.gold is None and not example.reference for example in further)
    data = OptionData(task, split.train, split.validation, further)
    assert (data.gold[len(split.train) : data.num_trained] == NO_LABEL).all()
    assert (label_lesson(OptionData(task, split.train, split.validation)).target.gold >= 0).all()
    with pytest.raises(DataError, match=f"example {further[0].id}: expected its right option: labels"):
        label_lesson(data)


def test_a_task_without_options_is_refused(world):
    _, task, split, _, _ = world
    with pytest.raises(ConfigError, match=r"alignment\.unit: options needs a choice task, found tools"):
        OptionData(dataclasses.replace(task, kind="generation"), split.train, split.validation)


def test_methods_on_tokens_may_pick_the_epoch_by_the_cross_entropy(world, tmp_path):
    result, _ = aligned(world, tmp_path / "c", selection="cross_entropy")
    assert result.validation_losses == [line["eval_cross_entropy"] for line in result.log if "eval_loss" in line]
