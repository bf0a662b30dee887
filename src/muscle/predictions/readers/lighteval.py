"""lighteval's details: `details_TASK_DATE.parquet`, or the output folder that holds them.

Each row has three structs: `doc` (query, choices, gold_index, id, task_name), `model_response` (text,
text_post_processed, logprobs) and `metric`. Only the fields that are needed are read from the file: tokens and logits stay
where they are. Of each task the newest details are read; the metadata's `notes` say which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.readers._json import load_object
from muscle.predictions.readers._likelihoods import ordered, with_gold_scores
from muscle.predictions.readers._table import RowTable, SliceFields
from muscle.predictions.readers._values import known, object_in, refuse
from muscle.predictions.records import complete, concat_records
from muscle.predictions.run import SCORE_PREFIX, Run

_NAME = re.compile(r"details_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)\.parquet")
_FIELDS = {
    "doc": ("query", "choices", "gold_index", "id", "task_name", "specific"),
    "model_response": ("text", "text_post_processed", "logprobs"),
}
_DECIDING = ("acc", "em", "exact_match", "extractive_match", "loglikelihood_acc", "acc_norm")
_BATCH_ROWS = 2_000


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether this is a file of details, or a folder with some below it."""
    if path.is_dir():
        return next(_details(path), None) is not None
    return bool(_NAME.fullmatch(path.name)) and head.startswith(b"PAR1")


def read(path: Path) -> Run:
    """Read a run.

    Returns:
        One record an item. Scores of a choice task begin with `gold_probability` and `gold_logprob`; lighteval's metrics follow.
        `correct` is the first of its metrics that knows only 0 and 1.

    Raises:
        DataError: a file is damaged, lacks a column, or the folder holds several models: file, row, field.
    """
    files, notes = _newest(path) if path.is_dir() else ([path], [])
    frames, tasks = [], {}
    for file in files:
        frame, metric = _read_details(file)
        frames.append(frame)
        tasks[frame["task"][0]] = {"metric": metric}
    facts = _facts(files[0], tasks)
    name = facts["model"].get("name") or (
        files[0].parent.parent.name if len(files[0].parts) > 2 else files[0].stem
    )
    return Run(
        str(name),
        ordered(concat_records(frames)),
        facts | {"files": [str(file) for file in files], "notes": notes},
    )


def _details(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("details_*.parquet")) if _NAME.fullmatch(file.name))


def _newest(folder: Path) -> tuple[list[Path], list[str]]:
    by_task: dict[str, list[tuple[str, Path]]] = {}
    models = set()
    for file in _details(folder):
        match = _NAME.fullmatch(file.name)
        if match:
            by_task.setdefault(match["task"], []).append((match["date"], file))
            models.add(file.parent.parent)
    if len(models) > 1:
        names = ", ".join(sorted(place.name for place in models)[:6])
        raise DataError(
            f"{folder}: expected the details of one model, found {len(models)} ({names}); name one folder"
        )
    notes, files = [], []
    for task, dated in sorted(by_task.items()):
        dated.sort()
        files.append(dated[-1][1])
        if len(dated) > 1:
            notes.append(
                f"{task}: read the run of {dated[-1][0]}; also there: {', '.join(date for date, _ in dated[:-1])}"
            )
    return files, notes


