"""Step 2 of the method: the compatibility adapter (MUSCLE, 2024, Sec. 4.1, Eq. 1 and 5)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from muscle import distributed
from muscle.config.alignment import AlignmentSettings
from muscle.config.methods import EngineName
from muscle.config.settings import LoraSettings, TrainingSettings
from muscle.errors import ConfigError
from muscle.models.adapters import check_place
from muscle.models.bases import LoadedBase, off_the_accelerator
from muscle.tasks.recorded import Record
from muscle.tasks.task import Example, Task, check_unit
from muscle.training.align_tokens import align_on_tokens
from muscle.training.data.texts import Texts
from muscle.training.interpolate import interpolate
from muscle.training.one_training import Training
from muscle.training.options.align import OptionAlignment
from muscle.training.options.data import OptionData
from muscle.training.run import TrainingResult
from muscle.training.start import Start
from muscle.training.teachers.kept_stores import KeptStores


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

    Args:
        old_base: M_base_v1, loaded; or, for methods on whole answers, a record of the old model's answers.
        old_adapter: A_v1's folder; None with a record.
        new_base: M_base_v2, loaded.
        new_adapter: A_v2's folder.
        task: the task of the examples.
        train_examples: what is learnt, the task adapters' own; with candidate answers where the method reads these.
        validation_examples: what the epoch is chosen by.
        alignment: the method.
        settings: epochs, learning rate and so on.
        out: the adapter's folder; see `finetune`.
        description: for progress and log.
        engine: in place of `alignment.engine`: what is there of the teachers while the adapter trains.
        store: folder of the teacher stores, kept, or folders that alignments share; without it they go once `out` is
            written.
        unlabelled_examples: trained on too but for Eq. 1 on tokens; their labels are not looked at.
        lora: of a fresh start (`alignment.start`).

    Returns:
        How it went; also in `out/training.json`.

    Raises:
        ModelError: an adapter doesn't fit its base, or tokens of the bases cannot be aligned.
        DataError, OutputError: no examples, or an empty one; `out` or the stores cannot be written.
        ConfigError: a setting can't be met here: packing, kernels; a method that needs an old model that is a record.
    """
    check_place(Path(out))  # before the teachers run for hours
    check_unit(task, alignment.unit, alignment.texts)
    training, adapters = Training(settings, Path(out), description), _folders(old_adapter, new_adapter)
    if isinstance(old_base, Record) or "old" not in adapters:
        _refuse_without_weights(alignment)
    elif alignment.unit == "weights":
        return interpolate(new_base, adapters["old"], adapters["new"], alignment=alignment, out=training.out)
    start = Start(new_base, adapters, alignment, lora or LoraSettings(), settings.seed)
    with _made_on_the_way(store, training.out) as made:
        if alignment.unit == "tokens":
            texts = Texts(train_examples, validation_examples, unlabelled_examples, alignment.every_text)
            return align_on_tokens(old_base, start, task, texts, training, engine or alignment.engine, made)
        data = OptionData(task, train_examples, validation_examples, unlabelled_examples, alignment.answers_in_use)
        return OptionAlignment(old_base, start, data, training, made).run(_away(old_base, new_base))


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


def _away(old: LoadedBase | Record, new: LoadedBase) -> AbstractContextManager[None]:
    """Return what keeps the old base off the accelerator while the student trains; nothing of a record does."""
    return nullcontext() if isinstance(old, Record) else off_the_accelerator(old, unless=old.model is new.model)
