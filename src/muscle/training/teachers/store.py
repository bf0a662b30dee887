"""The teacher store: what a frozen teacher knows of every token, on disk, so that it runs once and not in every step.

A folder with `manifest.json` and shards in safetensors. A shard holds whole examples; a column for each tensor of the kind's rows (`teacher_rows.py`,
`options.py`), one row a predicted token (or an option), and the offsets of its examples. The tensors are memory-mapped: a batch reads its own
rows, the store may be larger than the memory.

A store is only used for what it was made for. Its identity (base, adapter, data, tokenizer, temperature, precision, versions) stands in the
manifest, each shard's SHA-256 too; both are checked when it is opened, and a few tokens are computed again and compared
(`stored_teachers.py`). A shard appears whole or not at all, and in the manifest only after that, so a killed build goes on
at the shard that it was in. Several processes build a store together, a shard each at a time.
"""

from __future__ import annotations

import logging
import shutil
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from muscle import distributed
from muscle.errors import DataError, OutputError
from muscle.files import atomic_path, read_json, write_json
from muscle.progress import progress_bar
from muscle.provenance import file_sha256
from muscle.training.head.output_head import OutputHead
from muscle.training.teachers.rows import HiddenRows, MixedRows, ProjectedRows, TopkRows

logger = logging.getLogger(__name__)

StoreKind = Literal["projected", "mixed", "hidden", "topk", "options"]

FORMAT = "muscle-teacher-store/1"
SHARD_BYTES = 64 * 2**20
"""A killed build loses at most this much work; a few hundred files for the largest stores."""
_MANIFEST = "manifest.json"
_SCALAR_BYTES = {
    "projected": 4 + 4 + 4 + 1,
    "mixed": 4 + 4 + 4,
    "hidden": 4 + 1,
    "topk": 4 + 4 + 1,
    "options": 4 + 4,
}


@dataclass(frozen=True)
class OptionRows:
    """What a teacher thinks of answer options.

    Attributes:
        log_likelihood: (options,), sum of log p over an option's tokens given the context, in nats.
        num_tokens: (options,), tokens of an option.
    """

    log_likelihood: Tensor
    num_tokens: Tensor

    def __len__(self) -> int:
        """Return the number of options."""
        return len(self.num_tokens)


Rows = ProjectedRows | MixedRows | HiddenRows | TopkRows | OptionRows
_ROWS: Mapping[StoreKind, type[Rows]] = {
    "projected": ProjectedRows,
    "mixed": MixedRows,
    "hidden": HiddenRows,
    "topk": TopkRows,
    "options": OptionRows,
}
_NARROWED = ("vector", "log_probs")
"""Columns that are kept in the store's own precision; whatever else is real stands in float32."""


def row_bytes(kind: StoreKind, width: int, dtype: torch.dtype) -> int:
    """Return the bytes of a row on disk.

    >>> row_bytes("projected", 576, torch.float16), row_bytes("topk", 64, torch.float16)
    (1165, 393)
    """
    entry = dtype.itemsize + (4 if kind == "topk" else 0)
    return width * entry + _SCALAR_BYTES[kind]


@dataclass(frozen=True)
class Shard:
    """A file of the store.

    Attributes:
        file: its name in the store's folder.
        first: index of its first example.
        num_examples: examples in it.
        sha256: of its bytes.
    """

    file: str
    first: int
    num_examples: int
    sha256: str


class TeacherStore:
    """An open store: rows of examples by their index.

    Args:
        path: its folder.
        kind: what a row is.
        identity: what it was made of; holds T of projected rows as `temperature`.
        shards: in the order of their examples, without a gap.

    Attributes:
        num_examples: examples in it.
        num_bytes: of its shards.
    """

    def __init__(
        self, path: Path, kind: StoreKind, identity: Mapping[str, Any], shards: Sequence[Shard]
    ) -> None:
        self.path, self.kind, self.identity = path, kind, identity
        self._firsts = [shard.first for shard in shards]
        self._tensors = [_map_tensors(path / shard.file) for shard in shards]
        self.num_examples = sum(shard.num_examples for shard in shards)
        self.num_bytes = sum((path / shard.file).stat().st_size for shard in shards)

    def rows(self, indices: Sequence[int], *, head: OutputHead | None = None, device: Any = None) -> Any:
        """Return the rows of examples, one after the other, in the order of `indices`.

        Args:
            indices: of examples.
            head: the teacher's own head, which hidden rows carry with them.
            device: where the rows shall be.

        Returns:
            The rows of the store's kind; reals as float32, hidden states as they were.
        """
        parts = [self._example(index) for index in indices] or [self._none()]
        joined = {name: torch.cat([part[name] for part in parts]).to(device) for name in parts[0]}
        return _from_columns(self.kind, joined, head=head, temperature=self.identity.get("temperature"))

    def _none(self) -> dict[str, Tensor]:
        return {name: tensor[:0] for name, tensor in self._tensors[0].items() if name != "offsets"}

    def _example(self, index: int) -> dict[str, Tensor]:
        shard = bisect_right(self._firsts, index) - 1
        tensors, inside = self._tensors[shard], index - self._firsts[shard]
        start, end = tensors["offsets"][inside : inside + 2].tolist()
        return {name: tensor[start:end] for name, tensor in tensors.items() if name != "offsets"}


