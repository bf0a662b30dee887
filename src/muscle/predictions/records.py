"""The one record format: a table in memory, JSONL or Parquet on disk.

One row is one prediction. In memory a score is a column `score.<name>` and a slice a column `slice.<name>`;
on disk they are the objects `score` and `slices`. The content hash covers the input and the options, because
data sets such as PIQA ask the same question twice with other options.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.files import atomic_path
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

`extracted_answer` is what was read out of `output` (the number in a worked solution): what is compared between versions.
`graded_by` says in words what decides whether the item is right, where that is each item's own: it must not change.
"""


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


def concat_records(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Stack frames of records; scores and slices that some of them lack become null there."""
    # In one piece: with a chunk for each of a thousand files every later step is a thousand times slower.
    return complete(pl.concat(frames, how="diagonal", rechunk=True))


def _nested(frame: pl.DataFrame) -> pl.DataFrame:
    """Bring records into their form on disk: `score` and `slices` as objects, empty columns left out.

    `correct` and the scores stay even where they are empty: they say that a row was not judged, not that nobody looked.
    """
    filled = [
        name
        for name in frame.columns
        if name == "correct" or name.startswith(SCORE_PREFIX) or frame[name].null_count() < frame.height
    ]
    columns: list[pl.Expr] = [pl.col(name) for name in filled if name in COLUMNS]
    for prefix, name in ((SCORE_PREFIX, "score"), (SLICE_PREFIX, "slices")):
        members = [column for column in filled if column.startswith(prefix)]
        if members:
            fields = [pl.col(column).alias(column.removeprefix(prefix)) for column in members]
            columns.append(pl.struct(fields).alias(name))
    return frame.select(columns)


def _check_finite(frame: pl.DataFrame) -> None:
    """Refuse NaN and infinite scores, which JSON cannot hold."""
    for name in (column for column in frame.columns if column.startswith(SCORE_PREFIX)):
        bad = (~frame[name].is_finite()).fill_null(False)
        if bad.any():
            row = int(bad.arg_true()[0])
            raise DataError(
                f"record {row + 1} (id {frame['id'][row]!r}), field '{name}': expected a finite number, "
                f"found {frame[name][row]}; give null where there is no score"
            )


def write_records(
    path: Path, rows: pl.DataFrame | Iterable[Mapping[str, object]], *, name_tasks: bool = True
) -> None:
    """Write records to a `.jsonl` or `.parquet` file, atomically, with the content hash filled in.

    Args:
        path: the file; its suffix chooses the format.
        rows: a frame in memory form, or objects in the form on disk (`score` and `slices` nested, null
            fields may be left out).
        name_tasks: whether each row names its task; else the file's name does, when it is read.

    Raises:
        DataError: a row breaks the format: the row, the field, what was expected.
        OutputError: the file cannot be written.
        ValueError: the suffix is neither `.jsonl` nor `.parquet`.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"{path}: records are written as .jsonl or .parquet")
    if isinstance(rows, pl.DataFrame):
        frame = complete(rows)
    else:
        from muscle.predictions.normalise import name_task, to_records
        from muscle.predictions.rows import table_from_rows

        def where(row: int) -> str:
            return f"record {row + 1} for {path}"

        table = table_from_rows(enumerate(rows), where=where)
        frame = name_task(to_records(table.frame, where=where), path.stem)
    _check_finite(frame)
    nested = _nested(with_input_hash(frame))
    if not name_tasks:
        nested = nested.drop("task")
    with atomic_path(path) as temporary:
        if path.suffix == ".jsonl":
            nested.write_ndjson(temporary)
        else:
            nested.write_parquet(temporary)
