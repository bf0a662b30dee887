"""Inspect AI's logs: `.eval` archives (deflate or zstd), `.json`, and folders of them.

What a reader would question:

- Ids and epochs come from inside the samples: an id may hold "/" or look like "x_epoch_2".
- An epoch is a repeat. A sample that raised, or that lacks the score that decides, is missing, not wrong.
- `.eval` holds a sample whole or in chunks (`sample.json` with the rest apart). The summaries are not used:
  their texts are shortened. A run that was killed has no header; what it had scored is read.
- The answer is what the main scorer took for one, else the completion.
- What was read is held against the log's own totals; what is not there is counted.
- In a folder a task is its name and its set-up: arguments, solver, model roles, settings. Of the logs of one
  task the newest that came to its end counts, by the log's own time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers.inspect.header import Header
from muscle.predictions.readers.inspect.log import is_json_log, is_log, read_header, read_samples
from muscle.predictions.readers.inspect.samples import LogTable
from muscle.predictions.readers.shared.facts import merged_facts
from muscle.predictions.readers.shared.own_figures import other_mean
from muscle.predictions.readers.shared.values import text_of
from muscle.predictions.records import concat_records
from muscle.predictions.run import SCORE_PREFIX, Run, Unread

_LISTED = 3
_LABEL_LENGTH = 40
_DATA = (".json", ".jsonl", ".ndjson", ".csv", ".parquet", ".arrow", ".feather")
_LISTS = ("logs.json", "eval-set.json")
"""What an eval set writes beside its logs: lists of them."""


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a log, or a folder of logs."""
    if path.is_dir():
        return any(is_log(file) for file in _files(path))
    if head.startswith(b"PK\x03\x04"):
        return path.suffix == ".eval" or b"_journal/start.json" in head or b"samples/" in head
    return path.suffix == ".eval" or (is_json_log(head) and b'"eval"' in head)


def read(path: Path, metric: str | None = None) -> Run:
    """Read a log, or a folder of the logs of one model.

    Args:
        path: the log or the folder.
        metric: the score that decides, in tasks that have it; None takes the one that a log names.

    Returns:
        One record a sample and epoch. Scores are named after their scorers (`multi.kind` for a scorer with
        several values), the headline's first. The metadata's `results` are Inspect's own aggregates.

    Raises:
        DataError: a log is damaged, without samples, or the folder holds several models: file, member, field.
    """
    if not path.is_dir():
        return _read_log(_Log(path, Header(*read_header(path))), metric)
    logs, readings, unread = _logs_to_read(path)
    runs = [_read_log(log, metric) for log in logs]
    metadata = merged_facts(runs, runs[-1].metadata) | {"versions": _all_versions(runs)}
    return Run(
        metadata["model"].get("name") or path.name,
        concat_records([run.frame for run in runs]),
        metadata | {"readings": readings},
        (*unread, *(each for run in runs for each in run.unread)),
    )


def _all_versions(runs: Sequence[Run]) -> dict[str, str]:
    """Return the versions of packages in a folder's logs; of one that differs all are named."""
    versions: dict[str, dict[str, None]] = {}
    for run in runs:
        for package, version in run.metadata["versions"].items():
            versions.setdefault(package, {})[str(version)] = None
    return {package: ", ".join(found) for package, found in versions.items()}


@dataclass(frozen=True)
class _Log:
    path: Path
    header: Header

    @property
    def rank(self) -> tuple[bool, bool, tuple[datetime, datetime], str]:
        """Which of a task's logs counts: one that came to its end, of all data, the newest, the last by name."""
        return self.header.is_whole, not self.header.is_part, self.header.time, self.path.name


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))


def _logs_to_read(folder: Path) -> tuple[list[_Log], list[str], list[Unread]]:
    """Choose one log for each task; tell of what is not read."""
    files = _files(folder)
    logs = [_Log(file, Header(*read_header(file))) for file in files if is_log(file)]
    models = {text_of(log.header.model): str(log.header.model.get("name")) for log in logs}
    if len(models) > 1:
        names = sorted(set(models.values()))
        found = ", ".join(names[:6]) if len(names) > 1 else f"{names[0]} with other arguments"
        raise DataError(f"{folder}: expected the logs of one model, found {found}; name one log")
    chosen, readings = [], []
    for same in _by_setup(folder, logs):
        *others, best = sorted(same, key=lambda log: log.rank)
        chosen.append(best)
        if others:
            listed = ", ".join(_name_and_status(log) for log in reversed(others))
            readings.append(f"{best.header.task}: read {best.path.name}; also there: {listed}")
    unread = _not_logs(folder, {log.path for log in logs}, files)
    return chosen, readings, unread


def _name_and_status(log: _Log) -> str:
    status = log.header.status or "no end"
    return log.path.name if log.header.is_whole else f"{log.path.name} ({status})"


