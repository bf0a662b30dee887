"""Step 2 of the method: the compatibility adapter (MUSCLE, 2024, Sec. 4.1, Eq. 1 and 5)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from muscle.config import AlignmentSettings, TrainingSettings
from muscle.models import LoadedBase, adapter_content, check_same_vocabulary, load_adapter
from muscle.tasks.task import Example, Task
from muscle.training.engine import Engine, StoredTrainer, choose_engine
from muscle.training.finetune import tokenized_parts, train_and_save
from muscle.training.stored_teachers import TaskModel, store_teachers
from muscle.training.teachers import OnlineTeachers
from muscle.training.trainer import CompatibilityTrainer, TrainingResult


def align(
    old_base: LoadedBase,
    old_adapter: Path,
    new_base: LoadedBase,
    new_adapter: Path,
    task: Task,
    *,
    train_examples: Sequence[Example],
    validation_examples: Sequence[Example],
    alignment: AlignmentSettings,
    settings: TrainingSettings,
    out: Path,
    description: str = "align",
    engine: Engine = "projected",
    store: Path | None = None,
) -> TrainingResult:
    """Train a compatibility adapter on the new base and write it to `out` as a PEFT folder.

    It starts from the new task adapter A_v2 and learns from both frozen task models: where it is right from the new
    one, where it is wrong from the old one. The epoch with the lowest validation value of this same loss is kept
    (validation cross-entropy would stop distillation at its first epochs).

    Args:
        old_base: M_base_v1, loaded.
        old_adapter: A_v1's folder.
        new_base: M_base_v2, loaded.
        new_adapter: A_v2's folder.
        task: the task of the examples.
        train_examples: what is learnt; the task adapters' own training data.
        validation_examples: what the epoch is chosen by.
        alignment: temperature, mask, weight of the cross-entropy.
        settings: epochs, learning rate and so on.
        out: the adapter's folder; see `finetune`.
        description: for progress and log.
        engine: what is there of the teachers while the adapter trains, see `muscle.training.engine`; the result is the
            same to rounding.
        store: folder of the teacher stores, kept for the next training on the same data, whatever its mask and weights;
            by default they stand beside `out` until the adapter is written.

    Returns:
        How it went; also written to `training.json` in `out`.

    Raises:
        ModelError: an adapter doesn't fit its base, or the bases' vocabularies differ.
        DataError: no examples, or an empty one.
        OutputError: `out` or the stores cannot be written.
    """
    from transformers import set_seed

    check_same_vocabulary(old_base, new_base)
    set_seed(settings.seed)
    student = load_adapter(new_base, new_adapter, trainable=True)
    old = TaskModel.load(old_base, old_adapter)
    new = TaskModel.load(new_base, new_adapter)
    data = tokenized_parts(new_base, task, train_examples, validation_examples, settings)
    used, heads = choose_engine(
        engine, student=student, old=old.model, new=new.model, sample=data[0].sequences[0]
    )
    formula = alignment.model_dump(include={"temperature", "mask", "ce_weight"})
    folder = store or out.with_name(f".{out.name}.teachers")
    trainer: Callable[..., Any]
    if used == "online" or heads is None:
        trainer = partial(CompatibilityTrainer, teachers=OnlineTeachers(old.model, new.model))
    else:
        teachers = store_teachers(
            folder,
            old,
            new,
            heads,
            data,
            kind=used,
            temperature=alignment.temperature,
            batch_size=settings.batch_size,
            description=description,
        )
        trainer = partial(StoredTrainer, teachers=teachers)
    note = {
        "stage": "align",
        "alignment": alignment.model_dump(),
        "engine": used,
        "old_base": old_base.source,
        "old_base_fingerprint": old_base.fingerprint,
        "old_adapter": adapter_content(old_adapter),
        "new_adapter": adapter_content(new_adapter),
    }
    with _out_of_the_way(old_base, unless=used == "online" or old_base.model is new_base.model):
        result = train_and_save(
            lambda **shared: trainer(model=student, **formula, **shared),
            model=student,
            base=new_base,
            task=task,
            data=data,
            settings=settings,
            out=out,
            description=description,
            note=note,
        )
    if store is None:
        shutil.rmtree(folder, ignore_errors=True)
    return result


@contextmanager
def _out_of_the_way(base: LoadedBase, *, unless: bool) -> Iterator[None]:
    """Keep a base that isn't needed off the accelerator while the block runs."""
    device = base.model.device
    if unless or device.type == "cpu":
        yield
        return
    base.model.to("cpu")
    try:
        yield
    finally:
        base.model.to(device)
