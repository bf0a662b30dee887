"""CSV with `prompt_id,score`: the least that an evaluation can keep.

Other columns with known names are taken too: `task`, `input` or `prompt`, `output` or `response`, `reference`,
`correct`; a column whose name begins with `slice.` or `score.` as well. A score is right at 1 and wrong at 0
where nothing else occurs in the task. An empty score is missing. Without a column `repeat`, the same prompt of a task again
is another answer to it.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from muscle.errors import DataError
from muscle.predictions.normalise import name_task, to_records
from muscle.predictions.read import DEFAULT_TASK
from muscle.predictions.readers._table import binary_correct
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX, Run

_NAMES = {
    "prompt_id": "id",
    "prompt": "input",
    "response": "output",
    "completion": "output",
    "expected": "reference",
}
_TAKEN = ("id", "task", "input", "output", "reference", "correct", "repeat", "filter", "error")


def recognises(path: Path, head: bytes) -> bool:
    """Tell whether the first line is a CSV header with `prompt_id` and `score`."""
    first = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    columns = [column.strip().strip(b'"') for column in first.split(b",")]
    return not path.is_dir() and b"prompt_id" in columns and b"score" in columns


def read(path: Path) -> Run:
    """Read a file.

    Raises:
        DataError: the file is damaged, a score is no number, or an id is missing: file, line, field.
    """
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0][:160]
        raise DataError(f"{path}: expected CSV with a header, found a damaged file ({reason})") from None
    table = table.rename(
        {name: ours for name, ours in _NAMES.items() if name in table.columns and ours not in table.columns}
    )

    def where(row: int) -> str:
        return f"{path}, line {row + 2}"

    kept = [name for name in table.columns if name in _TAKEN or name.startswith((SCORE_PREFIX, SLICE_PREFIX))]
    scores = _scores(table["score"], path)
    table = table.select(kept).with_columns(scores.alias(SCORE_PREFIX + "score"))
    if "repeat" not in kept:
        within = [name for name in ("task", "filter", "id") if name in kept]
        table = table.with_columns(repeat=pl.int_range(pl.len()).over(within))
    unscored = pl.when(pl.col(SCORE_PREFIX + "score").is_null()).then(pl.lit("no score"))
    given = pl.col("error") if "error" in kept else pl.lit(None, pl.String)
    frame = to_records(table.with_columns(pl.coalesce(given, unscored).alias("error")), where=where)
    unnamed = {DEFAULT_TASK: path.stem} if frame["task"].null_count() == frame.height else {}
    frame = name_task(frame, path.stem)
    if "correct" not in kept:
        frame = binary_correct(frame, "score")
    return Run(path.stem, frame, unnamed)


def _scores(column: pl.Series, path: Path) -> pl.Series:
    """Return the scores as numbers, empty ones as null."""
    text = column.str.strip_chars()
    numbers = text.cast(pl.Float64, strict=False)
    bad = (numbers.is_null() & text.is_not_null() & (text != "")) | (
        numbers.is_finite().not_().fill_null(False)
    )
    if bad.any():
        row = int(bad.arg_true()[0])
        raise DataError(
            f"{path}, line {row + 2}, field 'score': expected a finite number, found {column[row]!r}"
        )
    return numbers
