"""The harness's Hugging Face model, with all options of an item in one forward pass where the model can do so.

The harness reads the context once for each option, and takes the logits of every token that it reads. A tree
(`muscle.models.option_tree`) reads the context once, and what options begin with once, and takes the logits where an
option's token is predicted. What comes out is the same to rounding, so nothing of what is asked, cut or recorded
changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from lm_eval.models.huggingface import HFLM

from muscle.errors import ModelError
from muscle.models.option_batches import score_items
from muscle.models.option_scores import reads_trees

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Encoded = tuple[tuple[str, str], list[int], list[int]]
"""A request of the harness: context and continuation as texts, and the token ids of each."""


class TreeLM(HFLM):  # type: ignore[misc]  # the harness has no type information
    """The harness's model around a causal model in memory; its arguments are those of `HFLM`."""

    def _loglikelihood_tokens(
        self, requests: Sequence[Encoded], disable_tqdm: bool = True, **options: object
    ) -> list[tuple[float, bool]]:
        """Return log-likelihoods, and whether they are the greedy answer's.

        The second is told by the harness's own scoring alone: no score of ours reads it.
        """
        room = int(self.max_length)
        by_context = _by_context(requests, room)
        if not self._reads(max(by_context, key=lambda ids: len(set(ids)))):
            plain: list[tuple[float, bool]] = super()._loglikelihood_tokens(
                requests, disable_tqdm=disable_tqdm, **options
            )
            return plain
        longest = max(len(context) + len(option) - 1 for _, context, option in requests)
        scored = score_items(
            self.model,
            [(ids, [requests[number][2] for number in numbers]) for ids, numbers in by_context.items()],
            pad_token_id=self.tokenizer.pad_token_id,
            most_tokens=self.batch_size * min(longest, room),  # as many as in the harness's largest pass
        )
        asked = list(by_context.values())
        values: dict[int, float] = {}
        with torch.no_grad():
            for part in scored:
                numbers = [asked[part.item][index] for index in part.options]
                for number, value in zip(numbers, part.log_likelihood.tolist(), strict=True):
                    values[number] = value
                    self.cache_hook.add_partial("loglikelihood", requests[number][0], (value, False))
        return [(values[number], False) for number in range(len(requests))]

    def _reads(self, sample: Sequence[int]) -> bool:
        """Tell whether the model gives trees the likelihoods that the harness would."""
        model: PreTrainedModel = self.model
        try:
            return reads_trees(model, sample, pad_token_id=self.tokenizer.pad_token_id)
        except ModelError:
            return False  # its logits are not its head's alone; the harness takes them from the model


def _by_context(requests: Sequence[Encoded], max_length: int) -> dict[tuple[int, ...], list[int]]:
    """Return the numbers of the requests of each context, which is cut as the harness cuts it."""
    found: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, (_, context, option) in enumerate(requests):
        # A sequence's last token is predicted, not read.
        found[tuple(context[-(max_length + 1 - len(option)) :])].append(number)
    return found
