"""The section `alignment` of an `update.yaml`: the choices that make up a method, and what fits together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from muscle.config.methods import (
    LABEL_TARGETS,
    MIXED_TARGETS,
    STUDENT_FREE_MASKS,
    AnswerSettings,
    AtLeastZero,
    EngineName,
    FocalSettings,
    InhibitionSettings,
    KlName,
    MaskName,
    MethodName,
    ProjectionName,
    SelectionName,
    StartName,
    TargetName,
    TextsName,
    TwinSettings,
    UnitName,
    filled,
)
from muscle.config.section import Fraction, Positive, Section

_OF_WHOLE_ANSWERS: tuple[TargetName, ...] = (*LABEL_TARGETS, *MIXED_TARGETS, "focal", "inhibition", "old_answers")
_FITTING: Mapping[UnitName, tuple[TargetName, ...]] = {
    "tokens": ("mask", "mixture"),
    "options": _OF_WHOLE_ANSWERS,
    "answers": _OF_WHOLE_ANSWERS,
    "weights": ("interpolation",),
}
_TELLING = (
    *("method", "unit", "texts", "target", "temperature", "mask", "ce_weight"),
    *("engine", "store_precision", "topk", "projection"),
)
"""Keys of which one says that the paper's method is meant, or that another one is."""
_TAUGHT = "a target with teachers: mixture, reliability, stack, lifted, focal, inhibition or old_answers"
_ONE_DISTRIBUTION: tuple[TargetName, ...] = ("mask", *MIXED_TARGETS)
"""Targets that are one distribution an item, to which the KL has a direction."""


class GrownLora(Section):
    """The compatibility adapter's rank, where it is another than that of the adapter it starts from.

    Attributes:
        r: at least the rank of that adapter; scale (alpha / r) and layers are its own.
    """

    r: Positive


