"""The losses in one pass over the output head: value and gradient together, never a [tokens x vocabulary] matrix.

The same numbers as `loss.py`, whose plain formulas are the reference. What makes it cheap: with the head W frozen, the gradient of
cross-entropy and of forward KL with respect to a state h is W^T (softmax(z) - p), and the teacher's part of it, W^T p, is one vector as wide
as h. Cross-entropy's p is one-hot, so its vector is a row of W; a teacher's vector c = W^T softmax(z_t / T) is computed once, before
training (J. Chang, "KL cache trick for full-vocab distillation", 2026). With s and b the head's scale and bias and H the teacher's entropy:

    KL(p || softmax(z / T)) = -H - s (h . c + p . b) / T + logsumexp(z / T)
    d KL / d h              = s (W^T softmax(z / T) - c) / T

The mask only chooses between two such vectors, after the pass over the vocabulary. So a compatibility step costs what a fine-tuning step
costs, and even the mask of Eq. 3, which must know the whole sequence first, needs no second pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from muscle.config import MaskName
from muscle.training.head import ChunkBuffers, OutputHead
from muscle.training.head_pass import HeadPass, exactly, head_pass, soften
from muscle.training.loss import CompatibilityTerms
from muscle.training.masks import IGNORE_INDEX
from muscle.training.teacher_rows import HiddenRows, ProjectedRows, TeacherRows

MEMORY_BYTES = 128 * 2**20
"""Default budget for the logits of a chunk. On 2 cores, products lose speed below 128 tokens a chunk and gain none above 256."""


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
    counted = _counted(hidden, head, labels)
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
    memory_bytes: int = MEMORY_BYTES,
) -> CompatibilityTerms:
    """Return the compatibility loss (MUSCLE, 2024, Eq. 1 and 5) and its terms, as `loss.compatibility_terms` does on logits.

    Args:
        hidden: (..., seq, width), what the student hands to its head.
        head: the student's frozen head.
        labels: (..., seq), already shifted; `IGNORE_INDEX` leaves a position out. A sequence, for Eq. 3, is the last
            axis.
        old: what is kept of M_v1, one row a counted token, in the order of `hidden[labels != IGNORE_INDEX]`.
        new: the same of M_v2, of the same kind as `old`.
        temperature: T > 0; projected rows must have been made at it.
        mask: see `muscle.training.masks.old_model_mask`.
        ce_weight: 1 - lambda of Eq. 5, in [0, 1].
        memory_bytes: budget for the logits of a chunk; at least one token is taken.

    Returns:
        Sums over the counted tokens; `loss` has a gradient to `hidden` alone.

    Raises:
        ValueError: shapes or kinds don't fit, rows are of another temperature, an argument is out of its range, or
            projected rows meet a head with a soft cap, whose logits are not linear in h.
    """
    counted = _counted(hidden, head, labels)
    states, targets = hidden[counted], labels[counted]
    _check(len(states), head, (old, new), temperature, ce_weight)
    sequences = counted.reshape(-1, counted.shape[-1]).nonzero()[:, 0]
    batch = _Batch(states.detach(), targets, sequences, head, memory_bytes)
    formula = _Formula(temperature, mask, ce_weight, _needs_gradient(hidden))
    with exactly(hidden):
        if isinstance(old, ProjectedRows) and isinstance(new, ProjectedRows):
            terms, pulled = _projected(batch, old, new, formula)
        elif isinstance(old, HiddenRows) and isinstance(new, HiddenRows):
            terms, pulled = _hidden(batch, old, new, formula)
        else:
            raise ValueError(
                f"new: expected {type(old).__name__} as the old model's, found {type(new).__name__}"
            )
    return replace(terms, loss=_with_gradient(states, terms.loss, pulled, head))


@dataclass(frozen=True)
class _Batch:
    """Counted tokens: states (tokens, width), labels (tokens,), and which sequence each belongs to (tokens,)."""

    states: Tensor
    labels: Tensor
    sequences: Tensor
    head: OutputHead
    memory_bytes: int


@dataclass(frozen=True)
class _Formula:
    """Eq. 1 and 5 as they are asked for, and whether a gradient is."""

    temperature: float
    mask: MaskName
    ce_weight: float
    gradient: bool


def _pass(batch: _Batch, formula: _Formula, guide: _BothTeachers | None = None) -> HeadPass:
    return head_pass(
        batch.states,
        batch.head,
        batch.labels,
        temperature=formula.temperature,
        ce_weight=formula.ce_weight,
        gradient=formula.gradient,
        memory_bytes=batch.memory_bytes,
        guide=guide,
    )


def _projected(
    batch: _Batch, old: ProjectedRows, new: ProjectedRows, formula: _Formula
) -> tuple[CompatibilityTerms, Tensor | None]:
    """One pass for the student; the teachers are vectors."""
    found = _pass(batch, formula)
    leans = _leans_old(formula.mask, found.right, found.log_p, old, batch.sequences)
    kl_old, kl_new = (_projected_kl(batch, found, side) for side in (old, new))
    gradient = None
    if found.pulled is not None:
        vector = torch.where(leans.unsqueeze(1), old.vector, new.vector).to(found.pulled)
        gradient = found.pulled.sub_(vector, alpha=(1.0 - formula.ce_weight) / formula.temperature)
    return _sums(found, leans, kl_old, kl_new, formula), gradient


def _projected_kl(batch: _Batch, found: HeadPass, side: ProjectedRows) -> Tensor:
    """KL(teacher || student) per token at T: (tokens,)."""
    # The states as the head sees them.
    states = batch.states.to(batch.head.weight.dtype).to(found.lse.dtype)
    mean_logit = (states * side.vector).sum(-1)
    if side.bias is not None:
        mean_logit += side.bias
    return found.lse - side.entropy - batch.head.scale * mean_logit / side.temperature


def _hidden(
    batch: _Batch, old: HiddenRows, new: HiddenRows, formula: _Formula
) -> tuple[CompatibilityTerms, Tensor | None]:
    """One pass with both teachers' heads beside the student's; Eq. 3 asks for the sequences' likelihoods before."""
    leans = None
    if formula.mask == "sequence_likelihood":
        first = _pass(batch, replace(formula, gradient=False))
        leans = _leans_old(formula.mask, first.right, first.log_p, old, batch.sequences)
    guide = _BothTeachers(batch, old, new, formula, leans)
    found = _pass(batch, formula, guide)
    if leans is None:
        leans = _leans_old(formula.mask, found.right, found.log_p, old, batch.sequences)
    kl_old, kl_new = (found.lse + partial for partial in guide.partial)
    return _sums(found, leans, kl_old, kl_new, formula), found.pulled


