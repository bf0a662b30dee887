"""EleutherAI's lm-evaluation-harness: a run folder, one of its `results_*.json`, or one file of samples.

Three layouts are read: today's `samples_TASK_DATE.jsonl` (since release 0.4.3), the same without a `filter` key
(before November 2024: the filters' blocks follow each other), and release 0.4.2's `*_TASK.jsonl`, which holds one
JSON list. A folder may hold several dated runs: of each task the newest is read, and the metadata's
`readings` say which. To read an older one, give its `results_DATE.json`. How a sample becomes a record: `samples.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing
from muscle.predictions.readers.lm_eval import facts
from muscle.predictions.readers.lm_eval.files import SAMPLE_HEAD, Source, find, head_of, sample_files
from muscle.predictions.readers.lm_eval.samples import (
    DECIDING,
    BadField,
    check,
    choice_fields,
    deciding_metric,
    metric_names,
    requests_of,
    scores_of,
    text_fields,
)
from muscle.predictions.readers.shared.answers import without_same_answers
from muscle.predictions.readers.shared.first_record import first_byte
from muscle.predictions.readers.shared.json_members import file_objects, line_objects
from muscle.predictions.readers.shared.likelihoods import judged, logprob_step, ordered, with_gold_scores
from muscle.predictions.readers.shared.own_figures import other_mean
from muscle.predictions.readers.shared.row_table import RowTable, SliceFields
from muscle.predictions.records import NO_FILTER, concat_records
from muscle.predictions.run import SCORE_PREFIX, Run, Unread

_ItemAndFilter = tuple[object, object]
"""`doc_id` and `filter` as a sample has them."""


@dataclass
class _Seen:
    """What was seen while a file was read."""

    deciding: str | None = None
    num_ties: int = 0
    num_contradicted: int = 0
    num_doubled: int = 0
    readings: list[str] = field(default_factory=list)


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a run, an aggregate file or a file of samples of the harness."""
    if path.is_dir():
        return bool(sample_files(path))
    if facts.RESULTS_NAME.fullmatch(path.name) and b'"results"' in head:
        return bool(sample_files(path.parent))
    return bool(SAMPLE_HEAD.match(head)) and (b'"arguments"' in head or b'"doc"' in head)


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
    found = find(path)
    notes, readings, unread = [], found.readings, found.unread
    frames, tasks = [], {}
    results: dict[str, Mapping[str, object]] = {}
    for source in found.sources:
        frame, task_facts, seen = _read_samples(source, metric)
        frames.append(frame)
        tasks[source.task] = task_facts
        notes += _doubts(source, seen)
        readings += [f"{source.task}: {reading}" for reading in seen.readings]
        unread += _short_of_own_figures(source, frame, seen.deciding)
        results |= facts.run_facts(source.results)["results"]
    newest = facts.run_facts(max(found.sources, key=lambda source: source.date).results)
    files = [str(source.path) for source in found.sources]
    metadata = {**newest, "results": results, "tasks": tasks, "files": files, "notes": notes, "readings": readings}
    name = newest["model"].get("name") or (path.name if path.is_dir() else path.stem)
    return Run(str(name), ordered(concat_records(frames)), metadata, tuple(unread))


def _short_of_own_figures(source: Source, frame: pl.DataFrame, metric: str | None) -> Iterator[Unread]:
    """Hold what was read, under each filter, against the harness's own counts and means."""
    where, task = str(source.path), source.task
    counted = facts.num_samples(source.results, where).get(task, 0)
    own = facts.own_figures(source.results, task)
    items = dict(frame.group_by("filter", maintain_order=True).agg(pl.col("id").n_unique()).iter_rows())
    lost = {name: counted - items.get(name, 0) for name in {**items, **own}}
    lost = {name: count for name, count in lost.items() if count > 0}
    if lost:
        what = f"task {task}: {sum(lost.values())} of the {counted} items that the results file counts"
        more = f" (under the filters {listing(lost)})" if len({**items, **own}) > 1 else ""
        yield Unread(what + more, where, sum(lost.values()))
        return
    config = facts.task_config(source.results, task)
    if metric is None or not facts.is_mean(config, metric, f"{where}, metric_list of its results"):
        return
    for name in items:
        read = frame.filter(pl.col("filter") == name).unique("id", keep="first")[SCORE_PREFIX + metric].mean()
        called = f"task {task}: {metric}" + (f" ({listing([name])})" if len(items) > 1 else "")
        means = [read] if isinstance(read, float) else []
        yield from other_mean(called, means, own.get(name, {}).get(metric), where=where, by="the results file")


def _samples_in(path: Path) -> Iterator[tuple[Mapping[str, object], str]]:
    """Yield each sample's object, and file and line or member: from lines or from a list."""
    if first_byte(head_of(path)) == b"[":
        yield from file_objects(path, ("*",))
    else:
        yield from line_objects(path)


