"""The harness's Hugging Face model, with all options of an item in one forward pass where the model can do so.

The harness reads the context once for each option, and takes the logits of every token that it reads. A tree
(`muscle.models.option_tree`) reads the context once, and what options begin with once, and takes the logits where an
option's token is predicted. What comes out is the same to rounding, so nothing of what is asked, cut or recorded
changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from lm_eval.models.huggingface import HFLM

from muscle.errors import ModelError
from muscle.models.option_scores import option_log_likelihoods, reads_trees
from muscle.models.option_tree import OptionTree, option_tree, portions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Encoded = tuple[tuple[str, str], list[int], list[int]]
"""A request of the harness: context and continuation as texts, and the token ids of each."""
LARGEST_TREE = 1024
"""Nodes. In a tree every pair of nodes costs, seen or not: beyond some thousand that outweighs reading the context
again."""


class _Asked(NamedTuple):
    """A tree, and whose options are in it.

    Attributes:
        tree: of one context.
        requests: the number of the request of each option.
    """

    tree: OptionTree
    requests: list[int]


class TreeLM(HFLM):  # type: ignore[misc]  # the harness has no type information
    """The harness's model around a causal model in memory; its arguments are those of `HFLM`."""

    def _loglikelihood_tokens(
        self, requests: Sequence[Encoded], disable_tqdm: bool = True, **options: object
    ) -> list[tuple[float, bool]]:
        """Return log-likelihoods, and whether they are the greedy answer's.

        The second is told by the harness's own scoring alone: no score of ours reads it.
        """
        asked = _trees(requests, int(self.max_length), self.batch_size)
        if not self._reads(asked):
            plain: list[tuple[float, bool]] = super()._loglikelihood_tokens(
                requests, disable_tqdm=disable_tqdm, **options
            )
            return plain
        values: dict[int, float] = {}
        for batch in _batches(asked, _room(requests, int(self.max_length), self.batch_size)):
            with torch.no_grad():
                found = option_log_likelihoods(
                    self.model, [each.tree for each in batch], pad_token_id=self.tokenizer.pad_token_id
                )
            for each, likelihoods in zip(batch, found, strict=True):
                for request, value in zip(each.requests, likelihoods.tolist(), strict=True):
                    values[request] = value
                    self.cache_hook.add_partial("loglikelihood", requests[request][0], (value, False))
        return [(values[index], False) for index in range(len(requests))]

    def _reads(self, asked: Sequence[_Asked]) -> bool:
        """Tell whether the model gives trees the likelihoods that the harness would."""
        model: PreTrainedModel = self.model
        tree = max((each.tree for each in asked), key=lambda tree: len(set(tree.input_ids)))
        try:
            return reads_trees(model, tree.input_ids, pad_token_id=self.tokenizer.pad_token_id)
        except ModelError:
            return False  # its logits are not its head's alone; the harness takes them from the model


def _trees(requests: Sequence[Encoded], max_length: int, batch_size: int) -> list[_Asked]:
    """Put requests of the same context, cut as the harness cuts it, into trees; the largest first."""
    by_context: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, (_, context, option) in enumerate(requests):
        # A sequence's last token is predicted, not read.
        kept = max_length + 1 - len(option)
        by_context[tuple(context[-kept:])].append(number)
    most = min(LARGEST_TREE, _room(requests, max_length, batch_size))
    asked = []
    for ids, numbers in by_context.items():
        options = [requests[number][2] for number in numbers]
        for part in portions(len(ids), options, most):
            tree = option_tree(ids, [options[index] for index in part])
            asked.append(_Asked(tree, [numbers[index] for index in part]))
    return sorted(asked, key=lambda each: -len(each.tree.input_ids))


def _room(requests: Sequence[Encoded], max_length: int, batch_size: int) -> int:
    """Return the tokens of the harness's largest forward pass, padding included."""
    longest = max(len(context) + len(option) - 1 for _, context, option in requests)
    return batch_size * min(longest, max_length)


def _batches(asked: Sequence[_Asked], room: int) -> Iterator[Sequence[_Asked]]:
    """Cut trees, the largest first, into batches of at most `room` nodes with their padding."""
    start = 0
    while start < len(asked):
        count = max(1, room // len(asked[start].tree.input_ids))
        yield asked[start : start + count]
        start += count
