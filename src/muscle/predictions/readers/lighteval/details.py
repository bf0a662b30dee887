"""One file of lighteval's details into records.

What types its columns have is looked at once, before any row: Parquet has one for each column. Nothing is
unpacked of a file whose footer says that it is far larger than details are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import polars as pl

from muscle.errors import DataError
from muscle.predictions.plain.unpacked_size import parquet_size
from muscle.predictions.readers.shared.fields import list_at
from muscle.predictions.readers.shared.likelihoods import is_binary, right_at_one, with_gold_scores
from muscle.predictions.readers.shared.row_table import RowTable, SliceFields
from muscle.predictions.readers.shared.values import refuse
from muscle.predictions.records import complete
from muscle.predictions.run import SCORE_PREFIX

FREE_BYTES = 1 << 30
MOST_FOLD = 100
"""A file may unpack to `FREE_BYTES`, or to this many times its size."""

BATCH_BYTES = 64 << 20
"""Texts that are Python objects at a time; a row may hold half of it."""

_DECIDING = ("acc", "em", "exact_match", "extractive_match", "loglikelihood_acc", "acc_norm")
_BATCH_ROWS = 2_000
_TEXT, _WHOLE, _NUMBER = "text", "whole numbers", "numbers"
_FIELDS: dict[str, dict[str, tuple[bool, str] | None]] = {
    "doc": {
        "query": (False, _TEXT),
        "choices": (True, _TEXT),
        "gold_index": (False, _WHOLE),
        "id": (False, _TEXT),
        "specific": None,
    },
    "model_response": {
        "text": (True, _TEXT),
        "text_post_processed": (True, _TEXT),
        "logprobs": (True, _NUMBER),
    },
}
"""The fields that are read: whether each is a list, and of what; None for any type."""


_Struct = Mapping[str, object]
_Entry = TypeVar("_Entry", str, float)


class Details:
    """What a file of details holds.

    Attributes:
        frame: its records.
        metric: the metric that decides; None where there is none.
        readings: what of it is not read, and that nothing is lost by it.
    """

    def __init__(self, file: Path, task: str) -> None:
        """Read a file.

        Raises:
            DataError: it is damaged, too large unpacked, lacks a column, or holds what it should not: file, row, field.
        """
        self.readings: list[str] = []
        table = RowTable(extra={"gold": pl.List(pl.Int64)}, where=str(file))
        slices = SliceFields()
        num_more = 0
        for number, row in enumerate(_rows_of_details(file, self.readings, task), 1):
            fields, num_answers = _record_of_row(row, f"{file}, row {number}", number)
            num_more += num_answers > 1
            table.add(fields | slices.of(row["doc"].get("specific")))
        frame = table.frame()
        if frame.is_empty():
            raise DataError(f"{file}: expected details, found none")
        if num_more:
            self.readings.append(f"{task}: {num_more} items have several answers; the first of each is shown")
        frame = with_gold_scores(slices.prune(frame).with_columns(pl.lit(task).alias("task")))
        frame, self.metric = _with_correct(frame)
        self.frame = complete(frame)


def _rows_of_details(file: Path, readings: list[str], task: str) -> Iterator[dict[str, _Struct]]:
    """Yield the fields that are needed, some rows at a time."""
    try:
        _refuse_huge_details(file)
        schema = pl.read_parquet_schema(file)
        wanted = [_wanted(file, schema, name) for name in _FIELDS]
        wanted.append(_numeric_metrics(file, schema, readings, task))
        frame = pl.scan_parquet(file).select(wanted).collect()
    except (pl.exceptions.PolarsError, OSError, ValueError, pl.exceptions.PanicException) as error:
        # A panic of polars' reader is no Exception.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise DataError(f"{file}: expected a whole Parquet file, found a damaged one ({reason})") from None
    for part in _batches_of_rows(file, frame):
        yield from part.iter_rows(named=True)


def _refuse_huge_details(file: Path) -> None:
    num_bytes = parquet_size(file)[1]
    most = max(FREE_BYTES, MOST_FOLD * file.stat().st_size)
    if num_bytes > most:
        raise DataError(
            f"{file}: expected a file that unpacks to at most {most >> 20} MiB, found {num_bytes >> 20} MiB; "
            "do not trust it"
        )


def _batches_of_rows(file: Path, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Cut a frame into parts whose texts are few enough to be Python objects: one long text may stand in every row."""
    texts = [
        pl.col(name)
        .struct.field(field.name)
        .cast(pl.List(pl.String))
        .list.eval(pl.element().str.len_bytes())
        .list.sum()
        if isinstance(field.dtype, pl.List)
        else pl.col(name).struct.field(field.name).str.len_bytes()
        for name in _FIELDS
        for field in _struct(frame.schema, name)
        if field.dtype in (pl.String, pl.List(pl.String))
    ]
    sizes = frame.select(pl.sum_horizontal([*texts, pl.lit(0)]).fill_null(0).cast(pl.Int64)).to_series()
    too_long = (sizes > BATCH_BYTES // 2).arg_true()
    if too_long.len():
        row = int(too_long[0]) + 1
        raise DataError(
            f"{file}, row {row}: expected texts of at most {BATCH_BYTES >> 21} MiB, found longer ones; remove the row"
        )
    batch = sizes.cum_sum() // (BATCH_BYTES // 2)
    start = 0
    for length in batch.rle().struct.field("len"):
        yield from frame.slice(start, length).iter_slices(_BATCH_ROWS)
        start += length


def _struct(schema: Mapping[str, pl.DataType], name: str) -> list[pl.Field]:
    dtype = schema.get(name)
    return dtype.fields if isinstance(dtype, pl.Struct) else []


def _check_struct(file: Path, schema: Mapping[str, pl.DataType], name: str) -> None:
    if not isinstance(schema.get(name), pl.Struct):
        found = ", ".join(schema)
        raise DataError(f"{file}, column '{name}': expected a struct, as lighteval writes it, found columns {found}")


def _wanted(file: Path, schema: Mapping[str, pl.DataType], name: str) -> pl.Expr:
    _check_struct(file, schema, name)
    fields = [field for field in _struct(schema, name) if field.name in _FIELDS[name]]
    for field in fields:
        _check_type(f"{file}, column '{name}'", field, _FIELDS[name][field.name])
    # A struct needs a field; this one says whether the row has the struct at all.
    there = pl.col(name).is_not_null().alias("")
    return pl.struct([there, *(pl.col(name).struct.field(field.name) for field in fields)]).alias(name)


def _check_type(where: str, field: pl.Field, wanted: tuple[bool, str] | None) -> None:
    if wanted is None:
        return
    is_list, kind = wanted
    dtype = field.dtype
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    fits = {
        _TEXT: inner == pl.String or (not is_list and inner.is_integer()),
        _WHOLE: inner.is_integer(),
        _NUMBER: inner.is_numeric(),
    }[kind]
    # An index may be one or a list of them.
    if dtype == pl.Null or inner == pl.Null or (fits and (isinstance(dtype, pl.List) == is_list or kind == _WHOLE)):
        return
    refuse(where, field.name, f"{'a list of ' if is_list else ''}{kind}", str(dtype))


def _numeric_metrics(file: Path, schema: Mapping[str, pl.DataType], readings: list[str], task: str) -> pl.Expr:
    """Choose the metrics that are a number an item; name the others."""
    _check_struct(file, schema, "metric")
    fields = _struct(schema, "metric")
    kept = [field.name for field in fields if field.dtype.is_numeric() or field.dtype in (pl.Boolean, pl.Null)]
    others = [field.name for field in fields if field.name not in kept]
    if others:
        readings.append(f"{task}: metrics that are no number an item are passed over: {', '.join(others)}")
    return pl.struct([pl.lit(True).alias(""), *(pl.col("metric").struct.field(name) for name in kept)]).alias("metric")


def _record_of_row(row: Mapping[str, _Struct], where: str, number: int) -> tuple[dict[str, object], int]:
    """Return a row as a record's fields, and how many answers it has."""
    doc, response = row["doc"], row["model_response"]
    if not doc[""]:
        refuse(where, "doc", "an object", None)
    options = _no_gaps(doc.get("choices"), str, where, "doc.choices")
    gold = _gold(doc.get("gold_index"), len(options), where)
    logprobs = _no_gaps(response.get("logprobs"), float, where, "model_response.logprobs")
    texts = list_at(response, "text_post_processed", where) or list_at(response, "text", where)
    identity = doc.get("id")
    fields: dict[str, object] = {
        "id": str(number - 1) if identity in (None, "") else str(identity),
        "input": None if doc.get("query") is None else str(doc["query"]),
        "reference": [options[index] for index in gold] or None,
    }
    if len(logprobs) == len(options) > 1 and not texts:
        pick = logprobs.index(max(logprobs))
        fields |= {"choices": options, "logprobs": logprobs, "choice": pick, "output": options[pick]}
        fields["gold"] = gold or None
    else:
        text = texts[0] if texts else None
        fields["output"] = text if isinstance(text, str) and text and not text.isspace() else None
    return fields | _metric_scores(row["metric"], where), len(texts)


def _no_gaps(values: object, kind: type[_Entry], where: str, name: str) -> list[_Entry]:
    """Return a list, refusing one that holds nulls or NaN."""
    found: list[_Entry] = []
    for place, value in enumerate(values if isinstance(values, list) else ()):
        if value is None or value != value:
            refuse(where, f"{name}[{place}]", "a value", value)
        found.append(value if isinstance(value, kind) else kind(value))
    return found


def _gold(value: object, num_options: int, where: str) -> list[int]:
    gold: list[int] = []
    for index in [] if value is None else value if isinstance(value, list) else [value]:
        if not isinstance(index, int) or (num_options and not 0 <= index < num_options):
            refuse(where, "doc.gold_index", f"the index of one of {num_options} choices, from 0", index)
        gold.append(index)
    return gold if num_options else []


def _metric_scores(metrics: Mapping[str, object], where: str) -> dict[str, float]:
    """Return the metrics that a row has, each a number or a truth value by its column's type."""
    scores = {}
    for name, value in metrics.items():
        if name and isinstance(value, int | float):
            if not math.isfinite(value):
                refuse(where, f"metric.{name}", "a finite number", value)
            scores[SCORE_PREFIX + name] = float(value)
    return scores


def _with_correct(frame: pl.DataFrame) -> tuple[pl.DataFrame, str | None]:
    """Set `correct` from the metric that decides, and take back picks that contradict it."""
    names = [name.removeprefix(SCORE_PREFIX) for name in frame.columns if name.startswith(SCORE_PREFIX)]
    names = [name for name in (*_DECIDING, *names) if name in names and not name.startswith("gold_")]
    binary = [name for name in names if is_binary(frame, SCORE_PREFIX + name)]
    if not binary:
        return frame, names[0] if names else None
    frame = right_at_one(frame, SCORE_PREFIX + binary[0])
    if "choice" in frame.columns:
        agrees = pl.col("reference").list.contains(pl.col("output")) == pl.col("correct")
        columns = [pl.when(agrees.fill_null(False)).then(pl.col(name)).alias(name) for name in ("choice", "output")]
        frame = frame.with_columns(columns)
    return frame, binary[0]