def _by_setup(folder: Path, logs: Sequence[_Log]) -> list[list[_Log]]:
    """Put the logs of one task together; tasks of one name are told apart by what their set-ups differ in."""
    by_name: dict[str, list[_Log]] = {}
    for log in logs:
        by_name.setdefault(log.header.task, []).append(log)
    groups = []
    for task, same in by_name.items():
        setups = [log.header.setup() for log in same]
        keys = dict.fromkeys(key for setup in setups for key in setup)
        differing = [key for key in keys if len({text_of(setup.get(key)) for setup in setups}) > 1]
        by_setup: dict[tuple[str | None, ...], list[_Log]] = {}
        for log, setup in zip(same, setups, strict=True):
            by_setup.setdefault(tuple(text_of(setup.get(key)) for key in differing), []).append(log)
        names = [_task_name(task, differing, values) for values in by_setup]
        if len(set(names)) < len(names):
            double = next(name for name in names if names.count(name) > 1)
            raise DataError(
                f"{folder}: expected tasks that can be told apart, found several set-ups of {double}; name one log"
            )
        for name, group in zip(names, by_setup.values(), strict=True):
            for log in group:
                log.header.task = name
            groups.append(group)
    return groups


def _task_name(task: str, keys: Sequence[tuple[str, str]], values: Sequence[str | None]) -> str:
    """Name a task by what sets it apart from others of its name, so that both runs of a comparison agree.

    >>> _task_name("sums", [("arg", "level")], ["hard"])
    'sums (level=hard)'
    """
    texts = [
        f"{label}={_short_or_hash('none' if value is None else value)}"
        for (_, label), value in zip(keys, values, strict=True)
    ]
    return f"{task} ({', '.join(dict.fromkeys(texts))})" if texts else task


def _short_or_hash(value: str) -> str:
    """Return a value that a name can hold; a long one as its fingerprint."""
    return value if len(value) <= _LABEL_LENGTH else hashlib.sha256(value.encode()).hexdigest()[:8]


def _not_logs(folder: Path, logs: set[Path], files: Sequence[Path]) -> list[Unread]:
    """Count what lies in a folder and may hold predictions."""
    unread = [
        Unread("a file that is no log of Inspect; take it out of the folder", str(file))
        for file in files
        if file not in logs and file.suffix in _DATA and file.name not in _LISTS
    ]
    for below in sorted(each for each in folder.iterdir() if each.is_dir()):
        # A merged log holds what its shards hold.
        if below.suffix != ".shards" and any(is_log(file) for file in _files(below)):
            unread.append(Unread("a folder with logs of its own; name it by itself", str(below)))
    return unread


def _read_log(log: _Log, metric: str | None) -> Run:
    table = LogTable(log.header, metric)
    for sample in read_samples(log.path):
        table.add(sample.value, sample.where)
    if table.num_rows == 0:
        raise DataError(f"{log.path}: expected samples, found none; the run may have failed or not logged them")
    frame = table.frame()
    notes = table.notes
    if log.header.status != "success":
        notes.append(f"{table.task}: the run did not finish; read {table.num_rows} samples that it had logged")
    planned = log.header.num_planned
    if planned is not None and table.num_rows > planned:
        notes.append(f"{table.task}: the log holds {table.num_rows} samples, and says that it was to hold {planned}")
    metadata = {**log.header.run_facts(table.main), "notes": notes, "files": [str(log.path)]}
    name = str(log.header.model.get("name") or log.path.stem)
    return Run(name, frame, metadata, tuple(_short_of_totals(log, table, frame)))


def _short_of_totals(log: _Log, table: LogTable, frame: pl.DataFrame) -> list[Unread]:
    """Hold what was read against the log's own totals."""
    losses = []
    num_other = len(table.not_samples)
    if num_other:
        places = ", ".join(place.removeprefix(f"{log.path}, ") for place in table.not_samples[:_LISTED])
        more = "" if num_other <= _LISTED else f" and {num_other - _LISTED} more"
        what = f"{num_other} samples that are null, empty or no objects ({places}{more})"
        losses.append(Unread(what, str(log.path), num_other))
    planned = log.header.num_planned
    missing = 0 if planned is None else planned - table.num_rows - num_other
    if missing > 0:
        what = f"{missing} of {planned} samples that the log says it was to hold are not in it"
        losses.append(Unread(what, str(log.path), missing))
    own = log.header.num_scored(table.main)
    column = f"{SCORE_PREFIX}{table.main}"
    scored = frame.filter(frame[column].is_not_null())["id"].n_unique() if column in frame.columns else 0
    if own is not None and scored > own:
        what = (
            f"{scored - own} of {scored} scored items that the log leaves out of its own {table.main}; which, "
            "it does not say"
        )
        losses.append(Unread(what, str(log.path), (scored - own) * log.header.epochs))
    if own is not None and not losses and not table.num_edited:
        # Versions that don't say how many samples a mean is of differ in which they leave out.
        mean = log.header.own_mean(table.main)
        losses += other_mean(table.main, table.means, mean, where=str(log.path), by="the log itself")
    return losses