class AlignmentSettings(Section):
    """How the compatibility adapter is trained: the choices that make up a method, and what they need.

    Attributes:
        method: fills the choices that are left out. `paper`: Eq. 1 on tokens. `options`: first the new adapter is
            trained on at option level, then distilled to the mixture of the old model and that one. `answers`: the
            same over candidate answers. `every_option`: the old model alone, on the tokens of an item with each of its
            options. `every_answer`: the mixture of both models, on the tokens of an item with each of its candidate
            answers. The others are published methods to hold these against, see `docs/update.md`.
        unit: what the loss counts.
        texts: with unit `tokens`, whose tokens are learnt. `every_option` reads items of a choice task with all of
            their options, `every_answer` those whose answers are generated with all of their candidate answers;
            unlabelled ones too, and no label.
        target: what the student is drawn to.
        temperature: T of Eq. 1, and of the distillation at option level.
        mask: of the target `mask`: which tokens, or items of whole answers, lean on the old model.
        ce_weight: 1 - lambda of Eq. 5; 0 leaves the distillation alone. At option level the cross-entropy is that of
            the right option, on labelled items.
        old_share: the old model's share of the targets `mixture` and `lifted`, of the logits of `inhibition`, of the
            losses of `focal` with both sources, and of the weights of `interpolation`; of `reliability` before the
            teachers are weighed.
        sharpness: of the target `reliability`: the power to which a teacher's trust in the right option counts.
        kappa: of the target `stack`: the odds by which the old model's answer is raised.
        focal: numbers of the target `focal`.
        inhibition: numbers of the target `inhibition`.
        twins: numbers of the target `twins`.
        keep_labels: of the target `old_answers`: where there is a label it stays, and the old model's answer stands for
            the others alone.
        margin_of: of the target `margin`: the old model's, or the higher one of both teachers'.
        teachers: folders of further adapters on the new base, or such a list for each task: the new teacher is the mean
            of these and of the new adapter.
        kl: direction of the distillation at option level.
        answers: the candidates of the unit `answers`, and how they are scored; and those of `texts: every_answer`.
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
        projection: with unit `tokens`, where the bases' tokenizers differ: how the old model's tokens become new ones.
        training: keys of `training` that differ for the compatibility adapter; nothing reads them where nothing is
            trained.
    """

    method: MethodName = "paper"
    unit: UnitName = "tokens"
    texts: TextsName = "reference"
    target: TargetName = "mask"
    temperature: Annotated[float, Field(gt=0)] = 2.0
    mask: MaskName = "student_wrong"
    ce_weight: Fraction = 0.0
    old_share: Fraction = 0.5
    sharpness: AtLeastZero = 2.0
    kappa: Annotated[float, Field(gt=0)] = 1.0
    focal: FocalSettings = FocalSettings()
    inhibition: InhibitionSettings = InhibitionSettings()
    twins: TwinSettings = TwinSettings()
    keep_labels: bool = False
    margin_of: Literal["old", "higher"] = "old"
    teachers: list[str] | Mapping[str, list[str]] | None = None
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
    projection: ProjectionName = "chunks"
    training: Mapping[str, object] = Field(default_factory=dict)

    _later = (
        *("engine", "store_precision", "topk", "projection"),
        *("unit", "target", "old_share", "kappa", "kl", "labels_first", "unlabelled_epochs"),
        *("start", "lora", "selection", "answers"),
        *("sharpness", "focal", "inhibition", "twins", "keep_labels", "margin_of", "texts"),
    )

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, values: object) -> object:
        return filled(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _fits(self) -> AlignmentSettings:
        if self.engine == "mixed" and self.leaning[0] not in STUDENT_FREE_MASKS:
            raise ValueError(
                f"engine mixed keeps one vector a token, but the mask {self.mask} follows the student; expected "
                f"the mask {' or '.join(STUDENT_FREE_MASKS)}, target mixture, or the engine projected"
            )
        if self.target not in _FITTING[self.unit]:
            raise ValueError(
                f"target: expected {_alternatives(_FITTING[self.unit])} with unit {self.unit}, found {self.target}"
            )
        for key, (fitting, expected) in self._owners().items():
            value = getattr(self, key)
            if not fitting and value not in self._saying_nothing(key):
                raise ValueError(f"{key}: expected it only with {expected}, found {value}{self._reader_of(key)}")
        taught_by = self.leaning[0]
        if self.every_text and (taught_by, self.ce_weight, self.selection) != ("old_always", 0.0, "own"):
            raise ValueError(
                f"texts: {self.texts} reads wrong answers too, and no label; expected target mixture or mask "
                f"old_always, ce_weight 0 and selection own, found {taught_by}, {self.ce_weight:g} and {self.selection}"
            )
        if self.target == "inhibition" and self.old_share == 0.0 and not self.teachers:
            raise ValueError(
                "teachers: expected adapters on the new base, whose mean logits hold the student where old_share is 0; "
                "found none"
            )
        return self

    def _owners(self) -> dict[str, tuple[bool, str]]:
        """Return of each key that not every method reads: whether this one does, and which do."""
        tokens, options, target = self.unit == "tokens", self.unit in ("options", "answers"), self.target
        taught = options and target not in LABEL_TARGETS
        shared = target in ("mixture", "reliability", "lifted", "inhibition", "interpolation") or (
            target == "focal" and self.focal.sources == "both"
        )
        trained = (tokens or options, "a unit that trains: tokens, options or answers")
        softened = target in _ONE_DISTRIBUTION or (target == "focal" and self.focal.distance == "kl")
        return {
            "temperature": (softened, f"target {', '.join(_ONE_DISTRIBUTION)}, or focal with distance kl"),
            "mask": (target == "mask", "target mask"),
            **dict.fromkeys(("engine", "projection", "texts"), (tokens, "unit tokens")),
            "store_precision": (
                tokens and self.engine != "online",
                "unit tokens and an engine with stores, not online",
            ),
            # Of another tokenizer's model that caps its logits, `projected` becomes `topk`.
            "topk": (tokens and self.engine in ("topk", "projected"), "unit tokens and engine topk, or projected"),
            **dict.fromkeys(("start", "selection"), trained),
            "lora": (trained[0] and target != "twins", "a unit that trains, and not with target twins"),
            "ce_weight": (tokens or target == "mask" or taught, f"target mask or {_TAUGHT}"),
            "old_share": (
                shared,
                "target mixture, reliability, lifted, inhibition, interpolation, or focal with sources both",
            ),
            **{
                key: (target == owner, f"target {owner}")
                for key, owner in (
                    *(("sharpness", "reliability"), ("kappa", "stack"), ("focal", "focal")),
                    *(("inhibition", "inhibition"), ("twins", "twins"), ("keep_labels", "old_answers")),
                    ("margin_of", "margin"),
                )
            },
            "teachers": (
                options and self.reads_new_teacher,
                "unit options or answers and a target that reads the new teacher",
            ),
            "kl": (
                options and target in _ONE_DISTRIBUTION,
                f"unit options or answers and target {_alternatives(_ONE_DISTRIBUTION)}",
            ),
            "labels_first": (
                options and target not in ("labels", "twins"),
                "unit options or answers and another target than labels or twins",
            ),
            "answers": (self.learns_candidates, "unit answers, or texts every_answer"),
            "unlabelled": (
                taught or self.every_text,
                f"{_TAUGHT}; or with unit tokens and texts every_option or every_answer",
            ),
            "unlabelled_epochs": (self.unlabelled is not None, "unlabelled"),
        }

    def _saying_nothing(self, key: str) -> list[object]:
        """Return the values of a key that ask for nothing: the default, and what the method's preset fills in."""
        default = type(self).model_fields[key].get_default(call_default_factory=True)
        return [default, filled({"method": self.method}).get(key), *([1.0] if key == "temperature" else [])]

    def _reader_of(self, key: str) -> str:
        """Name the method that reads a key, where none was written."""
        if self.names_a_method or not type(self)(method="options").reads(key):
            return ""
        return " and no method; method: options reads it (answers, where they are generated)"

    @property
    def reads_new_teacher(self) -> bool:
        """Whether the new task model teaches, beside the old one or alone."""
        match self.target:
            case "focal":
                return self.focal.sources == "both"
            case "inhibition":
                return self.old_share < 1.0
            case "margin":
                return self.margin_of == "higher"
            case _:
                return self.target in _ONE_DISTRIBUTION and not (self.fixed_target and self.old_teaches_alone)

    @property
    def names_a_method(self) -> bool:
        """Whether it was written which method it is, by name or by a key that belongs to a unit alone."""
        return not self.model_fields_set.isdisjoint(_TELLING)

    def as_method(self, method: Literal["options", "answers"]) -> AlignmentSettings:
        """Return a method on whole answers, with the keys that were written."""
        return type(self).model_validate({**self.model_dump(exclude_unset=True), "method": method})

    def identity(self) -> dict[str, object]:
        """Return the settings as part of a fingerprint.

        The name of the preset stands for nothing beside what it filled in, nor does a place beside its content.
        """
        left_out = ("method", "unlabelled", "teachers")
        kept = {key: value for key, value in super().identity().items() if key not in left_out}
        return {**kept, "training": {key: value for key, value in self.training.items() if key != "report_to"}}

    def reads(self, key: str) -> bool:
        """Whether a key means something to this method."""
        return self._owners().get(key, (True, ""))[0]

    @property
    def every_text(self) -> bool:
        """Whether the tokens of an item with each of its options, or of its candidate answers, are learnt."""
        return self.texts != "reference"

    @property
    def leaning(self) -> tuple[MaskName, float]:
        """With unit `tokens`: which tokens lean on the old model, and what they learn from it."""
        return ("old_always", self.old_share) if self.target == "mixture" else (self.mask, 1.0)

    @property
    def old_teaches_alone(self) -> bool:
        """With unit `tokens`: whether every token learns from the old model, and nothing from the new one."""
        return self.leaning == ("old_always", 1.0)

    @property
    def fixed_target(self) -> bool:
        """Whether one vector a token is enough: it is tokens that are learnt, whose target no student changes."""
        return self.unit == "tokens" and (self.engine == "mixed" or self.every_text or self.target == "mixture")

    @property
    def learns_candidates(self) -> bool:
        """Whether candidate answers are learnt, as wholes or by their tokens."""
        return self.unit == "answers" or self.texts == "every_answer"

    @property
    def teacher_sides(self) -> tuple[Literal["old", "new"], ...]:
        """The bases whose task models are asked about all items before the student is trained."""
        if self.target in ("labels", "twins", "interpolation"):
            return ()
        return ("old", "new") if self.reads_new_teacher else ("old",)

    @property
    def answers_in_use(self) -> AnswerSettings | None:
        """The settings of candidate answers, where they are what is trained on as wholes."""
        return self.answers if self.unit == "answers" else None

    @property
    def least_candidates(self) -> int:
        """Candidate answers without which an item teaches nothing: the rest is an answer too, if it is counted."""
        return 2 if self.unit == "answers" and not self.answers.counts_rest else 1

    @property
    def num_candidates(self) -> int:
        """Candidate answers of an item at most; 0 for other units."""
        return 1 + len(self.answers.models) * (1 + self.answers.samples) if self.learns_candidates else 0

    def rank(self, start: int) -> int:
        """Return the compatibility adapter's rank, by that of the adapter it starts from."""
        if self.target in ("twins", "interpolation"):
            return 2 * start
        return self.lora.r if self.lora else start

    def passes(self, epochs: int, *, unlabelled: bool) -> int:
        """Return how often a training reads its items, at most.

        Args:
            epochs: of `training`.
            unlabelled: whether there are inputs without labels among them.
        """
        match self.target:
            case "interpolation":
                return 0
            case "twins":
                return 4 * epochs  # two bootstraps, which both twins read
            case _:
                return (self.unlabelled_epochs if unlabelled else None) or epochs

    def unlabelled_of(self, task: str) -> str | None:
        """Return where a task's unlabelled inputs are."""
        return self.unlabelled.get(task) if isinstance(self.unlabelled, Mapping) else self.unlabelled

    def teachers_of(self, task: str) -> list[str]:
        """Return the folders of a task's further teachers."""
        found = self.teachers.get(task, []) if isinstance(self.teachers, Mapping) else self.teachers
        return found or []


def _alternatives(words: tuple[str, ...]) -> str:
    """Return words as `a, b or c`."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
