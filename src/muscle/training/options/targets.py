"""What a student is drawn to at option level: distributions over an item's options, made of two teachers'.

Pure functions on log-likelihoods of options, (items, options), each teacher's divided by its own calibration
temperature; an option that an item does not have is -inf. Every function returns the target's log-probabilities,
(items, options), -inf where there is no option. None has a gradient to give: teachers are frozen.

With teachers p_1 (old) and p_2 (new) = softmax of what comes in, y the right option, s the old model's share:

    mixture      s p_1 + (1 - s) p_2
    reliability  the mixture with s' = s e_1^a / (s e_1^a + (1 - s) e_2^a), e_i = p_i(y), or max p_i without a label:
                 who expected the right answer has more say (label-aware weights of teachers: CA-MKD, Zhang et al. 2022,
                 https://arxiv.org/abs/2201.00007, whose sharpness a is 1)
    stack        softmax(a log p_1 + b log p_2 + log kappa [k = argmax p_1]): stacked generalisation (Wolpert 1992) by
                 a logistic regression of a and b; kappa gives the odds by which a right answer of the old model's
                 that would be lost weighs more than one that is gained
    lifted       max(p_1(y), p_2(y)) at y, the mixture of what both think of the wrong options elsewhere: a weak teacher
                 pulls nobody below the other's confidence (task-preserving distillation, Yuan & Tao 2026)
    labels       y alone
    old_answers  argmax p_1 alone, as a label: relabelling by the old model ("Refresh-D" of UpgradeBench, Chen & Zhang
                 2026, https://arxiv.org/abs/2608.20918)

The new teacher may be several: p_2 is their mean then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from muscle.training.options.scoring import without_rest

NO_LABEL = -1
"""Stands for the right option of an item without a label."""


def mixture(old: Tensor, new: Tensor, share: float | Tensor) -> Tensor:
    """Return log(s p_1 + (1 - s) p_2).

    Args:
        old: (items, options), of the old teacher.
        new: (items, options), of the new one.
        share: s, in [0, 1]; one number, or (items, 1).

    Example:
        >>> even = torch.zeros(1, 2)
        >>> mixture(even, torch.tensor([[0.0, -torch.inf]]), 0.5).exp()
        tensor([[0.7500, 0.2500]])
    """
    weight = torch.as_tensor(share, dtype=old.dtype, device=old.device)
    return torch.logaddexp(weight.log() + old.log_softmax(-1), (-weight).log1p() + new.log_softmax(-1))


def mean_teacher(teachers: Sequence[Tensor]) -> Tensor:
    """Return the log of the mean of teachers' distributions, each (items, options) log-likelihoods."""
    return torch.stack([each.log_softmax(-1) for each in teachers]).logsumexp(0) - math.log(len(teachers))


def reliability_share(old: Tensor, new: Tensor, share: float, gold: Tensor, *, sharpness: float = 2.0) -> Tensor:
    """Return s' of `reliability`, the old model's share of each item by both teachers' trust in its right option.

    Args:
        old: (items, options), of the old teacher.
        new: (items, options), of the new one.
        share: s, the old model's before they are weighed, in [0, 1].
        gold: (items,), index of the right option; `NO_LABEL` goes by each teacher's own likeliest option.
        sharpness: a, at least 0; 0 is the plain mixture.

    Returns:
        (items,), in [0, 1].
    """
    trusts = [
        torch.where(gold == NO_LABEL, log_p.amax(-1), _at(log_p, gold))
        for log_p in (old.log_softmax(-1), new.log_softmax(-1))
    ]
    before = torch.logit(torch.as_tensor(share, dtype=old.dtype, device=old.device))
    return torch.sigmoid(before + sharpness * (trusts[0] - trusts[1]))


def stack(old: Tensor, new: Tensor, a: float, b: float, kappa: float, *, rest: Tensor | None = None) -> Tensor:
    """Return log softmax(a log p_1 + b log p_2 + log kappa [k = argmax p_1]).

    Args:
        old: (items, options), of the old teacher.
        new: (items, options), of the new one.
        a: the old teacher's weight.
        b: the new teacher's weight.
        kappa: above 0; 1 raises nothing.
        rest: (items,), the place of what is no answer of the old model's (`muscle.training.options.scoring`).
    """
    there = old > -torch.inf
    raised = nn.functional.one_hot(without_rest(old, rest).argmax(-1), old.shape[-1]) * torch.log(
        torch.tensor(kappa, dtype=old.dtype)
    )
    scores = a * old.log_softmax(-1) + b * new.log_softmax(-1) + raised.to(old.device)
    # 0 x inf where a weight is 0.
    return scores.masked_fill(~there, -torch.inf).log_softmax(-1)


def lifted(old: Tensor, new: Tensor, share: float, gold: Tensor) -> Tensor:
    """Return the log of max(p_1(y), p_2(y)) at y, and of the mixture of both teachers' wrong options elsewhere.

    With r_i = p_i without y, made to sum to 1, the wrong options have (1 - max(p_1(y), p_2(y))) (s r_1 + (1 - s) r_2).
    Items without a label get the mixture.

    Args:
        old: (items, options), at least two options each.
        new: (items, options).
        share: s, in [0, 1].
        gold: (items,), index of the right option, or `NO_LABEL`.
    """
    plain = mixture(old, new, share)
    right = nn.functional.one_hot(gold.clamp(min=0), old.shape[-1]).bool()
    old_wrong, new_wrong = (
        log_p.masked_fill(right, -torch.inf) for log_p in (old.log_softmax(-1), new.log_softmax(-1))
    )
    # 1 - p_i(y) as a sum over the wrong options: near 1 the difference would have lost its digits.
    left = torch.minimum(old_wrong.logsumexp(-1, keepdim=True), new_wrong.logsumexp(-1, keepdim=True))
    highest = torch.maximum(_at(old.log_softmax(-1), gold), _at(new.log_softmax(-1), gold))[:, None]
    target = torch.where(right, highest, left + mixture(old_wrong, new_wrong, share))
    return torch.where((gold == NO_LABEL)[:, None], plain, target)


def labels(gold: Tensor, options: int) -> Tensor:
    """Return log [k = y].

    Args:
        gold: (items,), index of the right option of each.
        options: columns of the result.

    Returns:
        (items, options), float32: 0 at y, -inf elsewhere.
    """
    return nn.functional.one_hot(gold, options).float().log()


def old_answers(old: Tensor, gold: Tensor, *, keep_labels: bool) -> Tensor:
    """Return log [k = argmax p_1]; with `keep_labels` log [k = y] where there is a label.

    Args:
        old: (items, options), of the old teacher; -inf too for what is no answer.
        gold: (items,), index of the right option, or `NO_LABEL`.
        keep_labels: the old model answers for items without a label alone.
    """
    answers = old.argmax(-1)
    return labels(torch.where(gold == NO_LABEL, answers, gold) if keep_labels else answers, old.shape[-1])


def _at(values: Tensor, gold: Tensor) -> Tensor:
    """Return each item's value at its right option; at the first option where it has no label."""
    return values.gather(-1, gold.clamp(min=0)[:, None])[:, 0]
