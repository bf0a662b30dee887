"""Rows of Every Eval Ever as records: one row a sample and metric there, one record a sample and repeat here.

A task's verdicts are those of its main metric: the first binary one that has rows, else the first one that
has rows, if all its scores are 0 and 1. A sample without a row for that metric has no verdict; another
metric's never takes its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers.every_eval_ever.facts import Aggregate
from muscle.predictions.readers.shared.answers import without_same_answers
from muscle.predictions.readers.shared.fields import (
    count_at,
    identity_at,
    json_at,
    list_at,
    message_at,
    object_at,
    objects_at,
    required,
    score_at,
    truth_at,
)
from muscle.predictions.readers.shared.json_members import parse
from muscle.predictions.readers.shared.row_table import RowTable, SliceFields
from muscle.predictions.readers.shared.values import float_of, refuse
from muscle.predictions.records import NO_FILTER, complete
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

OWN = "muscle."
"""Beginning of the metadata keys under which a record's own fields are kept."""

OWN_FIELDS = (
    "task",
    "filter",
    "repeat",
    "choice",
    "logprobs",
    "input_hash",
    "finish_reason",
    "extracted_answer",
    "graded_by",
)
"""Fields of a record that the schema has no place for."""

UNSCORED = OWN + "unscored"
"""Metadata key of a row for a record without a verdict: the schema knows none, so the row has an error."""

ACCURACY = "accuracy"
"""The metric under which `muscle convert` writes `correct`."""

_CLAIMED = f"{SCORE_PREFIX}\x1fclaimed."
"""Beginning of columns for what a metric says of correctness, as 0 and 1."""

_KEY = ("task", "id", "filter", "repeat")
_HASHES = ("doc_hash", "prompt_hash", "target_hash", "filter", "lm_eval_metrics")


