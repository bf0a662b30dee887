"""A task as the settings of a single step say that it is put to models, with solved examples where they want some."""

from __future__ import annotations

from collections.abc import Sequence

from muscle.config.settings import TrainingSettings
from muscle.config.update_file import StageSettings
from muscle.tasks.data import Split, load_examples, split_train_validation
from muscle.tasks.prompt import make_prompt
from muscle.tasks.task import Example, Task


def with_shots(task: Task, settings: StageSettings, train: str | None) -> Task:
    """Return a task that is to be asked with the prompt of its training; training data is read for shots alone.

    Args:
        task: it.
        settings: with the prompt, and the split and seed of the solved examples.
        train: where these come from; a built-in task's own training data without.

    Raises:
        DataError: the data is missing or wrong.
        ConfigError: there is none.
    """
    wanted = settings.prompt.shots_of(task.name)
    split = training_split(task, train, settings.training, None) if wanted else None
    return prompted(task, settings, split.train if split else ())


def prompted(task: Task, settings: StageSettings, train: Sequence[Example]) -> Task:
    """Return a task with the prompt of the settings; solved examples come from what is trained on."""
    return task.prompted(make_prompt(settings.prompt, task.name, train, seed=settings.training.seed))


def training_split(task: Task, train: str | None, training: TrainingSettings, limit: int | None) -> Split:
    """Return a task's training and validation examples, split as a training splits them."""
    examples = load_examples(task, task.source("train", train), limit=limit)
    return split_train_validation(examples, fraction=training.validation_fraction, seed=training.seed)
