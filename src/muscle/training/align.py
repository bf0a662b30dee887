"""Step 2 of the method: the compatibility adapter (MUSCLE, 2024, Sec. 4.1, Eq. 1 and 5)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from muscle import distributed
from muscle.config.settings import AlignmentSettings, EngineName, MaskName, TrainingSettings
from muscle.models.adapter_check import adapter_content
from muscle.models.adapters import load_adapter
from muscle.models.bases import LoadedBase, check_same_vocabulary
from muscle.tasks.task import Example, Task
from muscle.training.data.examples import TokenizedExamples
from muscle.training.finetune import tokenized_parts, train_and_save
from muscle.training.head.kernels import choose_kernel, refuse_if_forced
from muscle.training.stored_trainers import Heads, MixtureTrainer, StoredTrainer, choose_engine
from muscle.training.teachers.online import OnlineTeachers
from muscle.training.teachers.rows import OldShare
from muscle.training.teachers.run_teachers import StoreSettings, TaskModel, store_mixture, store_teachers
from muscle.training.trainer import CompatibilityTrainer, TrainingResult

MASK_SHARES: Mapping[MaskName, OldShare] = {
    "old_always": lambda old, new, old_right: torch.ones_like(old),
    "old_right": lambda old, new, old_right: old_right,
}
"""The old model's share of a token under the masks that don't follow the student."""


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
    engine: EngineName | None = None,
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
        engine: in place of `alignment.engine`: what is there of the teachers while the adapter trains.
        store: folder of the teacher stores, kept for the next training on the same data, whatever its mask and weights;
            by default they stand beside `out` until the adapter is written.

    Returns:
        How it went; also written to `training.json` in `out`.

    Raises:
        ModelError: an adapter doesn't fit its base, or the bases' vocabularies differ.
        DataError: no examples, or an empty one.
        OutputError: `out` or the stores cannot be written.
        ConfigError: a setting can't be met here: packing, kernels.
    """
    from transformers import set_seed

    check_same_vocabulary(old_base, new_base)
    set_seed(settings.seed)
    student = load_adapter(new_base, new_adapter, trainable=True)
    old = TaskModel.load(old_base, old_adapter)
    new = TaskModel.load(new_base, new_adapter)
    data = tokenized_parts(new_base, task, train_examples, validation_examples, settings)
    used, heads = choose_engine(
        engine or alignment.engine, student=student, old=old.model, new=new.model, sample=data[0].sequences[0]
    )
    folder = store or out.with_name(f".{out.name}.teachers")
    trainer: Callable[..., Any]
    if used not in ("projected", "mixed"):
        refuse_if_forced(settings.kernels, f"the engine {used} has its teachers in the loss")
    if used == "online" or heads is None:
        settings = settings.model_copy(
            update={"packing": "off"}
        )  # the plain formulas take a row for a sequence
        trainer = partial(
            CompatibilityTrainer,
            teachers=OnlineTeachers(old.model, new.model),
            mask=alignment.mask,
        )
    else:
        trainer = _from_stores(folder, old, new, heads, data, used, alignment, settings, description)
    trainer = partial(trainer, temperature=alignment.temperature, ce_weight=alignment.ce_weight)
    note = {
        "stage": "align",
        "alignment": alignment.identity(),
        "engine": used,
        "old_base": old_base.source,
        "old_base_fingerprint": old_base.fingerprint,
        "old_adapter": adapter_content(old_adapter),
        "new_adapter": adapter_content(new_adapter),
    }
    with _out_of_the_way(old_base, unless=used == "online" or old_base.model is new_base.model):
        result = train_and_save(
            lambda **shared: trainer(model=student, **shared),
            model=student,
            base=new_base,
            task=task,
            data=data,
            settings=settings,
            out=out,
            description=description,
            note=note,
            base_is_free=used != "online",
        )
    if store is None:
        distributed.from_main(lambda: shutil.rmtree(folder, ignore_errors=True))
    return result


def _from_stores(
    folder: Path,
    old: TaskModel,
    new: TaskModel,
    heads: Heads,
    data: Sequence[TokenizedExamples],
    engine: EngineName,
    alignment: AlignmentSettings,
    settings: TrainingSettings,
    description: str,
) -> Callable[..., Any]:
    """Run the teachers, or open what they left, and return the trainer that learns from it."""
    memory_bytes = settings.chunk_memory_mb * 2**20
    shared: dict[str, Any] = {
        "temperature": alignment.temperature,
        "batch_size": settings.batch_size,
        "description": description,
        "settings": StoreSettings(alignment.store_precision, alignment.topk, memory_bytes),
    }
    if engine in ("projected", "mixed"):  # before hours of teachers: it may be refused
        student = choose_kernel(
            heads.student,
            settings.kernels,
            memory_bytes=memory_bytes,
            temperature=alignment.temperature,
            ce_weight=alignment.ce_weight,
        )
        heads = heads._replace(student=student)
    if engine == "mixed":
        mixture = store_mixture(
            folder / "mixed",
            old,
            new,
            heads,
            data,
            old_share=MASK_SHARES[alignment.mask],
            share_name=alignment.mask,
            **shared,
        )
        return partial(MixtureTrainer, mixture=mixture, head=heads.student, memory_bytes=memory_bytes)
    assert engine != "online", "online has no store"
    teachers = store_teachers(folder, old, new, heads, data, kind=engine, **shared)
    return partial(StoredTrainer, teachers=teachers, mask=alignment.mask, memory_bytes=memory_bytes)


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
