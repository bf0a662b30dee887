"""Step 1 of the method: a task adapter on one base (MUSCLE, 2024, Sec. 4.1).

The same function trains the control "longer training": the plain update's adapter trained on with cross-entropy.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muscle import distributed
from muscle.config.settings import LoraSettings, TrainingSettings
from muscle.files import atomic_folder, clear_leftovers, write_json
from muscle.models.adapter_check import adapter_content
from muscle.models.adapters import load_adapter, new_adapter, save_adapter
from muscle.models.bases import LoadedBase
from muscle.provenance import fingerprint
from muscle.tasks.task import Example, Task
from muscle.training.data.examples import TokenizedExamples, tokenize
from muscle.training.data.packing import choose_collator
from muscle.training.stored_trainers import task_trainer
from muscle.training.trainer import TrainingResult, train


def finetune(
    base: LoadedBase,
    task: Task,
    *,
    train_examples: Sequence[Example],
    validation_examples: Sequence[Example],
    lora: LoraSettings,
    settings: TrainingSettings,
    out: Path,
    start_from: Path | None = None,
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
    from transformers import set_seed

    set_seed(settings.seed)  # before the fresh adapter draws its weights
    model = load_adapter(base, start_from, trainable=True) if start_from else new_adapter(base, lora)
    data = tokenized_parts(base, task, train_examples, validation_examples, settings)
    return train_and_save(
        lambda **shared: task_trainer(
            model, memory_bytes=settings.chunk_memory_mb * 2**20, kernels=settings.kernels, **shared
        ),
        model=model,
        base=base,
        task=task,
        data=data,
        settings=settings,
        out=out,
        description=description,
        note={
            "stage": "finetune",
            "lora": lora.model_dump(),
            "start_from": adapter_content(start_from) if start_from else None,
        },
    )


def tokenized_parts(
    base: LoadedBase,
    task: Task,
    train_examples: Sequence[Example],
    validation_examples: Sequence[Example],
    settings: TrainingSettings,
) -> tuple[TokenizedExamples, TokenizedExamples]:
    """Return training and validation examples as tokens; answers that are generated learn to end."""
    end_of_text = task.kind == "generation"
    parts = (
        tokenize(part, base.tokenizer, max_length=settings.max_length, end_of_text=end_of_text)
        for part in (train_examples, validation_examples)
    )
    return next(parts), next(parts)


def train_and_save(
    build: Any,
    *,
    model: Any,
    base: LoadedBase,
    task: Task,
    data: tuple[TokenizedExamples, TokenizedExamples],
    settings: TrainingSettings,
    out: Path,
    description: str,
    note: dict[str, Any],
    base_is_free: bool = True,
) -> TrainingResult:
    """Train, then move the finished adapter into place and delete its checkpoints.

    `base_is_free`: no teacher needs the base while the adapter trains.
    """
    identity = fingerprint(
        [base.fingerprint, task.definition, settings.identity(), note, *(part.sequences for part in data)]
    )
    # Checkpoints of other settings or data must not be gone on from.
    workspace = out.with_name(f".{out.name}.{identity}.training")
    distributed.from_main(lambda: clear_leftovers(out.parent, out.name))
    result, weights = train(
        build,
        settings=settings,
        train_data=data[0],
        validation_data=data[1],
        collator=choose_collator(
            model, data[0].sequences, packing=settings.packing, pad_token_id=base.tokenizer.pad_token_id
        ),
        workspace=workspace,
        description=description,
        free=base.model if base_is_free else None,
    )
    full_note = {
        "task": task.name,
        "settings": settings.model_dump(),
        "best_epoch": result.best_epoch,
        "converged": result.converged,
        **note,
    }

    def write() -> None:
        with atomic_folder(out) as folder:
            save_adapter(model, folder, base=base, note=full_note, weights=weights)
            write_json(folder / "training.json", dataclasses.asdict(result))
        for stale in out.parent.glob(f".{out.name}.*.training"):
            shutil.rmtree(stale)

    distributed.from_main(write)
    return result