def build_store(
    path: Path,
    make_rows: Callable[[Sequence[int]], Rows],
    *,
    kind: StoreKind,
    identity: Mapping[str, Any],
    num_tokens: Sequence[int],
    width: int,
    dtype: torch.dtype,
    batch_size: int = 8,
    shard_bytes: int = SHARD_BYTES,
    description: str = "teacher store",
) -> TeacherStore:
    """Write a store, or what is missing of it, and open it.

    A store of another identity at `path` is built again, and so is a damaged shard; both are logged.

    Args:
        path: its folder.
        make_rows: the rows of examples (by index), one after the other, from the running teacher.
        kind: what `make_rows` gives.
        identity: everything the rows depend on, as plain data; with `temperature`, T, where they are projected.
        num_tokens: rows per example: predicted tokens, or options.
        width: of a row's vector; k of a top-k store, 0 of options.
        dtype: of a row's vector, or of its log-probabilities, on disk.
        batch_size: examples in a call of `make_rows`; examples of like length share one.
        shard_bytes: size of a shard, about.
        description: for progress and log.

    Returns:
        The store.

    Raises:
        OutputError: it cannot be written, or the disk is too small for it.
    """
    size = row_bytes(kind, width, dtype)
    plan = _plan(num_tokens, max(1, shard_bytes // size))
    known = distributed.from_main(lambda: _reusable(path, kind, identity, plan))
    missing = [part for part in plan if part.start not in known]
    needed = size * sum(sum(num_tokens[part.start : part.stop]) for part in missing)
    distributed.from_main(lambda: _check_room(path, needed, description))
    with progress_bar(description, len(num_tokens)) as show:
        for round_ in batched(missing, distributed.num_processes()):
            part = round_[distributed.rank()] if distributed.rank() < len(round_) else None
            shard = None
            if part is not None:
                tensors = _shard_tensors(part, make_rows, num_tokens, batch_size, dtype)
                shard = _write_shard(path, part, tensors)
            known |= {shard.first: shard for shard in distributed.gather(shard) if shard is not None}
            if distributed.is_main():
                _write_manifest(path, kind, identity, known, len(num_tokens))
            show(round_[-1].stop, "")
    distributed.wait()
    return TeacherStore(path, kind, identity, [known[part.start] for part in plan])


def open_store(path: Path, *, kind: StoreKind, identity: Mapping[str, Any]) -> TeacherStore:
    """Open a finished store after checking that it is whole and was made for this very purpose.

    Raises:
        DataError: it isn't there, isn't finished, is damaged, or belongs to another base, adapter, data, tokenizer,
            temperature, precision or version; the message names which.
    """
    manifest = _read_manifest(path)
    differing = _differing(manifest, kind, identity)
    if differing:
        raise DataError(
            f"teacher store {path}: made for another {', '.join(differing)}; delete it or name another folder"
        )
    shards = [Shard(**entry) for entry in manifest["shards"]]
    end = 0
    for shard in shards:
        if shard.first != end:
            break
        end += shard.num_examples
    if end != manifest["num_examples"]:
        raise DataError(f"teacher store {path}: not finished; build it to its end")
    for shard in shards:
        damage = _damage(path, shard)
        if damage:
            raise DataError(f"teacher store {path}: {shard.file} {damage}; build it again")
    return TeacherStore(path, kind, identity, shards)


def _reusable(
    path: Path, kind: StoreKind, identity: Mapping[str, Any], plan: Sequence[range]
) -> dict[int, Shard]:
    """Return the whole shards of a store of this identity by their first example; clear away anything else."""
    if not path.exists():
        return {}
    try:
        manifest = _read_manifest(path)
    except DataError as error:
        logger.warning("%s; building it", error)
        shutil.rmtree(path)
        return {}
    differing = _differing(manifest, kind, identity)
    if differing:
        logger.warning("teacher store %s: made for another %s; building it again", path, ", ".join(differing))
        shutil.rmtree(path)
        return {}
    kept = {}
    for shard in (Shard(**entry) for entry in manifest["shards"]):
        if range(shard.first, shard.first + shard.num_examples) not in plan:
            continue  # cut at another shard size
        damage = _damage(path, shard)
        if damage:
            logger.warning("teacher store %s: %s %s; building it again", path, shard.file, damage)
        else:
            kept[shard.first] = shard
    return kept


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / _MANIFEST
    if not file.is_file():
        raise DataError(f"teacher store {path}: there is no finished shard")
    try:
        manifest = read_json(file)
    except DataError as error:
        raise DataError(f"teacher store {path}: {_MANIFEST} is damaged ({error})") from error
    if manifest.get("format") != FORMAT:
        raise DataError(f"teacher store {path}: expected format {FORMAT}, found {manifest.get('format')}")
    try:
        shards = [Shard(**entry) for entry in manifest["shards"]]
        whole = all(
            isinstance(number, int) for shard in shards for number in (shard.first, shard.num_examples)
        )
        whole &= all(isinstance(text, str) for shard in shards for text in (shard.file, shard.sha256))
        whole &= isinstance(manifest["identity"], dict) and isinstance(manifest["num_examples"], int)
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise DataError(f"teacher store {path}: {_MANIFEST} is damaged; delete the folder to build it again")
    return manifest


def _differing(manifest: Mapping[str, Any], kind: StoreKind, identity: Mapping[str, Any]) -> list[str]:
    """Name the parts of the identity that are not the same."""
    found, expected = (
        {"kind": side_kind, **side}
        for side_kind, side in ((manifest.get("kind"), manifest.get("identity", {})), (kind, identity))
    )
    return sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))


