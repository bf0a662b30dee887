"""Which tokens lean on the old model: the mask strategies of MUSCLE (2024), Eq. 1 to 3 and Table 7.

Every strategy asks the same of two models for every token: is its argmax the label, and how likely is the label? The
plain loss reads that off logits, the fast one off a pass over the head and the teacher stores. The method's own
strategy, `student_wrong`, follows the model that is being trained, at this very step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from muscle.config.methods import STUDENT_FREE_MASKS, MaskName
from muscle.training.data.batches import IGNORE_INDEX
from muscle.training.teachers.rows import OldShare


class Answers(Protocol):
    """What a model makes of labels; rows of a teacher store and the results of a pass over the head have these too."""

    @property
    def right(self) -> Tensor:
        """Whether argmax z = y: boolean, one a token."""

    @property
    def log_p(self) -> Tensor:
        """Log p(y), one a token."""


class KnownAnswers(NamedTuple):
    """`Answers` that were computed before."""

    right: Tensor
    log_p: Tensor


def widened(logits: Tensor) -> Tensor:
    """Return half-precision logits as float32: a bf16 softmax over a large vocabulary loses the tail."""
    return logits if logits.dtype.itemsize >= 4 else logits.float()


@dataclass(frozen=True)
class AnswersOfLogits:
    """`Answers` read off logits (..., seq, vocab), each when it is first needed; labels are (..., seq)."""

    logits: Tensor
    labels: Tensor

    @cached_property
    def right(self) -> Tensor:
        """Whether argmax z = y."""
        return self.logits.argmax(-1) == self.labels

    @cached_property
    def log_p(self) -> Tensor:
        """Log p(y), 0 at ignored positions; the softmax is taken in float32 (float64 logits stay float64)."""
        counted = self.labels != IGNORE_INDEX
        wide = widened(self.logits)
        chosen = wide.gather(-1, self.labels.masked_fill(~counted, 0).unsqueeze(-1)).squeeze(-1)
        return (chosen - wide.logsumexp(-1)).masked_fill(~counted, 0.0)


def leans_on_old(
    mask: MaskName,
    student: Answers,
    old: Answers,
    labels: Tensor,
    *,
    sum_sequences: Callable[[Tensor], Tensor],
    known: Tensor | None = None,
) -> Tensor:
    """Tell for every token whether it learns from the old model (True) or from the new one (False).

    Args:
        mask: `student_wrong`: argmax z_c != y (Eq. 1). `old_right`: argmax z_1 = y. `old_always`: 1.
            `token_likelihood`: p_c(y) < p_1(y) (Eq. 2). `sequence_likelihood`: the student's likelihood of the whole
            sequence is below the old model's; one value for all tokens of the sequence (Eq. 3).
        student: what the compatibility adapter makes of the labels.
        old: what the old task model makes of them.
        labels: of the tokens; only their shape counts here.
        sum_sequences: gives every token the sum of a value over its sequence, for Eq. 3.
        known: which tokens the old model has something to say of, where its tokenizer is another; the others learn from
            the new model, and do not count in Eq. 3.

    Returns:
        Boolean, of the labels' shape.

    Raises:
        ValueError: an unknown strategy.
    """
    if known is not None:
        student, old = (KnownAnswers(each.right, each.log_p.where(known, 0.0)) for each in (student, old))
        return known & leans_on_old(mask, student, old, labels, sum_sequences=sum_sequences)
    if mask == "student_wrong":
        return ~student.right
    if mask == "old_right":
        return old.right
    if mask == "old_always":
        return torch.ones_like(labels, dtype=torch.bool)
    if mask == "token_likelihood":
        return student.log_p < old.log_p
    # In the student's dtype: equal models must compare as equal.
    if mask == "sequence_likelihood":
        return sum_sequences(student.log_p) < sum_sequences(old.log_p.to(student.log_p))
    raise ValueError(f"mask: expected a strategy of Table 7, found {mask!r}")


def old_model_mask(
    student_logits: Tensor, old_logits: Tensor, labels: Tensor, *, strategy: MaskName = "student_wrong"
) -> Tensor:
    """Tell on logits (..., seq, vocab) for every token whether it leans on the old model; see `leans_on_old`.

    Labels are (..., seq), already shifted; the result is False where they are `IGNORE_INDEX`.

    Example:
        >>> import torch
        >>> student = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
        >>> old_model_mask(student, student, torch.tensor([1, 1])).tolist()
        [False, True]
    """
    student, old = AnswersOfLogits(student_logits, labels), AnswersOfLogits(old_logits, labels)
    leans = leans_on_old(
        strategy,
        student,
        old,
        labels,
        sum_sequences=lambda value: value.sum(-1, keepdim=True).expand_as(value),
    )
    return leans & (labels != IGNORE_INDEX)


def share_of_old(mask: MaskName, old_share: float = 1.0) -> OldShare:
    """Return a mask that doesn't follow the student as the old teacher's share in a mixture: `old_share` or 0 a token.

    Raises:
        ValueError: the mask follows the student.
    """
    if mask not in STUDENT_FREE_MASKS:
        raise ValueError(f"mask: expected {' or '.join(STUDENT_FREE_MASKS)}, found {mask!r}")

    def share(old_log_p: Tensor, new_log_p: Tensor, old_right: Tensor) -> Tensor:
        del new_log_p
        old = KnownAnswers(old_right, old_log_p)
        # In the student's place too: there is none yet, and these masks don't look at it.
        leans = leans_on_old(mask, old, old, old_log_p, sum_sequences=lambda value: value)
        return leans.to(old_log_p) * old_share

    return share
