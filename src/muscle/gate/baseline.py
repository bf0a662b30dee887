"""Kept, named baselines: the run that later versions are held against, under a name such as `main` or `v1.4`.

A baseline is `NAME.parquet`, the records, and `NAME.json`, where they came from and the records' SHA-256. The JSON is
written first and also keeps what stood there before; so whenever a process is killed, the records have a JSON entry
that fits them, the new one or the old one.
"""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from muscle.errors import ConfigError, DataError
from muscle.files import atomic_path, plain_json, read_json, write_json
from muscle.predictions.read import read_run
from muscle.predictions.run import UNREAD, Run, Source, unread_from_json, unread_to_json
from muscle.predictions.writers.records import write_records
from muscle.provenance import file_sha256

FORMAT = "muscle-baseline/1"
FOLDER = Path("baselines")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _baseline_paths(name: str, folder: Path) -> tuple[Path, Path]:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"baseline {name!r}: expected a name of letters, digits, dots, hyphens and underscores")
    return folder / f"{name}.parquet", folder / f"{name}.json"


def save_baseline(run: Source, name: str, folder: str | Path = FOLDER, *, format: str | None = None) -> Path:
    """Keep a run as a named baseline; one of that name is replaced.

    Args:
        run: a path, a table or a `Run`.
        name: letters, digits, dots, hyphens and underscores.
        folder: where baselines are kept.
        format: of the run's file; None finds it by content.

    Returns:
        The path of the records.

    Raises:
        ConfigError: the name is impossible.
        DataError: the run cannot be read.
        OutputError: a file cannot be written.
    """
    records, facts = _baseline_paths(name, Path(folder))
    read = read_run(run, format=format)
    staged = records.with_name(f".{name}.new.parquet")
    try:
        write_records(staged, read.frame)
        entry = {
            "format": FORMAT,
            "name": name,
            "run": read.name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "muscle_version": importlib.metadata.version("muscle-llm"),
            "n": read.frame.height,
            "tasks": dict(sorted(read.frame["task"].value_counts().iter_rows())),
            "sha256": file_sha256(staged),
            UNREAD: unread_to_json(read.unread),
            "metadata": plain_json(read.metadata),
        }
        before = _entry_before(records, facts) if records.exists() else None
        write_json(facts, {**entry, "before": before})
        with atomic_path(records) as temporary:
            staged.replace(temporary)
    finally:
        staged.unlink(missing_ok=True)
    return records


def load_baseline(name: str, folder: str | Path = FOLDER) -> Run:
    """Read a kept baseline.

    Args:
        name: the name that it was saved under.
        folder: where baselines are kept.

    Returns:
        The run; it is called by the baseline's name, and its metadata are those of the run that was kept, with
        `baseline` (name, created, run) beside them.

    Raises:
        ConfigError: the name is impossible.
        DataError: there is no such baseline, or its files are damaged or do not belong together.
    """
    records, facts = _baseline_paths(name, Path(folder))
    if not records.is_file() or not facts.is_file():
        known = ", ".join(list_baselines(folder)) or "none"
        raise DataError(f"{records}: expected the baseline {name!r}, found {known} in {folder}")
    entry = _entry_of(records, facts)
    if entry is None:
        raise DataError(f"{records}: the records are not those that {facts.name} names; save the baseline again")
    run = read_run(records, name=name)
    kept = {key: entry.get(key) for key in ("name", "created", "run")}
    return replace(
        run,
        name=name,
        metadata={**run.metadata, **entry["metadata"], "baseline": kept},
        unread=unread_from_json(entry.get(UNREAD), str(facts)),
    )


def list_baselines(folder: str | Path = FOLDER) -> list[str]:
    """Return the names of the kept baselines, sorted.

    Args:
        folder: where baselines are kept.
    """
    return sorted(path.stem for path in Path(folder).glob("*.parquet") if path.with_suffix(".json").is_file())


def _entry_of(records: Path, facts: Path) -> dict[str, Any] | None:
    """Return the entry that is of the records: the JSON's own, or where a save was cut short, that before it."""
    entry, digest = _read_entry(facts), file_sha256(records)
    found = (each for each in (entry, entry.get("before")) if isinstance(each, dict) and each.get("sha256") == digest)
    return next(found, None)


def _entry_before(records: Path, facts: Path) -> dict[str, Any] | None:
    """Return the entry of the records that a save replaces; None where a damaged JSON, or none, names them."""
    try:
        entry = _entry_of(records, facts)
    except DataError:
        return None
    return None if entry is None else {key: value for key, value in entry.items() if key != "before"}


def _read_entry(path: Path) -> dict[str, Any]:
    """Return what the JSON beside a baseline's records says of them, and of those that it replaced."""
    entry: dict[str, Any] = read_json(path, mend="save the baseline again")
    if entry.get("format") != FORMAT:
        raise DataError(f"{path}: expected a baseline of muscle ({FORMAT})")
    for each in (entry, entry.get("before")):
        whole = (
            isinstance(each, dict)
            and isinstance(each.get("metadata"), dict)
            and isinstance(each.get("unread", []), list)
        )
        if each is not None and not whole:
            raise DataError(
                f"{path}: expected a baseline's JSON as muscle wrote it, found no `metadata`; save the baseline again"
            )
    return entry
