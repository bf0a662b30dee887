"""Step 2 of the method on tokens: both task models teach the student, in memory or by what they left on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from muscle.config.alignment import AlignmentSettings
from muscle.config.methods import EngineName
from muscle.config.settings import TrainingSettings
from muscle.models.bases import LoadedBase, off_the_accelerator
from muscle.models.tokenizers import same_vocabulary
from muscle.tasks.recorded import Record
from muscle.tasks.task import Task
from muscle.training.data.examples import TokenizedExamples
from muscle.training.data.texts import Texts
from muscle.training.head.kernels import choose_kernel, refuse_if_forced
from muscle.training.losses.masks import share_of_old
from muscle.training.one_training import Student, Training, TrainingData
from muscle.training.run import TrainingResult, tokenized_parts, train_and_save
from muscle.training.start import Start
from muscle.training.stored_trainers import MixtureTrainer, StoredTrainer
from muscle.training.teachers.choose_engine import choose_engine
from muscle.training.teachers.cross_examples import Crossed, cross_examples
from muscle.training.teachers.crossed_rows import Crossing
from muscle.training.teachers.kept_stores import KeptStores
from muscle.training.teachers.make_rows import RunningTeachers, TaskModel
from muscle.training.teachers.online import OnlineTeachers
from muscle.training.teachers.run_teachers import StoreSettings, store_mixture, store_teachers
from muscle.training.trainer import AdapterTrainer, CompatibilityTrainer

logger = logging.getLogger(__name__)


def align_on_tokens(
    old_base: LoadedBase | Record,
    start: Start,
    task: Task,
    texts: Texts,
    training: Training,
    engine: EngineName,
    stores: KeptStores,
) -> TrainingResult:
    """Train the student from both teachers, by the wanted engine or the nearest that the models allow.

    Args:
        old_base: M_base_v1, loaded; no record teaches tokens.
        start: of the student, with the new base, both adapters and the method.
        task: the task of the examples.
        texts: what is learnt of it.
        training: how it goes, and where the compatibility adapter is kept.
        engine: that is wanted.
        stores: where what the teachers leave stands.

    Raises:
        MuscleError: see `muscle.training.align.align`.
    """
    assert isinstance(old_base, LoadedBase), "a record was refused"
    training = training.of_epochs(start.alignment.unlabelled_epochs if texts.unlabelled else None)
    alignment, new_base, settings = start.alignment, start.base, training.settings
    student, (mask, old_share) = start.student(), alignment.leaning
    old, new = TaskModel.load(old_base, start.adapters["old"]), TaskModel.load(new_base, start.adapters["new"])
    data = tokenized_parts(new_base, task, texts.learnt, texts.held_out, settings)
    crossing = _crossing(old_base, new_base, task, texts, data, alignment, settings)
    used, heads = choose_engine(
        engine,
        student=student,
        old=old.model,
        new=new.model,
        sample=data[0].sequences[0],
        old_sample=None if crossing is None else crossing.texts.old[0],
        one_vector=alignment.fixed_target,
    )
    if used not in ("projected", "mixed"):
        refuse_if_forced(settings.kernels, f"the engine {used} has its teachers in the loss")
    if used == "online" or heads is None:
        training = replace(training, settings=settings.model_copy(update={"packing": "off"}))  # a row for a sequence
        both = OnlineTeachers(old.model, new.model)
        taught = _Taught(partial(CompatibilityTrainer, teachers=both, mask=mask, old_share=old_share))
    else:
        if crossing is not None and used != engine:
            # Rows of another kind than beside an old model with the new one's tokens.
            stores = stores._replace(new=stores.old)
        taught = _taught_by_stores(stores, RunningTeachers(old, new, heads), data, used, alignment, training, crossing)
    with off_the_accelerator(old.base, unless=used == "online" or old.base.model is new.base.model):
        return train_and_save(
            partial(taught.trainer, model=student, temperature=alignment.temperature, ce_weight=alignment.ce_weight),
            Student(student, new.base, base_is_free=used != "online"),
            TrainingData(task, *data),
            training,
            note=_note_of(old, new, alignment, used),
            picked_by="cross_entropy" if alignment.selection == "cross_entropy" else "loss",
            record=lambda result: {**taught.told, **texts.record(result.num_epochs)},
        )


def _note_of(old: TaskModel, new: TaskModel, alignment: AlignmentSettings, engine: EngineName) -> dict[str, object]:
    return {
        "stage": "align",
        "alignment": alignment.identity(),
        "engine": engine,
        "old_base": old.base.source,
        "old_base_fingerprint": old.base.fingerprint,
        "old_adapter": old.adapter,
        "new_adapter": new.adapter,
    }


def _crossing(
    old: LoadedBase,
    new: LoadedBase,
    task: Task,
    texts: Texts,
    data: Sequence[TokenizedExamples],
    alignment: AlignmentSettings,
    settings: TrainingSettings,
) -> Crossing | None:
    """Return how the old model's tokens become the new one's; None where they are the same."""
    if task.prompt.chat_template and old.tokenizer.chat_template != new.tokenizer.chat_template:
        logger.warning(
            "the bases have different chat templates; as a teacher of tokens the old model reads the new base's "
            "(alignment.unit: options lets each read its own)"
        )
    if same_vocabulary(old, new):
        return None
    kind, longest = alignment.projection, settings.max_length
    return cross_examples(old, new, task, (texts.learnt, texts.held_out), data, kind=kind, max_length=longest)


class _Taught(NamedTuple):
    """A trainer with its teachers, and what `training.json` tells of these."""

    trainer: Callable[..., AdapterTrainer]
    told: Mapping[str, object] = MappingProxyType({})


def _taught_by_stores(
    stores: KeptStores,
    teachers: RunningTeachers,
    data: Sequence[TokenizedExamples],
    engine: EngineName,
    alignment: AlignmentSettings,
    training: Training,
    crossing: Crossing | None,
) -> _Taught:
    """Run the teachers, or open what they left, and return the trainer that learns from it."""
    settings, (mask, old_share) = training.settings, alignment.leaning
    memory_bytes = settings.chunk_memory_mb * 2**20
    kept = StoreSettings(
        alignment.temperature,
        settings.batch_size,
        training.description,
        precision=alignment.store_precision,
        topk=alignment.topk,
        memory_bytes=memory_bytes,
    )
    # Before the teachers run for hours: a kernel that is wanted at any price may be refused.
    if engine in ("projected", "mixed"):
        student = choose_kernel(
            teachers.heads.student,
            settings.kernels,
            memory_bytes=memory_bytes,
            temperature=alignment.temperature,
            ce_weight=alignment.ce_weight,
        )
        teachers = replace(teachers, heads=teachers.heads._replace(student=student))
    if engine == "mixed":
        mixture = store_mixture(
            stores.old / "mixed",
            teachers,
            data,
            old_share=share_of_old(mask, old_share),
            share_name=mask if old_share == 1.0 else f"{mask}, {old_share}",
            new_teaches=not alignment.old_teaches_alone,
            settings=kept,
        )
        return _Taught(partial(MixtureTrainer, mixture=mixture, head=teachers.heads.student, memory_bytes=memory_bytes))
    assert engine != "online", "online has no store"
    stored = store_teachers(
        stores.old, teachers, data, kind=engine, settings=kept, crossing=crossing, new_folder=stores.new
    )
    told: dict[str, object] = {}
    if crossing is not None:
        crossed = Crossed.of(stored.old)
        crossed.tell(training.description, crossing.kind)
        told["old_tokens"] = crossed.as_dict()
    trainer = partial(StoredTrainer, teachers=stored, mask=mask, old_share=old_share, memory_bytes=memory_bytes)
    return _Taught(trainer, told)
