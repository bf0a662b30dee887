"""The old model as a record of its answers to the texts that are learnt, in place of its weights (docs/record.md).

Three kinds, each what a user of an endpoint could have: `one`, the likeliest label of every text; `five`, five labels
drawn from the model's distribution over the labels at temperature 1; `top20`, the likeliest label with its tokens and
the 20 likeliest tokens at each place, out of which `muscle record` estimates the likelihoods of all labels
(`--top-logprobs 20`). Lines are written by the functions of `muscle record`, and read as an update reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from bench import Bench
from scoring import BATCH_SIZE, score, trees_of
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from muscle.files import read_json, write_json, write_text
from muscle.models.adapters import load_adapter
from muscle.models.option_tree import encode_options
from muscle.record.read import read_record
from muscle.record.replies import Reply, Token
from muscle.record.rows import answer_of, row_of
from muscle.tasks.recorded import Record
from muscle.tasks.task import Example

REPEATS = 5
LISTED = 20
"""Tokens whose probabilities an endpoint tells."""


def record_of(bench: Bench, kind: str, adapter: Path) -> Record:
    """Return a record of the old model's answers; it is written first where it isn't there.

    Args:
        bench: the run.
        kind: `one`, `five` or `top20`.
        adapter: the old model's.

    Raises:
        OutputError: the file cannot be written.
    """
    file = bench.folder / "records" / f"{kind}.jsonl"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        learnt = [*bench.examples("train"), *bench.examples("validation"), *bench.unlabelled()]
        write_text(file, "".join(_lines(bench, kind, adapter, learnt)))
    return read_record([str(file)], bench.task_name)


def _lines(bench: Bench, kind: str, adapter: Path, examples: Sequence[Example]) -> Iterator[str]:
    """Yield the lines of a record: an answer each."""
    base = bench.base("old")
    model = load_adapter(base, adapter).eval()
    distributions = torch.tensor(_scores(bench, model, examples), dtype=torch.float64).softmax(-1)
    if kind == "five":
        chosen = distributions.multinomial(
            REPEATS, replacement=True, generator=torch.Generator().manual_seed(bench.seed)
        )
    else:
        chosen = distributions.argmax(-1, keepdim=True)
    length = bench.settings.training.max_length
    for start in range(0, len(examples), BATCH_SIZE):
        part = examples[start : start + BATCH_SIZE]
        options = chosen[start : start + BATCH_SIZE].tolist()
        tokens: list[tuple[Token, ...]] = [()] * len(part)
        if kind == "top20":
            encoded = [encode_options(each, base.tokenizer, length) for each in part]
            rows = [(context, ends[own[0]]) for (context, ends), own in zip(encoded, options, strict=True)]
            tokens = listed_tokens(model, base.tokenizer, rows)
        for example, own, listed in zip(part, options, tokens, strict=True):
            for repeat, option in enumerate(own):
                reply = Reply(example.choices[option], "stop", bench.task_name, None, listed)
                answer, more = answer_of(bench.task, example, reply)
                call = {"model": f"{bench.pair} old", "way": "chat", **more}
                row = row_of(bench.task, example, replace(answer, repeat=repeat), call)
                yield json.dumps(row, ensure_ascii=False) + "\n"


def _scores(bench: Bench, model: torch.nn.Module, examples: Sequence[Example]) -> list[list[float]]:
    """Return the old model's log-likelihoods of the labels, (texts, labels); written once for all kinds."""
    file = bench.folder / "records" / "likelihoods.json"
    if not file.is_file():
        base = bench.base("old")
        trees = trees_of(bench, base, examples)
        found = score(model, trees, pad_token_id=base.tokenizer.pad_token_id, title="record")
        write_json(file, {"likelihoods": found})
    likelihoods: list[list[float]] = read_json(file)["likelihoods"]
    return likelihoods


@torch.no_grad()
def listed_tokens(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[list[int], list[int]]]
) -> list[tuple[Token, ...]]:
    """Return each answer's tokens with the likeliest ones at their places, as an endpoint would list them.

    Args:
        model: that answers.
        tokenizer: the model's.
        rows: token ids of a context, and of the answer behind it.
    """
    width = max(len(context) + len(answer) for context, answer in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for place, (context, answer) in enumerate(rows):
        ids[place, : len(context) + len(answer)] = torch.tensor([*context, *answer])
        mask[place, : len(context) + len(answer)] = 1
    logprobs = model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)
    found = []
    for values, (context, answer) in zip(logprobs, rows, strict=True):
        places = values[len(context) - 1 : len(context) - 1 + len(answer)]
        found.append(tuple(_token(tokenizer, *each) for each in zip(answer, places, strict=True)))
    return found


def _token(tokenizer: PreTrainedTokenizerBase, token: int, logprobs: Tensor) -> Token:
    likeliest = logprobs.topk(LISTED)
    others = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    listed = {tokenizer.decode([other]): value for other, value in others}
    return Token(tokenizer.decode([token]), float(logprobs[token]), listed)
