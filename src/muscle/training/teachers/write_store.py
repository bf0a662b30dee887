"""Writes a teacher store, or what is missing of one: shard after shard, each whole or not at all.

A shard stands in the manifest only after it is whole, so a killed build goes on at the shard that it was in. Several
processes build a store together, a shard each at a time.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from muscle import distributed
from muscle.errors import DataError, OutputError
from muscle.files import atomic_path
from muscle.progress import progress_bar
from muscle.provenance import file_sha256
from muscle.training.teachers.store import Manifest, Rows, Shard, StoreKind, TeacherStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

SHARD_BYTES = 64 * 2**20
"""A killed build loses at most this much work; a few hundred files for the largest stores."""
SHARD_TOKENS = 2**16
"""The same, of tokens that are read, where their rows take hardly any bytes."""
# Of a row's columns beside its vector or its k entries: float32 and int32 take 4, a truth value 1.
_SCALAR_BYTES = {
    "projected": 4 + 4 + 4 + 1,
    "mixed": 4 + 4 + 4,
    "hidden": 4 + 1,
    "topk": 4 + 4 + 1,
    "options": 4 + 4,
}
_NARROWED = ("vector", "log_probs")
"""Columns that are kept in the store's own precision; whatever else is real stands in float32."""


@dataclass(frozen=True)
class RowLayout:
    """What a row is on disk.

    Attributes:
        kind: what it holds.
        width: of its vector; k of a top-k store, 0 of options.
        dtype: of its vector, or of its log-probabilities.

    >>> RowLayout("projected", 576, torch.float16).num_bytes, RowLayout("topk", 64, torch.float16).num_bytes
    (1165, 393)
    """

    kind: StoreKind
    width: int
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Bytes of a row."""
        entry = self.dtype.itemsize + (4 if self.kind == "topk" else 0)
        return self.width * entry + _SCALAR_BYTES[self.kind]


def build_store(
    path: Path,
    make_rows: Callable[[Sequence[int]], Rows],
    layout: RowLayout,
    *,
    identity: Mapping[str, object],
    num_tokens: Sequence[int],
    num_read: Sequence[int] | None = None,
    batch_size: int = 8,
    description: str = "teacher store",
) -> TeacherStore:
    """Write a store, or what is missing of it, and open it.

    A store of another identity at `path` is built again, and so is a damaged shard; both are logged.

    Args:
        path: its folder.
        make_rows: the rows of examples (by index), one after the other, from the running teacher.
        layout: what `make_rows` gives, and how it is kept.
        identity: everything the rows depend on, as plain data; with `temperature`, T, where they are projected.
        num_tokens: rows per example: predicted tokens, or options.
        num_read: tokens that the teacher reads per example, where those are not the rows.
        batch_size: examples in a call of `make_rows`; examples of like length share one.
        description: for progress and log.

    Returns:
        The store.

    Raises:
        OutputError: it cannot be written, or the disk is too small for it.
    """
    size, kind = layout.num_bytes, layout.kind
    lengths, per_shard = (num_tokens, max(1, SHARD_BYTES // size)) if num_read is None else (num_read, SHARD_TOKENS)
    plan = _cut_into_shards(lengths, per_shard)
    known = distributed.from_main(lambda: _reusable_shards(path, kind, identity, plan))
    missing = [part for part in plan if part.start not in known]
    needed = size * sum(sum(num_tokens[part.start : part.stop]) for part in missing)
    distributed.from_main(lambda: _check_disk(path, needed, description))
    with progress_bar(description, len(num_tokens)) as show:
        for round_ in batched(missing, distributed.num_processes()):
            part = round_[distributed.rank()] if distributed.rank() < len(round_) else None
            shard = None
            if part is not None:
                made: dict[int, dict[str, Tensor]] = {}
                # Examples of like length share a batch: padding would cost as much as text.
                for batch in batched(sorted(part, key=lengths.__getitem__), batch_size):
                    columns = _columns_on_disk(make_rows(batch), layout.dtype)
                    made |= _by_example(columns, batch, num_tokens)
                    show(part.start + len(made), "")
                shard = _write_shard(path, part, _shard_columns(part, made))
            known |= {shard.first: shard for shard in distributed.gather(shard) if shard is not None}
            # Only now: what the manifest names is whole, whenever the build is killed.
            if distributed.is_main():
                finished = [known[first] for first in sorted(known)]
                Manifest(kind, identity, len(num_tokens), finished).write(path)
            show(round_[-1].stop, "")
    distributed.wait()
    return TeacherStore(path, kind, identity, [known[part.start] for part in plan])


def _reusable_shards(
    path: Path, kind: StoreKind, identity: Mapping[str, object], plan: Sequence[range]
) -> dict[int, Shard]:
    """Return the whole shards of a store of this identity by their first example; clear away anything else."""
    if not path.exists():
        return {}
    try:
        manifest = Manifest.read(path)
    except DataError as error:
        logger.warning("%s; building it", error)
        shutil.rmtree(path)
        return {}
    differing = manifest.differs_in(kind, identity)
    if differing:
        logger.warning("teacher store %s: made for another %s; building it again", path, ", ".join(differing))
        shutil.rmtree(path)
        return {}
    kept = {}
    for shard in manifest.shards:
        # Cut at another shard size, or another shard's entry under this one's number.
        part = range(shard.first, shard.first + shard.num_examples)
        if part not in plan or shard.file != _shard_name(part):
            continue
        damage = shard.damage(path)
        if damage:
            logger.warning("teacher store %s: %s %s; building it again", path, shard.file, damage)
        else:
            kept[shard.first] = shard
    return kept


def batched(parts: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut into runs of `size`; the last may be shorter."""
    return [parts[start : start + size] for start in range(0, len(parts), size)]


