"""How far a student is from a teacher over an item's options, where the loss is another than the KL to one target.

Pure functions on scores, (items, options): the student's and the teacher's log-likelihoods, -inf where an item has no
such option. They are logits up to a constant an item, which changes no distribution; where logits themselves are
compared both are made to have mean 0 over an item's options. All are per item, (items,), and 0 for equal scores:

    softened     T^2 KL(t || q) at T: focal distillation's KL form (Yan et al. 2021, https://arxiv.org/abs/2011.09161)
    logits       (1/2) mean_k (z_k - t_k)^2: its form on logits, which the softened KL becomes as T grows
                 (Hinton et al. 2015, https://arxiv.org/abs/1503.02531, Sec. 2.1)
    inhibition   mean_k max(|z_k - t_k| - xi, 0)^p: logit difference inhibition (Zhao et al. 2022,
                 https://arxiv.org/abs/2205.06265)
    symmetric    (KL(q || t) + KL(t || q)) / 2, of two students (Prastalo & Jablonka 2026,
                 https://arxiv.org/abs/2605.13826)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muscle.training.options.losses import divergence
from muscle.training.options.targets import NO_LABEL


def softened(scores: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(teacher / T) || softmax(scores / T)) of each item, in nats."""
    return temperature**2 * divergence(scores, teacher, temperature=temperature)


def logits(scores: Tensor, teacher: Tensor) -> Tensor:
    """Return half the mean square of the logits' differences over each item's options."""
    apart, count = _apart(scores, teacher)
    return apart.square().sum(-1) / (2 * count)


def inhibition(
    scores: Tensor,
    teacher: Tensor,
    gold: Tensor,
    *,
    xi: float,
    p: float,
    top: int | None = None,
    right_option: bool = True,
) -> Tensor:
    """Return mean_k max(|z_k - t_k| - xi, 0)^p of each item.

    Args:
        scores: the student's.
        teacher: the reference's; the mean logits of several for an ensemble.
        gold: (items,), index of the right option, or `NO_LABEL`.
        xi: what may differ.
        p: at least 1.
        top: the mean is over the student's likeliest so many options; over all without it.
        right_option: whether the right one is held too; where not, it counts as 0 in the mean, as in the official code.
    """
    apart, count = _apart(scores, teacher)
    beyond = (apart.abs() - xi).clamp(min=0.0) ** p
    if not right_option:
        right = nn.functional.one_hot(gold.clamp(min=0), scores.shape[-1]).bool() & (gold != NO_LABEL)[:, None]
        beyond = beyond.masked_fill(right, 0.0)
    if top is None:
        return beyond.sum(-1) / count
    likeliest = scores.detach().topk(min(top, scores.shape[-1]), dim=-1).indices
    return beyond.gather(-1, likeliest).sum(-1) / count.clamp(max=top)


def symmetric(first: Tensor, second: Tensor) -> Tensor:
    """Return (KL(p || q) + KL(q || p)) / 2, with a gradient for both."""
    log_p, log_q = first.log_softmax(-1), second.log_softmax(-1)
    there = log_p > -torch.inf
    ratio = log_p.masked_fill(~there, 0.0) - log_q.masked_fill(~there, 0.0)
    return ((log_p.exp() - log_q.exp()) * ratio).sum(-1) / 2


def centred(scores: Tensor) -> Tensor:
    """Return scores less their mean over an item's options; -inf stays."""
    there = scores > -torch.inf
    mean = scores.masked_fill(~there, 0.0).sum(-1, keepdim=True) / there.sum(-1, keepdim=True)
    return torch.where(there, scores.masked_fill(~there, 0.0) - mean, -torch.inf)


def _apart(scores: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences of logits, 0 where there is no option, and the number of an item's options."""
    there = scores > -torch.inf
    ours, theirs = (centred(each).masked_fill(~there, 0.0) for each in (scores, teacher.detach().to(scores.dtype)))
    return ours - theirs, there.sum(-1)
