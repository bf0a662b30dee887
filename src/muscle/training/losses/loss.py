"""The losses, as the paper's formulas on logits: plain, in float32, and the reference for anything faster.

`compatibility_terms` gives the sums per term, so that a trainer can normalise over an accumulated batch and log each
term; `compatibility_loss` is their mean, ready for a loop of one's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from muscle.config.methods import MaskName
from muscle.training.data.batches import IGNORE_INDEX
from muscle.training.losses.masks import old_model_mask, widened


@dataclass(frozen=True)
class CompatibilityTerms:
    """Sums over the counted tokens of a batch; divide by `num_tokens` for means.

    Attributes:
        loss: scalar with gradient: sum of L (Eq. 5) over the tokens.
        kl_old: scalar: sum of KL(old || student) over *all* counted tokens, masked or not, in nats, at T; with another
            tokenizer over those that the old model has something to say of.
        kl_new: scalar: the same for the new task model.
        cross_entropy: scalar: sum of -log p_c(y) at T = 1, in nats.
        num_masked: tokens that leaned on the old model.
        num_tokens: tokens that were counted.
    """

    loss: Tensor
    kl_old: Tensor
    kl_new: Tensor
    cross_entropy: Tensor
    num_masked: int
    num_tokens: int


def compatibility_loss(
    student_logits: Tensor,
    old_logits: Tensor,
    new_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 2.0,
    mask: MaskName = "student_wrong",
    ce_weight: float = 0.0,
    old_share: float = 1.0,
) -> Tensor:
    """Return the compatibility loss, mean over the counted tokens.

    MUSCLE (2024), Eq. 1 and Eq. 5, with lambda = 1 - ce_weight:

        L = lambda * (1/n) sum_i [ m_i KL(p_1,i || p_c,i) + (1 - m_i) KL(p_2,i || p_c,i) ] + (1 - lambda) * CE(y, z_c)

    where p = softmax(z / T) in the KL terms (T = 1 in the cross-entropy) and m_i is the mask, times `old_share`. The
    teachers get no gradient. With 0 < m_i < 1 the gradient is that of KL(m_i p_1,i + (1 - m_i) p_2,i || p_c,i), which
    is less than these two by what the teachers differ.

    Args:
        student_logits: (..., seq, vocab), of the model being trained.
        old_logits: (..., seq, vocab), of the old task model M_v1.
        new_logits: (..., seq, vocab), of the new task model M_v2.
        labels: (..., seq), already shifted: the label at position i is the token that logits i predict.
            `IGNORE_INDEX` (-100) leaves a position out.
        temperature: T > 0.
        mask: see `muscle.training.losses.masks.leans_on_old`.
        ce_weight: 1 - lambda, in [0, 1].
        old_share: of a token that leans on the old model, what it learns from it; the rest is the new one's.

    Returns:
        Scalar, in nats per token; float32 (float64 for float64 logits).

    Raises:
        ValueError: shapes differ, no token is counted, the temperature is not positive or ce_weight is outside [0, 1].

    Example:
        >>> import torch
        >>> z = torch.randn(2, 3, 5)
        >>> compatibility_loss(z, z, z, torch.zeros(2, 3, dtype=torch.long)).abs().item() < 1e-6
        True
    """
    terms = compatibility_terms(
        student_logits,
        old_logits,
        new_logits,
        labels,
        temperature=temperature,
        mask=mask,
        ce_weight=ce_weight,
        old_share=old_share,
    )
    if terms.num_tokens == 0:
        raise ValueError("labels: expected at least one counted token, found only IGNORE_INDEX")
    return terms.loss / terms.num_tokens


def compatibility_terms(
    student_logits: Tensor,
    old_logits: Tensor,
    new_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 2.0,
    mask: MaskName = "student_wrong",
    ce_weight: float = 0.0,
    old_share: float = 1.0,
) -> CompatibilityTerms:
    """Return the loss and its terms as sums over the counted tokens; arguments and errors as `compatibility_loss`.

    A batch without a counted token gives sums of 0.
    """
    check_formula(temperature, ce_weight, old_share)
    _check_shapes(student_logits, old_logits, new_logits, labels)
    counted = labels != IGNORE_INDEX
    leans_old = old_model_mask(student_logits.detach(), old_logits, labels, strategy=mask)[counted]
    # Only counted positions from here on: padding would cost a row of the vocabulary each.
    targets = labels[counted]
    student = widened(student_logits[counted])
    student_log_p = functional.log_softmax(student / temperature, dim=-1)
    kl_old = _kl(old_logits.detach()[counted], student_log_p, temperature)
    kl_new = _kl(new_logits.detach()[counted], student_log_p, temperature)
    distillation = shared(leans_old, old_share, kl_old, kl_new).sum()
    if ce_weight:
        cross_entropy = functional.cross_entropy(student, targets, reduction="sum")
        loss = (1.0 - ce_weight) * distillation + ce_weight * cross_entropy
    else:
        with torch.no_grad():
            cross_entropy = functional.cross_entropy(student, targets, reduction="sum")
        loss = distillation
    return CompatibilityTerms(
        loss=loss,
        kl_old=kl_old.detach().sum(),
        kl_new=kl_new.detach().sum(),
        cross_entropy=cross_entropy.detach(),
        num_masked=int(leans_old.sum()),
        num_tokens=int(counted.sum()),
    )


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of -log p(y) over the counted tokens, in nats: the task adapters' loss (Sec. 4.1, step 1).

    Args:
        logits: (..., seq, vocab).
        labels: (..., seq), already shifted; `IGNORE_INDEX` leaves a position out.

    Returns:
        Scalar, summed over tokens; float32 (float64 for float64 logits).
    """
    counted = labels != IGNORE_INDEX
    return functional.cross_entropy(widened(logits[counted]), labels[counted], reduction="sum")


