"""Records as Every Eval Ever 0.3.0: one aggregate and its samples, at the place that the schema's datastore wants.

The schema knows one metric a row, no log-likelihoods, no repeats and no filters. A record becomes one row for each of
its scores (and for `correct`); what has no place in the schema goes into a row's metadata under `muscle.`. A record
without a verdict becomes a row with an error, so that nobody counts it as wrong.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from muscle.errors import DataError
from muscle.files import atomic_path, plain_json, write_json
from muscle.predictions.readers.every_eval_ever.facts import OWN_RUN
from muscle.predictions.readers.every_eval_ever.reader import SAMPLES_SUFFIX
from muscle.predictions.readers.every_eval_ever.samples import ACCURACY, OWN, OWN_FIELDS, UNSCORED
from muscle.predictions.records import NO_FILTER
from muscle.predictions.run import DEFAULT_TASK, SCORE_PREFIX, SLICE_PREFIX, Run
from muscle.provenance import file_sha256

SCHEMA_VERSION = "0.3.0"
_SLICE_ROWS = 5_000
_UNSAFE = re.compile(r'[<>:"\\|?*\x00-\x1f/]')
_OWN_FACTS = ("settings", "tasks", "versions", "harness", "higher_is_better", "notes", "readings", DEFAULT_TASK)


@dataclass(frozen=True)
class _Result:
    """One metric of one task under one filter."""

    task: str
    filter: str
    metric: str
    column: str

    @property
    def name(self) -> str:
        """The evaluation's name, as the schema's own converters build it."""
        return self.task if self.filter == NO_FILTER else f"{self.task}/{self.filter}"

    @property
    def id(self) -> str:
        """What joins samples and aggregate."""
        return f"{self.name}#{self.metric}"


def write_every_eval_ever(run: Run, folder: Path) -> list[Path]:
    """Write a run below a folder, as `data/COLLECTION/DEVELOPER/MODEL/UUID.json` and `UUID_samples.jsonl`.

    Returns:
        The aggregate file and the samples file.

    Raises:
        DataError: no record has a score or a verdict.
        OutputError: the files cannot be written.
    """
    results = _metrics_to_write(run.frame)
    if not results:
        raise DataError(f"{run.name}: expected records with a score or 'correct', found none; nothing to write")
    model = _model_id(run)
    collection = _component(results[0].task)
    place = Path("data", collection, _component(model.partition("/")[0]), _component(model.partition("/")[2]))
    identity = str(uuid.uuid4())
    evaluation = f"{collection}/{model.replace('/', '_')}/{int(time.time())}"
    samples = folder / place / f"{identity}{SAMPLES_SUFFIX}"
    num_rows = 0
    with atomic_path(samples) as temporary, temporary.open("wb") as handle:
        for row in _sample_rows(run.frame, results, evaluation, model):
            handle.write(orjson.dumps(row) + b"\n")
            num_rows += 1
    aggregate = _aggregate(run, results, evaluation, model)
    aggregate["detailed_evaluation_results"] = {
        "format": "jsonl",
        "file_path": (place / samples.name).as_posix(),
        "hash_algorithm": "sha256",
        "checksum": file_sha256(samples),
        "total_rows": num_rows,
    }
    file = folder / place / f"{identity}.json"
    write_json(file, aggregate)
    return [file, samples]


def _component(name: str) -> str:
    """Make a name one component of a path."""
    cleaned = _UNSAFE.sub("_", name).rstrip(". ")
    return f"_{cleaned}" if cleaned in ("", "data") else cleaned


def _model_id(run: Run) -> str:
    """Return the model as developer/model; a name of one part gets the developer `local`."""
    facts = run.metadata.get("model")
    name = str((facts.get("name") if isinstance(facts, Mapping) else facts) or run.name).strip("/")
    return name if "/" in name else f"local/{name}"


def _metrics_to_write(frame: pl.DataFrame) -> list[_Result]:
    """Return what each task and filter is measured by: `correct`, then its scores in order.

    Raises:
        DataError: a score has the name that `correct` is written under, and says something else.
    """
    scores = [name for name in frame.columns if name.startswith(SCORE_PREFIX)]
    counts = frame.group_by("task", "filter", maintain_order=True).agg(pl.col("correct", *scores).count())
    if SCORE_PREFIX + ACCURACY in scores:
        same = pl.col("correct").cast(pl.Float64).eq_missing(pl.col(SCORE_PREFIX + ACCURACY))
        judged = pl.col("correct").is_not_null().any().over("task", "filter")
        if not frame.select((same | ~judged).all()).item():
            raise DataError(
                f"score {ACCURACY!r}: Every Eval Ever has one metric of that name, which is `correct` here, "
                "and the score says something else; write records instead (a folder, or a .jsonl file)"
            )
    return [
        _Result(
            row["task"],
            row["filter"],
            ACCURACY if name == "correct" else name.removeprefix(SCORE_PREFIX),
            name,
        )
        for row in counts.iter_rows(named=True)
        for name in ("correct", *scores)
        if row[name] and not (name == SCORE_PREFIX + ACCURACY and row["correct"])
    ]


def _sample_rows(
    frame: pl.DataFrame, results: list[_Result], evaluation: str, model: str
) -> Iterator[dict[str, object]]:
    by_group: dict[tuple[str, str], list[_Result]] = {}
    for result in results:
        by_group.setdefault((result.task, result.filter), []).append(result)
    for part in frame.iter_slices(_SLICE_ROWS):
        for record in part.iter_rows(named=True):
            key = (record["task"], record["filter"])
            group = by_group.get(key) or [_Result(*key, ACCURACY, "correct")]
            measured = [result for result in group if record[result.column] is not None]
            # A missing item stands there once, under the first metric.
            for result in measured if measured and not record["error"] else group[:1]:
                yield _sample_row(record, result) | {"evaluation_id": evaluation, "model_id": model}


def _sample_row(record: Mapping[str, object], result: _Result) -> dict[str, object]:
    raw, reference = record["input"] or "", record["reference"] or []
    output = record["output"]
    value, correct = record[result.column], record["correct"]
    is_unscored = value is None and not record["error"]
    error = record["error"] or ("no verdict" if is_unscored else None)
    hashed = json.dumps({"raw": raw, "reference": reference}, sort_keys=True, separators=(",", ":"))
    row = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_name": result.name,
        "evaluation_result_id": result.id,
        "sample_id": record["id"],
        "sample_hash": hashlib.sha256(hashed.encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {"raw": raw, "reference": reference, "choices": record["choices"]},
        "output": {"raw": [output or ""]},
        "answer_attribution": [] if output is None else [_attribution(record)],
        "evaluation": {
            "score": float(value) if isinstance(value, int | float) else 0.0,
            # The schema wants one of the two; a record that has only scores is right where its score is 1.
            "is_correct": bool(value == 1.0 if correct is None else correct),
        },
        "metadata": _kept_fields(record) | ({UNSCORED: "true"} if is_unscored else {}),
    }
    return row | ({"error": error} if error else {})


def _attribution(record: Mapping[str, object]) -> dict[str, object]:
    return {
        "turn_idx": 0,
        "source": "output.raw",
        "extracted_value": record["extracted_answer"] or record["output"],
        "extraction_method": record["filter"],
        "is_terminal": True,
    }


def _kept_fields(record: Mapping[str, object]) -> dict[str, object]:
    """Return what the schema has no place for, as texts."""
    kept: dict[str, object] = {
        OWN + name: orjson.dumps(record[name]).decode() for name in OWN_FIELDS if record[name] is not None
    }
    kept |= {OWN + name: value for name, value in record.items() if name.startswith(SLICE_PREFIX) and value is not None}
    return kept | {"filter": record["filter"]}


def _aggregate(run: Run, results: list[_Result], evaluation: str, model: str) -> dict[str, object]:
    metadata = run.metadata
    harness = str(metadata.get("harness") or metadata.get("format") or "muscle")
    versions = metadata.get("versions") or {}
    names = (harness, harness.replace("-", "_"), "lm_eval", "inspect_ai", "muscle-llm")
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": evaluation,
        "retrieved_timestamp": str(int(time.time())),
        "source_metadata": {
            "source_type": "evaluation_run",
            "source_name": harness,
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
            "additional_details": {OWN_RUN: _own_run(run)},
        },
        "eval_library": {
            "name": harness,
            "version": str(next((versions[name] for name in names if versions.get(name)), "unknown")),
        },
        "model_info": {
            "name": run.name,
            "id": model,
            "additional_details": {"deployment_type": "unknown", "model_availability": "unknown"},
        },
        "evaluation_results": [_aggregate_result(run, result) for result in results],
    }


def _own_run(run: Run) -> str:
    """Return as text what is known of a run and decides whether it may be compared."""
    facts = {name: run.metadata[name] for name in _OWN_FACTS if run.metadata.get(name)}
    facts["unread"] = [asdict(loss) for loss in run.unread]
    return json.dumps(plain_json(facts), sort_keys=True)


def _aggregate_result(run: Run, result: _Result) -> dict[str, object]:
    mine = (pl.col("task") == result.task) & (pl.col("filter") == result.filter) & pl.col("error").is_null()
    values = run.frame.filter(mine)[result.column].drop_nulls().cast(pl.Float64)
    with np.errstate(over="ignore"):
        mean = float(np.mean(values.to_numpy())) if values.len() else 0.0
    if not np.isfinite(mean):
        raise DataError(f"task {result.task!r}: the values of {result.metric!r} are too large for a mean")
    is_binary = result.column == "correct"
    directions = run.metadata.get("higher_is_better") or {}
    low, high = (0.0, 1.0) if is_binary or values.is_between(0, 1).all() else ("-Infinity", "Infinity")
    return {
        "evaluation_result_id": result.id,
        "evaluation_name": result.name,
        "source_data": {"dataset_name": result.task, "source_type": "other"},
        "metric_config": {
            "metric_id": result.metric,
            "metric_name": result.metric,
            "lower_is_better": directions.get(result.metric) is False,
            "score_type": "binary" if is_binary else "continuous",
            "min_score": low,
            "max_score": high,
        },
        "score_details": {
            "score": mean,
            "details": {"num_items": str(values.len())},
        },
    }
