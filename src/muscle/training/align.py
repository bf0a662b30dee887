"""Step 2 of the method: the compatibility adapter (MUSCLE, 2024, Sec. 4.1, Eq. 1 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from muscle.config import AlignmentSettings, TrainingSettings
from muscle.models import LoadedBase, adapter_content, check_same_vocabulary, load_adapter
from muscle.tasks.task import Example, Task
from muscle.training.finetune import tokenized_parts, train_and_save
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

    Returns:
        How it went; also written to `training.json` in `out`.

    Raises:
        ModelError: an adapter doesn't fit its base, or the bases' vocabularies differ.
        DataError: no examples, or an empty one.
        OutputError: `out` cannot be written.
    """
    from transformers import set_seed

    check_same_vocabulary(old_base, new_base)
    set_seed(settings.seed)
    student = load_adapter(new_base, new_adapter, trainable=True)
    teachers = OnlineTeachers(load_adapter(old_base, old_adapter), load_adapter(new_base, new_adapter))
    return train_and_save(
        lambda **shared: CompatibilityTrainer(
            model=student,
            teachers=teachers,
            temperature=alignment.temperature,
            mask=alignment.mask,
            ce_weight=alignment.ce_weight,
            **shared,
        ),
        model=student,
        base=new_base,
        task=task,
        data=tokenized_parts(new_base, task, train_examples, validation_examples, settings),
        settings=settings,
        out=out,
        description=description,
        note={
            "stage": "align",
            "alignment": alignment.model_dump(),
            "old_base": old_base.source,
            "old_base_fingerprint": old_base.fingerprint,
            "old_adapter": adapter_content(old_adapter),
            "new_adapter": adapter_content(new_adapter),
        },
    )
