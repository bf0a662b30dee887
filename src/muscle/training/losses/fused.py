"""The losses in one pass over the output head: value and gradient together, never a [tokens x vocabulary] matrix.

The same numbers as `loss.py`, whose plain formulas are the reference. What makes it cheap: with the head W frozen,
the gradient of cross-entropy and of forward KL with respect to a state h is W^T (softmax(z) - p), and the teacher's
part of it, W^T p, is one vector as wide as h. Cross-entropy's p is one-hot, so its vector is a row of W; a teacher's
vector c = W^T softmax(z_t / T) is computed once, before training (J. Chang, "KL cache trick for full-vocab
distillation", 2026). With s and b the head's scale and bias and H the teacher's entropy:

    KL(p || softmax(z / T)) = -H - s (h . c + p . b) / T + logsumexp(z / T)
    d KL / d h              = s (W^T softmax(z / T) - c) / T

The mask only chooses between two such vectors, or mixes them, after the pass over the vocabulary. So a compatibility
step costs what a fine-tuning step costs, and even the mask of Eq. 3, which must know the whole sequence first, needs no
second pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from muscle.config.methods import MaskName
from muscle.training.data.batches import IGNORE_INDEX
from muscle.training.head.head_pass import MEMORY_BYTES, HeadPass, exactly, head_pass
from muscle.training.head.output_head import OutputHead
from muscle.training.losses.loss import CompatibilityTerms, check_formula, shared
from muscle.training.losses.teachers_in_pass import (
    Batch,
    Formula,
    HiddenTeachers,
    TopkTeachers,
    leans_in_batch,
)
from muscle.training.teachers.rows import (
    HiddenRows,
    MixedRows,
    ProjectedRows,
    TeacherRows,
    TopkRows,
    known_tokens,
)


def fused_next_token_loss(
    hidden: Tensor, head: OutputHead, labels: Tensor, *, memory_bytes: int = MEMORY_BYTES
) -> Tensor:
    """Return the sum of -log p(y) over the counted tokens, in nats, as `loss.next_token_loss` does on logits.

    Args:
        hidden: (..., seq, width), what the model hands to its head.
        head: the frozen head.
        labels: (..., seq), already shifted; `IGNORE_INDEX` leaves a position out.
        memory_bytes: budget for the logits of a chunk; at least one token is taken.

    Returns:
        Scalar with gradient to `hidden`; float32 (float64 for a float64 head). 0 where no token is counted.

    Raises:
        ValueError: shapes don't fit.

    Example:
        >>> import torch
        >>> head = OutputHead(torch.zeros(5, 3))
        >>> round(fused_next_token_loss(torch.ones(1, 2, 3), head, torch.tensor([[1, -100]])).item(), 4)  # log 5
        1.6094
    """
    counted = _counted_tokens(hidden, head, labels)
    states, targets = hidden[counted], labels[counted]
    found = head_pass(
        states,
        head,
        targets,
        temperature=1.0,
        ce_weight=1.0,
        gradient=_needs_gradient(hidden),
        memory_bytes=memory_bytes,
    )
    return _with_gradient(states, -found.log_p.sum(), found.pulled, head)


def fused_compatibility_terms(
    hidden: Tensor,
    head: OutputHead,
    labels: Tensor,
    old: TeacherRows,
    new: TeacherRows,
    *,
    temperature: float = 2.0,
    mask: MaskName = "student_wrong",
    ce_weight: float = 0.0,
    old_share: float = 1.0,
    memory_bytes: int = MEMORY_BYTES,
    sequences: Tensor | None = None,
) -> CompatibilityTerms:
    """Return the compatibility loss (MUSCLE, 2024, Eq. 1 and 5) and its terms, as `compatibility_terms` on logits.

    Args:
        hidden: (..., seq, width), what the student hands to its head.
        head: the student's frozen head.
        labels: (..., seq), already shifted; `IGNORE_INDEX` leaves a position out. A sequence, for Eq. 3, is the last
            axis.
        old: what is kept of M_v1, one row a counted token, in the order of `hidden[labels != IGNORE_INDEX]`.
        new: the same of M_v2, of the same kind as `old`.
        temperature: T > 0; projected rows must have been made at it.
        mask: see `muscle.training.losses.masks.leans_on_old`.
        ce_weight: 1 - lambda of Eq. 5, in [0, 1].
        old_share: what a token that leans on the old model learns from it; see `loss.compatibility_loss`.
        memory_bytes: budget for the logits of a chunk; at least one token is taken.
        sequences: (..., seq), which sequence a token belongs to, numbered from 0; each row is one by default.

    Returns:
        Sums over the counted tokens; `loss` has a gradient to `hidden` alone. From top-k rows the KL terms are those of
        distributions whose tokens beyond the k count as one: a lower bound of KL, less than it by tail * KL(tails).

    Raises:
        ValueError: shapes or kinds don't fit, rows are of another temperature, an argument is out of its range, or
            projected rows come with a head with a soft cap, whose logits are not linear in h.
    """
    counted = _counted_tokens(hidden, head, labels)
    states, targets = hidden[counted], labels[counted]
    check_formula(temperature, ce_weight, old_share)
    _check_teachers(len(states), head, (old, new), temperature)
    # Every row is a sequence where none is named: `(rows, 1)`, spread over the columns below.
    if sequences is None:
        rows = counted.shape[:-1]
        sequences = torch.arange(math.prod(rows), device=labels.device).view(*rows, 1)
    batch = Batch(states.detach(), targets, sequences.expand_as(counted)[counted], head, memory_bytes)
    formula = Formula(temperature, mask, ce_weight, _needs_gradient(hidden), old_share)
    with exactly(hidden):
        if isinstance(old, ProjectedRows) and isinstance(new, ProjectedRows):
            terms, pulled = _projected(batch, old, new, formula)
        elif isinstance(old, HiddenRows) and isinstance(new, HiddenRows):
            terms, pulled = _with_teachers(batch, HiddenTeachers(batch, old, new, formula), formula)
        elif isinstance(old, TopkRows) and isinstance(new, TopkRows):
            terms, pulled = _with_teachers(batch, TopkTeachers(batch, old, new, formula), formula)
        else:
            raise ValueError(f"new: expected {type(old).__name__} as the old model's, found {type(new).__name__}")
    return replace(terms, loss=_with_gradient(states, terms.loss, pulled, head))


@dataclass(frozen=True)
class DistillationTerms:
    """Sums over the counted tokens of a batch; divide by `num_tokens` for means.

    Attributes:
        loss: scalar with gradient: sum of (1 - ce_weight) KL + ce_weight CE.
        kl: scalar: sum of KL(mixture || student), in nats, at T.
        cross_entropy: scalar: sum of -log p_c(y) at T = 1, in nats.
        old_share: scalar: sum of the old teacher's shares.
        num_tokens: tokens that were counted.
    """

    loss: Tensor
    kl: Tensor
    cross_entropy: Tensor
    old_share: Tensor
    num_tokens: int


def fused_distillation_terms(
    hidden: Tensor,
    head: OutputHead,
    labels: Tensor,
    target: MixedRows,
    *,
    temperature: float = 2.0,
    ce_weight: float = 0.0,
    memory_bytes: int = MEMORY_BYTES,
) -> DistillationTerms:
    """Return the loss against one mixture of both teachers.

    With a share of 1 where the mask of Eq. 1 is 1 and of 0 elsewhere this is Eq. 1 and 5; it serves every mask and
    weight that doesn't depend on the student.

    Args:
        hidden: (..., seq, width), what the student hands to its head.
        head: the student's frozen head.
        labels: (..., seq), already shifted; `IGNORE_INDEX` leaves a position out.
        target: one row a counted token, in the order of `hidden[labels != IGNORE_INDEX]`.
        temperature: T > 0, at which the rows were made.
        ce_weight: 1 - lambda of Eq. 5, in [0, 1].
        memory_bytes: budget for the logits of a chunk; at least one token is taken.

    Returns:
        Sums over the counted tokens; `loss` has a gradient to `hidden` alone.

    Raises:
        ValueError: as `fused_compatibility_terms`.
    """
    counted = _counted_tokens(hidden, head, labels)
    states = hidden[counted]
    check_formula(temperature, ce_weight)
    if len(target) != len(states) or target.temperature != temperature:
        raise ValueError(
            f"target: expected {len(states)} rows at temperature {temperature}, found {len(target)} at "
            f"{target.temperature}"
        )
    _check_projected("target", target, head)
    batch = Batch(states.detach(), labels[counted], labels[counted], head, memory_bytes)
    formula = Formula(temperature, "old_always", ce_weight, _needs_gradient(hidden))
    with exactly(hidden):
        found = _pass(batch, formula)
        kl, cross_entropy = _projected_kl(batch, found, target).sum(), -found.log_p.sum()
        pulled = found.pulled
        if pulled is not None:
            pulled.sub_(target.vector.to(pulled), alpha=(1.0 - ce_weight) / temperature)
        value = (1.0 - ce_weight) * kl + ce_weight * cross_entropy
    loss = _with_gradient(states, value, pulled, head)
    return DistillationTerms(loss, kl, cross_entropy, target.old_share.sum(), len(states))


def _pass(batch: Batch, formula: Formula, teachers: HiddenTeachers | TopkTeachers | None = None) -> HeadPass:
    return head_pass(
        batch.states,
        batch.head,
        batch.labels,
        temperature=formula.temperature,
        ce_weight=formula.ce_weight,
        gradient=formula.gradient,
        memory_bytes=batch.memory_bytes,
        teachers=teachers,
    )


def _projected(
    batch: Batch, old: ProjectedRows, new: ProjectedRows, formula: Formula
) -> tuple[CompatibilityTerms, Tensor | None]:
    """One pass for the student; the teachers are vectors."""
    found = _pass(batch, formula)
    known = known_tokens(old)
    leans = leans_in_batch(batch, formula, found, old, known=known)
    kl_old, kl_new = (_projected_kl(batch, found, side) for side in (old, new))
    gradient = None
    if found.pulled is not None:
        vector = shared(leans.unsqueeze(1), formula.old_share, old.vector, new.vector).to(found.pulled)
        gradient = found.pulled.sub_(vector, alpha=(1.0 - formula.ce_weight) / formula.temperature)
    return _sums(found, leans, kl_old, kl_new, formula, known=known), gradient


def _projected_kl(batch: Batch, found: HeadPass, side: ProjectedRows | MixedRows) -> Tensor:
    """Return KL(teacher || student) per token at T: (tokens,)."""
    # The states as the head sees them.
    states = batch.states.to(batch.head.weight.dtype).to(found.lse.dtype)
    mean_logit = (states * side.vector).sum(-1)
    if side.bias is not None:
        mean_logit += side.bias
    return found.lse - side.entropy - batch.head.scale * mean_logit / side.temperature


def _with_teachers(
    batch: Batch,
    teachers: HiddenTeachers | TopkTeachers,
    formula: Formula,
) -> tuple[CompatibilityTerms, Tensor | None]:
    """One pass with both teachers beside the student; Eq. 3 asks for the sequences' likelihoods before."""
    old = teachers.sides[0]
    leans, known = None, known_tokens(old)
    if formula.mask == "sequence_likelihood":
        first = _pass(batch, replace(formula, gradient=False))
        leans = teachers.leans = leans_in_batch(batch, formula, first, old, known=known)
    found = _pass(batch, formula, teachers)
    if leans is None:
        leans = leans_in_batch(batch, formula, found, old, known=known)
    kl_old, kl_new = teachers.divergences(found.lse)
    return _sums(found, leans, kl_old, kl_new, formula, known=known), found.pulled


