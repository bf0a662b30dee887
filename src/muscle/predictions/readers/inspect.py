"""Inspect AI's logs: `.eval` archives (deflate or zstd), `.json`, and folders of them.

What a reader would question:

- Ids and epochs come from inside the samples: an id may hold "/" or look like "x_epoch_2".
- An epoch is a repeat. A sample that raised, has no score, or whose main score is NaN is missing, not wrong.
- `.eval` holds a sample whole or in chunks (`sample.json` with the rest apart). The summaries are not used:
  their texts are shortened. A run that was killed has no header; what it had scored is read.
- The answer is what the main scorer took for one, else the completion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers._inspect_samples import LogTable, run_facts
from muscle.predictions.readers._json import Pattern, members
from muscle.predictions.readers._zip import Archive, open_archive
from muscle.predictions.records import concat_records
from muscle.predictions.run import Run

_JSON_HEAD = re.compile(rb'\s*\{\s*"version"\s*:\s*\d+\s*,\s*"status"\s*:')
_FIELDS = (
    "id",
    "epoch",
    "input",
    "choices",
    "target",
    "output",
    "scores",
    "metadata",
    "error",
    "invalidation",
)
_HEADER_FIELDS = ("status", "eval", "plan", "results", "error")
_CHUNK = re.compile(
    r"samples/.+_epoch_\d+/(?:messages|events|calls|attachments)/[^/]+\.json|samples/.+/skeleton\.json"
)


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a log, or a folder of logs."""
    if path.is_dir():
        return bool(_logs(path))
    if head.startswith(b"PK\x03\x04"):
        return path.suffix == ".eval" or b"_journal/start.json" in head or b"samples/" in head
    return path.suffix == ".eval" or (bool(_JSON_HEAD.match(head)) and b'"eval"' in head)


def read(path: Path) -> Run:
    """Read a log, or a folder that holds one log a task.

    Returns:
        One record a sample and epoch. Scores are named after their scorers (`multi.kind` for a scorer with several values),
        the headline's first. The metadata's `results` are Inspect's own aggregates.

    Raises:
        DataError: a log is damaged, without samples, or the folder holds several models: file, member, field.
    """
    if not path.is_dir():
        frame, facts = _read_log(path)
        return Run(facts["model"].get("name") or path.stem, frame, facts)
    logs, notes = _newest(path)
    read_logs = [_read_log(log) for log in logs]
    metadata = dict(read_logs[-1][1])
    for name in ("tasks", "results"):
        metadata[name] = {task: facts for _, each in read_logs for task, facts in each[name].items()}
    metadata["notes"] = notes + [note for _, each in read_logs for note in each["notes"]]
    metadata["files"] = [str(log) for log in logs]
    return Run(
        metadata["model"].get("name") or path.name,
        concat_records([frame for frame, _ in read_logs]),
        metadata,
    )


def _logs(folder: Path) -> list[Path]:
    logs = sorted(folder.glob("*.eval"))
    if logs:
        return logs
    return [file for file in sorted(folder.glob("*.json")) if _is_json_log(file)]


def _is_json_log(path: Path) -> bool:
    with path.open("rb") as handle:
        return bool(_JSON_HEAD.match(handle.read(256)))


def _is_archive(path: Path) -> bool:
    with path.open("rb") as handle:
        return path.suffix == ".eval" or handle.read(4) == b"PK\x03\x04"


def _newest(folder: Path) -> tuple[list[Path], list[str]]:
    """Choose the newest log of each task, by the date it was made; the names begin with it."""
    by_task: dict[str, list[Path]] = {}
    models = set()
    for log in _logs(folder):
        facts = _header(log).get("eval") or {}
        models.add(str(facts.get("model")))
        by_task.setdefault(str(facts.get("task")), []).append(log)
    if len(models) > 1:
        raise DataError(
            f"{folder}: expected the logs of one model, found {', '.join(sorted(models)[:6])}; name one log"
        )
    notes = []
    for task, logs in by_task.items():
        if len(logs) > 1:
            others = ", ".join(log.name for log in logs[:-1])
            notes.append(f"{task}: read {logs[-1].name}; also there: {others}")
    return [logs[-1] for logs in by_task.values()], notes


