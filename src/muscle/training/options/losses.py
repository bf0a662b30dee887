"""The losses over an item's options: KL to a target, cross-entropy of the right option, the hinge to the old margin.

Eq. 1's mask is here too, with an item in a token's place: it is the one target that follows the student.

The student's scores are its log-likelihoods of the options, (items, options); an option that an item does not have is
-inf. Its distribution is their softmax. All losses are per item, in nats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from muscle.config.methods import KlName, MaskName
from muscle.training.losses.masks import KnownAnswers, leans_on_old
from muscle.training.options.scoring import without_rest
from muscle.training.options.targets import NO_LABEL


@dataclass(frozen=True)
class Source:
    """A teacher that is not mixed into the target: the distance to it has a weight of its own for each item.

    Attributes:
        scores: (items, options), its calibrated log-likelihoods; -inf where there is no option.
        weight: (items,), of the distance to it.
    """

    scores: Tensor
    weight: Tensor


@dataclass(frozen=True)
class TargetRows:
    """What items are trained towards.

    Attributes:
        log_target: (items, options), the target's log-probabilities; -inf where there is no option.
        gold: (items,), index of the right option; `NO_LABEL` where it is not known.
        old_margin: (items,), the margin to keep, for the target `margin`; None for the others.
        sources: teachers that the distance of the loss is to, in place of the target, or the old and the new one that a
            mask chooses between; none for most targets.
        rest: (items,), the place of the rest (`muscle.training.options.scoring`), which is no answer; None where there
            is none.
    """

    log_target: Tensor
    gold: Tensor
    old_margin: Tensor | None = None
    sources: tuple[Source, ...] = ()
    rest: Tensor | None = None

    def __getitem__(self, items: Tensor) -> TargetRows:
        """Return some of the items."""
        return self._each(lambda part: part[items], lambda part: part[items])

    @property
    def digest(self) -> str:
        """64 hex digits that stand for the values."""
        parts = (self.log_target, self.gold, self.old_margin, self.rest)
        digest = hashlib.sha256()
        for part in (*parts, *(each for source in self.sources for each in (source.scores, source.weight))):
            digest.update(b"" if part is None else part.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device) -> TargetRows:
        """Return them on a device."""
        return self._each(lambda part: part.to(device), lambda part: part.to(device))

    def of_width(self, options: int) -> TargetRows:
        """Return them with as many columns as a batch's longest list of options."""
        return self._each(lambda part: part, lambda part: part[:, :options])

    def _each(self, per_item: Callable[[Tensor], Tensor], per_option: Callable[[Tensor], Tensor]) -> TargetRows:
        return TargetRows(
            per_option(self.log_target),
            per_item(self.gold),
            None if self.old_margin is None else per_item(self.old_margin),
            tuple(Source(per_option(source.scores), per_item(source.weight)) for source in self.sources),
            None if self.rest is None else per_item(self.rest),
        )


