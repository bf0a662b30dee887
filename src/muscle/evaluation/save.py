"""Scored runs on disk: `TASK.jsonl` a task, and `run.json` beside them with how they were made."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from muscle import distributed
from muscle.errors import DataError
from muscle.files import read_json, write_json
from muscle.limits import memory_for
from muscle.models.adapters import load_adapter
from muscle.models.bases import LoadedBase
from muscle.predictions.run import METADATA_FILE, Run
from muscle.predictions.writers.records import write_records
from muscle.tasks.task import Example, Task

if TYPE_CHECKING:
    from muscle.evaluation.sampling import Sampling
    from muscle.evaluation.vllm_base import VllmBase

logger = logging.getLogger(__name__)


def evaluate_to_file(
    base: LoadedBase | VllmBase,
    adapter: Path | None,
    task: Task,
    examples: Sequence[Example],
    out: Path,
    *,
    name: str,
    batch_size: int,
    sampling: Sampling | None = None,
) -> None:
    """Score a base with an adapter (or bare) on examples; write records and `run.json` beside them.

    Args:
        base: in memory, or in vLLM, which was given the adapter when it started.
        adapter: a PEFT folder; None is the bare base.
        task: what is asked and how it is scored.
        examples: the items.
        out: the file of the records.
        name: the run's name.
        batch_size: options or prompts a forward pass; vLLM makes its batches itself.
        sampling: see `muscle.evaluation.harness.evaluate`.

    Raises:
        ModelError: the adapter doesn't fit.
        OutputError: the records cannot be written.
    """
    from muscle.evaluation.parallel import evaluate_in_shares

    if isinstance(base, LoadedBase):
        model = load_adapter(base, adapter) if adapter else base.model
        with memory_for(f"scoring {name} on {task.name}", advice=f"set a smaller batch size than {batch_size}"):
            run = evaluate_in_shares(
                model, base.tokenizer, task, examples, batch_size=batch_size, name=name, sampling=sampling
            )
    else:
        run = base.evaluate(adapter, task, examples, name=name, sampling=sampling)
    # No absolute path: results are passed on.
    facts = {
        "model": {**run.metadata["model"], "name": base.source},
        "base_fingerprint": base.fingerprint,
        "adapter": os.path.relpath(adapter, out.parent) if adapter else None,
    }
    distributed.from_main(lambda: save_run(run, out, facts=facts))


def save_run(run: Run, out: Path, *, facts: Mapping[str, object]) -> None:
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
    path = out.parent / METADATA_FILE
    # One `run.json` for all tasks of a folder, which are scored one after the other.
    tasks = {**tasks_of(path), **run.metadata["tasks"]}
    write_json(path, {**run.metadata, **facts, "name": run.name, "tasks": tasks})


def tasks_of(path: Path) -> dict[str, object]:
    """Return what a `run.json` says of each task; of a damaged one nothing, which is told."""
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
