"""Records written to a `.jsonl` or `.parquet` file, in their form on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.files import atomic_path
from muscle.predictions.plain.row_objects import table_from_rows
from muscle.predictions.plain.to_records import name_task, to_records
from muscle.predictions.records import COLUMNS, complete, with_input_hash
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX


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


def write_records(path: Path, rows: pl.DataFrame | Iterable[Mapping[str, object]], *, name_tasks: bool = True) -> None:
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
