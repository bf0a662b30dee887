"""Any run that can be read, written as our records or as Every Eval Ever."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl

from muscle.errors import ConfigError
from muscle.files import write_json
from muscle.predictions.read import METADATA_FILE, read_run
from muscle.predictions.records import write_records
from muscle.predictions.run import Run

_FILE_SUFFIXES = (".jsonl", ".parquet")
_UNSAFE = re.compile(r"[^\w.+=@,-]")


def convert(
    source: Any,
    out: str | Path,
    *,
    to: Literal["records", "eee"] = "records",
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write a run in another format.

    Args:
        source: whatever `read_run` reads.
        out: for records a `.jsonl` or `.parquet` file, or a folder, which gets `TASK.jsonl` for each task and what is known of
            the run as `run.json`; for Every Eval Ever a folder.
        to: "records", or "eee" for Every Eval Ever 0.3.0.
        format: the source's format; None finds it by content.
        columns: our field names to the source's, for plain tables.

    Returns:
        The files that were written.

    Raises:
        ConfigError: `to` is not known, or `out` is a file where a folder is needed.
        DataError: the source cannot be read.
        OutputError: a file cannot be written.
    """
    path = Path(out)
    if to not in ("records", "eee"):
        raise ConfigError(f"to: expected 'records' or 'eee', found {to!r}")
    if to == "eee" and (path.suffix in _FILE_SUFFIXES or path.is_file()):
        raise ConfigError(
            f"{path}: expected a folder for Every Eval Ever, which is two files, found a file's name"
        )
    run = read_run(source, format=format, columns=columns)
    if to == "eee":
        from muscle.predictions.readers._every_eval_ever_write import write_every_eval_ever

        return write_every_eval_ever(run, path)
    if path.suffix in _FILE_SUFFIXES:
        write_records(path, run.frame)
        return [path]
    return _write_folder(run, path)


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
    metadata = {"name": run.name, **_plain(run.metadata)}
    write_json(folder / METADATA_FILE, metadata)
    return [*files, folder / METADATA_FILE]


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: no NaN, no infinity, nothing but plain types."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
