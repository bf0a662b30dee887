"""EleutherAI's lm-evaluation-harness: a run folder, one of its `results_*.json`, or one file of samples.

Three layouts are read: today's `samples_TASK_DATE.jsonl` (since release 0.4.3), the same without a `filter` key
(before November 2024: the filters' blocks follow each other), and release 0.4.2's `*_TASK.jsonl`, which holds one
JSON list. A folder may hold several dated runs: of each task the newest is read, and the metadata's `notes` say
which. To read an older one, give its `results_DATE.json`. How a sample becomes a record: `_lm_eval_samples.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers import _lm_eval_facts as facts
from muscle.predictions.readers._json import line_objects, members
from muscle.predictions.readers._likelihoods import judged, logprob_step, ordered, with_gold_scores
from muscle.predictions.readers._lm_eval_samples import (
    BadField,
    choice_fields,
    deciding_metric,
    requests_of,
    scores_of,
    text_fields,
)
from muscle.predictions.readers._table import RowTable, SliceFields
from muscle.predictions.records import NO_FILTER, concat_records
from muscle.predictions.run import Run

_DATED = re.compile(r"samples_(?P<task>.+?)(?:_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?))?\.jsonl?")
_SAMPLE_HEAD = re.compile(rb'\s*(?:\xef\xbb\xbf)?(?:\[\s*)?\{\s*"doc_id"\s*:')


@dataclass(frozen=True)
class _Source:
    """One file of samples."""

    path: Path
    task: str
    date: str
    results: Mapping[str, Any]


@dataclass
class _Seen:
    """What was counted while a file was read."""

    num_ties: int = 0
    num_contradicted: int = 0
    num_doubled: int = 0
    notes: list[str] = field(default_factory=list)


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a run, an aggregate file or a file of samples of the harness."""
    if path.is_dir():
        return bool(_sample_files(path))
    if facts.RESULTS_NAME.fullmatch(path.name) and b'"results"' in head:
        return bool(_sample_files(path.parent))
    return bool(_SAMPLE_HEAD.match(head)) and (b'"arguments"' in head or b'"doc"' in head)


def read(path: Path, *, metric: str | None = None) -> Run:
    """Read a run.

    Args:
        path: the folder that holds the samples (or its parent, where there is one such folder), a
            `results_DATE.json` in it, or one file of samples.
        metric: the metric that decides `correct` and `choice` in tasks that have it; None takes the first of
            `acc`, `acc_norm`, `acc_bytes`, `acc_mutual_info`, `exact_match`, else the task's first.

    Returns:
        One record an item and filter, in the file's order. Scores of a choice task, the main one first:
        `gold_probability` (the right options' share, softmax over the options' log-likelihoods), `gold_logprob`,
        then the harness's metrics. The metadata's `results` are the harness's own aggregates.

    Raises:
        DataError: no samples, samples of several models, or a damaged file: file, line, field.
    """
    sources, notes = _sources(path)
    frames, tasks = [], {}
    for source in sources:
        frame, task_facts, remarks = _read_samples(source, metric)
        frames.append(frame)
        tasks[source.task] = task_facts
        notes += remarks
    newest = max(sources, key=lambda source: source.date)
    metadata = facts.run_facts(newest.results)
    metadata |= {"tasks": tasks, "files": [str(source.path) for source in sources], "notes": notes}
    name = metadata["model"].get("name") or (path.name if path.is_dir() else path.stem)
    return Run(name, ordered(concat_records(frames)), metadata)


