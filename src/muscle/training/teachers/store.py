"""The teacher store: what a frozen teacher knows of every token, on disk, so that it runs once and not in every step.

A folder with `manifest.json` and shards in safetensors. A shard holds whole examples; a column for each tensor of the
kind's rows (`rows.py`), one row a predicted token (or an option), and the offsets of its examples. The tensors are
memory-mapped: a batch reads its own rows, the store may be larger than the memory.

A store is only used for what it was made for. Its identity (base, adapter, data, tokenizer, temperature, precision,
versions) stands in the manifest, each shard's SHA-256 too; both are checked when it is opened (`write_store.py`), and a
few tokens are computed again and compared (`run_teachers.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from muscle.errors import DataError
from muscle.files import read_json, write_json
from muscle.provenance import file_sha256
from muscle.training.head.output_head import OutputHead
from muscle.training.head.usable_head import Heads
from muscle.training.teachers.rows import (
    HiddenRows,
    MixedRows,
    OptionRows,
    ProjectedRows,
    TeacherRows,
    TopkRows,
)

StoreKind = Literal["projected", "mixed", "hidden", "topk", "options"]
Rows = ProjectedRows | MixedRows | HiddenRows | TopkRows | OptionRows

FORMAT = "muscle-teacher-store/1"
_MANIFEST = "manifest.json"
_ROWS: Mapping[StoreKind, type[Rows]] = {
    "projected": ProjectedRows,
    "mixed": MixedRows,
    "hidden": HiddenRows,
    "topk": TopkRows,
    "options": OptionRows,
}


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

    def damage(self, folder: Path) -> str | None:
        """Return what is wrong with the file in a store's folder; None where nothing is."""
        file = folder / self.file
        if not file.is_file():
            return "is missing"
        return None if file_sha256(file) == self.sha256 else "is damaged (its SHA-256 has changed)"


@dataclass(frozen=True)
class Manifest:
    """What a store says of itself.

    Attributes:
        kind: what a row is.
        identity: what it was made of.
        num_examples: examples that it holds once it is finished.
        shards: those that are finished.
    """

    kind: StoreKind
    identity: Mapping[str, object]
    num_examples: int
    shards: Sequence[Shard]

    def differs_in(self, kind: StoreKind, identity: Mapping[str, object]) -> list[str]:
        """Name the parts of another kind and identity that are not this store's."""
        found, expected = {"kind": self.kind, **self.identity}, {"kind": kind, **identity}
        return sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))

    def write(self, folder: Path) -> None:
        """Write it into a store's folder."""
        write_json(folder / _MANIFEST, {"format": FORMAT, **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read a store's manifest.

        Raises:
            DataError: there is none, or it is damaged or of another format.
        """
        file = folder / _MANIFEST
        if not file.is_file():
            raise DataError(f"teacher store {folder}: there is no finished shard")
        try:
            written = read_json(file)
        except DataError as error:
            raise DataError(f"teacher store {folder}: {_MANIFEST} is damaged ({error})") from error
        if written.get("format") != FORMAT:
            raise DataError(f"teacher store {folder}: expected format {FORMAT}, found {written.get('format')}")
        try:
            shards = [Shard(**entry) for entry in written["shards"]]
            manifest = cls(written["kind"], written["identity"], written["num_examples"], shards)
        except (KeyError, TypeError):
            manifest = None
        if manifest is None or not manifest._is_whole():
            raise DataError(f"teacher store {folder}: {_MANIFEST} is damaged; delete the folder to build it again")
        return manifest

    def _is_whole(self) -> bool:
        """Tell whether every value is of its type, whoever wrote it."""
        numbers = (
            self.num_examples,
            *(each for shard in self.shards for each in (shard.first, shard.num_examples)),
        )
        texts = (each for shard in self.shards for each in (shard.file, shard.sha256))
        return (
            isinstance(self.identity, dict)
            and all(isinstance(each, int) for each in numbers)
            and all(isinstance(each, str) for each in texts)
        )


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

    def __init__(self, path: Path, kind: StoreKind, identity: Mapping[str, object], shards: Sequence[Shard]) -> None:
        self.path, self.kind, self.identity = path, kind, identity
        self._firsts = [shard.first for shard in shards]
        self._tensors = [_map_tensors(path / shard.file) for shard in shards]
        self.num_examples = sum(shard.num_examples for shard in shards)
        self.num_bytes = sum((path / shard.file).stat().st_size for shard in shards)

    def rows(
        self, indices: Sequence[int], *, head: OutputHead | None = None, device: torch.device | None = None
    ) -> Rows:
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

    def column(self, name: str) -> Tensor | None:
        """Return a column of all rows; None where the rows have none of that name."""
        parts = [tensors[name] for tensors in self._tensors if name in tensors]
        return torch.cat(parts) if parts else None

    def _none(self) -> dict[str, Tensor]:
        return {name: tensor[:0] for name, tensor in self._tensors[0].items() if name != "offsets"}

    def _example(self, index: int) -> dict[str, Tensor]:
        shard = bisect_right(self._firsts, index) - 1
        tensors, inside = self._tensors[shard], index - self._firsts[shard]
        # Slices of memory maps: only these rows are read from the disk.
        start, end = tensors["offsets"][inside : inside + 2].tolist()
        return {name: tensor[start:end] for name, tensor in tensors.items() if name != "offsets"}


def _from_columns(
    kind: StoreKind, columns: Mapping[str, Tensor], *, head: OutputHead | None, temperature: object
) -> Rows:
    beside = {"head": head, "temperature": temperature, "bias": None}
    # Hidden states go to their head in the dtype that they came out in.
    wide = {
        name: column.long()
        if column.dtype == torch.int32
        else column.float()
        if column.is_floating_point() and kind != "hidden"
        else column
        for name, column in columns.items()
    }
    make: Callable[..., Rows] = _ROWS[kind]
    return make(**{field.name: wide.get(field.name, beside.get(field.name)) for field in fields(_ROWS[kind])})


def _map_tensors(file: Path) -> dict[str, Tensor]:
    """Return a shard's tensors as views of the file."""
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  safe_open is no mapping
    except (SafetensorError, OSError) as error:
        raise DataError(f"teacher store {file.parent}: {file.name} cannot be read ({error})") from error


@dataclass(frozen=True)
class StoredTeachers:
    """Both teachers as stores. Examples of the validation data follow those of the training data."""

    old: TeacherStore
    new: TeacherStore
    heads: Heads

    def rows(self, indices: Sequence[int], device: torch.device) -> tuple[TeacherRows, TeacherRows]:
        """Return the rows of examples by their index: old, new."""
        old = self.old.rows(indices, head=self.heads.old, device=device)
        new = self.new.rows(indices, head=self.heads.new, device=device)
        assert isinstance(old, TeacherRows) and isinstance(new, TeacherRows), "a store of one teacher"
        return old, new