def _kl(teacher_logits: Tensor, student_log_p: Tensor, temperature: float) -> Tensor:
    """Return KL(teacher || student) per row, in nats: (tokens,). Zero for equal distributions."""
    teacher_log_p = functional.log_softmax(widened(teacher_logits) / temperature, dim=-1)
    return functional.kl_div(student_log_p, teacher_log_p, reduction="none", log_target=True).sum(-1)


def shared(leans: Tensor, old_share: float, old: Tensor, new: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return what tokens learn: the new teacher's, and where they lean on the old model its share of the old one's.

    Args:
        leans: boolean, such that it spreads over the others' shape.
        old_share: in [0, 1].
        old: something of the old teacher's distributions, in which a mixture of them is linear.
        new: the same of the new teacher's.
        out: room for the result, which may be that of `old`.
    """
    taught = old if old_share == 1.0 else torch.lerp(new, old, old_share, out=out)
    return torch.where(leans, taught, new, out=out)


def check_formula(temperature: float, ce_weight: float, old_share: float = 1.0) -> None:
    """Refuse a temperature, a weight of the cross-entropy or a share that is out of its range.

    Raises:
        ValueError: names which.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: expected a number above 0, found {temperature}")
    if not 0 <= ce_weight <= 1:
        raise ValueError(f"ce_weight: expected a number in [0, 1], found {ce_weight}")
    if not 0 <= old_share <= 1:
        raise ValueError(f"old_share: expected a number in [0, 1], found {old_share}")


def _check_shapes(student: Tensor, old: Tensor, new: Tensor, labels: Tensor) -> None:
    for name, logits in (("old_logits", old), ("new_logits", new)):
        if logits.shape != student.shape:
            raise ValueError(
                f"{name}: expected the student's shape {tuple(student.shape)}, found {tuple(logits.shape)}"
            )
    if labels.shape != student.shape[:-1]:
        raise ValueError(f"labels: expected shape {tuple(student.shape[:-1])}, found {tuple(labels.shape)}")
