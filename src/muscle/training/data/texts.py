"""Which texts a compatibility adapter reads token by token: each item with its right answer, or with each answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from muscle.tasks.task import Example, with_each_choice


@dataclass(frozen=True)
class Texts:
    """What a training on tokens reads.

    Attributes:
        labelled: examples of which the right answer is known.
        validation: those that the epoch is chosen by.
        unlabelled: examples without labels; read with `every_text` alone.
        every_text: each example is read once with each of its options or candidate answers, instead of once with its
            right answer.
    """

    labelled: Sequence[Example]
    validation: Sequence[Example]
    unlabelled: Sequence[Example] = ()
    every_text: bool = False

    @cached_property
    def learnt(self) -> Sequence[Example]:
        """What is trained on, a text an example."""
        return self._read([*self.labelled, *self.unlabelled]) if self.every_text else self.labelled

    @cached_property
    def held_out(self) -> Sequence[Example]:
        """What is validated on, a text an example."""
        return self._read(self.validation)

    def record(self, num_epochs: int) -> dict[str, object]:
        """Return what `training.json` says of them; nothing where they are the examples themselves.

        `control_epochs` are the epochs of labelled examples in which a control sees as many texts.

        Args:
            num_epochs: that were run.
        """
        if not self.every_text:
            return {}
        return {
            "num_examples": len(self.labelled) + len(self.unlabelled),
            "num_labelled": len(self.labelled),
            "num_unlabelled": len(self.unlabelled),
            "num_validation": len(self.validation),
            "num_texts": len(self.learnt),
            "control_epochs": -(-num_epochs * len(self.learnt) // len(self.labelled)),
        }

    def _read(self, examples: Sequence[Example]) -> Sequence[Example]:
        return with_each_choice(examples) if self.every_text else examples
