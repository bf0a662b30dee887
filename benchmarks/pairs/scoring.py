"""What a model of the bench says of every label: by its shortest beginning that no other label has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from bench import Bench

from muscle.models.bases import LoadedBase
from muscle.models.option_scores import option_log_likelihoods
from muscle.models.option_tree import OptionTree, encode_options, option_tree
from muscle.progress import progress_bar
from muscle.tasks.task import Example

BATCH_SIZE = 16
"""Trees of beginnings a forward pass; those of like size share one."""


def trees_of(bench: Bench, base: LoadedBase, examples: Sequence[Example]) -> list[OptionTree]:
    """Return each text with the shortest beginning of every label that no other label has, as a tree."""
    length = bench.settings.training.max_length
    return [option_tree(*encode_options(each, base.tokenizer, length), distinguishing=True) for each in examples]


@torch.no_grad()
def score(model: torch.nn.Module, trees: Sequence[OptionTree], *, pad_token_id: int, title: str) -> list[list[float]]:
    """Return log p(label | text) of every label of every text, in nats, in the order of the trees."""
    order = sorted(range(len(trees)), key=lambda index: len(trees[index].input_ids))
    found: dict[int, list[float]] = {}
    with progress_bar(title, len(trees)) as show:
        for start in range(0, len(order), BATCH_SIZE):
            part = order[start : start + BATCH_SIZE]
            values = option_log_likelihoods(model, [trees[index] for index in part], pad_token_id=pad_token_id)
            found |= {index: value.tolist() for index, value in zip(part, values, strict=True)}
            show(len(found), "")
    return [found[index] for index in range(len(trees))]
