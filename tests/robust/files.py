"""A run on disk as values in memory: what can be taken apart, blanked and written again."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from robust.answers import Answer

Key = str | int


@dataclass(frozen=True)
class File:
    """One file before it is written.

    Attributes:
        kind: jsonl, json, csv, parquet, arrow, eval (Inspect's archive: `samples` and its other members) or bytes.
        value: what it holds.
        records: the keys that lead to its list of records; () where the value is that list.
        answers: the answer behind each record, in order; empty for a file without records.
    """

    kind: str
    value: Any
    records: tuple[Key, ...] = ()
    answers: Sequence[Answer] = ()

    @property
    def rows(self) -> list[Any]:
        """The list of records."""
        value = self.value
        for key in self.records:
            value = value[key]
        return value

    def copy(self) -> File:
        """Return the same file with a value of its own."""
        is_raw = isinstance(self.value, bytes)
        return self if is_raw else replace(self, value=orjson.loads(orjson.dumps(self.value)))


@dataclass(frozen=True)
class Bundle:
    """The files of a run, by their path below a folder.

    Attributes:
        root: what is read: a file's path, or "" for the folder.
        files: by path.
    """

    root: str
    files: dict[str, File] = field(default_factory=dict)

    def copy(self) -> Bundle:
        """Return the same files with values of their own."""
        return replace(self, files={path: file.copy() for path, file in self.files.items()})

    def write(self, folder: Path) -> Path:
        """Write all files; return what is to be read."""
        for path, data in self.encoded():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / self.root

    def encoded(self) -> Iterator[tuple[str, bytes]]:
        """Yield path and bytes of each file."""
        for path, file in self.files.items():
            yield path, encode(file.kind, file.value)


def encode(kind: str, value: Any) -> bytes:
    """Return the bytes of a file of some kind."""
    if kind == "bytes":
        return bytes(value)
    if kind == "json":
        return json.dumps(value).encode()
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in value).encode()
    if kind == "csv":
        return _csv(value)
    if kind == "eval":
        return _archive(value)
    rows = [(isinstance(row, dict) and _without_empty_objects(row)) or {} for row in value]
    table = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    buffer = io.BytesIO()
    if kind == "parquet":
        table.write_parquet(buffer)
    else:
        table.write_ipc(buffer)
    return buffer.getvalue()


def _without_empty_objects(value: Any) -> Any:
    """Return a value with null for an object without members, which no table can hold."""
    if isinstance(value, dict):
        return {key: _without_empty_objects(entry) for key, entry in value.items()} or None
    return value


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    names = list(dict.fromkeys(name for row in rows for name in row or ()))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        if row or isinstance(row, dict):
            writer.writerow(row)
        else:
            text.write("\n")
    return text.getvalue().encode()


def _archive(value: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in value.items():
            if name != "samples":
                archive.writestr(name, json.dumps(member))
        for place, sample in enumerate(value.get("samples") or []):
            identity = sample.get("id", place) if isinstance(sample, dict) else place
            archive.writestr(f"samples/{identity}_epoch_1.json", json.dumps(sample))
    return buffer.getvalue()
