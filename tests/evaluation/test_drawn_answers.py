"""Answers that are drawn for training: as many as asked for, what was cut off left out, resumed where it was killed."""

import pytest

from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.evaluation import candidates
from muscle.evaluation.candidates import Asked, draw_answers
from muscle.models.bases import load_base
from muscle.tasks import get_task, load_examples
from muscle.training.finetune import finetune
from tiny.bases import GENERATION_YAML, save_base, write_choice_rows


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    (root / "tools.yaml").write_text(GENERATION_YAML)
    task = get_task(root / "tools.yaml")
    examples = load_examples(task, write_choice_rows(root / "rows.jsonl", 20))
    folder = save_base(root / "base", seed=3)
    base = load_base(BaseConfig(base=str(folder)), precision="float32", device="cpu")
    settings = TrainingSettings(epochs=40, learning_rate=1e-2, warmup_steps=0, batch_size=4, gradient_accumulation=1)
    finetune(
        base,
        task,
        train_examples=examples,
        validation_examples=examples,
        lora=LoraSettings(r=4, alpha=8),
        settings=settings,
        out=root / "adapter",
    )
    return root, base, task, examples


def drawn(world, folder, *, samples=2, seed=0):
    root, base, task, examples = world
    asked = Asked(samples=samples, temperature=1.0, seed=seed, batch_size=4)
    return draw_answers(folder, "old", base, root / "adapter", task, examples, asked)


def test_every_item_has_its_greedy_answer_and_samples_with_the_scorers_verdict(world, tmp_path):
    found = drawn(world, tmp_path)
    assert len(found) == 20
    for answers, example in zip(found, world[3], strict=True):
        assert len(answers) <= 3
        assert sum(each.source == "old greedy" for each in answers) <= 1
        for each in answers:
            assert each.correct == (each.text.strip() == example.reference[0])
    assert any(each.correct for answers in found for each in answers)
    assert len({each.text for answers in found for each in answers if each.source == "old sample"}) > 1
    assert all(each.source == "old greedy" for answers in drawn(world, tmp_path, samples=0) for each in answers)


def test_answers_are_drawn_once_and_others_for_another_seed(world, tmp_path, monkeypatch):
    first = drawn(world, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(candidates, "_draw", None)  # is not called
        assert drawn(world, tmp_path) == first
    assert drawn(world, tmp_path, seed=1) != first


def test_a_killed_call_goes_on_at_its_part_and_a_damaged_part_is_drawn_again(world, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(candidates, "ITEMS_A_PART", 8)
    whole = drawn(world, tmp_path / "whole")
    draw, calls = candidates._draw, []

    def killed(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(arguments[-1])
        return draw(*arguments)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(candidates, "_draw", killed)
        drawn(world, tmp_path / "killed")
    with monkeypatch.context() as patched:
        patched.setattr(candidates, "_draw", lambda *arguments: calls.append(arguments[-1]) or draw(*arguments))
        assert drawn(world, tmp_path / "killed") == whole
        assert calls == [0, 8, 16]
        (file,) = (tmp_path / "killed").rglob("items-00000008.json")
        file.write_text('{"answers": [[{"text": 1, "who": 2}]]}')
        assert drawn(world, tmp_path / "killed") == whole
        assert calls == [0, 8, 16, 8]
    assert "drawing its answers again" in caplog.text
