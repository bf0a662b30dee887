"""Scoring in a chat template: the very tokens that training read, and answers that end where the template ends them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from muscle import get_task
from muscle.errors import ConfigError
from muscle.evaluation.harness import evaluate
from muscle.evaluation.vllm_base import check_vllm
from muscle.models.option_tree import encode_options
from muscle.predictions.records import input_hash
from muscle.tasks import Example, Task
from muscle.tasks.prompt import Prompt
from tiny.bases import CHAT_TEMPLATES, SIZES, byte_tokenizer

PIQA, SAMSUM = get_task("piqa"), get_task("samsum")
ITEMS = [
    PIQA.to_example(
        {"goal": f"Open jar {number}", "sol1": f"Twist it {number}.", "sol2": "Sing to it. ", "label": number % 2},
        number,
    )
    for number in range(6)
]


def tokenizer_of(name: str, *, bos: bool) -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer([str(item) for item in ITEMS], bos=bos)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHAT_TEMPLATES[name]
    return tokenizer


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {**SIZES, "vocab_size": 420}
    return LlamaForCausalLM(LlamaConfig(**sizes, bos_token_id=0, eos_token_id=1, initializer_range=0.2)).eval()


def scored(model: Any, tokenizer: Any, task: Task, examples: list[Example], **options: Any) -> Any:
    return evaluate(model, tokenizer, task, examples, batch_size=4, name="tiny", progress=False, **options)


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_options_are_scored_on_the_tokens_that_training_reads(model: Any, name: str, bos: bool) -> None:
    tokenizer = tokenizer_of(name, bos=bos)
    task = PIQA.prompted(Prompt(True, num_fewshot=1, shots=tuple(ITEMS[:2])))
    run = scored(model, tokenizer, task, ITEMS)
    for put, found in zip(task.prompt.render(ITEMS, tokenizer), run.frame["logprobs"].to_list(), strict=True):
        context, options = encode_options(put, tokenizer, 500)
        for option, value in zip(options, found, strict=True):
            with torch.no_grad():
                logits = model(torch.tensor([context + option])).logits[0, len(context) - 1 : -1]
            expected = logits.log_softmax(-1).gather(-1, torch.tensor(option)[:, None]).sum().item()
            assert value == pytest.approx(expected, abs=2e-4)


def test_records_hold_the_task_s_own_texts(model: Any) -> None:
    task = PIQA.prompted(Prompt(True))
    runs = [scored(model, tokenizer_of(name, bos=False), task, ITEMS) for name in ("chatml", "instruct")]
    for run in runs:
        assert run.frame["input"].to_list() == [item.context for item in ITEMS]
        assert run.frame["input_hash"].to_list() == [input_hash(item.context, item.choices) for item in ITEMS]
        assert set(run.frame["output"]) <= {choice for item in ITEMS for choice in item.choices}
    assert runs[0].frame["logprobs"].to_list() != runs[1].frame["logprobs"].to_list()
    facts = [run.metadata["tasks"]["piqa"] for run in runs]
    assert facts[0]["data_fingerprint"] == facts[1]["data_fingerprint"]
    assert facts[0]["definition"]["prompt"]["chat_template"] is True


def test_solved_examples_are_counted_in_the_metadata(model: Any) -> None:
    task = PIQA.prompted(Prompt(num_fewshot=2, shots=tuple(ITEMS[:3])))
    assert scored(model, tokenizer_of("chatml", bos=False), task, ITEMS).metadata["tasks"]["piqa"]["num_fewshot"] == 2


@pytest.mark.parametrize(("name", "end"), [("chatml", "<|im_end|>"), ("instruct", "</s>")])
def test_an_answer_ends_at_the_template_s_end_token(name: str, end: str) -> None:
    tokenizer = tokenizer_of(name, bos=False)
    torch.manual_seed(0)
    silent = LlamaForCausalLM(LlamaConfig(**{**SIZES, "vocab_size": 420}, bos_token_id=0, eos_token_id=1)).eval()
    silent.lm_head = torch.nn.Linear(SIZES["hidden_size"], 420)
    torch.nn.init.zeros_(silent.lm_head.weight)
    torch.nn.init.zeros_(silent.lm_head.bias)
    with torch.no_grad():  # every token is the end token
        silent.lm_head.bias[tokenizer.convert_tokens_to_ids(end)] = 5.0
    rows = [{"dialogue": f"A: Hi {number}\nB: Hello", "summary": "They greet."} for number in range(3)]
    examples = [SAMSUM.to_example(row, number) for number, row in enumerate(rows)]
    run = scored(silent, tokenizer, SAMSUM.prompted(Prompt(True)), examples)
    assert run.frame["output"].to_list() == [""] * 3
    assert run.frame["finish_reason"].to_list() == ["stop"] * 3
    assert run.metadata["tasks"]["samsum"]["generation"]["until"] == list(SAMSUM.generation.until)


def test_vllm_is_refused_in_a_chat_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muscle.evaluation.vllm_base.find_spec", lambda name: object())
    with pytest.raises(ConfigError, match="vLLM does not score in a chat template"):
        check_vllm([], [PIQA.prompted(Prompt(True))])
