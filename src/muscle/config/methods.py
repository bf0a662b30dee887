"""The words that make up a method, the presets that put them together, and the numbers that single methods have.

Formulas and sources of the targets are in `muscle.training.options.targets`, those of the distances in
`muscle.training.options.distances`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from muscle.config.section import Positive, Section

MaskName = Literal["student_wrong", "old_right", "old_always", "token_likelihood", "sequence_likelihood"]
"""Mask strategies of Table 7 and Eq. 2, 3; `student_wrong` is the method (Eq. 1). Over whole answers an item stands in
a token's place, and both likelihoods are that of its right option."""

EngineName = Literal["projected", "mixed", "hidden", "topk", "online"]
"""What is there of the teachers while the compatibility adapter trains, see `docs/engine.md`."""

ProjectionName = Literal["chunks", "first", "pieces"]
"""How an old model's tokens become a new model's where their tokenizers differ, see `docs/tokenizers.md`."""

MethodName = Literal[
    "paper",
    "options",
    "answers",
    "every_option",
    "every_answer",
    "churn",
    "pct",
    "ldi",
    "elodi",
    "mpt",
    "relabel",
    "twins",
    "bcwi",
]
"""Presets of the choices that make up a method, see `docs/update.md`."""

UnitName = Literal["tokens", "options", "answers", "weights"]
"""What an adapter is trained on: the tokens of context and answer, the likelihoods of whole answer options, or those
of candidate answers to a task whose answers are generated; `weights` trains nothing, and adds adapters up."""

TextsName = Literal["reference", "every_option", "every_answer"]
"""Whose tokens are learnt: each item with its right answer, as in the paper; or each item once with each of its
options, or, where answers are generated, of its candidate answers, which needs no label."""

TargetName = Literal[
    "mask",
    "labels",
    "mixture",
    "reliability",
    "stack",
    "margin",
    "lifted",
    "focal",
    "inhibition",
    "old_answers",
    "twins",
    "interpolation",
]
"""What the student is drawn to: `mask` is Eq. 1, `interpolation` is of the unit `weights`; all but these two and
`mixture` are of whole answers alone."""

StartName = Literal["new", "old", "fresh"]
"""Which adapter the compatibility adapter starts from."""

SelectionName = Literal["own", "cross_entropy"]
"""Which validation value picks the epoch."""

KlName = Literal["forward", "reverse"]
"""KL(target || student), or KL(student || target)."""

DistanceName = Literal["kl", "logits"]
"""How far a student is from a teacher in focal distillation: T^2 KL at T, or half the mean square of logits apart."""

LABEL_TARGETS: tuple[TargetName, ...] = ("labels", "margin", "twins", "mask")
"""Targets of whole answers that are nothing without a label."""

MIXED_TARGETS: tuple[TargetName, ...] = ("mixture", "reliability", "stack", "lifted")
"""Targets that are one distribution, made of both teachers'."""

STUDENT_FREE_MASKS: tuple[MaskName, ...] = ("old_right", "old_always")
"""Masks that don't depend on the student: the only ones that a `mixed` store can hold."""

AtLeastZero = Annotated[float, Field(ge=0)]


