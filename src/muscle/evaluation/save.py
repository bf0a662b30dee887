"""Scored runs on disk: `TASK.jsonl` a task, and `run.json` beside them with how they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from muscle.files import write_json
from muscle.predictions.records import write_records
from muscle.predictions.run import Run

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
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    tasks = {**known.get("tasks", {}), **run.metadata["tasks"]}
    write_json(path, {**run.metadata, **facts, "name": run.name, "tasks": tasks})
