"""What one training is given: who learns, what it reads, and how it goes and where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from muscle.config.settings import TrainingSettings
from muscle.models.bases import LoadedBase
from muscle.tasks.task import Task
from muscle.training.data.batches import Collator
from muscle.training.data.examples import Examples

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True)
class Student:
    """Who learns.

    Attributes:
        model: the base with the adapter that is trained.
        base: what it stands on.
        base_is_free: nothing else needs the base while the adapter trains: where the model is put in shards, the base
            is not kept whole beside them (`LoadedBase.is_whole`).
    """

    model: PeftModel
    base: LoadedBase
    base_is_free: bool = True


class Data(Examples, Protocol):
    """A part of what a training reads."""

    @property
    def sequences(self) -> Sequence[Sequence[int]]:
        """Numbers that stand for each example's content, for a fingerprint; token ids, where they make the batches."""


@dataclass(frozen=True)
class TrainingData:
    """What a training reads.

    Attributes:
        task: which is learnt.
        train: what is learnt of it.
        validation: what the epoch is chosen by.
        collator: makes batches; without, `choose_collator`'s.
    """

    task: Task
    train: Data
    validation: Data
    collator: Collator | None = None


@dataclass(frozen=True)
class Training:
    """How a training goes, and where it ends.

    Attributes:
        settings: epochs, learning rate and so on.
        out: the adapter's folder. Checkpoints stand beside it until it is written; a killed training goes on there.
        description: what it is called in progress and log.
    """

    settings: TrainingSettings
    out: Path
    description: str

    def of_epochs(self, epochs: int | None) -> Training:
        """Return the same for so many epochs; for those of its settings where that is None."""
        if epochs is None:
            return self
        return replace(self, settings=self.settings.model_copy(update={"epochs": epochs}))