def _read_details(file: Path) -> tuple[pl.DataFrame, str | None]:
    match = _NAME.fullmatch(file.name)
    task = match["task"] if match else file.stem
    table, slices = RowTable(extra={"gold": pl.List(pl.Int64)}), SliceFields()
    for number, row in enumerate(_rows(file), 1):
        fields = _fields(row, f"{file}, row {number}")
        if fields["id"] is None:
            fields["id"] = str(number - 1)
        table.add(fields | slices.of(row["doc"].get("specific")), len(fields["input"] or ""))
    frame = table.frame()
    if frame.is_empty():
        raise DataError(f"{file}: expected details, found none")
    frame = with_gold_scores(slices.prune(frame).with_columns(pl.lit(task).alias("task")))
    frame, metric = _judged(frame)
    return complete(frame), metric


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the fields that are needed, a batch of rows at a time."""
    try:
        schema = pl.read_parquet_schema(file)
        for name in ("doc", "model_response", "metric"):
            if not isinstance(schema.get(name), pl.Struct):
                found = ", ".join(schema)
                raise DataError(
                    f"{file}, column '{name}': expected a struct, as lighteval writes it, found columns {found}"
                )
        wanted = [pl.col("metric")] + [
            pl.struct(
                [
                    pl.col(name).struct.field(field.name)
                    for field in _struct(schema, name)
                    if field.name in fields
                ]
            ).alias(name)
            for name, fields in _FIELDS.items()
        ]
        frame = pl.scan_parquet(file).select(wanted).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise DataError(f"{file}: expected a whole Parquet file, found a damaged one ({reason})") from None
    for part in frame.iter_slices(_BATCH_ROWS):
        yield from part.iter_rows(named=True)


def _struct(schema: Mapping[str, pl.DataType], name: str) -> list[pl.Field]:
    dtype = schema[name]
    return dtype.fields if isinstance(dtype, pl.Struct) else []


def _fields(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    doc, response = row["doc"], row["model_response"]
    options = [str(text) for text in doc.get("choices") or []]
    gold = _gold(doc.get("gold_index"), len(options), where)
    logprobs = response.get("logprobs") or []
    texts = response.get("text_post_processed") or response.get("text") or []
    fields: dict[str, Any] = {
        "id": doc.get("id") or None,
        "input": doc.get("query"),
        "reference": [options[index] for index in gold] or None,
    }
    if len(logprobs) == len(options) > 1 and not texts:
        pick = logprobs.index(max(logprobs))
        fields |= {"choices": options, "logprobs": logprobs, "choice": pick, "output": options[pick]}
        fields["gold"] = gold or None
    else:
        fields["output"] = texts[0] if texts else None
    return fields | _scores(row["metric"] or {}, where)


def _gold(value: Any, num_options: int, where: str) -> list[int]:
    gold = [] if value is None else value if isinstance(value, list) else [value]
    for index in gold:
        if not isinstance(index, int) or (num_options and not 0 <= index < num_options):
            refuse(where, "doc.gold_index", f"the index of one of {num_options} choices, from 0", index)
    return gold if num_options else []


def _scores(metrics: Mapping[str, Any], where: str) -> dict[str, float]:
    scores = {}
    for name, value in metrics.items():
        if isinstance(value, int | float):
            if value != value:
                refuse(where, f"metric.{name}", "a number", value)
            scores[SCORE_PREFIX + name] = float(value)
    return scores


def _judged(frame: pl.DataFrame) -> tuple[pl.DataFrame, str | None]:
    """Set `correct` from the metric that decides, and take back picks that contradict it."""
    names = [name.removeprefix(SCORE_PREFIX) for name in frame.columns if name.startswith(SCORE_PREFIX)]
    names = [name for name in (*_DECIDING, *names) if name in names and not name.startswith("gold_")]
    binary = [name for name in names if frame[SCORE_PREFIX + name].drop_nulls().is_in([0.0, 1.0]).all()]
    if not binary:
        return frame, names[0] if names else None
    frame = frame.with_columns((pl.col(SCORE_PREFIX + binary[0]) == 1.0).alias("correct"))
    if "choice" in frame.columns:
        agrees = pl.col("reference").list.contains(pl.col("output")) == pl.col("correct")
        columns = [
            pl.when(agrees.fill_null(False)).then(pl.col(name)).alias(name) for name in ("choice", "output")
        ]
        frame = frame.with_columns(columns)
    return frame, binary[0]


def _facts(file: Path, tasks: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what the results file of the same date says, where it lies in the same output folder."""
    match = _NAME.fullmatch(file.name)
    date = match["date"] if match else ""
    parts = list(file.parts)
    results: Mapping[str, Any] = {}
    if "details" in parts and date:
        root = Path(*parts[: len(parts) - 1 - parts[::-1].index("details")])
        found = next(root.rglob(f"results_{date}.json"), None)
        results = load_object(found) if found else {}
    general = object_in(results, "config_general")
    model = object_in(general, "model_config")
    configs = object_in(results, "config_tasks")
    names = (
        "hf_repo",
        "hf_subset",
        "evaluation_splits",
        "generation_size",
        "stop_sequence",
        "num_samples",
        "version",
    )
    return {
        "model": known(
            {"name": general.get("model_name") or model.get("model_name"), "dtype": model.get("dtype")}
        ),
        "versions": known({"lighteval": general.get("lighteval_sha")}),
        "settings": known(
            {"generation": model.get("generation_parameters"), "seed": general.get("fewshot_seed")}
        ),
        "created": date,
        "harness": "lighteval",
        "results": dict(object_in(results, "results")),
        "tasks": {
            task: facts | known({name: object_in(configs, task).get(name) for name in names})
            for task, facts in tasks.items()
        },
    }
