"""The section `alignment` of an `update.yaml`: the choices that make up a method, and what fits together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from muscle.config.section import Fraction, Positive, Section

MaskName = Literal["student_wrong", "old_right", "old_always", "token_likelihood", "sequence_likelihood"]
"""Mask strategies of Table 7 and Eq. 2, 3; `student_wrong` is the method (Eq. 1)."""

EngineName = Literal["projected", "mixed", "hidden", "topk", "online"]
"""What is there of the teachers while the compatibility adapter trains, see `docs/engine.md`."""

MethodName = Literal["paper", "options", "answers"]
"""Presets of the choices that make up a method, see `docs/update.md`."""

UnitName = Literal["tokens", "options", "answers"]
"""What an adapter is trained on: the tokens of context and answer, the likelihoods of whole answer options, or those
of candidate answers to a task whose answers are generated."""

TargetName = Literal["mask", "labels", "mixture", "reliability", "stack", "margin", "lifted"]
"""What the student is drawn to: `mask` is Eq. 1; the others are of the units `options` and `answers`."""

StartName = Literal["new", "old", "fresh"]
"""Which adapter the compatibility adapter starts from."""

SelectionName = Literal["own", "cross_entropy"]
"""Which validation value picks the epoch."""

KlName = Literal["forward", "reverse"]
"""KL(target || student), or KL(student || target)."""

LABEL_TARGETS: tuple[TargetName, ...] = ("labels", "margin")
"""Targets of whole answers that are nothing without a label."""

SHARED_TARGETS: tuple[TargetName, ...] = ("mixture", "reliability", "lifted")
"""Targets of which the old model has a share."""

STUDENT_FREE_MASKS: tuple[MaskName, ...] = ("old_right", "old_always")
"""Masks that don't depend on the student: the only ones that a `mixed` store can hold."""


class GrownLora(Section):
    """The compatibility adapter's rank, where it is another than that of the adapter it starts from.

    Attributes:
        r: at least the rank of that adapter; scale (alpha / r) and layers are its own.
    """

    r: Positive


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


