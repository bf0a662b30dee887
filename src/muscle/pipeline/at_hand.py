"""What of an update is on this machine: a dry run looks at that alone and downloads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType

from muscle.config.settings import BaseConfig, TaskConfig
from muscle.errors import DataError, ModelError
from muscle.models.base_files import base_fingerprint, is_hub_name, resolve_base
from muscle.tasks.sources import load_rows
from muscle.tasks.task import Example, Task


@contextmanager
def nothing_downloaded() -> Iterator[None]:
    """Keep the hub's client to its cache while the block runs, as `HF_HUB_OFFLINE=1` does for a whole process."""
    import huggingface_hub.constants

    clients: list[ModuleType] = [huggingface_hub.constants]
    if find_spec("datasets"):
        import datasets.config

        clients.append(datasets.config)
    before = [vars(client)["HF_HUB_OFFLINE"] for client in clients]
    try:
        for client in clients:
            vars(client)["HF_HUB_OFFLINE"] = True
        yield
    finally:
        for client, value in zip(clients, before, strict=True):
            vars(client)["HF_HUB_OFFLINE"] = value


def missing_bases(bases: Sequence[BaseConfig]) -> list[str]:
    """Return the hub names of bases whose weights are not in the hub's cache.

    Raises:
        ModelError: a base that is no hub name is not there or cannot be read.
    """
    missing = []
    for base in bases:
        try:
            base_fingerprint(resolve_base(base))
        except ModelError:
            if not is_hub_name(base):
                raise
            missing.append(base.base)
    return missing


def blank_examples(task: Task, entry: TaskConfig) -> tuple[int, int]:
    """Return how many training and test examples a task has whose own data on the hub is not here.

    They are the published sizes; a part that is a file is counted.

    Raises:
        DataError: the size of a part is not known.
    """
    trained = _published_size(task, "train", task.source("train", entry.train), entry.train_limit)
    return trained, _published_size(task, "test", task.source("test", entry.test), entry.test_limit)


def _published_size(task: Task, part: str, source: str, limit: int | None) -> int:
    if not source.startswith("hub:"):
        return len(load_rows(source, limit=limit))
    published = {} if task.hub is None else {task.hub.train: task.hub.num_train, task.hub.test: task.hub.num_test}
    size = published.get(source)
    if size is None:
        raise DataError(
            f"task {task.name}: {part} {source}: not on this machine, and its size is not known; load it once, or give "
            "a file"
        )
    return size if limit is None else min(size, limit)


BLANK_EXAMPLE = Example(id="", context="", reference=(), target="")
"""Stands for one that is not here, in counts."""
