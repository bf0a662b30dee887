"""Tiny models and data, made on the spot: everything the tests of training and of the pipeline need."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from helpers.json_lines import write_lines

WORDS = [f"w{index}" for index in range(40)]
TOOLS = ("bowl", "fork", "rope", "lamp")
TASKS = ("soup", "hay", "load", "dark")
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
"""Of a decoder that is built without weights from disk, for tests that compare ways of computing."""

CHAT_TEMPLATES = {
    "chatml": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "instruct": "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content | trim }} </s>"
    "{% elif m.role == 'system' %}<<{{ m.content }}>> {% else %}[INST] {{ m.content | trim }} [/INST]{% endif %}"
    "{% endfor %}",
    "no system": "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('no system role') }}{% endif %}{{ m.role | upper }}: {{ m.content }}"
    "{% if m.role == 'assistant' %}</s>{% endif %}\n{% endfor %}{% if add_generation_prompt %}ASSISTANT: {% endif %}",
    "no end": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
}
"""Of the kinds that bases come with: with and without a BOS, a system role, an end token, blanks before an answer."""


def save_base(
    folder: Path, *, seed: int, hidden_size: int = 32, extra_words: int = 0, chat_template: str | None = None
) -> Path:
    """Write a random tiny Llama with a word-level tokenizer."""
    vocabulary = ["<pad>", "<eos>", "<unk>", "Use", "the", "for", *TOOLS, *TASKS, *WORDS]
    vocabulary += [f"x{index}" for index in range(extra_words)]
    raw = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", model_max_length=64
    )
    tokenizer.chat_template = chat_template
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_tokenizer(texts: list[str], *, bos: bool) -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes, and of pairs of them that are frequent in the texts."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    if bos:
        raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")


def write_choice_rows(path: Path, count: int, *, start: int = 0) -> Path:
    """Write two-option rows whose right answer can be learnt: each purpose has its tool."""
    rows = []
    for index in range(start, start + count):
        right = index % len(TOOLS)
        wrong = (right + 1 + index // 7 % 3) % len(TOOLS)
        label = index // 3 % 2
        options = [TOOLS[right], TOOLS[wrong]] if label == 0 else [TOOLS[wrong], TOOLS[right]]
        filler = f"w{index % 40} w{index // 40 % 40}"
        rows.append(
            {
                "id": f"row-{index}",
                "goal": f"for {TASKS[right]} {filler}",
                "a": options[0],
                "b": options[1],
                "label": label,
            }
        )
    write_lines(path, *rows)
    return path


TASK_YAML = """\
name: tools
id: id
prompt: "{{ goal }} Use the"
choices: ["{{ a }}", "{{ b }}"]
label: label
scorer: choice_likelihood
"""

GENERATION_YAML = """\
name: tools
id: id
prompt: "{{ goal }} Use the"
target: "{{ a if label == 0 else b }} w1"
generation: {until: ["w9"], max_new_tokens: 4}
scorer: exact_match
"""
"""The same rows as a task whose answers, of two words, are generated."""
