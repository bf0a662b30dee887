"""What a student is taught: the labels, or what teachers think of all items, made into a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from muscle.config.alignment import AlignmentSettings
from muscle.errors import DataError
from muscle.training.options import distances, targets
from muscle.training.options.data import OptionData
from muscle.training.options.losses import Distance, Source, TargetRows, item_mask, margin
from muscle.training.options.teachers import fit_stack, teaching_temperature, typical_margin


@dataclass(frozen=True)
class Lesson:
    """What a student is taught.

    Attributes:
        target: of all items.
        facts: what was fitted to make it, for `training.json`.
    """

    target: TargetRows
    facts: dict[str, object] = field(default_factory=dict)


def label_lesson(data: OptionData) -> Lesson:
    """Return the labels as a target.

    Raises:
        DataError: an item has none.
    """
    if bool((data.gold == targets.NO_LABEL).any()):
        number = int((data.gold == targets.NO_LABEL).nonzero()[0])
        raise DataError(f"example {data.all[number].id}: expected its right option: labels are the target")
    return Lesson(TargetRows(targets.labels(data.gold, data.width), data.gold))


@dataclass(frozen=True)
class _Taught:
    """What teachers think, each divided by its temperature, and what that is held against.

    Attributes:
        data: the items.
        old: (items, options), the old teacher's scores.
        new: the same of the new one and its further teachers; empty where the old one teaches alone.
    """

    data: OptionData
    old: Tensor
    new: tuple[Tensor, ...]

    @property
    def gold(self) -> Tensor:
        """Index of each item's right option, or `NO_LABEL`."""
        return self.data.gold

    @property
    def held(self) -> slice:
        """The validation items."""
        return slice(self.data.num_trained, None)

    @property
    def mean_new(self) -> Tensor:
        """The new teachers' mean distribution; as log-likelihoods."""
        return self.new[0] if len(self.new) == 1 else targets.mean_teacher(self.new)


def taught_lesson(data: OptionData, old: Tensor, new: Sequence[Tensor], alignment: AlignmentSettings) -> Lesson:
    """Return what teachers make of all items, each at the temperature that fits the validation items best.

    Over candidate answers with the rest each is taken as it is.

    Args:
        data: the items.
        old: (items, options), the old teacher's scores.
        new: the same of the new one and of further teachers; empty where the old one teaches alone.
        alignment: target, shares and numbers.

    Raises:
        DataError: an item lacks the label that the target asks for.
    """
    held, gold = slice(data.num_trained, None), data.gold
    # With the rest they are the models' own probabilities. No temperature is fitted to them: among labelled items the
    # right answer is always a candidate, so that whatever takes probability from the rest would seem better.
    temperatures = [1.0 if data.counts_rest else teaching_temperature(side[held], gold[held]) for side in (old, *new)]
    scaled = [side / temperature for side, temperature in zip((old, *new), temperatures, strict=True)]
    named: dict[str, object] = dict(zip(("old", "new"), temperatures, strict=False))
    if len(new) > 1:
        named["teachers"] = temperatures[2:]
    facts: dict[str, object] = {"temperatures": named}
    if data.rest is not None:
        places = data.rest[:, None]
        sides = dict(zip(("old", "new"), (old, *new), strict=False))
        facts["mean_candidates_probability"] = {
            name: float(1 - side.gather(-1, places).exp().mean()) for name, side in sides.items()
        }
    taught = _Taught(data, scaled[0], tuple(scaled[1:]))
    found = _lesson_of(taught, alignment)
    answered = {"old": taught.old, **({"new": taught.mean_new} if new else {}), "target": found.target.log_target}
    right = {
        name: float((data.without_rest(side)[held].argmax(-1) == gold[held]).double().mean())
        for name, side in answered.items()
    }
    return Lesson(found.target, {**facts, **found.facts, "validation_accuracy": right})


def distance_of(alignment: AlignmentSettings) -> Distance | None:
    """Return the distance to the target's sources; None for targets that are one distribution."""
    match alignment.target:
        case "focal" if alignment.focal.distance == "kl":
            return partial(_softened, alignment.temperature)
        case "focal":
            return lambda scores, teacher, gold: distances.logits(scores, teacher)
        case "inhibition":
            numbers = alignment.inhibition
            return partial(
                distances.inhibition, xi=numbers.xi, p=numbers.p, top=numbers.top, right_option=numbers.right_option
            )
        case _:
            return None


def focal_weight(teacher: Tensor, gold: Tensor, *, alpha: float, beta: float) -> Tensor:
    """Return alpha + beta [argmax p = y], alpha without a label: (items,) (Yan et al. 2021)."""
    right = (teacher.argmax(-1) == gold) & (gold != targets.NO_LABEL)
    return alpha + beta * right.to(teacher.dtype)


