"""Examples as token sequences.

The text an adapter learns is context and answer in one piece, tokenised as a whole: the scoring harness splits the
same whole, so that training and scoring see the same tokens. The loss runs over all of it (Sec. 4.1: next-token
loss over the whole sequence); only the first token has nothing before it to be predicted from.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch.utils.data import Dataset

from muscle.errors import DataError
from muscle.tasks.task import Example
from muscle.training.data.batches import TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

BLANK = -1
"""Index of an example that only fills a batch: it has no token to predict."""


class TokenizedExamples(Dataset[TokenIds]):
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

    def __getitem__(self, index: int) -> TokenIds:
        """Return one example's token ids."""
        return {"input_ids": self.sequences[index]}


def tokenize(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, *, max_length: int, end_of_text: bool
) -> TokenizedExamples:
    """Turn examples into token sequences.

    Args:
        examples: with `context` and `target`.
        tokenizer: a Hugging Face tokenizer; its own special tokens (a BOS, where it has one) are added, but for
            examples whose texts hold them.
        max_length: longer sequences keep their last `max_length` tokens.
        end_of_text: append the tokenizer's EOS, so that generated answers learn to end.

    Returns:
        One sequence an example, in order.

    Raises:
        DataError: there is no example, or one has fewer than two tokens.
    """
    if not examples:
        raise DataError("training data: expected at least one example, found none")
    # In one piece, as the harness does it: context and answer alone could be cut into other tokens.
    own = {"add_special_tokens": False} if examples[0].has_special_tokens else {}
    encoded = tokenizer([example.context + example.target for example in examples], **own)["input_ids"]
    tail = [tokenizer.eos_token_id] if end_of_text and tokenizer.eos_token_id is not None else []
    sequences, num_cut = [], 0
    for example, ids in zip(examples, encoded, strict=True):
        ids = [*ids, *tail]
        if len(ids) < 2:
            raise DataError(f"example {example.id}: expected at least two tokens, found {len(ids)}; is the text empty?")
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


class Examples(Protocol):
    """Examples by their place."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def __getitem__(self, place: int, /) -> TokenIds:
        """Return an example."""


@dataclass(frozen=True)
class Filled(Dataset[TokenIds]):
    """Examples and, behind them, blank ones up to a length that several processes can share evenly.

    Attributes:
        examples: the real ones.
        length: with the blank ones.
    """

    examples: Examples
    length: int

    def __len__(self) -> int:
        """Return the length with the blank ones."""
        return self.length

    def __getitem__(self, place: int) -> TokenIds:
        """Return an example; a blank one is a single token, which nothing predicts."""
        if place < len(self.examples):
            return self.examples[place]
        if place >= self.length:
            raise IndexError(place)  # ends an iteration
        return {"input_ids": self.examples[0]["input_ids"][:1], "index": BLANK}


def filled(examples: Examples, multiple: int) -> Filled:
    """Fill examples up to the next multiple."""
    return Filled(examples, -(-len(examples) // multiple) * multiple)
