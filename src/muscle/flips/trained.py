"""How an update's adapters were trained, as its report tells it: method, data, outcome and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Series = Literal[
    "loss",
    "validation_loss",
    "masked_share",
    "validation_masked_share",
    "agreement",
    "validation_kl",
    "validation_kl_old",
    "validation_kl_new",
    "validation_cross_entropy",
]
"""What a curve is of.

loss, masked_share: of the training batches. validation_loss: what the epoch was picked by. masked_share: share of the
tokens, or items of whole answers, that lean on the old model (Fig. 3 of the paper). agreement: share of the validation
items on which student and target find the same option likeliest. kl: to the target, to the old and to the new model;
nats.
"""

Stage = Literal["finetune", "labels", "align"]
"""Next-token cross-entropy, cross-entropy of the right option or answer, or a method with teachers."""


@dataclass(frozen=True)
class Curve:
    """Values over a training.

    Attributes:
        name: what of.
        epochs: when, in epochs from the start, 0 is before training; a long training's steps are means over stretches.
        values: the values.
    """

    name: Series
    epochs: Sequence[float]
    values: Sequence[float]

    def at(self, epoch: int) -> float:
        """Return the value after an epoch; the last one where none was taken then."""
        return dict(zip(self.epochs, self.values, strict=True)).get(float(epoch), self.values[-1])


@dataclass(frozen=True)
class Method:
    """How an adapter was drawn to what it should answer; what a method does not have is None.

    Attributes:
        unit: "tokens", "options", or "answers".
        target: "labels", "mask" (Eq. 1), "mixture" and the like.
        texts: of the unit "tokens", whose: "reference", or "every_option" or "every_answer" of an item.
        temperature: T of the distillation.
        mask: which tokens, or items, lean on the old model.
        ce_weight: 1 - lambda of Eq. 5.
        old_share: the old model's share of the target.
        kappa: odds by which a stack raises the old model's answer.
        kl: direction of the distillation.
        labels_first: whether a training on the labels alone came first; its outcome was the start and the new teacher.
        labels_improved: False where that gained nothing on the validation items, and the adapter before it was both.
        start: the adapter that it started from: "new", "old" or "fresh".
        selection: the validation value that picked the epoch.
        engine: what was there of the teachers.
        calibration: the temperature that each teacher was divided by, fitted on the validation items.
        projection: how the old model's tokens became the new one's, where the tokenizers differ.
        aligned: then, the share of the tokens at which the old model taught; the new one did at the others.
        placed: then, the share of what the old model expected that stands for tokens of the new one, in the mean.
        too_little: then, the share of the tokens at which that was less than half, so that the new model taught.
    """

    unit: str
    target: str
    texts: str | None = None
    temperature: float | None = None
    mask: str | None = None
    ce_weight: float | None = None
    old_share: float | None = None
    kappa: float | None = None
    kl: str | None = None
    labels_first: bool = False
    labels_improved: bool = True
    start: str | None = None
    selection: str | None = None
    engine: str | None = None
    calibration: Mapping[str, float] | None = None
    projection: str | None = None
    aligned: float | None = None
    placed: float | None = None
    too_little: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a training went.

    Attributes:
        num_labelled: examples that it learnt from.
        num_unlabelled: further ones without labels.
        num_validation: examples that picked the epoch.
        max_epochs: at most.
        num_epochs: that ran.
        best_epoch: whose weights were kept.
        num_steps: of the optimizer.
        converged: False where the validation loss was still falling at the last epoch.
        improved: False where no epoch's validation loss was below the one before training.
        learning_rate: the peak.
        seed: of the data's order and the adapter's start.
    """

    num_labelled: int | None
    num_unlabelled: int
    num_validation: int | None
    max_epochs: int
    num_epochs: int
    best_epoch: int
    num_steps: int
    converged: bool
    learning_rate: float
    seed: int
    improved: bool = True


@dataclass(frozen=True)
class TrainedAdapter:
    """One adapter of an update on one task.

    Attributes:
        run: whose predictions are its: old, new, compat, control, floor, or a method beside.
        stage: by what it was trained; None of a given adapter, of which only its configuration is known.
        kind: PEFT's word for its kind, such as LORA.
        rank: r; None where the configuration has none.
        alpha: scale times rank.
        method: how; None of a given adapter.
        outcome: how it went; None of a given adapter.
        curves: over the training; empty for a given adapter.
    """

    run: str
    stage: Stage | None
    kind: str
    rank: int | None
    alpha: float | None
    method: Method | None = None
    outcome: Outcome | None = None
    curves: Sequence[Curve] = field(default_factory=list)

    def curve(self, name: Series) -> Curve | None:
        """Return a curve; None where there is none."""
        return next((curve for curve in self.curves if curve.name == name), None)
