"""The sections of an `update.yaml` as typed objects: bases, tasks, LoRA, training, alignment, evaluation, report.

Defaults are the paper's Table 8 (MUSCLE, 2024): 10 epochs, learning rate 1e-4, 500 warm-up steps, gradient accumulation
8, LoRA rank 128, alpha 256, no dropout, no weight decay, all linear layers, 80/20 split, temperature 2. What the paper
does not name (batch size, precision, early stopping) is marked as ours in the template of `muscle init`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

MaskName = Literal["student_wrong", "old_right", "old_always", "token_likelihood", "sequence_likelihood"]
"""Mask strategies of Table 7 and Eq. 2, 3; `student_wrong` is the method (Eq. 1)."""

EngineName = Literal["projected", "mixed", "hidden", "topk", "online"]
"""What is there of the teachers while the compatibility adapter trains, see `docs/engine.md`."""

MethodName = Literal["paper", "options"]
"""Presets of the choices that make up a method, see `docs/update.md`."""

UnitName = Literal["tokens", "options"]
"""What an adapter is trained on: the tokens of context and answer, or the likelihoods of whole answer options."""

TargetName = Literal["mask", "labels", "mixture", "reliability", "stack", "margin", "lifted"]
"""What the student is drawn to: `mask` is Eq. 1; the others are of the unit `options`."""

StartName = Literal["new", "old", "fresh"]
"""Which adapter the compatibility adapter starts from."""

SelectionName = Literal["own", "cross_entropy"]
"""Which validation value picks the epoch."""

KlName = Literal["forward", "reverse"]
"""KL(target || student), or KL(student || target)."""

LABEL_TARGETS: tuple[TargetName, ...] = ("labels", "margin")
"""Targets of the unit `options` that are nothing without a label."""

STUDENT_FREE_MASKS: tuple[MaskName, ...] = ("old_right", "old_always")
"""Masks that don't depend on the student: the only ones that a `mixed` store can hold."""

AttentionName = Literal["auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"]
"""transformers' attention functions that need no code from the hub."""

KernelName = Literal["auto", "torch", "triton"]
"""What goes over the output head's rows in the loss, see `docs/engine.md`."""

BackendName = Literal["hf", "vllm"]
"""What computes while models are scored, see `docs/scale.md`."""

