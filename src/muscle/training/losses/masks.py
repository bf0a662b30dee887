"""Which tokens lean on the old model: the mask strategies of MUSCLE (2024), Eq. 1 to 3 and Table 7.

Every strategy is a function of the three models' logits and the labels, and gives one boolean per token. The
method's own, `student_wrong`, follows the model that is being trained, at this very step.
"""

from __future__ import annotations

from torch import Tensor

from muscle.config.settings import MaskName

IGNORE_INDEX = -100
"""Label of a position that takes no part in a loss; PyTorch's and transformers' convention."""


def old_model_mask(
    student_logits: Tensor, old_logits: Tensor, labels: Tensor, *, strategy: MaskName = "student_wrong"
) -> Tensor:
    """Tell for every token whether it learns from the old model (True) or from the new one (False).

    Args:
        student_logits: (..., seq, vocab), the compatibility adapter's.
        old_logits: (..., seq, vocab), the old task model's.
        labels: (..., seq), already shifted; `IGNORE_INDEX` where there is nothing to predict.
        strategy: `student_wrong`: argmax z_c != y (Eq. 1). `old_right`: argmax z_1 = y. `old_always`: 1.
            `token_likelihood`: p_c(y) < p_1(y) (Eq. 2). `sequence_likelihood`: the student's likelihood of the whole
            sequence is below the old model's; one value for all tokens of the sequence (Eq. 3).

    Returns:
        (..., seq) boolean. False at ignored positions.

    Raises:
        ValueError: an unknown strategy.

    Example:
        >>> import torch
        >>> student = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
        >>> old_model_mask(student, student, torch.tensor([1, 1])).tolist()
        [False, True]
    """
    counted = labels != IGNORE_INDEX
    if strategy == "student_wrong":
        return (student_logits.argmax(-1) != labels) & counted
    if strategy == "old_right":
        return (old_logits.argmax(-1) == labels) & counted
    if strategy == "old_always":
        return counted
    student = target_log_probability(student_logits, labels)
    old = target_log_probability(old_logits, labels)
    if strategy == "token_likelihood":
        return (student < old) & counted
    if strategy == "sequence_likelihood":
        less_likely = student.sum(-1, keepdim=True) < old.sum(-1, keepdim=True)
        return less_likely.expand_as(labels) & counted
    raise ValueError(f"mask: expected a strategy of Table 7, found {strategy!r}")


def target_log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log p(y) of every label: (..., seq), 0 at ignored positions.

    The softmax is taken in float32 (float64 logits stay float64).
    """
    counted = labels != IGNORE_INDEX
    wide = logits if logits.dtype.itemsize >= 4 else logits.float()
    chosen = wide.gather(-1, labels.masked_fill(~counted, 0).unsqueeze(-1)).squeeze(-1)
    return (chosen - wide.logsumexp(-1)).masked_fill(~counted, 0.0)
