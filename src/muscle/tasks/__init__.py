"""Tasks: prompts, options or stop words, scoring, and their data.

The four tasks of the paper are built in; a task of your own is a short YAML file (docs/tasks.md).
"""

from __future__ import annotations

import difflib
from pathlib import Path

from muscle.errors import ConfigError
from muscle.tasks.built_in import gsm8k, hellaswag, piqa, samsum
from muscle.tasks.data import (
    TaskData,
    load_examples,
    load_task_data,
    load_unlabelled,
    split_train_validation,
)
from muscle.tasks.task import Example, Generation, Task

BUILT_IN = {task.name: task for task in (hellaswag.TASK, piqa.TASK, gsm8k.TASK, samsum.TASK)}
"""The paper's tasks by name (Table 3)."""


def get_task(name: str | Path) -> Task:
    """Return a built-in task by its name, or the task that a YAML file describes.

    Args:
        name: `hellaswag`, `piqa`, `gsm8k`, `samsum`, or the path of a `.yaml` or `.yml` file.

    Raises:
        ConfigError: there is no such task, or the YAML is wrong.

    >>> get_task("piqa").kind
    'choice'
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        from muscle.tasks.own.task_file import load_task

        return load_task(Path(name))
    if text not in BUILT_IN:
        near = difflib.get_close_matches(text.lower(), BUILT_IN, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"task {text!r}: expected one of {', '.join(BUILT_IN)} or the path of a task's YAML file{hint}"
        )
    return BUILT_IN[text]


__all__ = [
    "BUILT_IN",
    "Example",
    "Generation",
    "Task",
    "TaskData",
    "get_task",
    "load_examples",
    "load_task_data",
    "load_unlabelled",
    "split_train_validation",
]
