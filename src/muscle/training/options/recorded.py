"""The old teacher where the old model is a record: distributions over options out of what it answered.

Of an item with log-probabilities of all options these are the teacher's, as they would be were the model there. Of one
with K answers, of which n_k gave option k, and the new teacher's distribution q,

    p_k = t n_k / K                     of options that were answered
    p_k = (1 - t) q_k / sum_j q_j       of the others, the sum over these; t = 1 where there are none

t is how often the right option is among the answers, (r + 1) / (n + 2) on the n labelled validation items of this kind
(Laplace's rule of succession): how far the record can be trusted. So one answer is believed as often as it is right,
and what it says nothing about is left to the new model; several are smoothed counts, whose unseen options have a
probability that is as large as it should be. What was answered most stays the likeliest: where the new model is so sure
of another option that t would not do, t of that item is just above max_j q_j / (max_k n_k / K + max_j q_j).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from muscle.tasks.recorded import Record, answered_options, likelihoods
from muscle.training.options.data import OptionData
from muscle.training.options.targets import NO_LABEL

_ABOVE = 1e-3
"""By how much an answer's probability is to be above another's at least, as a share of it."""


@dataclass(frozen=True)
class Recorded:
    """What a record says of the items of a training.

    Attributes:
        data: the items; each has an answer that can be used.
        known: each item's scores where the record has its likelihoods; None of the others.
        counts: (items, options), how often each option or candidate was answered; 0 where likelihoods are known.
    """

    data: OptionData
    known: Sequence[Tensor | None]
    counts: Tensor

    @property
    def counted(self) -> Tensor:
        """Which items have answers alone: (items,)."""
        return torch.tensor([each is None for each in self.known])

    def scores(self, new: Tensor | None) -> tuple[Tensor, dict[str, object]]:
        """Return the old teacher's scores, (items, options), and what was fitted.

        Args:
            new: (items, options), the new teacher's log-likelihoods, calibrated; may be None where likelihoods of all
                items are known.
        """
        counted = self.counted
        facts: dict[str, object] = {"items_with_likelihoods": int((~counted).sum())}
        width = self.data.width
        found = torch.full((len(self.known), width), -torch.inf)
        for place, values in enumerate(self.known):
            if values is not None:
                found[place, : len(values)] = values
        if bool(counted.any()):
            assert new is not None, "needs_new says that it is read"
            trust = self.trust()
            found[counted] = answered(self.counts[counted], new[counted], trust)
            facts |= {"items_with_answers_alone": int(counted.sum()), "trust": trust}
        return found, {"old_record": facts}

    @property
    def needs_new(self) -> bool:
        """Whether the new teacher is read: some items have answers alone."""
        return bool(self.counted.any())

    def trust(self) -> float:
        """Return t: how often the right option is among the answers, on the labelled validation items."""
        held = slice(self.data.num_trained, None)
        gold, counts = self.data.gold[held], self.counts[held]
        judged = self.counted[held] & (gold != NO_LABEL)
        right = counts[judged].gather(-1, gold[judged][:, None])[:, 0] > 0
        return (int(right.sum()) + 1) / (int(judged.sum()) + 2)


def answered(counts: Tensor, new: Tensor, trust: float) -> Tensor:
    """Return log p of counted answers; -inf where there is no option.

    Args:
        counts: (items, options), how often each was answered, once at least in every item.
        new: (items, options), the new teacher's log-likelihoods; -inf where there is no option.
        trust: t, in (0, 1).

    Example:
        >>> one = torch.tensor([[1.0, 0.0, 0.0]])
        >>> answered(one, torch.tensor([[0.0, 0.0, 0.0]]), 0.8).exp()
        tensor([[0.8000, 0.1000, 0.1000]])
    """
    seen = counts > 0
    others = new.log_softmax(-1).masked_fill(seen, -torch.inf)
    left = others.logsumexp(-1, keepdim=True)
    has_others = left > -torch.inf
    others = others - torch.where(has_others, left, 0.0)
    shares = (counts / counts.sum(-1, keepdim=True)).to(new.dtype)
    highest, likeliest = others.exp().amax(-1, keepdim=True), shares.amax(-1, keepdim=True)
    enough = highest / (likeliest + highest) * (1 + _ABOVE)
    share = torch.where(has_others, enough.clamp(min=trust), 1.0)
    return torch.where(seen, share.log() + shares.log(), torch.log1p(-share) + others)


def read_recorded(record: Record, data: OptionData) -> Recorded:
    """Read a record for the items of a training, all of which it has (`muscle.tasks.recorded.teaches`)."""
    known: list[Tensor | None] = []
    counts = torch.zeros(len(data.all), data.width)
    for place, example in enumerate(data.all):
        values = None if example.answers else likelihoods(record.answers_to(example), example.choices)
        known.append(None if values is None else data.scoring(example, ())(torch.tensor(values)))
        for number in () if values is not None else answered_options(record, example):
            counts[place, number] += 1
    return Recorded(data, known, counts)