def _read_samples(source: Source, metric: str | None) -> tuple[pl.DataFrame, dict[str, object], _Seen]:
    """Read one file; return its records, what is known of the task, and what was seen."""
    config = facts.task_config(source.results, source.task)
    listed = facts.metric_names(config, f"{source.path}, metric_list of its results")
    order = list(dict.fromkeys([*([metric] if metric else []), *DECIDING, *listed]))
    reading = _Reading(source, order, None)
    while (better := reading.read_all()) is not None:
        # A later sample has a metric that goes before the first one's: from the beginning, by that one.
        reading = _Reading(source, order, better)
    return reading.result()


class _Reading:
    """One pass over a file of samples, for which a metric decides."""

    def __init__(self, source: Source, order: Sequence[str], deciding: str | None) -> None:
        self._source = source
        self._order = order
        self._deciding = deciding
        self._config = facts.task_config(source.results, source.task)
        delimiter = self._config.get("target_delimiter")
        self._delimiter = delimiter if isinstance(delimiter, str) else None
        self._table = RowTable(extra={"gold": pl.List(pl.Int64)})
        self._slices = SliceFields()
        self._seen = _Seen()
        self._occurrences: Counter[_ItemAndFilter] = Counter()

    def read_all(self) -> str | None:
        """Read all samples; stop at one with a metric that goes before the one that decides so far, and return it."""
        names: list[str] = []
        for sample, where in _samples_in(self._source.path):
            try:
                check(sample)
                if names != (names := metric_names(sample)):
                    best = deciding_metric(sample, self._order)
                    if self._deciding is None:
                        self._deciding = best
                    elif self._rank(best) < self._rank(self._deciding):
                        return best
                self._add(sample)
            except BadField as bad:
                raise DataError(f"{where}, {bad}") from None
        if not self._occurrences:
            raise DataError(f"{self._source.path}: expected samples, found none")
        return None

    def _rank(self, metric: str | None) -> int:
        return self._order.index(metric) if metric in self._order else len(self._order)

    def _add(self, sample: Mapping[str, object]) -> None:
        fields = _fields_of_sample(sample, self._delimiter, self._deciding)
        key = (sample["doc_id"], sample.get("filter"))
        fields["filter"] = sample.get("filter") or str(self._occurrences[key])
        self._occurrences[key] += 1
        fields["id"] = str(sample["doc_id"])
        fields |= self._slices.of(sample.get("doc"))
        self._seen.num_ties += bool(fields.pop("tied", False))
        self._seen.num_contradicted += bool(fields.pop("contradicted", False))
        self._table.add(fields)

    def result(self) -> tuple[pl.DataFrame, dict[str, object], _Seen]:
        """Return records, what is known of the task, and what was seen."""
        source, seen = self._source, self._seen
        seen.deciding = self._deciding
        frame = self._slices.prune(self._table.frame()).with_columns(pl.lit(source.task).alias("task"))
        frame = _with_filter_names(frame, self._occurrences, facts.filter_names(self._config), seen)
        frame = judged(with_gold_scores(without_same_answers(frame)), self._deciding)
        scores = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
        scores.sort(key=lambda name: name != f"{SCORE_PREFIX}{self._deciding}")
        frame = frame.select(pl.exclude(scores), *scores)
        task_facts = facts.task_facts(source.results, source.task)
        task_facts |= {
            "metric": self._deciding,
            "num_ties": seen.num_ties,
            "logprob_step": logprob_step(frame),
        }
        return frame, task_facts, seen


def _fields_of_sample(sample: Mapping[str, object], delimiter: str | None, deciding: str | None) -> dict[str, object]:
    requests = requests_of(sample)
    if requests.endings is not None and len(requests.contexts) > 1:
        fields = choice_fields(sample, requests.contexts, requests.endings, delimiter=delimiter, deciding=deciding)
        return fields | scores_of(sample, likelihood=False)
    return text_fields(sample, requests) | scores_of(sample, likelihood=requests.endings is not None)


def _with_filter_names(
    frame: pl.DataFrame, occurrences: Counter[_ItemAndFilter], names: Sequence[str], seen: _Seen
) -> pl.DataFrame:
    """Name the filters of a file without filter names, and count items that stand there twice."""
    most = max(occurrences.values())
    if any(key[1] is not None for key in occurrences):
        seen.num_doubled = sum(count - 1 for count in occurrences.values())
        return frame
    if not names:
        names = [NO_FILTER] if most == 1 else [f"filter-{place + 1}" for place in range(most)]
        if most > 1:
            seen.readings.append(
                f"items stand {most} times without a filter's name and no results file names them: called "
                f"{', '.join(names)}"
            )
    seen.num_doubled = sum(max(0, count - len(names)) for count in occurrences.values())
    place = pl.col("filter").cast(pl.Int64) % len(names)
    return frame.with_columns(
        place.replace_strict(list(range(len(names))), list(names), return_dtype=pl.String).alias("filter")
    )


def _doubts(source: Source, seen: _Seen) -> list[str]:
    notes = []
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
        notes.append(f"{source.task}: no results file beside the samples, so settings and versions are not known")
    return notes
