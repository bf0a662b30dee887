"""The options of many items, scored in forward passes of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from muscle.models.bases import without_adapter
from muscle.models.option_scores import MEMORY_BYTES, option_log_likelihoods
from muscle.models.option_tree import OptionTree, option_tree, portions

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

LARGEST_TREE = 1024
"""Nodes. In a tree every pair of nodes costs, seen or not: beyond some thousand that outweighs reading the context
again."""

CPU_TOKENS = 1024
"""Of a forward pass on one or two threads of a processor, whose caches the states of more tokens don't fit into: with
9,600 a token takes 1.6 times as long (benchmarks/pass_tokens.py). More threads come with more cache."""

Item = tuple[Sequence[int], Sequence[Sequence[int]]]
"""Token ids of a context, and of each of its options."""


class Scored(NamedTuple):
    """Options of one item that were scored together.

    Attributes:
        item: its index.
        options: their indices in the item.
        log_likelihood: (options,), in nats.
    """

    item: int
    options: Sequence[int]
    log_likelihood: Tensor


class _Part(NamedTuple):
    """A tree of an item's options, or of a part of them."""

    tree: OptionTree
    item: int
    options: Sequence[int]


def score_items(
    model: PreTrainedModel | PeftModel,
    items: Sequence[Item],
    *,
    pad_token_id: int,
    most_tokens: int,
    memory_bytes: int = MEMORY_BYTES,
    option_by_option: bool = False,
) -> Iterator[Scored]:
    """Score the options of items; those of an item in one tree, or in several where one would be too large.

    Args:
        model: see `option_log_likelihoods`, as of the other arguments.
        items: at least one option each.
        pad_token_id: stands behind a smaller tree.
        most_tokens: of a forward pass, padding included; a longer single option is read nevertheless. On a processor a
            pass holds no more than its caches do (`CPU_TOKENS`).
        memory_bytes: budget for the logits of a chunk.
        option_by_option: for a model that reads no trees.

    Yields:
        What was scored, the largest trees first; together every option once.
    """
    if without_adapter(model).device.type == "cpu":
        most_tokens = min(most_tokens, CPU_TOKENS * max(1, torch.get_num_threads() // 2))
    most_nodes = min(LARGEST_TREE, most_tokens)
    parts = [
        _Part(option_tree(context, [options[index] for index in chosen]), number, chosen)
        for number, (context, options) in enumerate(items)
        for chosen in portions(len(context), options, most_nodes)
    ]
    parts.sort(key=lambda part: -len(part.tree.input_ids))
    start = 0
    while start < len(parts):
        batch = parts[start : start + max(1, most_tokens // len(parts[start].tree.input_ids))]
        found = option_log_likelihoods(
            model,
            [part.tree for part in batch],
            pad_token_id=pad_token_id,
            memory_bytes=memory_bytes,
            option_by_option=option_by_option,
        )
        for part, values in zip(batch, found, strict=True):
            yield Scored(part.item, part.options, values)
        start += len(batch)
