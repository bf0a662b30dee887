from dataclasses import replace

import pytest
import torch

from muscle import finetune, get_task
from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.errors import DataError
from muscle.evaluation.harness import evaluate
from muscle.models.bases import load_base
from muscle.tasks import load_examples
from muscle.training.teachers import option_rows, write_store
from muscle.training.teachers.make_rows import TaskModel
from muscle.training.teachers.option_rows import store_options
from tiny.bases import TASK_YAML, save_base, write_choice_rows


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    root = tmp_path_factory.mktemp("options")
    (root / "tools.yaml").write_text(TASK_YAML)
    task = get_task(root / "tools.yaml")
    examples = load_examples(task, write_choice_rows(root / "train.jsonl", 12))
    base = load_base(BaseConfig(base=str(save_base(root / "base", seed=1))), precision="float32", device="cpu")
    finetune(
        base,
        task,
        train_examples=examples[:8],
        validation_examples=examples[8:],
        lora=LoraSettings(r=4, alpha=8),
        settings=TrainingSettings(epochs=1, warmup_steps=0, precision="float32"),
        out=root / "adapter",
    )
    return TaskModel.load(base, root / "adapter"), task, examples


def test_options_get_the_likelihoods_that_scoring_gives_them(teacher, tmp_path):
    side, task, examples = teacher
    store = store_options(tmp_path / "s", side, examples, max_length=64)
    scored = evaluate(side.model, side.base.tokenizer, task, examples, batch_size=4, name="teacher", progress=False)
    expected = scored.frame["logprobs"].to_list()
    for index in (0, 7, 11):
        rows = store.rows([index])
        assert len(rows) == len(examples[index].choices)
        assert rows.log_likelihood.tolist() == pytest.approx(expected[index], abs=1e-4)
        assert (rows.num_tokens > 0).all()
    both = store.rows([7, 0])
    assert torch.equal(both.log_likelihood[:2], store.rows([7]).log_likelihood)
    assert torch.equal(both.log_likelihood[2:], store.rows([0]).log_likelihood)


def test_a_store_of_options_is_some_bytes_an_example_and_built_once(teacher, tmp_path):
    side, _, examples = teacher
    store = store_options(tmp_path / "s", side, examples, max_length=64)
    before = [path.stat().st_mtime_ns for path in sorted((tmp_path / "s").iterdir())]
    assert store.num_bytes < 1000 + 8 * 3 * len(examples)
    store_options(tmp_path / "s", side, examples, max_length=64)
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "s").iterdir())] == before


def test_items_of_like_length_share_a_pass_and_a_shard_is_no_more_than_some_tokens(teacher, tmp_path, monkeypatch):
    side, _, examples = teacher
    mixed = [
        replace(one, context=one.context * (30 if number % 2 else 1))
        for number, one in enumerate([*examples, *examples])
    ]
    passes = []
    scored = option_rows.score_items

    def noted(model, items, **options):
        passes.append([len(context) for context, _ in items])
        return scored(model, items, **options)

    monkeypatch.setattr(option_rows, "score_items", noted)
    whole = store_options(tmp_path / "s", side, mixed, max_length=512, batch_size=4)
    assert sum(max(lengths) > 2 * min(lengths) for lengths in passes) <= 1
    monkeypatch.setattr(write_store, "SHARD_TOKENS", 200)
    cut = store_options(tmp_path / "cut", side, mixed, max_length=512, batch_size=4)
    assert len(list((tmp_path / "cut").glob("*.safetensors"))) > len(list((tmp_path / "s").glob("*.safetensors"))) == 1
    every = list(range(len(mixed)))
    assert torch.allclose(cut.rows(every).log_likelihood, whole.rows(every).log_likelihood, atol=1e-4)
    assert torch.equal(cut.rows(every).num_tokens, whole.rows(every).num_tokens)


def test_an_example_without_options_is_refused(teacher, tmp_path):
    import dataclasses

    side, _, examples = teacher
    with pytest.raises(DataError, match="expected answer options, found none"):
        store_options(tmp_path / "s", side, [dataclasses.replace(examples[0], choices=())], max_length=64)


def test_beginnings_that_tell_options_apart_stand_for_them_where_that_is_wanted(teacher, tmp_path):
    side, _, examples = teacher
    longer = [replace(example, choices=tuple(f"{choice} w3" for choice in example.choices)) for example in examples]
    whole = store_options(tmp_path / "whole", side, examples, max_length=64).rows(range(3))
    cut = store_options(tmp_path / "cut", side, longer, max_length=64, distinguishing=True).rows(range(3))
    assert cut.log_likelihood.tolist() == pytest.approx(whole.log_likelihood.tolist(), abs=1e-5)
    assert torch.equal(cut.num_tokens, whole.num_tokens)