_SET_BY_MUSCLE = (
    "batch_size",
    "enable_lora",
    "lora_local_path",
    "pretrained",
    "revision",
    "tokenizer",
    "trust_remote_code",
)
"""Arguments of the harness's vLLM model that follow from base, adapter and task."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Keys of one section: unknown ones and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    _later: ClassVar[tuple[str, ...]] = ()

    def identity(self) -> dict[str, object]:
        """Return the settings as part of a fingerprint.

        A key that came with a later version is left out while it has its default: an older run folder stays done.
        """
        fields = type(self).model_fields
        return {
            key: value
            for key, value in self.model_dump().items()
            if key not in self._later or value != fields[key].get_default(call_default_factory=True)
        }


class BaseConfig(Section):
    """A base model: hub name, local folder or GGUF file.

    Attributes:
        base: hub name (`org/name`), folder with safetensors, or a file that ends in `.gguf`.
        revision: commit or tag on the hub.
        trust_remote_code: runs code that comes with the model; off unless asked for.
        adapters: task name to a ready PEFT folder; such a task is not fine-tuned again.
    """

    base: str
    revision: str | None = None
    trust_remote_code: bool = False
    adapters: Mapping[str, str] = Field(default_factory=dict)
    _written: str | None = PrivateAttr(default=None)

    @property
    def name(self) -> str:
        """The base as the user wrote it: what results and reports call it, whatever folder it was found in."""
        return self._written or self.base

    def located(self, base: str, adapters: Mapping[str, str]) -> BaseConfig:
        """Return a copy with absolute paths that keeps its name."""
        copied = self.model_copy(update={"base": base, "adapters": adapters})
        copied._written = self.name
        return copied


class TaskConfig(Section):
    """A task and its data.

    Attributes:
        task: `hellaswag`, `piqa`, `gsm8k`, `samsum`, or the path of a task's YAML.
        train: local JSONL/Parquet/CSV file, or a hub data set as `hub:name[/config]:split`; a built-in task's own
            data on the hub where it is left out.
        test: the same; never trained on.
        train_limit: take only the first so many rows (after the file's own order).
        test_limit: the same for the test data.
    """

    task: str
    train: str | None = None
    test: str | None = None
    train_limit: Positive | None = None
    test_limit: Positive | None = None


class LoraSettings(Section):
    """LoRA on all linear layers but the output head (Table 8)."""

    r: Positive = 128
    alpha: Annotated[float, Field(gt=0)] = 256.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: str | list[str] = "all-linear"


class TrainingSettings(Section):
    """How an adapter is trained; task and compatibility adapters alike (Table 8).

    Attributes:
        epochs: upper limit; the epoch with the lowest validation loss is kept.
        learning_rate: peak, reached after `warmup_steps`, then falling linearly to 0.
        warmup_steps: optimizer steps, not batches.
        batch_size: examples a forward pass on one device.
        gradient_accumulation: forward passes an optimizer step.
        weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to this norm.
        max_length: tokens; longer examples lose their beginning, as the scoring harness does it.
        validation_fraction: share of the training data that is held out; never touches the test data.
        early_stopping_patience: stop after so many epochs without a lower validation loss; null trains all epochs.
        gradient_checkpointing: recompute activations to save memory.
        precision: `auto` is bf16 where the hardware has it, else float32.
        quantization: `4bit` loads the bases in bitsandbytes' 4-bit form (QLoRA).
        packing: `on` puts a batch's examples one behind the other, without padding; `off` pads them to the
            longest (examples of like length share a batch); `auto` packs where the attention skips what lies
            between examples (flash, flex).
        attention: what computes the bases'; `auto` is what transformers takes by itself.
        chunk_memory_mb: budget for the logits of a chunk of tokens, in the loss and while teachers run.
        kernels: `auto` takes the Triton kernel for the loss on a GPU where it is installed, right and faster;
            `torch` never, `triton` always or not at all.
        seed: of the split, the data order and the adapter's start.
    """

    _later = ("quantization", "packing", "attention", "chunk_memory_mb", "kernels")

    epochs: Positive = 10
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    batch_size: Positive = 4
    gradient_accumulation: Positive = 8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    max_length: Positive = 1024
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    early_stopping_patience: Positive | None = None
    gradient_checkpointing: bool = False
    precision: Literal["auto", "bf16", "float32"] = "auto"
    quantization: Literal["4bit"] | None = None
    packing: Literal["auto", "on", "off"] = "auto"
    attention: AttentionName = "auto"
    chunk_memory_mb: Positive = 128
    kernels: KernelName = "auto"
    seed: int = 0

    @field_validator("packing", mode="before")
    @classmethod
    def _as_written(cls, value: object) -> object:
        """YAML reads a bare `on` or `off` as a truth value."""
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


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
            trained on at option level, then distilled to the mixture of the old model and that one.
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
        *("start", "lora", "selection"),
    )

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, values: object) -> object:
        if not isinstance(values, Mapping) or values.get("method") != "options":
            return values
        preset = {
            "unit": "options",
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
        tokens, options = self.unit == "tokens", self.unit == "options"
        drawn = options and self.target not in LABEL_TARGETS
        teachers = "a target with teachers: mixture, reliability, stack or lifted"
        shared = self.target in ("mixture", "reliability", "lifted")
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
                "unit options and another target than labels",
            ),
            "unlabelled": (drawn, teachers),
            "unlabelled_epochs": (self.unlabelled is not None, "unlabelled"),
        }

    def identity(self) -> dict[str, object]:
        """Return the settings as part of a fingerprint.

        The name of the preset stands for nothing beside what it filled in, nor does a file's place beside its content.
        """
        left_out = ("method", "unlabelled")
        return {key: value for key, value in super().identity().items() if key not in left_out}

    def unlabelled_of(self, task: str) -> str | None:
        """Return where a task's unlabelled inputs are."""
        return self.unlabelled.get(task) if isinstance(self.unlabelled, Mapping) else self.unlabelled


class EvaluationSettings(Section):
    """What is scored.

    Attributes:
        backend: `hf` scores the model in memory; `vllm` lets vLLM load base and adapters from disk.
        vllm: arguments of lm-evaluation-harness's vLLM model, such as `tensor_parallel_size` or
            `max_model_len`; only read with that backend.
        batch_size: options or prompts a forward pass; vLLM makes its batches itself.
        bare_base: also score the new base without an adapter; a task on which it beats its adapter teaches nothing.
        control: also train the plain update's adapter on with cross-entropy, as long as the compatibility adapter
            trained, and score it: what longer training alone gives.
        floor: also train the old recipe again on the old base, with another seed, and score it: what it breaks of its
            own answers without any update.
    """

    _later = ("backend", "vllm", "floor")

    backend: BackendName = "hf"
    vllm: Mapping[str, object] = Field(default_factory=dict)
    batch_size: Positive = 16
    bare_base: bool = True
    control: bool = True
    floor: bool = False

    @field_validator("vllm")
    @classmethod
    def _left_to_the_user(cls, value: Mapping[str, object]) -> Mapping[str, object]:
        for key in value:
            if key in _SET_BY_MUSCLE:
                raise ValueError(f"{key} follows from base, adapter and task; leave it out")
        return value

    def scoring(self) -> dict[str, object]:
        """Return the settings that scores depend on, as part of a fingerprint."""
        left_out = {"bare_base", "control", "floor"} | ({"vllm"} if self.backend == "hf" else set())
        return {key: value for key, value in self.identity().items() if key not in left_out}


class ReportSettings(Section):
    """What the report holds.

    Attributes:
        title: the report's heading.
        max_flips: flipped examples that are shown; the rest is counted.
        texts: whether inputs, options, references and answers stand in it.
    """

    _later = ("texts",)

    title: str | None = None
    max_flips: Annotated[int, Field(ge=0)] = 2000
    texts: bool = True
