"""Scored runs on disk: `TASK.jsonl` a task, and `run.json` beside them with how they were made."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from muscle.errors import DataError
from muscle.files import read_json, write_json
from muscle.predictions.run import Run
from muscle.predictions.writers.records import write_records

logger = logging.getLogger(__name__)

RUN_FILE = "run.json"


def save_run(run: Run, out: Path, *, facts: dict[str, Any]) -> None:
    """Write a scored task's records to `out` and its metadata into `run.json` beside it.

    What `run.json` says of other tasks stays.

    Args:
        run: one task's predictions.
        out: the file, `.jsonl` or `.parquet`.
        facts: further metadata, such as the base and the adapter.

    Raises:
        OutputError: a file cannot be written.
    """
    write_records(out, run.frame)
    path = out.parent / RUN_FILE
    tasks = {**_other_tasks(path), **run.metadata["tasks"]}
    write_json(path, {**run.metadata, **facts, "name": run.name, "tasks": tasks})


def _other_tasks(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        tasks = read_json(path).get("tasks", {})
        if isinstance(tasks, dict):
            return tasks
        raise DataError(f"{path}: damaged, expected tasks by their names")
    except DataError as error:
        logger.warning("%s; written anew, what it said of other tasks is lost", error)
        return {}
