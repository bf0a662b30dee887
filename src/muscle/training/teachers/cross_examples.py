"""Puts examples into both models' tokens where their tokenizers differ, and says what of the old model came across."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from muscle.config.methods import ProjectionName
from muscle.models.bases import LoadedBase
from muscle.tasks.task import Example, Task
from muscle.training.crossing.positions import CrossedTexts, cross_texts
from muscle.training.crossing.spelling import Spelling
from muscle.training.data.examples import TokenizedExamples
from muscle.training.teachers.crossed_rows import Crossing
from muscle.training.teachers.rows import LEAST_PLACED
from muscle.training.teachers.store import TeacherStore

logger = logging.getLogger(__name__)


def cross_examples(
    old: LoadedBase,
    new: LoadedBase,
    task: Task,
    examples: Sequence[Sequence[Example]],
    data: Sequence[TokenizedExamples],
    *,
    kind: ProjectionName,
    max_length: int,
) -> Crossing:
    """Align both models' tokens on the examples that one learns and is validated on.

    Args:
        old: the old base.
        new: the new base, whose tokens are learnt.
        task: of the examples.
        examples: training and validation examples, in this order.
        data: their tokens.
        kind: how the old tokens become new ones.
        max_length: tokens that the old model reads of an example at most: its last ones.

    Raises:
        ModelError: a tokenizer is of a kind that cannot be aligned.
    """
    ours, theirs = Spelling.of(old.tokenizer), Spelling.of(new.tokenizer)
    texts = CrossedTexts((), ())
    for part, tokens in zip(examples, data, strict=True):
        rendered = task.prompt.render(part, new.tokenizer)
        found = cross_texts(
            [example.context + example.target for example in rendered],
            tokens.sequences,
            ours,
            theirs,
            max_length=max_length,
            add_special_tokens=not rendered[0].has_special_tokens,
        )
        texts = texts.joined(found)
    return Crossing(texts, ours, theirs, kind)


@dataclass(frozen=True)
class Crossed:
    """What of an old model came across into the new model's tokens.

    Attributes:
        aligned: share of the predicted tokens at which it teaches; the new model teaches at the others.
        placed: of its distributions there, the share that stands for tokens of the new model, in the mean.
        too_little: share of the predicted tokens at which it has read the same text, and does not teach since less
            than half of what it expects stands for tokens of the new model.
    """

    aligned: float
    placed: float
    too_little: float

    @classmethod
    def of(cls, store: TeacherStore) -> Crossed:
        """Read it off the old teacher's store."""
        placed = store.column("placed")
        assert placed is not None, "a store of a teacher with another tokenizer"
        taught = placed[placed >= LEAST_PLACED].double()
        num = max(1, len(placed))
        # Sums of float32 may be a rounding above 1.
        mean = min(1.0, float(taught.mean())) if len(taught) else 0.0
        return cls(len(taught) / num, mean, (int((placed >= 0).sum()) - len(taught)) / num)

    def tell(self, description: str, kind: ProjectionName) -> None:
        """Say it in one line."""
        little = " (at %.1f %% it has read the same text, and too little of what it expects has a place)"
        logger.info(
            "%s: the tokenizers differ (projection %s): the old model teaches at %.1f %% of the tokens, where %.1f %% "
            "of what it expects has a place among the new ones; the new model teaches at the others%s",
            description,
            kind,
            100 * self.aligned,
            100 * self.placed,
            little % (100 * self.too_little) if self.too_little else "",
        )

    def as_dict(self) -> dict[str, object]:
        """Return it as plain data."""
        return {"aligned": self.aligned, "placed": self.placed, "too_little": self.too_little}
