"""The one record format: a table in memory, JSONL or Parquet on disk.

One row is one prediction. In memory a score is a column `score.<name>` and a slice a column `slice.<name>`;
on disk they are the objects `score` and `slices`. The content hash covers the input and the options, because
data sets such as PIQA ask the same question twice with other options.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

NO_FILTER = "none"
OPTION_SEPARATOR = "\x1f"

COLUMNS: dict[str, pl.DataType] = {
    "task": pl.String(),
    "id": pl.String(),
    "filter": pl.String(),
    "repeat": pl.Int64(),
    "input_hash": pl.String(),
    "input": pl.String(),
    "choices": pl.List(pl.String()),
    "reference": pl.List(pl.String()),
    "output": pl.String(),
    "extracted_answer": pl.String(),
    "choice": pl.Int64(),
    "correct": pl.Boolean(),
    "graded_by": pl.String(),
    "logprobs": pl.List(pl.Float64()),
    "error": pl.String(),
    "finish_reason": pl.String(),
}
"""Every column that a frame of records has, in order; only task, id, filter and repeat are never null.

`extracted_answer` is what was read out of `output` (the number in a worked solution): what is compared
between versions. `graded_by` says in words what decides whether the item is right, where that is each item's
own: it must not change.
"""


CALL = "muscle_call"
"""On disk, how an answer was asked for: an object that `muscle record` writes and reads, and that nothing compares."""


def all_names(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Return every name in rows, in the order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def is_known(name: str) -> bool:
    """Whether the record format has a field of that name, on disk or in memory."""
    return name in COLUMNS or name in ("score", "slices") or name.startswith((SCORE_PREFIX, SLICE_PREFIX))


def unknown_fields(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of which the format knows nothing."""
    return tuple(name for name in names if name != CALL and not is_known(name))


def input_hash(text: str, choices: Sequence[str] = ()) -> str:
    r"""Return the content hash of an item: 64 hex digits of SHA-256.

    Args:
        text: the input.
        choices: the options, in order; they are joined to the input with the unit separator U+001F.

    >>> input_hash("a", ["b"]) == hashlib.sha256(b"a\x1fb").hexdigest()
    True
    """
    return hashlib.sha256(OPTION_SEPARATOR.join([text, *choices]).encode()).hexdigest()


def input_texts(frame: pl.DataFrame) -> pl.Series:
    """Return the text that stands for each item, (rows,): the input and, where there are any, its options."""
    if frame["choices"].null_count() == frame.height:
        return frame["input"]  # as it is: a copy of all texts is large
    options = pl.col("choices").list.join(OPTION_SEPARATOR, ignore_nulls=True)
    has_options = pl.col("choices").list.len().fill_null(0) > 0
    texts = pl.when(has_options).then(pl.col("input") + OPTION_SEPARATOR + options).otherwise(pl.col("input"))
    return frame.select(texts.alias("input")).to_series()


def with_input_hash(frame: pl.DataFrame) -> pl.DataFrame:
    """Fill `input_hash` where it is missing and there is an input."""
    missing = frame["input_hash"].is_null() & frame["input"].is_not_null()
    if not missing.any():
        return frame
    texts = input_texts(frame.filter(missing)).cast(pl.Binary)
    hashes = pl.Series("hash", [hashlib.sha256(text).hexdigest() for text in texts], dtype=pl.String)
    positions = missing.arg_true()
    if positions.len() == frame.height:
        return frame.with_columns(hashes.alias("input_hash"))
    return frame.with_columns(frame["input_hash"].scatter(positions, hashes))


def complete(frame: pl.DataFrame) -> pl.DataFrame:
    """Give a frame every column of the format, in its order and type.

    Args:
        frame: records in memory form; columns that are left out become null (`filter` "none", `repeat` 0).

    Raises:
        ValueError: `task` or `id` is missing, or a column is not one of the format's.
    """
    extra = [name for name in frame.columns if name not in COLUMNS]
    unknown = [name for name in extra if not name.startswith((SCORE_PREFIX, SLICE_PREFIX))]
    if unknown or not {"task", "id"} <= set(frame.columns):
        raise ValueError(f"records need task and id and know no columns {unknown}; found {frame.columns}")
    # A literal takes no memory, where a column of a million nulls takes sixteen megabytes.
    empty = [n for n in COLUMNS if n not in frame.columns or frame[n].null_count() == frame.height]
    defaults = {"filter": NO_FILTER, "repeat": 0}
    filled: dict[str, pl.Expr] = {
        name: pl.lit(defaults.get(name), dtype).alias(name) if name in empty else pl.col(name).cast(dtype)
        for name, dtype in COLUMNS.items()
    }
    for name in defaults.keys() - set(empty):
        filled[name] = filled[name].fill_null(defaults[name])
    scores = [pl.col(name).cast(pl.Float64) for name in extra if name.startswith(SCORE_PREFIX)]
    slices = [pl.col(name).cast(pl.String) for name in extra if name.startswith(SLICE_PREFIX)]
    return frame.select(*filled.values(), *scores, *slices)


def with_repeats_from_0(frame: pl.DataFrame) -> pl.DataFrame:
    """Number a run's answers to an item from 0, whichever number its first one has.

    Who counts from 1 means the same: the first answer of one run pairs with the first of the other.

    Args:
        frame: all records of the run; of a part of them the first repeat may be another.
    """
    first = frame["repeat"].min()
    return frame.with_columns(pl.col("repeat") - first) if first else frame


def concat_records(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Stack frames of records; scores and slices that some of them lack become null there."""
    # In one piece: with a chunk for each of a thousand files every later step is a thousand times slower.
    return complete(pl.concat(frames, how="diagonal", rechunk=True))
