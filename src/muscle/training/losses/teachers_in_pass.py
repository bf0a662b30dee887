"""Teachers that are present in the pass over the head: the `hidden` and `topk` stores, and the mask between the two.

From hidden rows a teacher's whole distribution comes back by its own head. From top-k rows it is the k likeliest
tokens and the sum r of all others, and so is the student's when the two are compared: with K the kept tokens,

    KL_k = sum_K p log(p / q) + p_r log(p_r / q_r)        d KL_k / d z = (q - t) / T,  t = p on K, p_r q / q_r elsewhere

The sum hides how the two differ within it: KL - KL_k = p_r KL(p | not in K || q | not in K), never negative, and no
gradient pulls there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from muscle.config.methods import MaskName
from muscle.training.head.head_pass import Softened, entropy, soften
from muscle.training.head.output_head import ChunkBuffers, OutputHead
from muscle.training.losses.loss import shared
from muscle.training.losses.masks import Answers, KnownAnswers, leans_on_old
from muscle.training.teachers.rows import HiddenRows, TopkRows, known_tokens


@dataclass(frozen=True)
class Batch:
    """Counted tokens: states (tokens, width), labels (tokens,), and which sequence each belongs to (tokens,)."""

    states: Tensor
    labels: Tensor
    sequences: Tensor
    head: OutputHead
    memory_bytes: int


@dataclass(frozen=True)
class Formula:
    """Eq. 1 and 5 with their settings, and whether a gradient is wanted."""

    temperature: float
    mask: MaskName
    ce_weight: float
    gradient: bool
    old_share: float = 1.0


def sum_over_sequences(sequences: Tensor, value: Tensor) -> Tensor:
    """Give every token the sum of a value over its sequence: (tokens,); sequences are numbered from 0."""
    num_sequences = int(sequences.max()) + 1 if len(sequences) else 0
    return value.new_zeros(num_sequences).index_add_(0, sequences, value)[sequences]


def leans_in_batch(
    batch: Batch, formula: Formula, student: Answers, old: Answers, *, known: Tensor | None = None
) -> Tensor:
    """Tell for every counted token of a batch whether it leans on the old model: (tokens,); see `leans_on_old`."""
    return leans_on_old(
        formula.mask,
        student,
        old,
        batch.labels,
        sum_sequences=functools.partial(sum_over_sequences, batch.sequences),
        known=known,
    )


class HiddenTeachers:
    """`TeachersInPass` whose distributions of the chunk at hand come from their own heads."""

    def __init__(self, batch: Batch, old: HiddenRows, new: HiddenRows, formula: Formula) -> None:
        self.batch, self.sides, self.formula = batch, (old, new), formula
        self.leans: Tensor | None = None
        wide = batch.head.wide_dtype
        # KL less the student's normaliser, for old and new: (tokens,) each.
        self.partial = tuple(torch.empty(len(batch.labels), dtype=wide).to(batch.states.device) for _ in "12")
        # Buffers, and a place for the softmax.
        self.bytes_per_logit = sum(side.head.bytes_per_logit + wide.itemsize for side in self.sides)
        self._buffers: tuple[ChunkBuffers, ...] = ()
        self._beside: tuple[Tensor, ...] = ()
        self._distributions: list[Tensor] = []

    def see_logits(self, part: slice, logits: Tensor) -> None:
        """See `TeachersInPass`."""
        if not self._buffers:  # the first chunk is the largest
            self._buffers = tuple(ChunkBuffers(side.head, len(logits)) for side in self.sides)
            self._beside = tuple(torch.empty_like(buffers.wide) for buffers in self._buffers)
        self._distributions = []
        rooms = zip(self.sides, self._buffers, self._beside, self.partial, strict=True)
        for side, buffers, beside, partial in rooms:
            taught, top = side.head.logits(side.vector[part], buffers, self.batch.labels[part])
            soft = soften(taught, top, self.formula.temperature, out=beside[: len(taught)])
            mean_logit = torch.einsum("tv,tv->t", soft.softmax, logits)
            partial[part] = -entropy(soft, taught, top) - mean_logit / self.formula.temperature
            self._distributions.append(soft.softmax)

    def target(self, part: slice, right: Tensor, log_p: Tensor, soft: Softened, *, gradient: bool) -> Tensor | None:
        """See `TeachersInPass`: the chosen teacher's distribution, or its mixture with the new one's."""
        del soft
        if not gradient:
            return None
        leans = leans_in_chunk(self, part, right, log_p)
        old_p, new_p = self._distributions
        room = self._buffers[0].wide[: len(leans)]  # of logits that nobody needs any more
        return shared(leans.unsqueeze(1), self.formula.old_share, old_p, new_p, out=room)

    def divergences(self, lse: Tensor) -> tuple[Tensor, Tensor]:
        """Return KL(old || student) and KL(new || student), (tokens,) each, from the student's normalisers."""
        old, new = self.partial
        return lse + old, lse + new


