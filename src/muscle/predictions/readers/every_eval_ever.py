"""Every Eval Ever, the community's shared schema (0.3.0): an aggregate `UUID.json` with its `UUID_samples.jsonl`.

A sample that feeds several metrics stands there once for each; such rows are one record here, with a score
for each. The same metric of the same sample again is a repeat. What `muscle convert --to eee` kept of a record
in a row's metadata (the option picked, log-likelihoods, repeat, slices) comes back.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers._json import line_objects, load_object
from muscle.predictions.readers._table import RowTable, SliceFields
from muscle.predictions.readers._values import finite_number, known, object_in, refuse, required
from muscle.predictions.records import NO_FILTER, complete, concat_records
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX, Run

SAMPLES_SUFFIX = "_samples.jsonl"
OWN = "muscle."
"""Beginning of the metadata keys under which a record's own fields are kept."""

ACCURACY = "accuracy"
"""The metric under which `muscle convert` writes `correct`."""

_HASHES = ("doc_hash", "prompt_hash", "target_hash", "filter", "lm_eval_metrics")


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is an aggregate, its samples, or a folder with one of them below it."""
    if path.is_dir():
        found = _aggregate_in(path)
        return found is not None and _is_aggregate(found)
    first = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not first.startswith(b"{") or b'"schema_version"' not in head or b'"evaluation_id"' not in head:
        return False
    return path.name.endswith(SAMPLES_SUFFIX) or b'"sample_id"' in head or _is_aggregate(path)


def read(path: Path) -> Run:
    """Read a run.

    Args:
        path: the aggregate file, its samples, or a folder with such pairs below it: of one model, of different tasks.

    Returns:
        One record a sample and repeat. A score has its metric's name in the aggregate. `correct` is `is_correct` where the metric
        is binary, null where its values are not 0 and 1.

    Raises:
        DataError: the samples are missing or damaged, or a folder holds several models or a task twice: file, line, field.
    """
    if not path.is_dir():
        return _read_pair(path)
    files = _aggregates(path)
    if not files:
        raise DataError(f"{path}: expected UUID{SAMPLES_SUFFIX} below it, found none")
    runs = [_read_pair(file.with_name(file.stem + SAMPLES_SUFFIX)) for file in files]
    tasks = [task for run in runs for task in run.tasks]
    models = sorted({run.name for run in runs})
    if len(models) > 1 or len(set(tasks)) < len(tasks):
        what = f"the models {', '.join(models[:6])}" if len(models) > 1 else "a task twice"
        raise DataError(f"{path}: expected one run of one model, found {what}; name one file")
    metadata = dict(runs[0].metadata)
    for name in ("results", "tasks", "higher_is_better"):
        metadata[name] = {key: value for run in runs for key, value in run.metadata[name].items()}
    for name in ("files", "notes"):
        metadata[name] = [entry for run in runs for entry in run.metadata[name]]
    return Run(runs[0].name, concat_records([run.frame for run in runs]), metadata)


def _read_pair(path: Path) -> Run:
    aggregate_file, samples_file = _pair(path)
    aggregate = load_object(aggregate_file) if aggregate_file.is_file() else {}
    table = _Samples(_metrics(aggregate))
    for number, row in line_objects(samples_file):
        table.add(row, f"{samples_file}, line {number}")
    model = object_in(aggregate, "model_info")
    name = str(model.get("id") or model.get("name") or table.model or path.stem)
    return Run(name, table.frame(samples_file), _facts(aggregate, name, samples_file))


def _aggregates(folder: Path) -> list[Path]:
    return [
        file.with_name(file.name.removesuffix(SAMPLES_SUFFIX) + ".json")
        for file in sorted(folder.rglob(f"*{SAMPLES_SUFFIX}"))
    ]


def _aggregate_in(folder: Path) -> Path | None:
    found = _aggregates(folder)
    return found[0] if found and found[0].is_file() else None


def _is_aggregate(path: Path) -> bool:
    with path.open("rb") as handle:
        head = handle.read(65_536)
    return b'"schema_version"' in head and b'"evaluation_results"' in head


def _pair(path: Path) -> tuple[Path, Path]:
    """Return aggregate file and samples file."""
    if path.name.endswith(SAMPLES_SUFFIX):
        return path.with_name(path.name.removesuffix(SAMPLES_SUFFIX) + ".json"), path
    if path.suffix == ".jsonl":
        return path.with_suffix(".json"), path
    samples = path.with_name(path.stem + SAMPLES_SUFFIX)
    if not samples.is_file():
        raise DataError(
            f"{path}: expected its samples in {samples.name}, found none; aggregates alone cannot be compared"
        )
    return path, samples


def _metrics(aggregate: Mapping[str, Any]) -> dict[str, tuple[str, str | None]]:
    """Return each result's metric and type (`binary`, `continuous`, `levels`), by the result's id."""
    metrics = {}
    for result in aggregate.get("evaluation_results") or []:
        config = object_in(result, "metric_config")
        name = config.get("metric_id") or config.get("metric_name") or "score"
        metrics[str(result.get("evaluation_result_id"))] = (str(name), config.get("score_type"))
    return metrics


class _Samples:
    """Collects rows, one a sample and metric."""

    def __init__(self, metrics: Mapping[str, tuple[str, str | None]]) -> None:
        self.model: str | None = None
        self._metrics = metrics
        self._types: dict[str, str | None] = {}
        self._table = RowTable(extra={"claimed": pl.Boolean()})
        self._own_slices: set[str] = set()
        self._slices = SliceFields(leave_out=_HASHES)
        self._seen: Counter[tuple[str, ...]] = Counter()

    def add(self, row: Mapping[str, Any], where: str) -> None:
        """Take one row."""
        for name in ("evaluation_name", "sample_id", "input", "evaluation"):
            required(row, name, where, "a sample of Every Eval Ever")
        self.model = self.model or str(row.get("model_id") or "") or None
        metadata = object_in(row, "metadata")
        metric, kind = self._metrics.get(str(row.get("evaluation_result_id")), ("score", None))
        self._types.setdefault(metric, kind)
        fields = _record_fields(row, metadata)
        key = (fields["task"], fields["id"], fields["filter"], metric)
        fields.setdefault("repeat", self._seen[key])
        self._seen[key] += 1
        if not row.get("error"):
            fields |= _verdict(object_in(row, "evaluation"), metric, where) | _other_scores(metadata)
            if kind == "binary":
                fields["correct"] = fields.pop("claimed")
            if metric == ACCURACY and OWN + "task" in metadata:
                del fields[SCORE_PREFIX + metric]
        self._own_slices |= {name for name in fields if name.startswith(SLICE_PREFIX)}
        fields |= self._slices.of(
            {name: value for name, value in metadata.items() if not name.startswith(OWN)}
        )
        self._table.add(fields, len(fields["input"]) + len(fields["output"] or ""))

    def frame(self, file: Path) -> pl.DataFrame:
        """Return one record a sample, filter and repeat."""
        frame = self._table.frame()
        if frame.is_empty():
            raise DataError(f"{file}: expected samples, found none")
        key = ["task", "id", "filter", "repeat"]
        if len(self._types) > 1:
            rest = [pl.col(name).drop_nulls().first() for name in frame.columns if name not in key]
            frame = frame.group_by(key, maintain_order=True).agg(rest)
        return complete(self._slices.prune(self._judged(frame), keep=self._own_slices))

    def _judged(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Believe `is_correct` of metrics that are not called binary where all the task's scores are 0 and 1."""
        if "claimed" not in frame.columns:
            return frame
        judged = (
            frame["correct"]
            if "correct" in frame.columns
            else pl.Series("correct", [None] * frame.height, pl.Boolean)
        )
        scores = [name for name in (SCORE_PREFIX + metric for metric in self._types) if name in frame.columns]
        graded = pl.any_horizontal([~pl.col(name).is_in([0.0, 1.0]) for name in scores]).any().over("task")
        has_binary = pl.col("correct").is_not_null().any().over("task")
        believed = pl.when(~graded & ~has_binary).then(pl.col("claimed")).otherwise(pl.col("correct"))
        return frame.with_columns(judged).with_columns(believed.alias("correct")).drop("claimed")


