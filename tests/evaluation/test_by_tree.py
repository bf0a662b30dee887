"""All options in one forward pass, held against the harness's scoring of one request an option."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config
from transformers.modeling_utils import PreTrainedModel

from muscle.evaluation import by_tree, harness
from muscle.predictions.run import Run
from muscle.tasks import Example, get_task
from tiny.bases import byte_tokenizer

SIZES = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "initializer_range": 0.2,
}
TASK = get_task("piqa")
INTENTS = [
    f"{verb} {noun}{end}"
    for verb in ("open", "order", "a", "block my")
    for noun in ("card", "account", "b")
    for end in ("", " now", " abroad")
]
TOKENIZER = byte_tokenizer(INTENTS, bos=False)
LETTERS = ("A", "B", "C", "D")
LONG = ("x " * 30 + "y", "z " * 25, "x " * 31)


def example(number: int, choices: tuple[str, ...], *, words: int = 3) -> Example:
    context = " ".join(f"w{number + place}" for place in range(words)) + "\nIntent:"
    return Example(
        id=str(number),
        context=context,
        reference=(choices[0],),
        target=" " + choices[0],
        choices=choices,
        gold=number % len(choices),
    )


ITEMS = {
    "intents": [example(n, tuple(INTENTS), words=2 + n) for n in range(3)],
    "letters": [example(n, LETTERS, words=2 + n % 3) for n in range(9)],
    "long": [example(n, LONG) for n in range(4)],
    "cut": [example(n, tuple(INTENTS), words=30 + n) for n in range(3)],
    "equal": [example(1, ("ab", "ab", "a")), example(1, ("ab", "c"))],
    "one unscored": [example(1, ("ab", "c", "d")), example(2, ("d", "e" * 80))],
}


def model(config: type = LlamaConfig, **settings: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    made = config(**SIZES, max_position_embeddings=64 if settings.pop("short", False) else 256, **settings)
    return AutoModelForCausalLM.from_config(made).eval()


def run(scored: Any, examples: list[Example], batch_size: int = 8) -> Run:
    return harness.evaluate(scored, TOKENIZER, TASK, examples, batch_size=batch_size, name="tiny", progress=False)


def by_harness(monkeypatch: pytest.MonkeyPatch, score: Callable[[], Run]) -> Run:
    with monkeypatch.context() as patched:
        patched.setattr(by_tree, "reads_trees", lambda *_, **__: False)
        return score()


def tokens_read(scored: PreTrainedModel) -> list[int]:
    sizes: list[int] = []
    scored.get_input_embeddings().register_forward_hook(lambda _, __, output: sizes.append(output.shape[:2].numel()))
    return sizes


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("name", ITEMS)
def test_records_are_the_harnesss(monkeypatch: pytest.MonkeyPatch, name: str, batch_size: int) -> None:
    scored = model(short=True)
    found = run(scored, ITEMS[name], batch_size)
    expected = by_harness(monkeypatch, lambda: run(scored, ITEMS[name], batch_size))
    if name == "cut":
        assert found.metadata["tasks"]["piqa"]["num_truncated"] > 0
    assert found.metadata == expected.metadata
    close = {"logprobs", "score.gold_probability", "score.gold_logprob"}
    assert found.frame.drop(close).equals(expected.frame.drop(close))
    for mine, theirs in zip(found.frame["logprobs"], expected.frame["logprobs"], strict=True):
        if theirs is None:
            assert mine is None
            continue
        torch.testing.assert_close(torch.tensor(list(mine)), torch.tensor(list(theirs)), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (Qwen2Config, {"num_key_value_heads": 2}),
        (Gemma3TextConfig, {"sliding_window": 8, "head_dim": 8, "num_key_value_heads": 2}),
        (LlamaConfig, {"attn_implementation": "eager"}),
    ],
)
def test_other_architectures_and_adapters_get_the_same_scores(
    monkeypatch: pytest.MonkeyPatch, config: type, settings: dict[str, Any]
) -> None:
    adapted = get_peft_model(
        model(config, **settings), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    )
    found = run(adapted, ITEMS["intents"])
    expected = by_harness(monkeypatch, lambda: run(adapted, ITEMS["intents"]))
    for mine, theirs in zip(found.frame["logprobs"], expected.frame["logprobs"], strict=True):
        torch.testing.assert_close(torch.tensor(list(mine)), torch.tensor(list(theirs)), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", ["intents", "letters", "long", "cut"])
def test_trees_read_no_more_than_the_harness_in_passes_that_are_no_larger(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    scored = model(short=True)
    sizes = tokens_read(scored)
    # The check whether the model reads trees is another matter.
    monkeypatch.setattr(by_tree, "reads_trees", lambda *_, **__: True)
    run(scored, ITEMS[name])
    read, largest = sum(sizes), max(sizes)
    sizes.clear()
    by_harness(monkeypatch, lambda: run(scored, ITEMS[name]))
    assert read <= sum(sizes) * (1 / 4 if name == "intents" else 1)
    assert largest <= max(sizes)


def test_a_large_tree_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = model()
    whole = run(scored, ITEMS["intents"])
    sizes = tokens_read(scored)
    monkeypatch.setattr("muscle.models.option_batches.LARGEST_TREE", 24)
    parts = run(scored, ITEMS["intents"], batch_size=1)
    assert len(sizes) > 10
    torch.testing.assert_close(
        torch.tensor(parts.frame["logprobs"].to_list()),
        torch.tensor(whole.frame["logprobs"].to_list()),
        rtol=1e-6,
        atol=1e-5,
    )


def test_a_pass_on_a_processor_holds_no_more_than_its_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = model()
    monkeypatch.setattr(by_tree, "reads_trees", lambda *_, **__: True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)  # twice as much as one or two threads
    whole = run(scored, ITEMS["letters"], batch_size=64)
    sizes = tokens_read(scored)
    monkeypatch.setattr("muscle.models.option_batches.CPU_TOKENS", 16)
    parts = run(scored, ITEMS["letters"], batch_size=64)
    assert len(sizes) > 1 and max(sizes) <= 32
    torch.testing.assert_close(
        torch.tensor(parts.frame["logprobs"].to_list()),
        torch.tensor(whole.frame["logprobs"].to_list()),
        rtol=1e-6,
        atol=1e-5,
    )


def test_a_model_whose_logits_are_not_its_heads_alone_is_left_to_the_harness() -> None:
    plain, changed = model(), model()
    changed.register_forward_hook(lambda _, __, output: type(output)(logits=output.logits * 0.5))
    found = run(changed, ITEMS["letters"]).frame["logprobs"].to_list()
    plain.lm_head.weight.data *= 0.5
    torch.testing.assert_close(
        torch.tensor(found), torch.tensor(run(plain, ITEMS["letters"]).frame["logprobs"].to_list())
    )
