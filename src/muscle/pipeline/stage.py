"""One stage of an update, as the run, the dry run and the single steps see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from muscle.pipeline.loaded_bases import Side
from muscle.tasks import TaskData
from muscle.tasks.task import Example


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: unique in the update, such as "align piqa".
        inputs: returns everything that the outputs depend on, once the stages that it needs are done.
        outputs: the files and folders that the work writes.
        work: does it; None where the output is a given adapter.
        needs: names of the stages whose outputs it reads.
        data: whose examples it reads; None for the report.
        epochs: of a training, at most; None for scoring.
        on_options: it reads every option of its examples, or every candidate answer, at once.
        every_text: it reads its examples once with each of their options or candidate answers.
        answers: candidate answers of an item at most; without epochs the stage draws them.
        unlabelled: examples without labels that it reads beside them.
        epochs_before: of the labelled examples alone, in a training that it begins with.
        teachers: the bases that are run once over all examples before a training.
        side: the base that is trained or scored, whose tokens count.
    """

    name: str
    inputs: Callable[[], dict[str, object]]
    outputs: tuple[Path, ...]
    work: Callable[[], object] | None
    needs: tuple[str, ...] = ()
    data: TaskData | None = None
    epochs: int | None = None
    on_options: bool = False
    every_text: bool = False
    answers: int = 0
    unlabelled: tuple[Example, ...] = ()
    epochs_before: int = 0
    teachers: tuple[Side, ...] = ()
    side: Side = "new"

    @property
    def num_read(self) -> int:
        """How many examples a training sees at most; one that is read with each of its answers counts as often."""
        assert self.data is not None, "a training has data"
        examples = (*self.data.train, *self.unlabelled)
        read = len(examples)
        if self.every_text:
            read = sum(self.answers or max(1, len(each.choices)) for each in examples)
        return (self.epochs or 0) * read + self.epochs_before * len(self.data.train)

    @property
    def labelled_epochs(self) -> int:
        """Epochs of the labelled examples in which a training sees as many examples as this one does at most."""
        assert self.data is not None, "a training has data"
        return -(-self.num_read // max(1, len(self.data.train)))
