"""What a training at option level reads: the examples of a task, with what is asked and chosen of their options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from muscle.config.methods import AnswerSettings
from muscle.tasks.task import Example, Task, check_unit
from muscle.training.options import targets
from muscle.training.options.items import FEW_OPTIONS, OptionItems, character_factors, option_items
from muscle.training.options.scoring import Scoring, by_mean_length, token_factors, without_rest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class OptionData:
    """What a training on whole answers reads.

    Attributes:
        task: a choice task; with `answers`, one whose answers are generated.
        train: labelled examples.
        validation: labelled examples that the epoch is chosen by, and the teachers calibrated on.
        unlabelled: examples without labels, that are trained on too.
        answers: how candidate answers are scored, which the examples then have (`muscle.tasks.candidates`); None is
            the unit `options`.
        times: how often each of the labelled items that are trained on stands there, in the mean.
    """

    task: Task
    train: Sequence[Example]
    validation: Sequence[Example]
    unlabelled: Sequence[Example] = ()
    answers: AnswerSettings | None = None
    times: int = 1

    def __post_init__(self) -> None:
        check_unit(self.task, self.unit)

    @property
    def unit(self) -> Literal["options", "answers"]:
        """What is trained on."""
        return "options" if self.answers is None else "answers"

    @property
    def labelled(self) -> OptionData:
        """The same without what has no label."""
        return replace(self, unlabelled=())

    @property
    def all(self) -> list[Example]:
        """All items: those trained on, then those validated on."""
        return [*self.train, *self.unlabelled, *self.validation]

    @property
    def num_trained(self) -> int:
        """Items that are trained on."""
        return len(self.train) + len(self.unlabelled)

    @property
    def per_character(self) -> bool:
        """Whether an option is chosen by its log-likelihood per character."""
        return self.task.choice_score == "acc_norm"

    @property
    def distinguishing(self) -> bool:
        """Whether the beginnings that tell options apart stand for them: where they are many, and none is weighed."""
        many = max(len(example.choices) for example in self.all) > FEW_OPTIONS
        return many and self.answers is None and not self.per_character

    @property
    def counts_rest(self) -> bool:
        """Whether all answers that are no candidates are an option, the last one."""
        return self.answers is not None and self.answers.counts_rest

    @property
    def mean_options(self) -> float:
        """Options an item."""
        return sum(len(example.choices) for example in self.all) / len(self.all)

    @property
    def width(self) -> int:
        """The most options that an item has, the rest included."""
        return max(example.num_answers for example in self.all) + self.counts_rest

    def scoring(self, example: Example, num_tokens: Sequence[int]) -> Scoring:
        """Return what makes scores of an item's likelihoods.

        Args:
            example: the item.
            num_tokens: of each of its options, under the tokenizer of the model whose likelihoods they are; none where
                that is not known.
        """
        if self.answers is None:
            factors = character_factors(example) if self.per_character else None
            return Scoring(factors if self.distinguishing else by_mean_length(factors, num_tokens))
        by_length = self.answers.normalise == "tokens"
        return Scoring(token_factors(num_tokens) if by_length else None, example.answers, self.counts_rest)

    @cached_property
    def gold(self) -> Tensor:
        """Index of each item's right option, or `NO_LABEL`: (items,)."""
        return torch.tensor([targets.NO_LABEL if each.gold is None else each.gold for each in self.all])

    @cached_property
    def rest(self) -> Tensor | None:
        """The place of the rest among each item's options, (items,); None where it does not count."""
        return torch.tensor([example.num_answers for example in self.all]) if self.counts_rest else None

    def without_rest(self, scores: Tensor) -> Tensor:
        """Return the scores of answers alone, (items, options), with -inf in place of the rest's."""
        return without_rest(scores, self.rest)

    def items(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[OptionItems, OptionItems]:
        """Encode the items for a student: those trained on, and those validated on."""
        parts = (([*self.train, *self.unlabelled], 0), (self.validation, self.num_trained))
        rendered = ((*self.rendered(part, tokenizer), start) for part, start in parts)
        first, second = (
            option_items(
                part,
                tokenizer,
                max_length=max_length,
                distinguishing=self.distinguishing,
                end_of_text=end_of_text,
                scoring=self.scoring,
                first=start,
            )
            for part, end_of_text, start in rendered
        )
        return first, second

    def rendered(
        self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase
    ) -> tuple[tuple[Example, ...], bool]:
        """Return what a model reads, and whether the tokenizer's EOS is to end its options.

        Candidate answers end as answers that are generated do: by what the chat template writes, or by the EOS.
        """
        found = self.task.prompt.render(examples, tokenizer)
        end = self.task.prompt.form(tokenizer).end if self.task.prompt.chat_template else ""
        if self.answers is None or not end:
            return found, self.answers is not None
        return tuple(replace(one, choices=tuple(f"{choice}{end}" for choice in one.choices)) for one in found), False