def _damage(path: Path, shard: Shard) -> str | None:
    file = path / shard.file
    if not file.is_file():
        return "is missing"
    return None if file_sha256(file) == shard.sha256 else "is damaged (its SHA-256 has changed)"


def batched(parts: Sequence[range], size: int) -> list[Sequence[range]]:
    """Cut into runs of `size`; the last may be shorter."""
    return [parts[start : start + size] for start in range(0, len(parts), size)]


def _plan(num_tokens: Sequence[int], tokens_per_shard: int) -> list[range]:
    """Cut examples into ranges of at most so many tokens (of one example at least)."""
    parts, start, filled = [], 0, 0
    for index, count in enumerate(num_tokens):
        if index > start and filled + count > tokens_per_shard:
            parts.append(range(start, index))
            start, filled = index, 0
        filled += count
    return [*parts, range(start, len(num_tokens))]


def _check_room(path: Path, needed: int, description: str) -> None:
    if not needed:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    logger.info("%s: %s to write to %s, %s free", description, _size(needed), path, _size(free))
    if needed > free:
        raise OutputError(
            f"teacher store {path}: needs {_size(needed)}, found {_size(free)} free; make room, name another folder, "
            "or use the online engine"
        )


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


def _shard_tensors(
    part: range,
    make_rows: Callable[[Sequence[int]], Rows],
    num_tokens: Sequence[int],
    batch_size: int,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Run the teacher over a shard's examples; rows in the order of the examples."""
    by_length = sorted(part, key=lambda index: num_tokens[index])
    done: dict[int, dict[str, Tensor]] = {}
    for start in range(0, len(by_length), batch_size):
        batch = by_length[start : start + batch_size]
        columns = _columns(make_rows(batch), dtype)
        end = 0
        for index in batch:
            begin, end = end, end + num_tokens[index]
            done[index] = {name: column[begin:end] for name, column in columns.items()}
    tensors = {name: torch.cat([done[index][name] for index in part]) for name in done[part.start]}
    offsets = torch.tensor([0, *(num_tokens[index] for index in part)]).cumsum(0)
    return {**tensors, "offsets": offsets}


def _columns(rows: Rows, dtype: torch.dtype) -> dict[str, Tensor]:
    columns = {}
    for field in fields(rows):
        column = getattr(rows, field.name)
        if not isinstance(column, Tensor):
            continue
        if column.is_floating_point():
            column = column.to(dtype if field.name in _NARROWED else torch.float32)
        elif column.dtype == torch.long:
            column = column.int()
        columns[field.name] = column.cpu().contiguous()
    return columns


def _from_columns(
    kind: StoreKind, columns: Mapping[str, Tensor], *, head: OutputHead | None, temperature: float | None
) -> Rows:
    beside = {"head": head, "temperature": temperature, "bias": None}
    wide = {
        name: column.long()
        if column.dtype == torch.int32
        else column.float()
        if column.is_floating_point() and kind != "hidden"
        else column
        for name, column in columns.items()
    }
    rows: Any = _ROWS[kind]
    made: Rows = rows(**{field.name: wide.get(field.name, beside.get(field.name)) for field in fields(rows)})
    return made


def _write_shard(path: Path, part: range, tensors: dict[str, Tensor]) -> Shard:
    name = f"examples-{part.start:08d}.safetensors"
    with atomic_path(path / name) as temporary:
        save_file(tensors, temporary)
    return Shard(name, part.start, len(part), file_sha256(path / name))


def _write_manifest(
    path: Path,
    kind: StoreKind,
    identity: Mapping[str, Any],
    shards: Mapping[int, Shard],
    num_examples: int,
) -> None:
    manifest = {
        "format": FORMAT,
        "kind": kind,
        "identity": dict(identity),
        "num_examples": num_examples,
        "shards": [asdict(shards[first]) for first in sorted(shards)],
    }
    write_json(path / _MANIFEST, manifest)


def _map_tensors(file: Path) -> dict[str, Tensor]:
    """A shard's tensors as views of the file."""
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  safe_open is no mapping
    except (SafetensorError, OSError) as error:
        raise DataError(f"teacher store {file.parent}: {file.name} cannot be read ({error})") from error
