"""Step 2 of the method: the compatibility adapter (MUSCLE, 2024, Sec. 4.1, Eq. 1 and 5)."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

from muscle import distributed
from muscle.config.alignment import AlignmentSettings
from muscle.config.methods import EngineName
from muscle.config.settings import LoraSettings, TrainingSettings
from muscle.errors import ConfigError
from muscle.models.adapters import check_place
from muscle.models.bases import LoadedBase
from muscle.models.tokenizers import same_vocabulary
from muscle.tasks.recorded import Record
from muscle.tasks.task import Example, Task
from muscle.training.data.examples import TokenizedExamples
from muscle.training.head.kernels import choose_kernel, refuse_if_forced
from muscle.training.head.usable_head import Heads
from muscle.training.interpolate import interpolate
from muscle.training.losses.masks import share_of_old
from muscle.training.options.align import OptionAlignment
from muscle.training.options.data import OptionData
from muscle.training.run import TrainingResult, tokenized_parts, train_and_save
from muscle.training.start import Start
from muscle.training.stored_trainers import MixtureTrainer, StoredTrainer
from muscle.training.teachers.choose_engine import choose_engine
from muscle.training.teachers.cross_examples import Crossed, cross_examples
from muscle.training.teachers.crossed_rows import Crossing
from muscle.training.teachers.kept_stores import KeptStores
from muscle.training.teachers.make_rows import TaskModel
from muscle.training.teachers.online import OnlineTeachers
from muscle.training.teachers.run_teachers import StoreSettings, store_mixture, store_teachers
from muscle.training.trainer import AdapterTrainer, CompatibilityTrainer

logger = logging.getLogger(__name__)


def align(
    old_base: LoadedBase | Record,
    old_adapter: str | Path | None,
    new_base: LoadedBase,
    new_adapter: str | Path,
    task: Task,
    *,
    train_examples: Sequence[Example],
    validation_examples: Sequence[Example],
    alignment: AlignmentSettings,
    settings: TrainingSettings,
    out: str | Path,
    description: str = "align",
    engine: EngineName | None = None,
    store: str | Path | KeptStores | None = None,
    unlabelled_examples: Sequence[Example] = (),
    lora: LoraSettings | None = None,
) -> TrainingResult:
    """Train a compatibility adapter on the new base and write it to `out` as a PEFT folder.

    By the paper it starts from A_v2 and learns from the new task model where that is right, else from the old one.

    Args:
        old_base: M_base_v1, loaded; or, for methods on whole answers, a record of the old model's answers.
        old_adapter: A_v1's folder; None with a record.
        new_base: M_base_v2, loaded.
        new_adapter: A_v2's folder.
        task: the task of the examples.
        train_examples: what is learnt, the task adapters' own; for unit `answers` with candidates (`muscle.pipeline`).
        validation_examples: what the epoch is chosen by.
        alignment: the method.
        settings: epochs, learning rate and so on.
        out: the adapter's folder; see `finetune`.
        description: for progress and log.
        engine: in place of `alignment.engine`: what is there of the teachers while the adapter trains.
        store: folder of the teacher stores, kept, or folders that alignments share; without it they go once `out` is
            written.
        unlabelled_examples: trained on too at option level; their labels are not looked at.
        lora: of a fresh start (`alignment.start`).

    Returns:
        How it went; also in `out/training.json`.

    Raises:
        ModelError: an adapter doesn't fit its base, or tokens of the bases cannot be aligned.
        DataError, OutputError: no examples, or an empty one; `out` or the stores cannot be written.
        ConfigError: a setting can't be met here: packing, kernels; a method that needs an old model that is a record.
    """
    check_place(Path(out))  # before the teachers run for hours
    given, out, adapters = (train_examples, validation_examples), Path(out), _folders(old_adapter, new_adapter)
    if isinstance(old_base, Record) or "old" not in adapters:
        _refuse_without_weights(alignment)
    elif alignment.unit == "weights":
        return interpolate(new_base, adapters["old"], adapters["new"], alignment=alignment, out=out)
    start = Start(new_base, adapters, alignment, lora or LoraSettings(), settings.seed)
    with _made_on_the_way(store, out) as made:
        if alignment.unit == "tokens":
            return _align_on_tokens(old_base, start, task, given, settings, out, description, engine, made)
        data = OptionData(task, *given, unlabelled_examples, alignment.answers_in_use)
        return OptionAlignment(old_base, start, data, settings, out, made, description).run(_away(old_base, new_base))


def _folders(old: str | Path | None, new: str | Path) -> dict[str, Path]:
    """Return the adapters that are there, by side."""
    return {side: Path(each) for side, each in (("old", old), ("new", new)) if each is not None}


def _refuse_without_weights(alignment: AlignmentSettings) -> None:
    if alignment.unit not in ("options", "answers") or alignment.start == "old":
        raise ConfigError(f"alignment: unit {alignment.unit}, start {alignment.start}: needs the old model's weights")


@contextmanager
def _made_on_the_way(store: str | Path | KeptStores | None, out: Path) -> Iterator[KeptStores]:
    """Give the folders of what is made on the way to an adapter; once that is written, only wanted ones are kept."""
    folder = out.with_name(f".{out.name}.teachers")
    yield store if isinstance(store, KeptStores) else KeptStores.in_one(Path(store or folder))
    if store is None:
        distributed.from_main(lambda: shutil.rmtree(folder, ignore_errors=True))


def _align_on_tokens(
    old_base: LoadedBase | Record,
    start: Start,
    task: Task,
    examples: tuple[Sequence[Example], Sequence[Example]],
    settings: TrainingSettings,
    out: Path,
    description: str,
    engine: EngineName | None,
    stores: KeptStores,
) -> TrainingResult:
    """Train the student from both teachers, by the wanted engine or the nearest that the models allow."""
    assert isinstance(old_base, LoadedBase), "a record was refused"
    alignment, new_base = start.alignment, start.base
    student = start.student()
    old = TaskModel.load(old_base, start.adapters["old"])
    new = TaskModel.load(new_base, start.adapters["new"])
    data = tokenized_parts(new_base, task, *examples, settings)
    crossing = _crossing(old_base, new_base, task, examples, data, alignment, settings)
    wanted = engine or alignment.engine
    used, heads = choose_engine(
        wanted,
        student=student,
        old=old.model,
        new=new.model,
        sample=data[0].sequences[0],
        old_sample=None if crossing is None else crossing.texts.old[0],
    )
    if used not in ("projected", "mixed"):
        refuse_if_forced(settings.kernels, f"the engine {used} has its teachers in the loss")
    if used == "online" or heads is None:
        # The plain formulas take a row for a sequence.
        settings = settings.model_copy(update={"packing": "off"})
        teachers = OnlineTeachers(old.model, new.model)
        taught = _Taught(partial(CompatibilityTrainer, teachers=teachers, mask=alignment.mask), {})
    else:
        if crossing is not None and used != wanted:
            # Rows of another kind than beside an old model with the new one's tokens.
            stores = stores._replace(new=stores.old)
        taught = _taught_by_stores(stores, old, new, heads, data, used, alignment, settings, description, crossing)
    with _off_the_accelerator(old.base, unless=used == "online" or old.base.model is new.base.model):
        return train_and_save(
            partial(taught.trainer, model=student, temperature=alignment.temperature, ce_weight=alignment.ce_weight),
            model=student,
            base=new.base,
            task=task,
            data=data,
            settings=settings,
            out=out,
            description=description,
            note=_note_of(old, new, alignment, used),
            base_is_free=used != "online",
            picked_by="cross_entropy" if alignment.selection == "cross_entropy" else "loss",
            record=lambda result: taught.told,
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
    examples: tuple[Sequence[Example], Sequence[Example]],
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
    return cross_examples(old, new, task, examples, data, kind=kind, max_length=longest)


class _Taught(NamedTuple):
    """A trainer with its teachers, and what `training.json` tells of these."""

    trainer: Callable[..., AdapterTrainer]
    told: Mapping[str, object]


def _taught_by_stores(
    stores: KeptStores,
    old: TaskModel,
    new: TaskModel,
    heads: Heads,
    data: Sequence[TokenizedExamples],
    engine: EngineName,
    alignment: AlignmentSettings,
    settings: TrainingSettings,
    description: str,
    crossing: Crossing | None,
) -> _Taught:
    """Run the teachers, or open what they left, and return the trainer that learns from it."""
    memory_bytes = settings.chunk_memory_mb * 2**20
    kept = StoreSettings(
        alignment.temperature,
        settings.batch_size,
        description,
        precision=alignment.store_precision,
        topk=alignment.topk,
        memory_bytes=memory_bytes,
    )
    # Before the teachers run for hours: a kernel that is wanted at any price may be refused.
    if engine in ("projected", "mixed"):
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
            stores.old / "mixed",
            old,
            new,
            heads,
            data,
            old_share=share_of_old(alignment.mask),
            share_name=alignment.mask,
            settings=kept,
        )
        return _Taught(partial(MixtureTrainer, mixture=mixture, head=heads.student, memory_bytes=memory_bytes), {})
    assert engine != "online", "online has no store"
    teachers = store_teachers(
        stores.old, old, new, heads, data, kind=engine, settings=kept, crossing=crossing, new_folder=stores.new
    )
    told: dict[str, object] = {}
    if crossing is not None:
        crossed = Crossed.of(teachers.old)
        crossed.tell(description, crossing.kind)
        told["old_tokens"] = crossed.as_dict()
    return _Taught(partial(StoredTrainer, teachers=teachers, mask=alignment.mask, memory_bytes=memory_bytes), told)


def _away(old: LoadedBase | Record, new: LoadedBase) -> AbstractContextManager[None]:
    """Return what keeps the old base off the accelerator while the student trains; nothing of a record does."""
    return nullcontext() if isinstance(old, Record) else _off_the_accelerator(old, unless=old.model is new.model)


@contextmanager
def _off_the_accelerator(base: LoadedBase, *, unless: bool) -> Iterator[None]:
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