class _BothTeachers:
    """A `Guide`: both teachers' distributions of the chunk at hand, by their own heads."""

    def __init__(
        self, batch: _Batch, old: HiddenRows, new: HiddenRows, formula: _Formula, leans: Tensor | None
    ) -> None:
        self.batch, self.sides, self.formula, self.leans = batch, (old, new), formula, leans
        wide = batch.head.wide_dtype
        # KL less the student's normaliser, for old and new: (tokens,) each.
        self.partial = tuple(torch.empty(len(batch.labels), dtype=wide).to(batch.states.device) for _ in "12")
        # Buffers, the terms of the entropy, and the choice between the two.
        self.bytes_per_logit = sum(side.head.bytes_per_logit + wide.itemsize for side in self.sides)
        self._buffers: tuple[ChunkBuffers, ...] = ()
        self._distributions: list[Tensor] = []

    def meet(self, part: slice, logits: Tensor) -> None:
        if not self._buffers:  # the first chunk is the largest
            self._buffers = tuple(ChunkBuffers(side.head, len(logits)) for side in self.sides)
        self._distributions = []
        for side, buffers, partial in zip(self.sides, self._buffers, self.partial, strict=True):
            taught, top = side.head.logits(side.vector[part], buffers, self.batch.labels[part])
            warm = soften(taught, top, self.formula.temperature).warm
            mean_logit = torch.einsum("tv,tv->t", warm, logits)
            partial[part] = -torch.special.entr(warm).sum(-1) - mean_logit / self.formula.temperature
            self._distributions.append(warm)

    def target(self, part: slice, right: Tensor, log_p: Tensor) -> Tensor:
        if self.leans is not None:
            leans = self.leans[part]
        else:
            old = replace(self.sides[0], log_p=self.sides[0].log_p[part], right=self.sides[0].right[part])
            leans = _leans_old(self.formula.mask, right, log_p, old, self.batch.sequences[part])
        old_p, new_p = self._distributions
        return torch.where(leans.unsqueeze(1), old_p, new_p)


