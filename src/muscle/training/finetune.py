"""Step 1 of the method: a task adapter on one base (MUSCLE, 2024, Sec. 4.1).

The same function trains the control "longer training": the plain update's adapter trained on with cross-entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from transformers import set_seed

from muscle.config.settings import LoraSettings, TrainingSettings
from muscle.models.adapter_check import adapter_content
from muscle.models.adapters import load_adapter, new_adapter
from muscle.models.bases import LoadedBase
from muscle.tasks.task import Example, Task
from muscle.training.one_training import Student, Training, TrainingData
from muscle.training.run import TrainingResult, tokenized_parts, train_and_save
from muscle.training.stored_trainers import task_trainer


def finetune(
    base: LoadedBase,
    task: Task,
    *,
    train_examples: Sequence[Example],
    validation_examples: Sequence[Example],
    lora: LoraSettings,
    settings: TrainingSettings,
    out: str | Path,
    start_from: str | Path | None = None,
    description: str = "fine-tune",
) -> TrainingResult:
    """Train a LoRA task adapter on a base and write it to `out` as a PEFT folder.

    The loss is the next-token cross-entropy over context and answer; the epoch with the lowest validation loss is kept.

    Args:
        base: the base, loaded.
        task: the task that the examples come from.
        train_examples: what is learnt.
        validation_examples: what the epoch is chosen by.
        lora: rank, alpha, dropout, layers; ignored with `start_from`.
        settings: epochs, learning rate and so on.
        out: the adapter's folder. Checkpoints stand beside it until it is written; a killed call goes on there.
        start_from: an adapter of the same base to train on from, in place of a fresh one.
        description: for progress and log.

    Returns:
        How it went; also written to `training.json` in `out`.

    Raises:
        ModelError: `start_from` doesn't fit the base.
        DataError: no examples, or an empty one.
        OutputError: `out` cannot be written.
        ConfigError: a setting can't be met here: packing, kernels.
    """
    # Before the fresh adapter draws its weights.
    set_seed(settings.seed)
    start = Path(start_from) if start_from else None
    model = load_adapter(base, start, trainable=True) if start else new_adapter(base, lora)
    data = tokenized_parts(base, task, train_examples, validation_examples, settings)
    return train_and_save(
        partial(task_trainer, model, memory_bytes=settings.chunk_memory_mb * 2**20, kernels=settings.kernels),
        Student(model, base),
        TrainingData(task, *data),
        Training(settings, Path(out), description),
        note={
            "stage": "finetune",
            "lora": lora.model_dump(),
            "start_from": adapter_content(start) if start else None,
        },
    )
