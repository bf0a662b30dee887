"""One training at option level, from items and a lesson to the adapter's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import set_seed

from muscle import distributed
from muscle.config.methods import SelectionName
from muscle.config.settings import TrainingSettings
from muscle.errors import ConfigError, DataError
from muscle.models.adapter_check import adapter_content
from muscle.models.adapters import load_adapter
from muscle.models.bases import LoadedBase, without_adapter
from muscle.models.option_scores import fits, reads_trees, whole_head
from muscle.training.one_training import Student, Training, TrainingData
from muscle.training.options.data import OptionData
from muscle.training.options.items import ItemCollator, OptionItems
from muscle.training.options.lessons import Lesson, label_lesson
from muscle.training.options.trainer import OptionLoss, OptionTrainer
from muscle.training.run import TrainingResult, train_and_save

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def train_on_labels(
    base: LoadedBase,
    start_from: Path,
    data: OptionData,
    *,
    settings: TrainingSettings,
    out: Path,
    description: str = "train on labels",
) -> TrainingResult:
    """Train an adapter on with the cross-entropy of the right option, without any teacher.

    The control of every method at option level: the same unit, and no old model.

    Args:
        base: the adapter's.
        start_from: the adapter's folder.
        data: labelled items.
        settings: epochs, learning rate and so on.
        out: the new adapter's folder.
        description: for progress and log.

    Returns:
        How it went; also written to `training.json` in `out`.

    Raises:
        ModelError: `start_from` doesn't fit the base.
        DataError: no examples, or one without options.
        OutputError: `out` cannot be written.
    """
    set_seed(settings.seed)
    student = load_adapter(base, start_from, trainable=True)
    note = {"stage": "labels", "unit": data.unit, "start_from": adapter_content(start_from)}
    return train_on_options(
        Student(student, base),
        data,
        label_lesson(data),
        partial(OptionTrainer, loss=OptionLoss()),
        Training(settings, out, description),
        note=note,
        record={"unit": data.unit, "target": "labels"},
    )


def train_on_options(
    student: Student,
    data: OptionData,
    lesson: Lesson,
    build: Callable[..., OptionTrainer],
    training: Training,
    *,
    note: Mapping[str, object],
    record: Mapping[str, object],
    selection: SelectionName = "own",
    items_before: int = 0,
) -> TrainingResult:
    """Train a student on the options of items and write its adapter.

    Args:
        student: who learns.
        data: the items.
        lesson: what they are to be answered like.
        build: `OptionTrainer` with its loss: how that is approached.
        training: how it goes, and where the adapter is kept.
        note: see `train_and_save`.
        record: what `training.json` says beside the result, the lesson's facts and what `_full_record` adds.
        selection: which validation value picks the epoch.
        items_before: that a training before this one has seen, for the control's length.

    Raises:
        ConfigError: the base is put in shards, and `reads_items` refuses it.
    """
    _refuse_no_items(data)
    items = data.items(student.base.tokenizer, training.settings.max_length)
    reading = _reading(student, items, training.settings)
    return train_and_save(
        partial(build, model=student.model, targets=lesson.target, **reading),
        student,
        TrainingData(data.task, *items, ItemCollator()),
        training,
        note={**note, "lesson": lesson.target.digest},
        picked_by="cross_entropy" if selection == "cross_entropy" else "loss",
        record=partial(_full_record, data, {**record, **lesson.facts}, items_before),
    )


def _reading(student: Student, items: tuple[OptionItems, OptionItems], settings: TrainingSettings) -> dict[str, int]:
    """Return how a trainer reads items, as its arguments."""
    pad_token_id = student.base.tokenizer.pad_token_id
    one_by_one = not reads_items(student.model, items, pad_token_id)
    memory_bytes = settings.chunk_memory_mb * 2**20
    return {"pad_token_id": pad_token_id, "option_by_option": one_by_one, "memory_bytes": memory_bytes}


def reads_items(model: PeftModel | PreTrainedModel, items: tuple[OptionItems, OptionItems], pad_token_id: int) -> bool:
    """Tell whether a model reads items' options in one pass.

    Raises:
        ConfigError: it does not, for some of them at least, or its head is trained, and it is to be put in shards: each
            process would gather them another number of times, and wait for the others in vain.
    """
    sample = max((tree.input_ids for tree in items[0].trees), key=lambda ids: len(set(ids)))
    found = reads_trees(model, sample, pad_token_id=pad_token_id)
    config = without_adapter(model).config
    trees = [tree for part in items for tree in part.trees]
    one_pass = all(tree.is_chain for tree in trees) or (found and all(fits(config, tree) for tree in trees))
    if distributed.sharded() and not one_pass:
        raise ConfigError(
            "alignment.unit: expected a base that reads all options of an item in one pass (docs/engine.md), where the "
            "launcher puts it in shards (FSDP, DeepSpeed); this one reads them one by one: launch without shards "
            "(examples/accelerate/ddp.yaml)"
        )
    if distributed.sharded() and whole_head(model) is None:
        raise ConfigError(
            "lora.target_modules: expected no adapter on the output head, where a training at option level is put in "
            "shards by the launcher (FSDP, DeepSpeed); leave the head out, or launch without shards"
        )
    return found


def _refuse_no_items(data: OptionData) -> None:
    for name, part in (("training", data.train), ("validation", data.validation)):
        if not part:
            raise DataError(f"{name} data: expected at least one example, found none")


def _full_record(
    data: OptionData, record: Mapping[str, object], items_before: int, result: TrainingResult
) -> dict[str, object]:
    """Return what `training.json` says beside a result.

    `validation` holds for each epoch how well the student agreed with its target on the validation items: the share of
    items with the same likeliest option, and the KL. `control_epochs` are the epochs of labelled items in which a
    control sees as many items.
    """
    seen = items_before + result.num_epochs * data.num_trained
    return {
        **record,
        "whole_options": not data.distinguishing,
        "per_character": data.per_character,
        **({"answers": data.answers.model_dump(), "mean_candidates": data.mean_options} if data.answers else {}),
        "num_labelled": len(data.train) // data.times,
        "num_unlabelled": len(data.unlabelled),
        "num_validation": len(data.validation),
        "validation": {
            name: [line[f"eval_{name}"] for line in result.log if f"eval_{name}" in line]
            for name in ("agreement", "kl", "cross_entropy")
        },
        "items_seen": seen,
        "control_epochs": -(-seen // (len(data.train) // data.times)),
    }
