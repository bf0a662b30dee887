"""Our own records and the plain tables that users bring: one file, or a folder with a file for each task."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing, shorten
from muscle.predictions.formats import SUFFIXES, TABLE_SUFFIXES
from muscle.predictions.messages import reason
from muscle.predictions.plain.json_lines import line_of, read_json_list, read_jsonl
from muscle.predictions.plain.row_objects import Table
from muscle.predictions.plain.table_files import csv_line, read_table
from muscle.predictions.plain.to_records import name_task, to_records
from muscle.predictions.plain.verdicts import score_notes
from muscle.predictions.records import concat_records, is_known
from muscle.predictions.run import METADATA_FILE, UNREAD, RunFacts, Unread, unread_from_json

_HEAD_BYTES = 65_536
# What people keep beside predictions, and what programs leave there.
_BESIDE = (
    "",
    ".md",
    ".txt",
    ".log",
    ".yaml",
    ".yml",
    ".toml",
    ".html",
    ".pdf",
    ".png",
    ".svg",
    ".py",
    ".sh",
    ".sha256",
)
_LEFT_OVER = ".part"


@dataclass(frozen=True)
class Plain:
    """What a plain file or folder holds.

    Attributes:
        frame: records; every row has a task.
        metadata: what is known of the run, with `notes`.
        unread: what a folder holds that was not read.
    """

    frame: pl.DataFrame
    metadata: Mapping[str, object] = field(default_factory=dict)
    unread: tuple[Unread, ...] = ()


def renamed(table: pl.DataFrame, columns: Mapping[str, str] | None, place: str) -> pl.DataFrame:
    """Give the columns our names, as the map says.

    Raises:
        DataError: a column of the map is not there.
    """
    if not columns:
        return table
    absent = [theirs for theirs in columns.values() if theirs not in table.columns]
    if absent:
        raise DataError(f"{place}: expected the column {absent[0]!r}, found {listing(table.columns)}")
    mapped = [table[theirs].alias(ours) for ours, theirs in columns.items()]
    others = [name for name in table.columns if name not in columns and name not in columns.values()]
    return table.select(*others, *mapped)


def records_of(
    table: Table, columns: Mapping[str, str] | None, where: Callable[[int], str]
) -> tuple[pl.DataFrame, list[str]]:
    """Turn a file's table into records, with what a reader of a comparison should know of it.

    Args:
        table: the fields, in our names.
        columns: the map that gave them; a score that it names is one.
        where: turns a row's number into the words that open a message.

    Raises:
        DataError: a field holds what it should not, or a score contradicts the answers.
    """
    try:
        frame = to_records(table.frame, where=where, unread=table.unread)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{where(0)} and on: cannot be read as predictions: {reason(error)}") from None
    notes = [f"fields that are not read: {listing(table.unread)}"] if table.unread else []
    if "correct" not in table.frame.columns and "score" not in (columns or {}):
        notes += score_notes(frame, where)
    return frame, notes


def read_plain(path: Path, columns: Mapping[str, str] | None) -> Plain:
    """Read a file of records, or a folder of such files.

    Args:
        path: the file or folder.
        columns: our field names to the files'.

    Raises:
        DataError: a file is damaged, or a field holds what it should not: file, line, field.
    """
    if path.is_dir():
        return _read_folder(path, columns)
    frame, notes = _read_file(path, columns)
    unnamed = frame["task"].null_count() == frame.height
    facts: RunFacts = {"notes": notes}
    if unnamed:
        facts["default_task"] = path.stem
    return Plain(name_task(frame, path.stem), facts)


def _read_file(path: Path, columns: Mapping[str, str] | None) -> tuple[pl.DataFrame, list[str]]:
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        frame = renamed(read_table(path), columns, str(path))
        table = Table(frame, tuple(name for name in frame.columns if not is_known(name)))
        where = partial(csv_line, path) if suffix == ".csv" else lambda row: f"{path}, row {row + 1}"
        return records_of(table, columns, where)
    with path.open("rb") as handle:
        head = handle.read(_HEAD_BYTES)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        return records_of(read_json_list(path, columns=columns), columns, lambda row: f"{path}, record {row + 1}")
    return records_of(read_jsonl(path, columns=columns), columns, partial(line_of, path))


def _read_folder(folder: Path, columns: Mapping[str, str] | None) -> Plain:
    entries = sorted(folder.iterdir())
    files = [entry for entry in entries if _is_records(entry)]
    if not files:
        found = listing(entry.name for entry in entries) if entries else "nothing"
        raise DataError(f"{folder}: expected TASK.jsonl or TASK.parquet files, found {found}")
    frames: list[pl.DataFrame] = []
    files_of: dict[str, list[str]] = {}
    for file in files:
        frame, told = _read_file(file, columns)
        frames.append(name_task(frame, file.stem))
        for note in told:
            files_of.setdefault(note, []).append(file.name)
    metadata, own_notes, unread = _folder_metadata(folder)
    notes = own_notes + [f"{listing(names, 3)}: {note}" for note, names in files_of.items()]
    others = [entry for entry in entries if not _is_records(entry) and entry.name != METADATA_FILE]
    beside = [entry.name for entry in others if _is_beside(entry)]
    if beside:
        notes.append(f"{folder}: files beside the predictions that are not read: {listing(beside)}")
    lost = [Unread("not read", str(entry)) for entry in others if not _is_beside(entry) and not _is_left_over(entry)]
    return Plain(
        concat_records(frames),
        metadata | {"notes": notes},
        (*unread, *lost),
    )


def _is_records(entry: Path) -> bool:
    return (
        entry.suffix.lower() in SUFFIXES
        and entry.name != METADATA_FILE
        and not entry.name.startswith(".")
        and entry.is_file()
    )


def _is_left_over(entry: Path) -> bool:
    """Whether it is what a killed program left there, or a folder of nothing."""
    return entry.suffix == _LEFT_OVER or (entry.is_dir() and not any(entry.iterdir()))


def _is_beside(entry: Path) -> bool:
    """Whether it is no predictions by its name: a README, a picture, a hidden file."""
    if entry.suffix == _LEFT_OVER:
        return False
    return entry.name.startswith(".") or (entry.suffix.lower() in _BESIDE and entry.is_file())


def _folder_metadata(folder: Path) -> tuple[dict[str, object], list[object], tuple[Unread, ...]]:
    """Read what the folder's `run.json` says of the run, its notes, and what its source held beside it."""
    path = folder / METADATA_FILE
    if not path.is_file():
        return {}, [], ()
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a JSON object, found damaged JSON ({reason(error)})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    notes = value.get("notes") or []
    if not isinstance(notes, list):
        raise DataError(f"{path}, field 'notes': expected a list of sentences, found {shorten(notes)}")
    return value, notes, unread_from_json(value.pop(UNREAD, None), str(path))