Distance = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The student's scores (items, options), a source's and the right options (items,) in; a loss for each item out."""


@dataclass(frozen=True)
class OptionTerms:
    """A batch's loss and its terms, each a sum over items.

    Attributes:
        loss: with gradient.
        kl: of the student's distribution and the target's, in the direction of the loss.
        cross_entropy: -log p(right option), over labelled items.
        hinge: to the old margin; 0 for other targets.
        agreement: items whose likeliest option is the target's.
        num_labelled: items with a label.
        num_items: all of them.
        num_masked: items that leaned on the old model, where a mask chose.
    """

    loss: Tensor
    kl: float
    cross_entropy: float
    hinge: float
    agreement: int
    num_labelled: int
    num_items: int
    num_masked: int = 0


def divergence(scores: Tensor, log_target: Tensor, *, temperature: float = 1.0, kl: KlName = "forward") -> Tensor:
    """Return KL(t || q), or reversed KL(q || t), with q = softmax(scores / T) and t = softmax(log target / T).

    KL(t || q) = sum_k t_k (log t_k - log q_k); T softens both alike (Hinton et al. 2015, without its factor T^2, as
    Eq. 1 of MUSCLE has none). Zero for equal distributions.

    Args:
        scores: (items, options), the student's.
        log_target: (items, options).
        temperature: T > 0.
        kl: `forward` or `reverse`. The reversed one is infinite where the target rules an option out.

    Returns:
        (items,).
    """
    log_q = (scores / temperature).log_softmax(-1)
    log_t = (log_target.detach().to(scores.dtype) / temperature).log_softmax(-1)
    first, second = (log_t, log_q) if kl == "forward" else (log_q, log_t)
    # 0 log 0 = 0, whatever stands on the other side; where not both are ruled out, -inf stays and makes the sum inf.
    counted = first > -torch.inf
    ratio = torch.where(counted, first, 0.0) - torch.where(counted, second, 0.0)
    return (first.exp() * ratio).sum(-1)


def right_option_loss(scores: Tensor, gold: Tensor) -> Tensor:
    """Return -log softmax(scores)[y]; 0 where there is no label: (items,)."""
    found = nn.functional.cross_entropy(scores, gold.clamp(min=0), reduction="none")
    return torch.where(gold == NO_LABEL, 0.0, found)


def margin(scores: Tensor, gold: Tensor) -> Tensor:
    """Return score(right) - max score(wrong): (items,); every item has a label and two options at least."""
    right = nn.functional.one_hot(gold, scores.shape[-1]).bool()
    best_wrong = scores.masked_fill(right, -torch.inf).amax(-1)
    return scores.gather(-1, gold[:, None])[:, 0] - best_wrong


def margin_hinge(scores: Tensor, gold: Tensor, old_margin: Tensor) -> Tensor:
    """Return max(0, m_old - m_student), m = score(right) - max score(wrong): (items,).

    The student is to be as sure of a right answer as the old model was. m_old = -inf asks nothing.
    """
    return (old_margin.to(scores.dtype) - margin(scores, gold)).clamp(min=0.0)


def item_mask(mask: MaskName, scores: Tensor, target: TargetRows) -> Tensor:
    """Tell which items lean on the old model: the mask of MUSCLE (2024), Eq. 1, with an item in a token's place.

    With s the student's scores of an item's options, by which the task takes one, y the right option and p_1, p_2 the
    teachers' distributions over the options,

        L_i = m_i KL(p_1,i || q_i) + (1 - m_i) KL(p_2,i || q_i),   q_i = softmax(s_i),   m_i = [argmax_k s_i,k != y_i]

    (`student_wrong`): an item that the student answers rightly holds on to the new model, one that it does not leans on
    the old one. `old_right`, `old_always` and the likelihoods read the same (`leans_on_old`), where an item's
    likelihood is q_i(y_i) at T = 1; so Eq. 2 and Eq. 3 are one. The rest of candidate answers is in the distributions,
    but it is no answer: the likeliest candidate is right or not.

    Args:
        mask: which items.
        scores: (items, options), the student's; no gradient goes through the mask.
        target: of the same items, all labelled; its first source is the old teacher.

    Returns:
        Boolean, (items,).
    """
    student, old = (
        KnownAnswers(
            without_rest(each, target.rest).argmax(-1) == target.gold,
            each.log_softmax(-1).gather(-1, target.gold[:, None])[:, 0],
        )
        for each in (scores.detach(), target.sources[0].scores.to(scores))
    )
    return leans_on_old(mask, student, old, target.gold, sum_sequences=lambda value: value)


def option_terms(
    scores: Tensor,
    target: TargetRows,
    *,
    temperature: float = 1.0,
    ce_weight: float = 0.0,
    kl: KlName = "forward",
    distance: Distance | None = None,
    mask: MaskName | None = None,
) -> OptionTerms:
    """Return a batch's loss: (1 - w) KL to the target + w cross-entropy; with an old margin, the hinge to it on top.

    With a `distance` and sources s with weights v_s the first term is (1 - w) sum_s v_s distance_s. With a `mask` the
    target of each item is one of both sources (`item_mask`). A target of labels alone makes the KL a cross-entropy,
    since its own entropy is 0; it is taken at T = 1.

    Args:
        scores: (items, options), the student's.
        target: of the same items.
        temperature: T.
        ce_weight: w, in [0, 1], of labelled items; an item without a label has the KL alone, with its weight 1 - w.
        kl: the direction.
        distance: to each of the target's sources, in place of the KL to the target, which then is for the log alone.
        mask: chooses between both sources, the old and the new teacher, in place of the target.
    """
    num_masked = 0
    if mask is not None:
        leans = item_mask(mask, scores, target)
        old, new = (source.scores for source in target.sources)
        target, num_masked = replace(target, log_target=torch.where(leans[:, None], old, new)), int(leans.sum())
    apart = divergence(scores, target.log_target, temperature=temperature, kl=kl)
    cross_entropy = right_option_loss(scores, target.gold)
    drawn = apart
    if distance is not None:
        found = [source.weight.to(scores) * distance(scores, source.scores, target.gold) for source in target.sources]
        drawn = torch.stack(found).sum(0)
    loss = (1.0 - ce_weight) * drawn.sum()
    if ce_weight:
        loss = loss + ce_weight * cross_entropy.sum()
    hinge = 0.0
    if target.old_margin is not None:
        missing = margin_hinge(scores, target.gold, target.old_margin).sum()
        loss, hinge = loss + missing, float(missing.detach())
    return OptionTerms(
        loss=loss,
        kl=float(apart.detach().sum()),
        cross_entropy=float(cross_entropy.detach().sum()),
        hinge=hinge,
        agreement=int((scores.argmax(-1) == target.log_target.argmax(-1)).sum()),
        num_labelled=int((target.gold != NO_LABEL).sum()),
        num_items=len(scores),
        num_masked=num_masked,
    )
