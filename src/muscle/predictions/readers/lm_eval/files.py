"""Which files of a folder of lm-evaluation-harness are read, and which are not.

A folder may hold several dated runs. Of each task the newest is read: by the date that the results beside the
samples state, else by the date in the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from muscle.errors import DataError
from muscle.foreign_text import listing
from muscle.predictions.readers.lm_eval import facts
from muscle.predictions.run import Unread

_DATED = re.compile(r"samples_(?P<task>.+?)(?:_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?))?\.jsonl?")
SAMPLE_HEAD = re.compile(rb'\s*(?:\xef\xbb\xbf)?(?:\[\s*)?\{\s*"doc_id"\s*:')


@dataclass(frozen=True)
class Source:
    """One file of samples.

    Attributes:
        path: the file.
        task: the task's name.
        date: when the run began, as the file's name has it; empty where it has no date.
        results: the aggregate results beside it; empty where there are none.
    """

    path: Path
    task: str
    date: str
    results: Mapping[str, object]


@dataclass(frozen=True)
class Found:
    """The files to read, and what else was there: harmless (`readings`) or lost (`unread`)."""

    sources: list[Source]
    readings: list[str] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)


def head_of(path: Path) -> bytes:
    """Return the beginning of a file."""
    with path.open("rb") as handle:
        return handle.read(256)


def sample_files(folder: Path) -> list[Path]:
    """Return the files of samples in a folder, by name where the name tells, else by content."""
    files = sorted(file for file in folder.iterdir() if file.suffix in (".jsonl", ".json") and file.is_file())
    named = [file for file in files if _DATED.fullmatch(file.name)]
    if named:
        return named
    if (folder / "results.json").is_file():
        return [file for file in files if file.suffix == ".jsonl" and SAMPLE_HEAD.match(head_of(file))]
    return [file for entry in sorted(folder.iterdir()) if entry.is_dir() for file in _named_in(entry)]


def _named_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("samples_*.json*") if _DATED.fullmatch(file.name))


def find(path: Path) -> Found:
    """Find the files to read.

    Args:
        path: a folder, a `results_DATE.json`, or a file of samples.

    Raises:
        DataError: there are none, or they are of several models.
    """
    if path.is_dir():
        return _newest_samples(sample_files(path), path)
    if facts.RESULTS_NAME.fullmatch(path.name) and not SAMPLE_HEAD.match(head_of(path)):
        results, date = facts.ResultFiles(path.parent), facts.date_of(path)
        files = [file for file in sample_files(path.parent) if _dated_name(file)[1] == date]
        if not files:
            raise DataError(
                f"{path}: expected samples_*{date}.jsonl beside it, found none; run the harness with --log_samples"
            )
        sources = [_source(file, results) for file in files]
        return Found(sources, [], _tasks_without_samples(results, [date], {source.task for source in sources}))
    return Found([_source(path, facts.ResultFiles(path.parent))])


def _newest_samples(files: list[Path], folder: Path) -> Found:
    """Choose each task's newest file."""
    parents = sorted({file.parent for file in files})
    if not files:
        raise DataError(
            f"{folder}: expected samples_TASK_DATE.jsonl files, found none; run the harness with --log_samples"
        )
    if len(parents) > 1:
        names = ", ".join(parent.name for parent in parents[:6])
        raise DataError(
            f"{folder}: expected the samples of one model, found {len(parents)} models ({names}); name one folder"
        )
    results = facts.ResultFiles(parents[0])
    by_task: dict[str, list[Path]] = {}
    for file in files:
        by_task.setdefault(_dated_name(file)[0] or _source(file, results).task, []).append(file)
    readings = []
    for task, dated in sorted(by_task.items()):
        if len(dated) > 1:
            dated.sort(key=_ages(dated, results).__getitem__)
            others = ", ".join(_dated_name(file)[1] or file.name for file in dated[:-1])
            newest = _dated_name(dated[-1])[1] or dated[-1].name
            readings.append(f"{task}: read the run of {newest}; also there: {others}")
    sources = [_source(dated[-1], results) for _, dated in sorted(by_task.items())]
    unread = _tasks_without_samples(results, list(results.files), set(by_task)) + _other_samples(folder, files)
    unread += _newer_without_samples(results, sources)
    return Found(sources, readings, unread)


def _ages(files: Sequence[Path], results: facts.ResultFiles) -> dict[Path, tuple[float, str, str]]:
    """Return what files of one task are put in order by: the stated date where all state one, else the name's."""
    stated = [results.age(_dated_name(file)[1]) for file in files]
    ages = [0.0 if None in stated else age or 0.0 for age in stated]
    return {file: (age, _dated_name(file)[1], file.name) for file, age in zip(files, ages, strict=True)}


def _tasks_without_samples(results: facts.ResultFiles, dates: Sequence[str], tasks: set[str]) -> list[Unread]:
    """Name the tasks that some results count items of, and whose samples are not there."""
    lost: dict[str, Unread] = {}
    for date in (date for date in dates if date in results.files):
        file = results.files[date]
        for task, count in facts.num_samples(results.of(date), str(file)).items():
            if task not in tasks and count:
                lost[task] = Unread(
                    f"task {listing([task])}: {count} samples are counted, and no file holds them",
                    str(file),
                    count,
                )
    return list(lost.values())


def _newer_without_samples(results: facts.ResultFiles, sources: Sequence[Source]) -> list[Unread]:
    """Name the results of newer runs of tasks whose samples were read from an older one."""
    lost = []
    for date, file in results.files.items():
        counted = facts.num_samples(results.of(date), str(file))
        older = [s for s in sources if s.task in counted and s.date and _is_newer(results, date, s.date)]
        if older:
            tasks = listing(sorted(source.task for source in older))
            lost.append(Unread(f"a newer run of {tasks} without samples; read that of {older[0].date}", str(file)))
    return lost


def _is_newer(results: facts.ResultFiles, date: str, other: str) -> bool:
    """Whether the run of a date began after that of another: as both state it, else by the dates in their names."""
    ages = results.age(date), results.age(other)
    return date > other if ages[0] is None or ages[1] is None else ages[0] > ages[1]


def _other_samples(folder: Path, files: Sequence[Path]) -> list[Unread]:
    """Name what looks like samples in the folder (or the model's folder in it) and is not read."""
    known, lost = set(files), []
    for place in sorted({folder, files[0].parent}):
        for entry in sorted(place.iterdir()):
            if entry.is_dir() and entry != files[0].parent and _named_in(entry):
                lost.append(Unread("a folder with samples that is not read; name it by itself", str(entry)))
            elif entry.is_file() and entry not in known and _holds_samples(entry):
                lost.append(Unread("a file of samples that is not read", str(entry)))
    return lost


def _holds_samples(file: Path) -> bool:
    if file.name.startswith("samples_"):
        return True
    return file.suffix in (".json", ".jsonl") and bool(SAMPLE_HEAD.match(head_of(file)))


def _dated_name(file: Path) -> tuple[str | None, str]:
    match = _DATED.fullmatch(file.name)
    return (match["task"], match["date"] or "") if match else (None, "")


def _source(file: Path, results: facts.ResultFiles) -> Source:
    task, date = _dated_name(file)
    beside = results.of(date)
    return Source(file, task or facts.task_in_stem(file.stem, beside), date, beside)