def _cut_into_shards(num_tokens: Sequence[int], tokens_per_shard: int) -> list[range]:
    """Cut examples into ranges of at most so many tokens (of one example at least)."""
    parts, start, filled = [], 0, 0
    for index, count in enumerate(num_tokens):
        if index > start and filled + count > tokens_per_shard:
            parts.append(range(start, index))
            start, filled = index, 0
        filled += count
    return [*parts, range(start, len(num_tokens))]


def _check_disk(path: Path, needed: int, description: str) -> None:
    if not needed:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    logger.info("%s: %s to write to %s, %s free", description, _size_in_words(needed), path, _size_in_words(free))
    if needed > free:
        raise OutputError(
            f"teacher store {path}: needs {_size_in_words(needed)}, found {_size_in_words(free)} free; make room, name "
            "another folder, or use the online engine"
        )


def _size_in_words(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


def _by_example(
    columns: Mapping[str, Tensor], batch: Sequence[int], num_tokens: Sequence[int]
) -> dict[int, dict[str, Tensor]]:
    """Share the rows of a batch out among its examples."""
    ends = list(accumulate((num_tokens[index] for index in batch), initial=0))
    return {
        index: {name: column[start:end] for name, column in columns.items()}
        for index, (start, end) in zip(batch, pairwise(ends), strict=True)
    }


def _shard_columns(part: range, made: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return a shard's columns, rows in the order of its examples, and where each example's begin."""
    tensors = {name: torch.cat([made[index][name] for index in part]) for name in made[part.start]}
    sizes = [len(next(iter(made[index].values()))) for index in part]
    return {**tensors, "offsets": torch.tensor([0, *sizes]).cumsum(0)}


def _columns_on_disk(rows: Rows, dtype: torch.dtype) -> dict[str, Tensor]:
    columns = {}
    for field in fields(rows):
        column = getattr(rows, field.name)
        if not isinstance(column, Tensor):
            continue
        if column.is_floating_point():
            column = column.to(dtype if field.name in _NARROWED else torch.float32)
        # A vocabulary is far smaller than 2**31.
        elif column.dtype == torch.long:
            column = column.int()
        columns[field.name] = column.cpu().contiguous()
    return columns


def _shard_name(part: range) -> str:
    return f"examples-{part.start:08d}.safetensors"


def _write_shard(path: Path, part: range, tensors: dict[str, Tensor]) -> Shard:
    name = _shard_name(part)
    with atomic_path(path / name) as temporary:
        save_file(tensors, temporary)
    return Shard(name, part.start, len(part), file_sha256(path / name))