def _lesson_of(taught: _Taught, alignment: AlignmentSettings) -> Lesson:
    """Make what the teachers think into the method's target, with what was fitted for it."""
    old, gold, share = taught.old, taught.gold, alignment.old_share
    match alignment.target:
        case "margin":
            return Lesson(_kept_margins(taught, alignment))
        case "mask":
            return _masked(taught, alignment)
        case "focal":
            return _focal(taught, alignment)
        case "inhibition":
            return Lesson(_reference_rows(taught, share))
        case "mixture":
            return Lesson(TargetRows(targets.mixture(old, taught.mean_new, share), gold))
        case "reliability":
            return _reliable(taught, alignment)
        case "lifted":
            return Lesson(TargetRows(targets.lifted(old, taught.mean_new, share, gold), gold))
        case "stack":
            return _stacked(taught, alignment.kappa)
        case "old_answers":
            return Lesson(TargetRows(_answered(taught, keep_labels=alignment.keep_labels), gold))
        case _:
            raise ValueError(f"target: expected one of teachers, found {alignment.target}")


def _reliable(taught: _Taught, alignment: AlignmentSettings) -> Lesson:
    shares = targets.reliability_share(
        taught.old, taught.mean_new, alignment.old_share, taught.gold, sharpness=alignment.sharpness
    )
    mixed = targets.mixture(taught.old, taught.mean_new, shares[:, None])
    return Lesson(TargetRows(mixed, taught.gold), {"mean_old_share": float(shares.mean())})


def _stacked(taught: _Taught, kappa: float) -> Lesson:
    """Stack the teachers, with the weights that fit the validation items best.

    Both are raised alike where the stack would have a typical margin below 1, as in `teaching_temperature`; not over
    candidate answers with the rest, whose probabilities are the models' own.
    """
    old, new = (taught.data.without_rest(side)[taught.held] for side in (taught.old, taught.mean_new))
    a, b = fit_stack(old, new, taught.gold[taught.held])
    if not a and not b:  # the fit found nothing in either
        a = b = 1.0
    told = typical_margin(targets.stack(old, new, a, b, 1.0))
    if not taught.data.counts_rest and 0 < told < 1:
        a, b = a / told, b / told
    found = targets.stack(taught.old, taught.mean_new, a, b, kappa, rest=taught.data.rest)
    return Lesson(TargetRows(found, taught.gold), {"stack": {"a": a, "b": b}})


def _kept_margins(taught: _Taught, alignment: AlignmentSettings) -> TargetRows:
    """Return the labels as a target, with the margin to keep beside them."""
    rows = label_lesson(taught.data).target
    kept = margin(taught.old, taught.gold)
    if alignment.margin_of == "higher":
        kept = torch.maximum(kept, margin(taught.mean_new, taught.gold))
    return TargetRows(rows.log_target, taught.gold, kept)


def _masked(taught: _Taught, alignment: AlignmentSettings) -> Lesson:
    """Return the two teachers that the mask chooses between; the target is what a student like the new one would have.

    Raises:
        DataError: an item has no label.
    """
    gold = label_lesson(taught.data).target.gold
    new = taught.mean_new
    sides = tuple(Source(side, torch.ones(len(gold), dtype=side.dtype)) for side in (taught.old, new))
    rows = TargetRows(new.log_softmax(-1), gold, sources=sides, rest=taught.data.rest)
    leans = item_mask(alignment.mask, new, rows)
    rows = replace(rows, log_target=torch.where(leans[:, None], taught.old.log_softmax(-1), rows.log_target))
    return Lesson(rows, {"masked_as_new": float(leans.double().mean())})


def _focal(taught: _Taught, alignment: AlignmentSettings) -> Lesson:
    """Return the sources of focal distillation: the old model, or both with their shares."""
    numbers, gold, share, answers = alignment.focal, taught.gold, alignment.old_share, taught.data.without_rest
    sides = [(taught.old, 1.0)]
    if numbers.sources == "both":
        sides = [(taught.old, share), (taught.mean_new, 1.0 - share)]
    sources = tuple(
        Source(side, part * focal_weight(answers(side), gold, alpha=numbers.alpha, beta=numbers.beta))
        for side, part in sides
    )
    old_right = (answers(taught.old).argmax(-1) == gold)[gold != targets.NO_LABEL]
    mixed = taught.old.log_softmax(-1)
    if numbers.sources == "both":
        mixed = targets.mixture(taught.old, taught.mean_new, share)
    return Lesson(TargetRows(mixed, gold, sources=sources), {"old_right": float(old_right.double().mean())})


def _reference_rows(taught: _Taught, share: float) -> TargetRows:
    """Return the reference of the inhibition: s z_old + (1 - s) times the mean logits of the new teachers."""
    logits = share * distances.centred(taught.old)
    for side in taught.new:
        logits = logits + (1.0 - share) / len(taught.new) * distances.centred(side)
    # 0 x -inf where a share is 0.
    logits = logits.masked_fill(taught.old == -torch.inf, -torch.inf)
    weight = torch.ones(len(logits), dtype=logits.dtype)
    return TargetRows(logits.log_softmax(-1), taught.gold, sources=(Source(logits, weight),))


def _answered(taught: _Taught, *, keep_labels: bool) -> Tensor:
    data = taught.data
    if keep_labels and not data.unlabelled:
        raise DataError(
            "alignment.keep_labels: expected inputs without labels, which the old model answers; found none "
            "(alignment.unlabelled)"
        )
    return targets.old_answers(data.without_rest(taught.old), taught.gold, keep_labels=keep_labels)


def _softened(temperature: float, scores: Tensor, teacher: Tensor, gold: Tensor) -> Tensor:
    del gold
    return distances.softened(scores, teacher, temperature=temperature)
