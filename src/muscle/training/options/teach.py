"""What a training at option level reads: the items, what a teacher makes of them, and the labels as a lesson."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muscle.config.settings import TrainingSettings
from muscle.errors import DataError
from muscle.tasks.task import Example, Task, check_options
from muscle.training.options import targets
from muscle.training.options.data import FEW_OPTIONS, OptionItems, character_factors, option_items, padded
from muscle.training.options.losses import TargetRows
from muscle.training.teachers.make_rows import TaskModel
from muscle.training.teachers.option_rows import store_options
from muscle.training.teachers.rows import OptionRows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class OptionData:
    """What a training at option level reads.

    Attributes:
        task: a choice task.
        train: labelled examples.
        validation: labelled examples that the epoch is chosen by, and the teachers calibrated on.
        unlabelled: examples without labels, that are trained on too.
        times: how often each of the labelled items that are trained on stands there, in the mean.
    """

    task: Task
    train: Sequence[Example]
    validation: Sequence[Example]
    unlabelled: Sequence[Example] = ()
    times: int = 1

    def __post_init__(self) -> None:
        check_options(self.task)

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
        return not self.per_character and max(len(example.choices) for example in self.all) > FEW_OPTIONS

    @cached_property
    def gold(self) -> Tensor:
        """Index of each item's right option, or `NO_LABEL`: (items,)."""
        return torch.tensor([targets.NO_LABEL if each.gold is None else each.gold for each in self.all])

    def items(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[OptionItems, OptionItems]:
        """Encode the items for a student: those trained on, and those validated on."""
        parts = (([*self.train, *self.unlabelled], 0), (self.validation, self.num_trained))
        first, second = (
            option_items(
                part,
                tokenizer,
                max_length=max_length,
                distinguishing=self.distinguishing,
                per_character=self.per_character,
                first=start,
            )
            for part, start in parts
        )
        return first, second


@dataclass(frozen=True)
class Lesson:
    """What a student is taught.

    Attributes:
        target: of all items.
        facts: what was fitted to make it, for `training.json`.
    """

    target: TargetRows
    facts: dict[str, object] = field(default_factory=dict)


def label_lesson(data: OptionData) -> Lesson:
    """Return the labels as a target.

    Raises:
        DataError: an item has none.
    """
    if bool((data.gold == targets.NO_LABEL).any()):
        number = int((data.gold == targets.NO_LABEL).nonzero()[0])
        raise DataError(f"example {data.all[number].id}: expected its right option: labels are the target")
    most = max(len(example.choices) for example in data.all)
    return Lesson(TargetRows(targets.labels(data.gold, most), data.gold))


def teacher_scores(
    path: Path, side: TaskModel, data: OptionData, *, settings: TrainingSettings, description: str
) -> Tensor:
    """Run a teacher over all items, or open what it left, and return its options' scores: (items, options)."""
    store = store_options(
        path,
        side,
        data.all,
        max_length=settings.max_length,
        distinguishing=data.distinguishing,
        batch_size=settings.batch_size,
        memory_bytes=settings.chunk_memory_mb * 2**20,
        description=description,
    )
    rows = store.rows(range(store.num_examples))
    assert isinstance(rows, OptionRows), "a store of options"
    counts = [len(example.choices) for example in data.all]
    parts = torch.tensor_split(rows.log_likelihood, torch.tensor(counts).cumsum(0)[:-1])
    if data.per_character:
        parts = tuple(part * character_factors(example) for part, example in zip(parts, data.all, strict=True))
    return padded(parts)
