"""CSV with `prompt_id,score`: the least that an evaluation can keep.

Other columns with known names are taken too: `task`, `input` or `prompt`, `output` or `response`,
`reference`, `correct`; a column whose name begins with `slice.` or `score.` as well. A score is right at 1
and wrong at 0 where nothing else occurs in the task. An empty score is missing. Without a column `repeat`,
the same prompt of a task again is another answer to it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import polars as pl

from muscle.foreign_text import listing
from muscle.predictions.plain.table_files import csv_line, read_csv
from muscle.predictions.plain.to_records import name_task, to_records
from muscle.predictions.readers.shared.row_table import binary_correct
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX, Run, RunFacts

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
    table = read_csv(path)
    table = table.rename(
        {name: ours for name, ours in _NAMES.items() if name in table.columns and ours not in table.columns}
    )
    where = partial(csv_line, path)
    kept = [name for name in table.columns if name in _TAKEN or name.startswith((SCORE_PREFIX, SLICE_PREFIX))]
    unread = [name for name in table.columns if name not in kept and name != "score"]
    table = table.select("score", *kept)
    if "repeat" not in kept:
        within = [name for name in ("task", "filter", "id") if name in kept]
        table = table.with_columns(repeat=pl.int_range(pl.len()).over(within))
    if "correct" not in kept:
        table = table.with_columns(correct=pl.lit(None, pl.Boolean))
    frame = to_records(table, where=where)
    facts: RunFacts = {"readings": [f"fields that are not read: {listing(unread)}"] if unread else []}
    if frame["task"].null_count() == frame.height:
        facts["default_task"] = path.stem
    frame = name_task(frame, path.stem)
    return Run(path.stem, frame if "correct" in kept else binary_correct(frame, "score"), facts)