def _header(log: Path) -> dict[str, Any]:
    """Return what stands before a log's samples."""
    if _is_archive(log):
        with open_archive(log) as archive:
            return _archive_header(archive)
    with log.open("rb") as handle:
        return _top_level(handle, str(log))


def _top_level(handle: IO[bytes], where: str) -> dict[str, Any]:
    patterns: list[Pattern] = [(name,) for name in _HEADER_FIELDS]
    return {str(member.keys[0]): member.value for member in members(handle, where, patterns)}


def _archive_header(archive: Archive) -> dict[str, Any]:
    name = next((name for name in ("header.json", "_journal/start.json") if name in archive.members), None)
    if name is None:
        found = ", ".join(list(archive.members)[:4]) or "no members"
        raise DataError(
            f"{archive.path}: expected a member header.json or _journal/start.json, found {found}"
        )
    with archive.open(name) as stream:
        return _top_level(stream, f"{archive.path}, member {name!r}")


def _read_log(log: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return a log's records and what is known of the run."""
    if _is_archive(log):
        with open_archive(log) as archive:
            return _collect(log, _archive_header(archive), _archive_samples(archive))
    return _collect(log, _header(log), _json_samples(log))


def _collect(
    log: Path, header: Mapping[str, Any], samples: Iterator[tuple[str, Mapping[str, Any]]]
) -> tuple[pl.DataFrame, dict[str, Any]]:
    table = LogTable(header)
    for where, sample in samples:
        table.add(sample, where)
    if table.num_rows == 0:
        raise DataError(f"{log}: expected samples, found none; the run may have failed or not logged them")
    facts = run_facts(header, table)
    if "results" not in header and header.get("status") != "success":
        facts["notes"].append(
            f"{table.task}: the run did not finish; read {table.num_rows} samples that it had logged"
        )
    return table.frame(), facts | {"files": [str(log)]}


def _json_samples(log: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield place and wanted fields of each sample of a `.json` log."""
    patterns: list[Pattern] = [("samples", "*", name) for name in _FIELDS]
    place: int | None = None
    sample: dict[str, Any] = {}
    with log.open("rb") as handle:
        for member in members(handle, str(log), patterns):
            index = int(member.keys[1])
            if place is not None and index != place:
                yield f"{log}, samples[{place}]", sample
                sample = {}
            place = index
            sample[str(member.keys[2])] = member.value
    if place is not None:
        yield f"{log}, samples[{place}]", sample


def _archive_samples(archive: Archive) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield place and wanted fields of each sample of an `.eval` log, whole or chunked."""
    patterns: list[Pattern] = [(name,) for name in _FIELDS]
    names = set(archive.members)
    for name in archive.members:
        if not name.startswith("samples/") or not name.endswith(".json") or _is_part(name, names):
            continue
        where = f"{archive.path}, member {name!r}"
        with archive.open(name) as stream:
            sample = {str(member.keys[0]): member.value for member in members(stream, where, patterns)}
        apart = name.removesuffix("sample.json") + "metadata.json"
        if name.endswith("/sample.json") and apart in names:
            with archive.open(apart) as stream:
                sample["metadata"] = dict(_entries(stream, f"{archive.path}, member {apart!r}"))
        yield where, sample


def _entries(stream: IO[bytes], where: str) -> Iterator[tuple[str, Any]]:
    for member in members(stream, where, [("*",)]):
        yield str(member.keys[0]), member.value


def _is_part(name: str, names: set[str]) -> bool:
    """Tell whether a member belongs to a chunked sample whose shell is another member."""
    if _CHUNK.fullmatch(name):
        return True
    return name.endswith("/metadata.json") and name.removesuffix("metadata.json") + "sample.json" in names
