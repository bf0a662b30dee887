"""Any run that can be read, written as our records or as Every Eval Ever."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import polars as pl

from muscle.errors import ConfigError
from muscle.files import check_can_write, write_json
from muscle.foreign_text import listing, shorten
from muscle.predictions.read import read_run
from muscle.predictions.run import DEFAULT_TASK, METADATA_FILE, UNREAD, Run, unread_to_json
from muscle.predictions.writers.records import write_records

logger = logging.getLogger(__name__)

_NOT_WRITTEN = (
    ".csv",
    ".tsv",
    ".json",
    ".ndjson",
    ".arrow",
    ".feather",
    ".txt",
    ".eval",
    ".xlsx",
    ".gz",
    ".zst",
    ".zip",
)
"""Suffixes of files; a folder of such a name would be a surprise."""

_FILE_SUFFIXES = (".jsonl", ".parquet")
_UNSAFE = re.compile(r"[^\w.+=@,-]")


def convert(
    source: object,
    out: str | Path,
    *,
    to: Literal["records", "eee"] = "records",
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write a run in another format.

    Args:
        source: whatever `read_run` reads.
        out: for records a `.jsonl` or `.parquet` file, or a folder, which gets `TASK.jsonl` for each task and
            what is known of the run as `run.json`; for Every Eval Ever a folder.
        to: "records", or "eee" for Every Eval Ever 0.3.0.
        format: the source's format; None finds it by content.
        columns: our field names to the source's, for plain tables.

    Returns:
        The files that were written.

    Raises:
        ConfigError: `to` is not known, `out` is a file where a folder is needed or has the suffix of a file
            that is not written, or the run holds what a single file cannot: what was not read of its source,
            a score of which less is better.
        DataError: the source cannot be read.
        OutputError: a file cannot be written.
    """
    path = Path(out)
    check_target(path, to)
    run = read_run(source, format=format, columns=columns)
    if to == "eee":
        from muscle.predictions.writers.every_eval_ever import write_every_eval_ever

        return write_every_eval_ever(run, path)
    if path.suffix in _FILE_SUFFIXES:
        _check_fits_one_file(run, path)
        # A task that was called after its file is called after the new one, as it is when that is read.
        is_unnamed = run.tasks == [run.metadata.get(DEFAULT_TASK)]
        write_records(path, run.frame, name_tasks=not is_unnamed)
        return [path]
    return _write_folder(run, path)


def check_target(path: Path, to: str) -> None:
    """See before a run is read that it can be written where and as it shall be; see `convert`.

    Raises:
        ConfigError: `to` is not known, or the path is not of a kind that is written.
        OutputError: nothing can be written there.
    """
    if to not in ("records", "eee"):
        raise ConfigError(f"to: expected 'records' or 'eee', found {to!r}")
    if path.suffix and path.suffix.lower() in _NOT_WRITTEN:
        raise ConfigError(
            f"{path}: expected a .jsonl or .parquet file, or a folder, found the name of a {path.suffix} "
            "file, which is not written"
        )
    if to == "eee" and (path.suffix in _FILE_SUFFIXES or path.is_file()):
        raise ConfigError(f"{path}: expected a folder for Every Eval Ever, which is two files, found a file's name")
    check_can_write(path, folder=path.suffix not in _FILE_SUFFIXES)


def _check_fits_one_file(run: Run, path: Path) -> None:
    """Refuse to write into a single file what would make a gate say something else than the run itself."""
    directions = run.metadata.get("higher_is_better") or {}
    turned = [name for name in run.score_names() if directions.get(name) is False]
    lost = ""
    if run.unread:
        lost = f"what was not read of the run ({shorten(str(run.unread[0]), 120)})"
    elif turned:
        lost = f"that less is better of {listing(turned)}"
    if lost:
        raise ConfigError(f"{path}: expected a folder of records, which keeps {lost}; a single file cannot")
    if run.metadata.get("tasks") or run.metadata.get("settings"):
        logger.warning(
            "%s: holds no settings, prompts or judges, by which runs are held comparable; a folder does", path
        )


def _write_folder(run: Run, folder: Path) -> list[Path]:
    files = []
    taken: set[str] = set()
    for task in run.tasks:
        stem = _UNSAFE.sub("_", task).lstrip(".") or "task"
        while stem.lower() in taken or stem == Path(METADATA_FILE).stem:
            stem += "_"
        taken.add(stem.lower())
        files.append(folder / f"{stem}.jsonl")
        write_records(files[-1], run.frame.filter(pl.col("task") == task))
    metadata = {"name": run.name, **{name: _plain(value) for name, value in run.metadata.items()}}
    if run.unread:
        metadata[UNREAD] = unread_to_json(run.unread)
    write_json(folder / METADATA_FILE, metadata)
    return [*files, folder / METADATA_FILE]


def _plain(value: object) -> object:
    """Return a value as JSON can hold it: no NaN, no infinity, nothing but plain types."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
