"""Items with their options as trees, labelled and unlabelled together, and the batches that the trainer makes of them.

A batch names its items; trees and targets stay where they are. What the Trainer counts as a label is an item: a batch
that is accumulated is divided by its items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import Dataset

from muscle.models.option_tree import OptionTree, encode_options, option_tree
from muscle.tasks.task import Example
from muscle.training.data.batches import IGNORE_INDEX, TokenIds
from muscle.training.data.examples import BLANK
from muscle.training.options.scoring import Scoring
from muscle.training.options.targets import NO_LABEL

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FEW_OPTIONS = 8
"""Up to so many options are read whole; of more, the shortest beginnings that tell them apart."""


@dataclass(frozen=True)
class OptionItems(Dataset[TokenIds]):
    """Items with their options, or candidate answers, as trees.

    Attributes:
        trees: one an item.
        gold: index of each item's right option, or `NO_LABEL`.
        scorings: what makes scores of an item's log-likelihoods, one an item; None where they are the scores.
        first: the first item's index in the targets: validation items follow those that are trained on.
    """

    trees: Sequence[OptionTree]
    gold: Sequence[int]
    scorings: Sequence[Scoring] | None = None
    first: int = 0

    @property
    def sequences(self) -> list[list[int]]:
        """The nodes' token ids and, behind them, what the trees are apart from these: what an item is made of."""
        answers = [()] * len(self.trees) if self.scorings is None else [each.identity for each in self.scorings]
        return [
            [*tree.input_ids, -1, *tree.parents, *chain.from_iterable(tree.edges), *more]
            for tree, more in zip(self.trees, answers, strict=True)
        ]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.trees)

    def __getitem__(self, place: int) -> TokenIds:
        """Return an item's tokens, by whose number items are grouped, and its index."""
        return {"input_ids": list(self.trees[place].input_ids), "index": self.first + place}

    def scores(self, place: int, log_likelihoods: Tensor) -> Tensor:
        """Return what an item's options are chosen by."""
        return log_likelihoods if self.scorings is None else self.scorings[place](log_likelihoods)


def option_items(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    distinguishing: bool = False,
    end_of_text: bool = False,
    scoring: Callable[[Example, Sequence[int]], Scoring] | None = None,
    first: int = 0,
) -> OptionItems:
    """Encode examples with options, or with candidate answers.

    Args:
        examples: with options.
        tokenizer: of the model that reads them.
        max_length: tokens; a longer context loses its beginning.
        distinguishing: the shortest beginning of an option that no other shares stands for it.
        end_of_text: see `encode_options`.
        scoring: what makes scores of an example's likelihoods, by its options' numbers of tokens.
        first: see `OptionItems`.

    Raises:
        DataError: an example has no options, or an option no token of its own.
    """
    trees = [
        option_tree(
            *encode_options(example, tokenizer, max_length, end_of_text=end_of_text), distinguishing=distinguishing
        )
        for example in examples
    ]
    gold = [NO_LABEL if example.gold is None else example.gold for example in examples]
    scorings = None
    if scoring is not None:
        scorings = [scoring(one, [len(path) for path in tree.paths]) for one, tree in zip(examples, trees, strict=True)]
    return OptionItems(trees, gold, scorings, first)


def character_factors(example: Example) -> Tensor:
    """Return mean length / length of each option, in characters: (options,).

    So that scores per character stay sums of log-probabilities in size.
    """
    lengths = torch.tensor([float(max(1, len(choice))) for choice in example.choices])
    return lengths.mean() / lengths


def padded(rows: Sequence[Tensor]) -> Tensor:
    """Return rows of options as one tensor, (items, options), with -inf where an item has none."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=-torch.inf)


@dataclass(frozen=True)
class ItemCollator:
    """Makes a batch of items: `index` and `labels`, in which each item is one label and a blank one none."""

    def __call__(self, features: Sequence[TokenIds]) -> dict[str, Tensor]:
        """Return `index` (items,) and `labels` (items, 2)."""
        index = torch.tensor([feature["index"] for feature in features])
        labels = torch.full((len(features), 2), IGNORE_INDEX)
        labels[index != BLANK, 1] = 0
        return {"index": index, "labels": labels}
