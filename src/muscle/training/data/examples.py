"""Examples as token sequences, and batches of them.

The text an adapter learns is context and answer in one piece, tokenised as a whole: the scoring harness splits the
same whole, so that training and scoring see the same tokens. The loss runs over all of it (Sec. 4.1: next-token
loss over the whole sequence); only the first token has nothing before it to be predicted from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from muscle.errors import DataError
from muscle.tasks.task import Example
from muscle.training.losses.masks import IGNORE_INDEX

logger = logging.getLogger(__name__)

Collator = Callable[[Sequence[Any]], dict[str, Tensor]]
"""Examples in, a batch out."""
BLANK = -1
"""Index of an example that only fills a batch: it has no token to predict."""


class TokenizedExamples(Dataset[dict[str, list[int]]]):
    """Token ids of examples, kept in memory: `{"input_ids": [...]}` an item.

    Attributes:
        sequences: one list of token ids an example.
        num_tokens: sum of their lengths.
        num_cut: examples that were longer than the limit and lost their beginning.
    """

    def __init__(self, sequences: Sequence[list[int]], *, num_cut: int = 0) -> None:
        self.sequences = list(sequences)
        self.num_tokens = sum(len(ids) for ids in self.sequences)
        self.num_cut = num_cut

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.sequences)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        """Return one example's token ids."""
        return {"input_ids": self.sequences[index]}


def tokenize(
    examples: Sequence[Example], tokenizer: Any, *, max_length: int, end_of_text: bool
) -> TokenizedExamples:
    """Turn examples into token sequences.

    Args:
        examples: with `context` and `target`.
        tokenizer: a Hugging Face tokenizer; its own special tokens (a BOS, where it has one) are added.
        max_length: longer sequences keep their last `max_length` tokens.
        end_of_text: append the tokenizer's EOS, so that generated answers learn to end.

    Returns:
        One sequence an example, in order.

    Raises:
        DataError: there is no example, or one has fewer than two tokens.
    """
    if not examples:
        raise DataError("training data: expected at least one example, found none")
    encoded = tokenizer([example.context + example.target for example in examples])["input_ids"]
    tail = [tokenizer.eos_token_id] if end_of_text and tokenizer.eos_token_id is not None else []
    sequences, num_cut = [], 0
    for example, ids in zip(examples, encoded, strict=True):
        ids = [*ids, *tail]
        if len(ids) < 2:
            raise DataError(
                f"example {example.id}: expected at least two tokens, found {len(ids)}; is the text empty?"
            )
        num_cut += len(ids) > max_length
        sequences.append(ids[-max_length:])
    if num_cut:
        logger.warning(
            "%d of %d examples are longer than %d tokens and lose their beginning",
            num_cut,
            len(sequences),
            max_length,
        )
    return TokenizedExamples(sequences, num_cut=num_cut)


@dataclass(frozen=True)
class PaddingCollator:
    """Pads a batch on the right and shifts nothing: `labels` are the input ids, without padding and first token.

    The first token is no target. Leaving it out of `labels` makes the number of counted labels the number of
    predicted tokens, which is what the trainer divides by over an accumulated batch.

    Attributes:
        pad_token_id: fills `input_ids`; any id will do, since it is masked.
    """

    pad_token_id: int

    def __call__(self, features: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
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

    `position_ids` start again at each example; there is no attention mask, from which a model's attention knows that the row is
    packed (flash-attention's variable lengths, a block-diagonal mask elsewhere).
    """

    def __init__(self) -> None:
        from transformers import DataCollatorWithFlattening

        self._flatten = DataCollatorWithFlattening()

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Return `input_ids`, `position_ids` and `labels`, each (1, tokens)."""
        batch = self._flatten([{"input_ids": feature["input_ids"]} for feature in features])
        return {name: batch[name] for name in ("input_ids", "position_ids", "labels")}


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what a causal model's forward takes of a batch, padded or packed.

    A mask that only hides padding on the right is left out: no real token looks behind itself, and without a mask the attention
    goes its fastest way.
    """
    names = ["input_ids", "position_ids"]
    mask = batch.get("attention_mask")
    if mask is not None and not bool((mask[:, 1:] <= mask[:, :-1]).all()):
        names.append("attention_mask")
    # A cache would keep transformers from seeing that a row is packed.
    return {**{name: batch[name] for name in names if name in batch}, "use_cache": False}


def sequence_numbers(batch: Mapping[str, Tensor]) -> Tensor | None:
    """Return which sequence each predicting position of a packed batch belongs to, (1, tokens - 1); None for a padded one."""
    if "position_ids" not in batch:
        return None
    return ((batch["position_ids"] == 0).cumsum(-1) - 1)[:, :-1]


@dataclass(frozen=True)
class Filled(Dataset[dict[str, Any]]):
    """Examples and, behind them, blank ones up to a length that several processes can share evenly.

    Attributes:
        examples: the real ones.
        length: with the blank ones.
    """

    examples: Any
    length: int

    def __len__(self) -> int:
        """Return the length with the blank ones."""
        return self.length

    def __getitem__(self, place: int) -> dict[str, Any]:
        """Return an example; a blank one is a single token, which nothing predicts."""
        if place < len(self.examples):
            example: dict[str, Any] = self.examples[place]
            return example
        if place >= self.length:
            raise IndexError(place)  # ends an iteration
        return {"input_ids": self.examples[0]["input_ids"][:1], "index": BLANK}


def filled(examples: Any, multiple: int) -> Filled:
    """Fill examples up to the next multiple."""
    return Filled(examples, -(-len(examples) // multiple) * multiple)