class Samples:
    """Collects rows, one a sample and metric."""

    def __init__(self, aggregate: Aggregate) -> None:
        self.model: str | None = None
        self.rows: Counter[tuple[str, str]] = Counter()
        """Rows by evaluation and metric."""
        self.main_metrics: dict[str, str] = {}
        """The metric that gives the verdicts of each evaluation; filled by `frame`."""
        self._evaluations: dict[tuple[object, object], str] = {}
        """Evaluations by task and filter."""
        self._aggregate = aggregate
        self._kinds: dict[str, str | None] = {metric.name: metric.kind for metric in aggregate.metrics.values()}
        """Metrics, in the aggregate's order, then as they come."""
        self._first_ids: dict[str, str] = {}
        self._table = RowTable()
        self._own_slices: set[str] = set()
        self._slices = SliceFields(leave_out=_HASHES)
        self._seen: Counter[tuple[object, ...]] = Counter()

    def add(self, row: Mapping[str, object], where: str) -> None:
        """Take one row."""
        for name in ("evaluation_name", "sample_id", "input", "evaluation"):
            required(row, name, where, "a sample of Every Eval Ever")
        self.model = self.model or json_at(row, "model_id", where)
        metadata = object_at(row, "metadata", where)
        metric = self._metric(row, where)
        self._kinds.setdefault(metric, None)
        evaluation = identity_at(row, "evaluation_name", where)
        self.rows[evaluation, metric] += 1
        fields = _record_fields(row, metadata, where)
        self._evaluations.setdefault((fields["task"], fields["filter"]), evaluation)
        key = (fields["task"], fields["id"], fields["filter"], metric)
        fields.setdefault("repeat", self._seen[key])
        self._seen[key] += 1
        if UNSCORED in metadata:
            fields["error"] = None
        elif fields["error"] is None:
            fields |= _score_and_claim(object_at(row, "evaluation", where), metric, where)
            fields |= _lm_eval_scores(metadata, where)
            if metric == ACCURACY and OWN + "task" in metadata:
                del fields[SCORE_PREFIX + metric]
        self._own_slices |= {name for name in fields if name.startswith(SLICE_PREFIX)}
        fields |= self._slices.of({k: v for k, v in metadata.items() if not k.startswith(OWN)})
        self._table.add(fields)

    def _metric(self, row: Mapping[str, object], where: str) -> str:
        """Return a row's metric: the aggregate's name, else `score` for an evaluation's first, the id for others."""
        identity, evaluation = (json_at(row, n, where) for n in ("evaluation_result_id", "evaluation_name"))
        listed = self._aggregate.metrics.get(str(identity))
        if listed is not None:
            return listed.name
        is_first = self._first_ids.setdefault(str(evaluation), str(identity)) == str(identity)
        return "score" if is_first and not self._aggregate.is_there else str(identity or "score")

    def frame(self, file: Path) -> pl.DataFrame:
        """Return one record a sample, filter and repeat."""
        frame = self._table.frame()
        if frame.is_empty():
            raise DataError(f"{file}: expected samples, found none")
        if len(self._kinds) > 1:
            rest = [pl.col(name).drop_nulls().first() for name in frame.columns if name not in _KEY]
            frame = frame.group_by(_KEY, maintain_order=True).agg(rest)
        listed = [SCORE_PREFIX + name for name in self._kinds if SCORE_PREFIX + name in frame.columns]
        further = [name for name in frame.columns if name.startswith(SCORE_PREFIX) and name not in listed]
        frame = self._judged(frame.select(pl.exclude(listed + further), *listed, *further))
        return complete(without_same_answers(self._slices.prune(frame, keep=self._own_slices)))

    def means(self, frame: pl.DataFrame) -> dict[str, list[float]]:
        """Return the share of right samples of each evaluation, of those with a verdict and of all; after `frame`."""
        found = frame.group_by("task", "filter").agg(
            right=pl.col("correct").sum(), judged=pl.col("correct").count(), all=pl.len()
        )
        return {
            self._evaluations[row["task"], row["filter"]]: [row["right"] / row["judged"], row["right"] / row["all"]]
            for row in found.iter_rows(named=True)
            if row["judged"]
        }

    def _judged(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Set `correct` from what each task's main metric says."""
        claims = [name for name in self._kinds if _CLAIMED + name in frame.columns]
        scores = [SCORE_PREFIX + name for name in claims if SCORE_PREFIX + name in frame.columns]
        groups = frame.group_by("task", "filter", maintain_order=True).agg(
            *(pl.col(_CLAIMED + name).count() for name in claims),
            *(pl.col(name).is_in([0.0, 1.0]).all() for name in scores),
        )
        verdict = pl.lit(None, pl.Boolean)
        for group in groups.iter_rows(named=True):
            counted = [name for name in claims if group[_CLAIMED + name]]
            main = next((n for n in counted if self._kinds[n] == "binary"), next(iter(counted), None))
            if main is not None:
                self.main_metrics[self._evaluations[group["task"], group["filter"]]] = main
            if main is not None and (self._kinds[main] == "binary" or group.get(SCORE_PREFIX + main)):
                mine = (pl.col("task") == group["task"]) & (pl.col("filter") == group["filter"])
                verdict = pl.when(mine).then(pl.col(_CLAIMED + main) == 1.0).otherwise(verdict)
        return frame.with_columns(verdict.alias("correct")).drop(_CLAIMED + name for name in claims)


def _record_fields(row: Mapping[str, object], metadata: Mapping[str, object], where: str) -> dict[str, object]:
    """Return what identifies a sample and what was asked and answered."""
    asked = object_at(row, "input", where)
    choices = [str(text) for text in list_at(asked, "choices", where)] or None
    reference = [_named_option(str(text), choices) for text in list_at(asked, "reference", where)]
    output, extracted = _said_and_extracted(row, where)
    answer = extracted or output
    task = identity_at(row, "evaluation_name", where)
    filter = json_at(metadata, "filter", where) or NO_FILTER
    fields: dict[str, object] = {
        "task": task.removesuffix(f"/{filter}") if filter != NO_FILTER else task,
        "id": identity_at(row, "sample_id", where),
        "filter": filter,
        "input": json_at(asked, "raw", where) or None,  # the schema has no null here
        "choices": choices,
        "reference": reference or None,
        "output": output,
        "extracted_answer": extracted,
        "choice": choices.index(answer) if choices and answer in choices else None,
        "error": json_at(row, "error", where) or None,
    }
    prefix = OWN + SLICE_PREFIX
    fields |= {n.removeprefix(OWN): json_at(metadata, n, where) for n in metadata if n.startswith(prefix)}
    if OWN + "task" not in metadata:
        return fields
    # What is not kept was null: the schema's own fields say less than a record.
    return fields | {"extracted_answer": None} | _own_fields(metadata, choices, where)


def _own_fields(metadata: Mapping[str, object], choices: list[str] | None, where: str) -> dict[str, object]:
    """Return the fields of a record that `muscle convert` kept."""
    kept: dict[str, object] = {}
    for name in OWN_FIELDS:
        text = json_at(metadata, OWN + name, where)
        if text is not None:
            kept[name] = parse(text.encode("utf-8", "replace"), f"{where}, field '{OWN + name}'")
    fields: dict[str, object] = {name: json_at(kept, name, where) for name in kept}
    counts = {name: count_at(kept, name, where) for name in kept if name in ("repeat", "choice")}
    fields |= counts
    if "logprobs" in kept:
        fields["logprobs"] = [float_of(value) for value in list_at(kept, "logprobs", where)]
    if choices and (counts.get("choice") or 0) >= len(choices):
        refuse(where, OWN + "choice", f"the index of one of {len(choices)} options", counts["choice"])
    return fields


def _named_option(text: str, choices: list[str] | None) -> str:
    """Return the option that an index or a letter names; lm-eval's converter writes indices.

    >>> _named_option("1", ["red", "blue"]), _named_option("b", ["red", "blue"]), _named_option("ß", ["red"])
    ('blue', 'blue', 'ß')
    """
    if not choices or text in choices or len(text) > 3:
        return text
    letter = text.upper()
    index = int(text) if text.isdecimal() else ord(letter) - ord("A") if len(letter) == 1 else -1
    return choices[index] if 0 <= index < len(choices) else text


def _said_and_extracted(row: Mapping[str, object], where: str) -> tuple[str | None, str | None]:
    """Return the whole answer (what was said last) and what was read out of it at last; None for what is absent."""
    attributions = objects_at(row, "answer_attribution", where)
    final = [entry for entry in attributions if entry.get("is_terminal")]
    extracted = json_at(final[-1], "extracted_value", where) or None if final else None
    raw = list_at(object_at(row, "output", where), "raw", where)
    said = [entry for entry in objects_at(row, "messages", where) if entry.get("role") == "assistant"]
    whole = None
    if raw and (attributions or raw != [""]):
        whole = json_at({"raw": raw[0]}, "raw", where)
    elif said:
        whole = message_at(said[-1], "content", where)
    return (extracted, None) if whole is None else (whole, extracted)


def _score_and_claim(evaluation: Mapping[str, object], metric: str, where: str) -> dict[str, object]:
    score = score_at(evaluation, "score", where, "evaluation.score")
    claimed = truth_at({"evaluation.is_correct": evaluation.get("is_correct")}, "evaluation.is_correct", where)
    return {SCORE_PREFIX + metric: score, _CLAIMED + metric: None if claimed is None else float(claimed)}


def _lm_eval_scores(metadata: Mapping[str, object], where: str) -> dict[str, float]:
    """Return the numbers among the metrics that lm-eval's converter keeps as text."""
    text = json_at(metadata, "lm_eval_metrics", where)
    metrics = parse(text.encode("utf-8", "replace"), f"{where}, field 'lm_eval_metrics'") if text else {}
    if not isinstance(metrics, dict):
        refuse(where, "lm_eval_metrics", "an object of metrics", type(metrics).__name__)
    # lm-eval's "perplexity" of a sample is a log-likelihood: higher is better, unlike the aggregate of that name.
    names = {"perplexity": "gold_logprob"}
    numbers = {name: float_of(value) for name, value in metrics.items()}
    return {SCORE_PREFIX + names.get(name, name): number for name, number in numbers.items() if number is not None}