def _sums(
    found: HeadPass, leans: Tensor, kl_old: Tensor, kl_new: Tensor, formula: Formula, *, known: Tensor | None
) -> CompatibilityTerms:
    if known is not None:
        kl_old = kl_old.where(known, 0.0)
    cross_entropy = -found.log_p.sum()
    distillation = shared(leans, formula.old_share, kl_old, kl_new).sum()
    return CompatibilityTerms(
        loss=(1.0 - formula.ce_weight) * distillation + formula.ce_weight * cross_entropy
        if formula.ce_weight
        else distillation,
        kl_old=kl_old.sum(),
        kl_new=kl_new.sum(),
        cross_entropy=cross_entropy,
        num_masked=int(leans.sum()),
        num_tokens=len(leans),
    )


class _KnownGradient(torch.autograd.Function):
    """A value whose gradient was computed beside it."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient.to(states.dtype))
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer.to(gradient.dtype), None, None


def _with_gradient(states: Tensor, value: Tensor, pulled: Tensor | None, head: OutputHead) -> Tensor:
    if pulled is None:
        return value
    joined: Tensor = _KnownGradient.apply(states, value, pulled.mul_(head.scale))  # type: ignore[no-untyped-call]
    return joined


def _needs_gradient(hidden: Tensor) -> bool:
    return torch.is_grad_enabled() and hidden.requires_grad


def _counted_tokens(hidden: Tensor, head: OutputHead, labels: Tensor) -> Tensor:
    if hidden.shape[:-1] != labels.shape:
        raise ValueError(f"labels: expected shape {tuple(hidden.shape[:-1])}, found {tuple(labels.shape)}")
    if hidden.shape[-1] != head.weight.shape[1]:
        raise ValueError(f"hidden: expected states {head.weight.shape[1]} wide as the head's, found {hidden.shape[-1]}")
    return labels != IGNORE_INDEX


def _check_teachers(
    num_tokens: int,
    head: OutputHead,
    teachers: tuple[TeacherRows, TeacherRows],
    temperature: float,
) -> None:
    for name, rows in zip(("old", "new"), teachers, strict=True):
        if len(rows) != num_tokens:
            raise ValueError(f"{name}: expected {num_tokens} rows, one a counted token, found {len(rows)}")
        if isinstance(rows, HiddenRows):
            if rows.head.vocab_size != head.vocab_size:
                raise ValueError(
                    f"{name}: expected a head of {head.vocab_size} rows as the student's, found {rows.head.vocab_size}"
                )
            continue
        if rows.temperature != temperature:
            raise ValueError(f"{name}: rows made at temperature {rows.temperature}, expected {temperature}")
        if isinstance(rows, ProjectedRows):
            _check_projected(name, rows, head)


def _check_projected(name: str, rows: ProjectedRows | MixedRows, head: OutputHead) -> None:
    if head.softcap is not None:
        raise ValueError(f"{name}: a head with a soft cap has no projected rows; expected hidden rows")
    if rows.vector.shape[1] != head.weight.shape[1]:
        raise ValueError(
            f"{name}: expected vectors {head.weight.shape[1]} wide as the head's, found {rows.vector.shape[1]}"
        )