def _head(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(256)


def _sample_files(folder: Path) -> list[Path]:
    """The files of samples in a folder, by name where the name tells, else by content."""
    files = sorted(file for file in folder.iterdir() if file.suffix in (".jsonl", ".json") and file.is_file())
    named = [file for file in files if _DATED.fullmatch(file.name)]
    if named:
        return named
    if (folder / "results.json").is_file():
        return [file for file in files if file.suffix == ".jsonl" and _SAMPLE_HEAD.match(_head(file))]
    folders = [entry for entry in folder.iterdir() if entry.is_dir()]
    return [
        file
        for entry in sorted(folders)
        for file in entry.glob("samples_*.json*")
        if _DATED.fullmatch(file.name)
    ]


def _sources(path: Path) -> tuple[list[_Source], list[str]]:
    """Find the files to read, and say what else was there."""
    if path.is_dir():
        return _newest(_sample_files(path), path)
    if facts.RESULTS_NAME.fullmatch(path.name) and not _SAMPLE_HEAD.match(_head(path)):
        date = facts.date_of(path)
        files = [file for file in _sample_files(path.parent) if _named(file)[1] == date]
        if not files:
            raise DataError(
                f"{path}: expected samples_*{date}.jsonl beside it, found none; run the harness with --log_samples"
            )
        return [_source(file) for file in files], []
    return [_source(path)], []


def _newest(files: list[Path], folder: Path) -> tuple[list[_Source], list[str]]:
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
    by_task: dict[str, list[Path]] = {}
    for file in sorted(files, key=lambda file: _named(file)[1]):
        by_task.setdefault(_source_task(file), []).append(file)
    notes = []
    for task, dated in sorted(by_task.items()):
        if len(dated) > 1:
            others = ", ".join(_named(file)[1] or file.name for file in dated[:-1])
            notes.append(
                f"{task}: read the run of {_named(dated[-1])[1] or dated[-1].name}; also there: {others}"
            )
    return [_source(dated[-1]) for _, dated in sorted(by_task.items())], notes


def _named(file: Path) -> tuple[str | None, str]:
    match = _DATED.fullmatch(file.name)
    return (match["task"], match["date"] or "") if match else (None, "")


def _source_task(file: Path) -> str:
    task = _named(file)[0]
    return task or facts.task_in_stem(file.stem, facts.results_beside(file, ""))


def _source(file: Path) -> _Source:
    task, date = _named(file)
    results = facts.results_beside(file, date)
    return _Source(file, task or facts.task_in_stem(file.stem, results), date, results)


def _samples(path: Path) -> Iterator[tuple[int | str, Mapping[str, Any]]]:
    """Yield line number, or file and member, and object of each sample: from lines or from a list."""
    if not _head(path).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        yield from line_objects(path)
        return
    with path.open("rb") as handle:
        for member in members(handle, str(path), [("*",)]):
            if not isinstance(member.value, dict):
                raise DataError(
                    f"{member.where}: expected a JSON object, found {type(member.value).__name__}"
                )
            yield member.where, member.value


def _place(path: Path, where: int | str) -> str:
    return f"{path}, line {where}" if isinstance(where, int) else where


def _read_samples(source: _Source, metric: str | None) -> tuple[pl.DataFrame, dict[str, Any], list[str]]:
    """Read one file; return its records, what is known of the task, and remarks."""
    config = facts.task_config(source.results, source.task)
    table, slices, seen = RowTable(extra={"gold": pl.List(pl.Int64)}), SliceFields(), _Seen()
    occurrences: Counter[tuple[Any, Any]] = Counter()
    deciding: str | None = None
    for where, sample in _samples(source.path):
        deciding = deciding or deciding_metric(sample, metric)
        try:
            fields = _fields(sample, config.get("target_delimiter"), deciding)
        except BadField as bad:
            raise DataError(f"{_place(source.path, where)}, {bad}") from None
        except KeyError as missing:
            raise DataError(
                f"{_place(source.path, where)}, field {missing}: expected a sample of lm-evaluation-harness, found no such field"
            ) from None
        key = (sample["doc_id"], sample.get("filter"))
        fields["filter"] = sample.get("filter") or str(occurrences[key])
        occurrences[key] += 1
        fields["id"] = str(sample["doc_id"])
        fields |= slices.of(sample.get("doc"))
        seen.num_ties += fields.pop("tied", False)
        seen.num_contradicted += fields.pop("contradicted", False)
        table.add(fields, _size(fields))
    if not occurrences:
        raise DataError(f"{source.path}: expected samples, found none")
    frame = slices.prune(table.frame()).with_columns(pl.lit(source.task).alias("task"))
    frame = _with_filter_names(frame, occurrences, facts.filter_names(config), seen)
    frame = judged(with_gold_scores(frame), deciding)
    task_facts = facts.task_facts(source.results, source.task)
    task_facts |= {"metric": deciding, "num_ties": seen.num_ties, "logprob_step": logprob_step(frame)}
    return frame, task_facts, _remarks(source, seen)


def _size(fields: Mapping[str, Any]) -> int:
    """About how much a row holds, in bytes: its longest texts."""
    return len(fields.get("input") or "") + len(fields.get("output") or "")


def _fields(sample: Mapping[str, Any], delimiter: str | None, deciding: str | None) -> dict[str, Any]:
    contexts, endings = requests_of(sample)
    if not isinstance(sample["filtered_resps"], list):
        raise BadField("filtered_resps", "a list", sample["filtered_resps"])
    likelihood = isinstance(endings[0], str)
    if likelihood and len(contexts) > 1:
        fields = choice_fields(sample, contexts, endings, delimiter=delimiter, deciding=deciding)
        likelihood = False
    else:
        fields = text_fields(sample, contexts[0], endings[0])
    return fields | scores_of(sample, likelihood=likelihood)


def _with_filter_names(
    frame: pl.DataFrame, occurrences: Counter[tuple[Any, Any]], names: Sequence[str], seen: _Seen
) -> pl.DataFrame:
    """Name the filters of a file without filter names, and count items that stand there twice."""
    most = max(occurrences.values())
    if any(key[1] is not None for key in occurrences):
        seen.num_doubled = sum(count - 1 for count in occurrences.values())
        return frame
    if not names:
        names = [NO_FILTER] if most == 1 else [f"filter-{place + 1}" for place in range(most)]
        if most > 1:
            seen.notes.append(
                f"items stand {most} times without a filter's name and no results file names them: called {', '.join(names)}"
            )
    seen.num_doubled = sum(max(0, count - len(names)) for count in occurrences.values())
    place = pl.col("filter").cast(pl.Int64) % len(names)
    return frame.with_columns(
        place.replace_strict(list(range(len(names))), list(names), return_dtype=pl.String).alias("filter")
    )


def _remarks(source: _Source, seen: _Seen) -> list[str]:
    notes = [f"{source.task}: {note}" for note in seen.notes]
    if seen.num_doubled:
        notes.append(
            f"{source.task}: {seen.num_doubled} samples stand in {source.path.name} a second time (appended runs)"
        )
    if seen.num_contradicted:
        notes.append(
            f"{source.task}: the likeliest option contradicts the stored metric in {seen.num_contradicted} items "
            f"(the task scores in its own way); their choice is left out"
        )
    if not source.results:
        notes.append(
            f"{source.task}: no results file beside the samples, so settings and versions are not known"
        )
    return notes