def _record_fields(row: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what identifies a sample and what was asked and answered."""
    asked = object_in(row, "input")
    options = asked.get("choices")
    choices = [str(text) for text in options] if isinstance(options, list) and options else None
    reference = [_named_option(str(text), choices) for text in asked.get("reference") or []]
    answer = _answer(row)
    task, filter = str(row["evaluation_name"]), str(metadata.get("filter") or NO_FILTER)
    fields: dict[str, Any] = {
        "task": task.removesuffix(f"/{filter}") if filter != NO_FILTER else task,
        "id": str(row["sample_id"]),
        "filter": filter,
        "input": str(asked.get("raw") or ""),
        "choices": choices,
        "reference": reference or None,
        "output": answer,
        "choice": choices.index(answer) if choices and answer in choices else None,
        "error": row.get("error") or None,
    }
    for name in ("task", "filter", "repeat", "choice", "logprobs", "input_hash", "finish_reason"):
        if OWN + name in metadata:
            fields[name] = json.loads(metadata[OWN + name])
    prefix = OWN + SLICE_PREFIX
    return fields | {
        name.removeprefix(OWN): text for name, text in metadata.items() if name.startswith(prefix)
    }


def _named_option(text: str, choices: list[str] | None) -> str:
    """Return the option that an index or a letter names; lm-eval's converter writes indices."""
    if not choices or text in choices:
        return text
    index = int(text) if text.isdecimal() else ord(text.upper()) - ord("A") if len(text) == 1 else -1
    return choices[index] if 0 <= index < len(choices) else text


def _answer(row: Mapping[str, Any]) -> str | None:
    """Return the last terminal answer, else what was said last."""
    attributions = row.get("answer_attribution") or []
    final = [entry for entry in attributions if isinstance(entry, dict) and entry.get("is_terminal")]
    if final and final[-1].get("extracted_value"):
        return str(final[-1]["extracted_value"])
    raw = object_in(row, "output").get("raw")
    if not attributions and raw == [""]:
        return None
    if isinstance(raw, list) and raw:
        return str(raw[0])
    said = [
        entry
        for entry in row.get("messages") or []
        if isinstance(entry, dict) and entry.get("role") == "assistant"
    ]
    return said[-1].get("content") if said else None


def _verdict(evaluation: Mapping[str, Any], metric: str, where: str) -> dict[str, Any]:
    score = finite_number(evaluation.get("score"), where, "evaluation.score")
    is_correct = evaluation.get("is_correct")
    if not isinstance(is_correct, bool | None):
        refuse(where, "evaluation.is_correct", "true or false", is_correct)
    return {SCORE_PREFIX + metric: score, "claimed": is_correct}


def _other_scores(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers among the metrics that lm-eval's converter keeps as text."""
    try:
        metrics = json.loads(metadata.get("lm_eval_metrics") or "{}")
    except ValueError:
        return {}
    # lm-eval's "perplexity" of a sample is a log-likelihood: higher is better, unlike the aggregate of that name.
    names = {"perplexity": "gold_logprob"}
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    return {SCORE_PREFIX + names.get(name, name): float(value) for name, value in numbers.items()}


def _facts(aggregate: Mapping[str, Any], name: str, samples: Path) -> dict[str, Any]:
    """Return what is known of the run, in the metadata's common words."""
    library = object_in(aggregate, "eval_library")
    results: dict[str, dict[str, Any]] = {}
    directions, tasks = {}, {}
    for result in aggregate.get("evaluation_results") or []:
        task, config = str(result.get("evaluation_name")), object_in(result, "metric_config")
        metric = str(config.get("metric_id") or config.get("metric_name") or "score")
        results.setdefault(task, {})[metric] = object_in(result, "score_details").get("score")
        directions[metric] = not config.get("lower_is_better", False)
        tasks[task] = {
            "dataset": result.get("source_data"),
            "generation": object_in(result, "generation_config").get("generation_args"),
            "judge": object_in(config, "llm_scoring").get("judges"),
        }
    return {
        "model": {
            "name": name,
            **{key: value for key, value in object_in(aggregate, "model_info").items() if key != "name"},
        },
        "versions": {str(library["name"]): library.get("version")} if library.get("name") else {},
        "settings": {},
        "created": aggregate.get("evaluation_timestamp") or aggregate.get("retrieved_timestamp"),
        "harness": library.get("name"),
        "higher_is_better": directions,
        "results": results,
        "tasks": {task: known(facts) for task, facts in tasks.items()},
        "files": [str(samples)],
        "notes": []
        if aggregate
        else ["no aggregate file beside the samples, so metrics and settings are not known"],
    }
