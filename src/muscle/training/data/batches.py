"""Batches of examples, padded or packed, and what a model is given of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import torch
from torch import Tensor

IGNORE_INDEX = -100
"""Label of a position that takes no part in a loss; PyTorch's and transformers' convention."""


class TokenIds(TypedDict):
    """An example: its token ids, and its place in the teacher stores where there are any."""

    input_ids: list[int]
    index: NotRequired[int]


Collator = Callable[[Sequence[TokenIds]], dict[str, Tensor]]
"""Examples in, a batch out."""


@dataclass(frozen=True)
class PaddingCollator:
    """Pads a batch on the right and shifts nothing: `labels` are the input ids, without padding and first token.

    The first token is no target. Leaving it out of `labels` makes the number of counted labels the number of
    predicted tokens, which is what the trainer divides by over an accumulated batch.

    Attributes:
        pad_token_id: fills `input_ids`; any id will do, since it is masked.
    """

    pad_token_id: int

    def __call__(self, features: Sequence[TokenIds]) -> dict[str, Tensor]:
        """Return `input_ids`, `attention_mask` and `labels`, each (batch, seq)."""
        longest = max(len(feature["input_ids"]) for feature in features)
        shape = (len(features), longest)
        input_ids = torch.full(shape, self.pad_token_id, dtype=torch.long)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORE_INDEX, dtype=torch.long)
        for row, feature in enumerate(features):
            ids = torch.tensor(feature["input_ids"])
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
            labels[row, 1 : len(ids)] = ids[1:]
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


class PackingCollator:
    """Puts a batch's examples one behind the other, in one row without padding: transformers' padding-free form.

    `position_ids` start again at each example; there is no attention mask, from which a model's attention knows that
    the row is packed (flash-attention's variable lengths, a block-diagonal mask elsewhere).
    """

    def __init__(self) -> None:
        from transformers import DataCollatorWithFlattening

        self._flatten = DataCollatorWithFlattening()

    def __call__(self, features: Sequence[TokenIds]) -> dict[str, Tensor]:
        """Return `input_ids`, `position_ids` and `labels`, each (1, tokens)."""
        batch = self._flatten([{"input_ids": feature["input_ids"]} for feature in features])
        return {name: batch[name] for name in ("input_ids", "position_ids", "labels")}


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor | bool]:
    """Return what a causal model's forward takes of a batch, padded or packed.

    A mask that only hides padding on the right is left out: no real token looks behind itself, and without a mask the
    attention goes its fastest way.
    """
    names = ["input_ids", "position_ids"]
    mask = batch.get("attention_mask")
    if mask is not None and not bool((mask[:, 1:] <= mask[:, :-1]).all()):
        names.append("attention_mask")
    # A cache would keep transformers from seeing that a row is packed.
    return {**{name: batch[name] for name in names if name in batch}, "use_cache": False}


def sequence_numbers(batch: Mapping[str, Tensor]) -> Tensor | None:
    """Return which sequence each predicting position of a packed batch belongs to; None for a padded batch.

    Returns:
        (1, tokens - 1).
    """
    if "position_ids" not in batch:
        return None
    return ((batch["position_ids"] == 0).cumsum(-1) - 1)[:, :-1]