class AlignmentSettings(Section):
    """How the compatibility adapter is trained: the choices that make up a method, and what they need.

    Attributes:
        method: fills the choices that are left out. `paper`: Eq. 1 on tokens. `options`: first the new adapter is
            trained on at option level, then distilled to the mixture of the old model and that one. `answers`: the
            same over candidate answers.
        unit: what the loss counts.
        target: what the student is drawn to.
        temperature: T of Eq. 1, and of the distillation at option level.
        mask: of the target `mask`: which tokens lean on the old model.
        ce_weight: 1 - lambda of Eq. 5; 0 leaves the distillation alone. At option level the cross-entropy is that of
            the right option, on labelled items.
        old_share: the old model's share of the targets `mixture` and `lifted`; of `reliability` before the teachers
            are weighed.
        kappa: of the target `stack`: the odds by which the old model's answer is raised.
        kl: direction of the distillation at option level.
        answers: the candidates of the unit `answers`, and how they are scored.
        labels_first: first train the starting adapter on the labels alone, at option level; the outcome is both the
            start and the new teacher.
        unlabelled: a file of inputs in the task's own columns, without labels, or such a file for each task.
        unlabelled_epochs: epochs over labelled and unlabelled inputs together; those of `training` without it.
        start: the adapter that training starts from.
        lora: a larger rank than that adapter's.
        selection: which validation value picks the epoch: the training's own, or the cross-entropy.
        engine: what is there of the teachers while the adapter trains; all but `topk` end in the same
            adapter, to rounding.
        store_precision: of the teachers' vectors on disk; `auto` is float16 for 16-bit models and float32 for
            others, by measurement (`docs/engine.md`).
        topk: tokens that a `topk` store keeps of each distribution.
        training: keys of `training` that differ for the compatibility adapter.
    """

    method: MethodName = "paper"
    unit: UnitName = "tokens"
    target: TargetName = "mask"
    temperature: Annotated[float, Field(gt=0)] = 2.0
    mask: MaskName = "student_wrong"
    ce_weight: Fraction = 0.0
    old_share: Fraction = 0.5
    kappa: Annotated[float, Field(gt=0)] = 1.0
    kl: KlName = "forward"
    answers: AnswerSettings = AnswerSettings()
    labels_first: bool = False
    unlabelled: str | Mapping[str, str] | None = None
    unlabelled_epochs: Positive | None = None
    start: StartName = "new"
    lora: GrownLora | None = None
    selection: SelectionName = "own"
    engine: EngineName = "projected"
    store_precision: Literal["auto", "bf16", "fp16", "float32"] = "auto"
    topk: Positive = 64
    training: Mapping[str, object] = Field(default_factory=dict)

    _later = (
        *("engine", "store_precision", "topk"),
        *("unit", "target", "old_share", "kappa", "kl", "labels_first", "unlabelled_epochs"),
        *("start", "lora", "selection", "answers"),
    )

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, values: object) -> object:
        if not isinstance(values, Mapping) or values.get("method") not in ("options", "answers"):
            return values
        preset = {
            "unit": values["method"],
            "target": "mixture",
            "temperature": 1.0,
            "labels_first": values.get("target") != "labels",
        }
        return {**preset, **values}

    @model_validator(mode="after")
    def _fits(self) -> AlignmentSettings:
        if self.engine == "mixed" and self.mask not in STUDENT_FREE_MASKS:
            raise ValueError(
                f"engine mixed keeps one vector a token, but the mask {self.mask} follows the student; expected "
                f"the mask {' or '.join(STUDENT_FREE_MASKS)}, or the engine projected"
            )
        if (self.unit == "tokens") != (self.target == "mask"):
            expected = "mask" if self.unit == "tokens" else "labels, mixture, reliability, stack, margin or lifted"
            raise ValueError(f"target: expected {expected} with unit {self.unit}, found {self.target}")
        fields = type(self).model_fields
        for key, (fitting, expected) in self._owners().items():
            value = getattr(self, key)
            if not fitting and value != fields[key].default:
                raise ValueError(f"{key}: expected it only with {expected}, found {value}")
        return self

    def _owners(self) -> dict[str, tuple[bool, str]]:
        """Return of each key that not every method reads: whether this one does, and which do."""
        tokens, options = self.unit == "tokens", self.unit in ("options", "answers")
        drawn = options and self.target not in LABEL_TARGETS
        teachers = "a target with teachers: mixture, reliability, stack or lifted"
        shared = self.target in SHARED_TARGETS
        return {
            "mask": (tokens, "unit tokens"),
            "engine": (tokens, "unit tokens"),
            "store_precision": (tokens, "unit tokens"),
            "topk": (tokens, "unit tokens"),
            "ce_weight": (tokens or drawn, f"unit tokens or {teachers}"),
            "old_share": (shared, "target mixture, reliability or lifted"),
            "kappa": (self.target == "stack", "target stack"),
            "kl": (drawn, teachers),
            "labels_first": (
                options and self.target != "labels",
                "unit options or answers and another target than labels",
            ),
            "answers": (self.unit == "answers", "unit answers"),
            "unlabelled": (drawn, teachers),
            "unlabelled_epochs": (self.unlabelled is not None, "unlabelled"),
        }

    def identity(self) -> dict[str, object]:
        """Return the settings as part of a fingerprint.

        The name of the preset stands for nothing beside what it filled in, nor does a file's place beside its content.
        """
        left_out = ("method", "unlabelled")
        return {key: value for key, value in super().identity().items() if key not in left_out}

    @property
    def teachers(self) -> tuple[Literal["old", "new"], ...]:
        """The models that are asked before the student is trained."""
        if self.target == "labels":
            return ()
        return ("old",) if self.target == "margin" else ("old", "new")

    @property
    def answers_in_use(self) -> AnswerSettings | None:
        """The settings of candidate answers, where they are what is trained on."""
        return self.answers if self.unit == "answers" else None

    @property
    def num_candidates(self) -> int:
        """Candidate answers of an item at most; 0 for other units."""
        return 1 + len(self.answers.models) * (1 + self.answers.samples) if self.unit == "answers" else 0

    def unlabelled_of(self, task: str) -> str | None:
        """Return where a task's unlabelled inputs are."""
        return self.unlabelled.get(task) if isinstance(self.unlabelled, Mapping) else self.unlabelled
