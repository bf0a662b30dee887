"""The sections of an `update.yaml` as typed objects: bases, tasks, LoRA, training, evaluation, report.

Defaults are the paper's Table 8 (MUSCLE, 2024): 10 epochs, learning rate 1e-4, 500 warm-up steps, gradient accumulation
8, LoRA rank 128, alpha 256, no dropout, no weight decay, all linear layers, 80/20 split, temperature 2. What the paper
does not name (batch size, precision, early stopping) is marked as ours in the template of `muscle init`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from muscle.config.alignment import AlignmentSettings
from muscle.config.section import Positive, Section, Seed
from muscle.foreign_text import outline

AttentionName = Literal["auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"]
"""transformers' attention functions that need no code from the hub."""

ReporterName = Literal["tensorboard", "wandb", "mlflow"]
"""Where a training's log goes beside its own file, by transformers' callbacks."""

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


RUNS = ("old", "new", "compat", "base", "control", "floor")
"""Names of an update's runs, and of their folders."""


class BaseConfig(Section):
    """A base model: hub name, local folder or GGUF file; of an old model that is gone, a record of its answers.

    Attributes:
        base: hub name (`org/name`), folder with safetensors, or a file that ends in `.gguf`; empty with a record.
        revision: commit or tag on the hub.
        trust_remote_code: runs code that comes with the model; off unless asked for.
        adapters: task name to a ready PEFT folder; such a task is not fine-tuned again.
        record: files of predictions that stand for the old model (`docs/record.md`).
    """

    _later = ("record",)

    base: str = ""
    revision: str | None = None
    trust_remote_code: bool = False
    adapters: Mapping[str, str] = Field(default_factory=dict)
    record: list[str] = Field(default_factory=list)
    _written: str | None = PrivateAttr(default=None)

    @field_validator("record", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """A file stands for a list of it."""
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_or_the_other(self) -> BaseConfig:
        if not self.base and not self.record:
            raise ValueError("base: missing; expected a value")
        for key in ("base", "revision", "trust_remote_code", "adapters"):
            if self.record and getattr(self, key):
                raise ValueError(f"{key}: expected no such key beside record, which stands for the whole old model")
        return self

    @property
    def name(self) -> str:
        """The base as the user wrote it: what results and reports call it, whatever folder it was found in."""
        return self._written or self.base or ", ".join(Path(each).stem for each in self.record)

    def located(self, base: str, adapters: Mapping[str, str]) -> BaseConfig:
        """Return a copy with absolute paths that keeps its name."""
        copied = self.model_copy(update={"base": base, "adapters": adapters})
        copied._written = self.name
        return copied

    def with_records(self, files: list[str]) -> BaseConfig:
        """Return a copy with other places of its record."""
        return self.model_copy(update={"record": files})


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
        warmup_steps: optimizer steps, not batches; where it is not set, a tenth of the steps where that is less
            (`with_warmup_for`). A number that is set is obeyed.
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
        report_to: trackers that get the log too, one or a list; part of no fingerprint.
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
    max_length: Annotated[int, Field(ge=2)] = 1024  # of one token alone nothing is predicted
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    early_stopping_patience: Positive | None = None
    gradient_checkpointing: bool = False
    precision: Literal["auto", "bf16", "float32"] = "auto"
    quantization: Literal["4bit"] | None = None
    packing: Literal["auto", "on", "off"] = "auto"
    attention: AttentionName = "auto"
    chunk_memory_mb: Positive = 128
    kernels: KernelName = "auto"
    report_to: list[ReporterName] = Field(default_factory=list)
    seed: Seed = 0

    def identity(self) -> dict[str, object]:
        """Return the settings as part of a fingerprint: who is told of a training changes nothing in it."""
        return {key: value for key, value in super().identity().items() if key != "report_to"}

    def with_warmup_for(self, num_steps: int) -> TrainingSettings:
        """Return the settings with the warm-up of a training of so many optimizer steps.

        The paper's 500 steps would be most of a short training, or all of it.

        >>> TrainingSettings().with_warmup_for(200).warmup_steps
        20
        >>> TrainingSettings(warmup_steps=500).with_warmup_for(200).warmup_steps
        500
        """
        share = max(1, -(-num_steps // 10))
        if "warmup_steps" in self.model_fields_set or share >= self.warmup_steps:
            return self
        return self.model_copy(update={"warmup_steps": share})

    @field_validator("report_to", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        """A word stands for a list of it; `none`, as the Trainer has it, for an empty one."""
        if value is None or value == "none":
            return []
        return [value] if isinstance(value, str) else value

    @field_validator("packing", mode="before")
    @classmethod
    def _as_written(cls, value: object) -> object:
        """YAML reads a bare `on` or `off` as a truth value."""
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


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
        beside: further ways of training the compatibility adapter, by a name of the user's: keys as in `alignment`.
            Each is trained and scored too, and shown beside the one that is judged.
    """

    _later = ("backend", "vllm", "floor", "beside")

    backend: BackendName = "hf"
    vllm: Mapping[str, object] = Field(default_factory=dict)
    batch_size: Positive = 16
    bare_base: bool = True
    control: bool = True
    floor: bool = False
    beside: Mapping[str, AlignmentSettings] = Field(default_factory=dict)

    @field_validator("beside")
    @classmethod
    def _names_of_folders(cls, value: Mapping[str, AlignmentSettings]) -> Mapping[str, AlignmentSettings]:
        for name in value:
            if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", name) or name in RUNS:
                raise ValueError(
                    f"{outline(name)}: expected a name of letters, digits, - and _ that is none of {', '.join(RUNS)}"
                )
        return value

    @field_validator("vllm")
    @classmethod
    def _left_to_the_user(cls, value: Mapping[str, object]) -> Mapping[str, object]:
        for key in value:
            if key in _SET_BY_MUSCLE:
                raise ValueError(f"{key} follows from base, adapter and task; leave it out")
        return value

    def scoring(self) -> dict[str, object]:
        """Return the settings that scores depend on, as part of a fingerprint."""
        left_out = {"bare_base", "control", "floor", "beside"} | ({"vllm"} if self.backend == "hf" else set())
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