class AnswerSettings(Section):
    """The candidate answers of an item, where the unit is `answers`; the reference is always one of them.

    Attributes:
        models: whose answers are taken: of each the greedy one, and samples.
        samples: answers that are drawn from each model for an item; what comes twice counts once.
        temperature: at which they are drawn.
        normalise: `none` scores an answer by its log-likelihood, whose exponential is its probability; `tokens` divides
            it by the answer's tokens. For long answers, none of which is likely: see `docs/update.md`.
        rest: with `normalise: none`, all other answers together are an option too, so that probabilities stay what
            they are and none can leave for an answer that is no candidate.
    """

    models: tuple[Literal["old", "new"], ...] = ("old", "new")
    samples: Annotated[int, Field(ge=0)] = 2
    temperature: Annotated[float, Field(gt=0)] = 1.0
    normalise: Literal["none", "tokens"] = "none"
    rest: bool = True

    @field_validator("models", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _has_alternatives(self) -> AnswerSettings:
        if not self.models or len(set(self.models)) < len(self.models):
            raise ValueError(f"models: expected old, new or both, found {list(self.models)}")
        return self

    @property
    def counts_rest(self) -> bool:
        """Whether all other answers are an option: lengths taken out, likelihoods are no probabilities any more."""
        return self.rest and self.normalise == "none"

    def of_candidates(self) -> dict[str, object]:
        """Return what the candidates depend on, as part of a fingerprint; how they are scored is none of it."""
        return {"models": list(self.models), "samples": self.samples, "temperature": self.temperature}


class FocalSettings(Section):
    """Of the target `focal`: positive-congruent training (Yan et al. 2021, https://arxiv.org/abs/2011.09161).

    Attributes:
        alpha: weight of every item.
        beta: what is added to it where the teacher is right.
        distance: to a teacher.
        sources: `old`, or `both`: the new teacher too, each weighed by where it is right itself (double-source focal
            distillation, Ricci et al. 2025, https://arxiv.org/abs/2511.08322).
    """

    alpha: AtLeastZero = 1.0
    beta: AtLeastZero = 5.0
    distance: DistanceName = "kl"
    sources: Literal["old", "both"] = "old"


class InhibitionSettings(Section):
    """Of the target `inhibition`: logit difference inhibition (Zhao et al. 2022, https://arxiv.org/abs/2205.06265).

    Attributes:
        xi: differences of logits up to this are left alone.
        p: power of what is beyond.
        top: count only so many options, those that the student finds likeliest; all of them without it.
        right_option: whether the right option's logit is held too.
    """

    xi: AtLeastZero = 0.5
    p: Annotated[float, Field(ge=1)] = 2.0
    top: Positive | None = None
    right_option: bool = True


class TwinSettings(Section):
    """Of the target `twins`: twin-bootstrap co-training (Prastalo & Jablonka 2026, https://arxiv.org/abs/2605.13826).

    Attributes:
        agreement: lambda, the weight of the twins' symmetric KL; 0 makes them two bagged adapters. The paper's rule
            gives 300 for networks trained from nothing, and 10 on a pre-trained one.
    """

    agreement: AtLeastZero = 10.0


_AT_OPTION_LEVEL = {"unit": "options", "temperature": 1.0}

_PRESETS: Mapping[str, Mapping[str, object]] = {
    "options": {**_AT_OPTION_LEVEL, "target": "mixture"},
    "answers": {"unit": "answers", "target": "mixture", "temperature": 1.0},
    "every_option": {"unit": "tokens", "texts": "every_option", "mask": "old_always", "temperature": 1.0},
    "every_answer": {"unit": "tokens", "texts": "every_answer", "target": "mixture", "temperature": 1.0},
    # lambda y + (1 - lambda) p_old (Jiang et al. 2021, https://arxiv.org/abs/2106.02654).
    "churn": {**_AT_OPTION_LEVEL, "target": "mixture", "old_share": 1.0, "ce_weight": 0.5},
    # The example of the official code: --kd_temperature 100 --kd_alpha 0.9 --filter-base 1 --filter-scale 5.
    "pct": {"unit": "options", "target": "focal", "temperature": 100.0, "ce_weight": 0.1},
    # The same code's examples for one reference, and for an ensemble of new models.
    "ldi": {**_AT_OPTION_LEVEL, "target": "inhibition", "old_share": 1.0, "ce_weight": 0.5},
    "elodi": {
        **_AT_OPTION_LEVEL,
        "target": "inhibition",
        "old_share": 0.0,
        "ce_weight": 0.2,
        "inhibition": {"xi": 0.0, "right_option": False},
    },
    # In the proportion of the official code, CE + KL_old + KL_new at T = 5 without T^2: (1 - w) / 2 : w = 1/25 : 1.
    "mpt": {
        "unit": "options",
        "target": "focal",
        "temperature": 5.0,
        "ce_weight": 25 / 27,
        "focal": {"sources": "both"},
    },
    "relabel": {**_AT_OPTION_LEVEL, "target": "old_answers"},
    "twins": {**_AT_OPTION_LEVEL, "target": "twins"},
    "bcwi": {"unit": "weights", "target": "interpolation"},
}


_UNITS: Mapping[str, tuple[UnitName, ...]] = {
    "paper": ("tokens",),
    "every_option": ("tokens",),
    "every_answer": ("tokens",),
    "bcwi": ("weights",),
}
"""Units of a method, where it is not one of whole answers."""
_WHOLE: tuple[UnitName, ...] = ("options", "answers")


def filled(values: Mapping[str, object]) -> dict[str, object]:
    """Return the keys of `alignment` with those that its preset fills in where they are left out.

    Raises:
        ValueError: a unit that is not the method's: it would be another method under this one's name.
    """
    method, unit = values.get("method"), values.get("unit")
    if isinstance(method, str) and method in get_args(MethodName) and unit is not None:
        fitting = _UNITS.get(method, _WHOLE)
        if unit not in fitting:
            raise ValueError(f"unit: expected {' or '.join(fitting)} with method {method}, found {unit}; leave one out")
    found = dict(_PRESETS.get(method, {})) if isinstance(method, str) else {}
    if method in ("options", "answers"):
        found["labels_first"] = values.get("target") != "labels"
    for key, value in values.items():
        preset = found.get(key)
        # A preset's own numbers stay where a user names another one of theirs.
        both = isinstance(preset, Mapping) and isinstance(value, Mapping)
        found[key] = {**preset, **value} if both else value  # type: ignore[dict-item]
    return found
