"""The examples of an update's tasks, and how they are put to its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from muscle.config.settings import TaskConfig
from muscle.config.update_file import UpdateConfig
from muscle.errors import ConfigError, DataError
from muscle.foreign_text import listing
from muscle.pipeline.at_hand import BLANK_EXAMPLE, blank_examples
from muscle.tasks import TaskData, get_task, load_task_data
from muscle.tasks.prompt import make_prompt
from muscle.tasks.task import check_unit


def load_data(config: UpdateConfig, *, split_seed: int, outlines: bool = False) -> dict[str, TaskData]:
    """Load each task's examples, by the task's name.

    Args:
        config: the update.
        split_seed: of the split into training and validation data, and of the solved examples in a prompt.
        outlines: whether the published sizes may stand for data on the hub that cannot be had.

    Raises:
        ConfigError: two tasks have one name, or a key names a task that is not there.
        DataError: data is missing or wrong.
    """
    names = [get_task(entry.task).name for entry in config.tasks]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ConfigError(f"tasks.{index}: a second task named {name!r}; expected each name once")
    named: dict[str, object] = {
        "old.adapters": config.old.adapters,
        "new.adapters": config.new.adapters,
        "alignment.unlabelled": config.alignment.unlabelled,
        "alignment.teachers": config.alignment.teachers,
        **{f"evaluation.beside.{name}.teachers": each.teachers for name, each in config.evaluation.beside.items()},
        "prompt.num_fewshot": config.prompt.num_fewshot,
    }
    for key, given in named.items():
        for name in given if isinstance(given, Mapping) else ():
            if name not in names:
                raise ConfigError(f"{key}.{name}: expected a task's name ({listing(sorted(names))})")
    load = _load_or_outline if outlines else _load_task
    loaded = [load(entry, config, split_seed) for entry in config.tasks]
    for alignment in (config.alignment, *config.evaluation.beside.values()):
        for data in loaded:
            check_unit(data.task, alignment.unit, alignment.texts)
    return dict(zip(names, loaded, strict=True))


def _load_or_outline(entry: TaskConfig, config: UpdateConfig, seed: int) -> TaskData:
    task = get_task(entry.task)
    try:
        return _load_task(entry, config, seed)
    except DataError:
        if not any(task.source(part, given).startswith("hub:") for part, given in _train_and_test(entry)):
            raise
    num_train, num_test = blank_examples(task, entry)
    num_held = max(1, round(num_train * config.training.validation_fraction))
    held, learnt, tested = ((BLANK_EXAMPLE,) * number for number in (num_held, num_train - num_held, num_test))
    return TaskData(task, learnt, held, tested, is_outline=True)


def _train_and_test(entry: TaskConfig) -> tuple[tuple[Literal["train", "test"], str | None], ...]:
    return ("train", entry.train), ("test", entry.test)


def _load_task(entry: TaskConfig, config: UpdateConfig, seed: int) -> TaskData:
    task, training = get_task(entry.task), config.training
    data = load_task_data(
        task,
        train=task.source("train", entry.train),
        test=task.source("test", entry.test),
        train_limit=entry.train_limit,
        test_limit=entry.test_limit,
        validation_fraction=training.validation_fraction,
        seed=seed,
        unlabelled=config.alignment.unlabelled_of(task.name),
    )
    return replace(data, task=task.prompted(make_prompt(config.prompt, task.name, data.train, seed=seed)))
