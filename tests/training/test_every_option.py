"""Tokens of every option: what is read, that the old model alone teaches it, and what is told of it."""

from dataclasses import replace

import pytest
import torch

from muscle.config.alignment import AlignmentSettings
from muscle.errors import ConfigError
from muscle.models.adapters import load_adapter
from muscle.tasks.task import Example, with_each_choice
from muscle.training.align import align
from muscle.training.data.batches import PaddingCollator
from muscle.training.data.examples import tokenize
from muscle.training.data.texts import Texts
from muscle.training.teachers.make_rows import state_maker
from tiny.pair import LORA, SETTINGS, aligned, tiny_pair, trained, weights

EVERY = {"method": "every_option"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tiny_pair(tmp_path_factory.mktemp("every"))


def test_each_option_stands_once_as_the_answer():
    item = Example("7", "Q:", ("b",), " b", choices=("a", "b"), gold=1)
    first, second = with_each_choice([item])
    assert (first.id, first.target, first.gold, first.reference) == ("7/0", " a", 0, ("a",))
    assert (second.id, second.target, second.gold) == ("7/1", " b", 1)
    texts = Texts([item], [item], [item, item], every_text=True)
    assert [text.target for text in texts.learnt] == [" a", " b"] * 3
    assert [text.target for text in texts.held_out] == [" a", " b"]
    # Six texts an epoch, three epochs, one labelled example.
    assert texts.record(3)["control_epochs"] == 18
    alone = Texts([item], [item])
    assert (alone.learnt, alone.held_out, alone.record(3)) == ([item], [item], {})


def test_it_is_the_papers_training_on_items_with_each_of_their_options(world, tmp_path):
    _, written = aligned(world, tmp_path / "c", further=world.further, **EVERY)
    learnt = with_each_choice((*world.split.train, *world.further))
    by_hand = align(
        *world.side("old"),
        *world.side("new"),
        world.task,
        train_examples=learnt,
        validation_examples=with_each_choice(world.split.validation),
        alignment=AlignmentSettings(mask="old_always", temperature=1.0, engine="mixed"),
        settings=SETTINGS,
        out=tmp_path / "by_hand",
        lora=LORA,
    )
    assert written["validation_losses"] == by_hand.validation_losses
    found, expected = weights(tmp_path / "c"), weights(tmp_path / "by_hand")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert written["num_texts"] == len(learnt) > written["num_examples"] == len(world.split.train) + 40
    assert (written["num_labelled"], written["num_unlabelled"]) == (len(world.split.train), 40)
    assert written["num_validation"] == len(world.split.validation)
    assert written["control_epochs"] == -(-2 * len(learnt) // len(world.split.train))


def test_the_student_comes_nearer_to_the_old_model_on_wrong_options_of_items_without_a_label(world, tmp_path):
    trained(world, tmp_path / "c", further=world.further, **EVERY)
    right = {item.id: item.gold for item in world.split.validation}
    each = with_each_choice(world.split.validation)
    texts = [text for text in each if text.gold != right[text.id.rpartition("/")[0]]]

    def log_likelihoods(side, adapter):
        base = world.bases[side]
        data = tokenize(texts, base.tokenizer, max_length=64, end_of_text=False)
        batch = PaddingCollator(0)([data[place] for place in range(len(data))])
        with torch.no_grad():
            logits = load_adapter(base, adapter)(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits
        chosen = logits[:, :-1].log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
        return (chosen * batch["attention_mask"][:, 1:]).sum(-1)

    old, plain = (log_likelihoods(side, world.root / f"adapter-{side}") for side in ("old", "new"))
    student = log_likelihoods("new", tmp_path / "c")
    assert (student - old).abs().mean() < (plain - old).abs().mean()


def test_the_new_model_is_not_run_as_a_teacher(world, tmp_path, monkeypatch):
    asked = []

    def counting(model, *args, **kwargs):
        asked.append(model)
        return state_maker(model, *args, **kwargs)

    monkeypatch.setattr("muscle.training.teachers.make_rows.state_maker", counting)
    trained(world, tmp_path / "c", further=world.further, store=tmp_path / "store", **EVERY)
    (teacher,) = asked
    told = [model.get_input_embeddings().weight for model in (teacher, world.bases["old"].model)]
    assert torch.equal(*told)
    assert [path.name for path in (tmp_path / "store").iterdir() if path.is_dir()] == ["mixed"]


def test_without_the_setting_inputs_without_a_label_are_not_read(world, tmp_path):
    for name, further in (("without", ()), ("with", world.further)):
        trained(world, tmp_path / name, further=further)
    first, second = weights(tmp_path / "without"), weights(tmp_path / "with")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_task_without_options_is_refused(world, tmp_path):
    spoken = replace(world.task, kind="generation")
    with pytest.raises(ConfigError, match=r"alignment\.texts: every_option needs a choice task, found tools"):
        trained(world._replace(task=spoken), tmp_path / "c", **EVERY)