class _Kept(NamedTuple):
    """Of a chunk, a teacher's k likeliest tokens, (tokens, k), and by what a softmax of the others is scaled."""

    ids: Tensor
    log_probs: Tensor
    scale: Tensor

    def beside(self, softmax: Tensor) -> Tensor:
        """Return the distributions (tokens, vocab) that have the kept tokens, and are of a softmax's shape beyond."""
        taught = softmax * self.scale.to(softmax)
        return taught.scatter_(1, self.ids, self.log_probs.to(softmax).exp())


class TopkTeachers:
    """`TeachersInPass` of which the k likeliest tokens are known, and the mass of all others as one."""

    def __init__(self, batch: Batch, old: TopkRows, new: TopkRows, formula: Formula) -> None:
        self.batch, self.sides, self.formula = batch, (old, new), formula
        self.leans: Tensor | None = None
        wide = batch.head.wide_dtype
        # The target; of a mixture both teachers' distributions.
        self.bytes_per_logit = wide.itemsize * (1 if formula.old_share == 1.0 else 2)
        # KL_k without the student's normaliser: (tokens,) each.
        self.partial = tuple(torch.empty(len(batch.labels), dtype=wide).to(batch.states.device) for _ in "12")

    def see_logits(self, part: slice, logits: Tensor) -> None:
        """See `TeachersInPass`."""
        for side, partial in zip(self.sides, self.partial, strict=True):
            log_probs = side.log_probs[part].to(logits)
            kept = logits.gather(1, side.ids[part]) / self.formula.temperature
            partial[part] = (log_probs.exp() * (log_probs - kept)).sum(-1)

    def target(self, part: slice, right: Tensor, log_p: Tensor, soft: Softened, *, gradient: bool) -> Tensor | None:
        """See `TeachersInPass`: a teacher on its k tokens, the student's own shape, scaled, on the others.

        The chosen teacher, or its mixture with the new one.
        """
        rests = []
        for side, partial in zip(self.sides, self.partial, strict=True):
            rest = _rest_of(soft.softmax, side.ids[part])
            tail = side.tail[part].to(rest)
            partial[part] += torch.special.xlogy(tail, tail / rest)
            rests.append(rest)
        if not gradient:
            return None
        column, share = leans_in_chunk(self, part, right, log_p).unsqueeze(1), self.formula.old_share
        old, new = (
            _Kept(side.ids[part], side.log_probs[part], (side.tail[part].to(rest) / rest).unsqueeze(1))
            for side, rest in zip(self.sides, rests, strict=True)
        )
        if share < 1.0:
            old_p, new_p = old.beside(soft.softmax), new.beside(soft.softmax)
            return shared(column, share, old_p, new_p, out=old_p)
        chosen = _Kept(*(torch.where(column, *each) for each in zip(old, new, strict=True)))
        return chosen.beside(soft.softmax)

    def divergences(self, lse: Tensor) -> tuple[Tensor, Tensor]:
        """Return KL_k(old || student) and KL_k(new || student), (tokens,) each, from the student's normalisers."""
        old, new = (
            partial + (1.0 - side.tail.to(lse)) * lse for side, partial in zip(self.sides, self.partial, strict=True)
        )
        return old, new


def _rest_of(softmax: Tensor, ids: Tensor) -> Tensor:
    """Return the sum of a softmax (tokens, vocab) over all tokens but `ids`: (tokens,)."""
    # Not 1 - the others: a small rest keeps its digits.
    kept = softmax.gather(1, ids)
    rest = softmax.scatter_(1, ids, 0.0).sum(-1)
    softmax.scatter_(1, ids, kept)
    return rest.clamp_(min=torch.finfo(rest.dtype).tiny)


def leans_in_chunk(teachers: HiddenTeachers | TopkTeachers, part: slice, right: Tensor, log_p: Tensor) -> Tensor:
    """Tell for a chunk's tokens whether they lean on the old model: (tokens,)."""
    if teachers.leans is not None:  # Eq. 3, which had to see whole sequences first
        return teachers.leans[part]
    old, batch = teachers.sides[0], teachers.batch
    chunk = replace(batch, labels=batch.labels[part], sequences=batch.sequences[part])
    known = known_tokens(old)
    return leans_in_batch(
        chunk,
        teachers.formula,
        KnownAnswers(right, log_p),
        KnownAnswers(old.right[part], old.log_p[part]),
        known=None if known is None else known[part],
    )