def _leans_old(mask: MaskName, right: Tensor, log_p: Tensor, old: TeacherRows, sequences: Tensor) -> Tensor:
    """Tell for every token whether it leans on the old model, as `masks.old_model_mask` does on logits: (tokens,)."""
    if mask == "student_wrong":
        return ~right
    if mask == "old_right":
        return old.right
    if mask == "old_always":
        return torch.ones_like(right)
    if mask == "token_likelihood":
        return log_p < old.log_p
    if mask == "sequence_likelihood":
        num_sequences = int(sequences.max()) + 1 if len(sequences) else 0
        own, theirs = (
            value.new_zeros(num_sequences).index_add_(0, sequences, value)
            for value in (log_p, old.log_p.to(log_p))
        )
        return (own < theirs)[sequences]
    raise ValueError(f"mask: expected a strategy of Table 7, found {mask!r}")


def _sums(
    found: HeadPass, leans: Tensor, kl_old: Tensor, kl_new: Tensor, formula: _Formula
) -> CompatibilityTerms:
    cross_entropy = -found.log_p.sum()
    distillation = torch.where(leans, kl_old, kl_new).sum()
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


def _counted(hidden: Tensor, head: OutputHead, labels: Tensor) -> Tensor:
    if hidden.shape[:-1] != labels.shape:
        raise ValueError(f"labels: expected shape {tuple(hidden.shape[:-1])}, found {tuple(labels.shape)}")
    if hidden.shape[-1] != head.weight.shape[1]:
        raise ValueError(
            f"hidden: expected states {head.weight.shape[1]} wide as the head's, found {hidden.shape[-1]}"
        )
    return labels != IGNORE_INDEX


def _check(
    num_tokens: int,
    head: OutputHead,
    teachers: tuple[TeacherRows, TeacherRows],
    temperature: float,
    ce_weight: float,
) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature: expected a number above 0, found {temperature}")
    if not 0 <= ce_weight <= 1:
        raise ValueError(f"ce_weight: expected a number in [0, 1], found {ce_weight}")
    for name, rows in zip(("old", "new"), teachers, strict=True):
        if len(rows) != num_tokens:
            raise ValueError(f"{name}: expected {num_tokens} rows, one a counted token, found {len(rows)}")
        if isinstance(rows, HiddenRows):
            if rows.head.vocab_size != head.vocab_size:
                raise ValueError(
                    f"{name}: expected a head of {head.vocab_size} rows as the student's, found {rows.head.vocab_size}"
                )
            continue
        if head.softcap is not None:
            raise ValueError(f"{name}: a head with a soft cap has no projected rows; expected hidden rows")
        if rows.temperature != temperature:
            raise ValueError(f"{name}: rows made at temperature {rows.temperature}, expected {temperature}")
        if rows.vector.shape[1] != head.weight.shape[1]:
            raise ValueError(
                f"{name}: expected vectors {head.weight.shape[1]} wide as the head's, found {rows.vector.shape[1]}"
            )
