"""Rows with their columns in Python lists, turned into a polars frame a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from muscle.predictions.records import COLUMNS
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

FLUSH_ROWS = 1000
FLUSH_BYTES = 64 << 20

_SLICE_VALUES = 50
_SLICE_LENGTH = 64


class RowTable:
    """Collects rows as dictionaries; holds at most a chunk of them as Python objects."""

    def __init__(self, extra: Mapping[str, pl.DataType] | None = None) -> None:
        """Begin a table.

        Args:
            extra: columns beside those of the record format, for the reader's own use.
        """
        self._extra = dict(extra or {})
        self._frames: list[pl.DataFrame] = []
        self._rows: list[dict[str, Any]] = []
        self._num_bytes = 0

    def add(self, row: dict[str, Any], num_bytes: int = 0) -> None:
        """Take a row: names of columns (`score.acc`, `slice.topic` among them) to values.

        Args:
            row: names that are not columns of the record format are left out.
            num_bytes: its size in the file; bounds what is held.
        """
        self._rows.append(row)
        self._num_bytes += num_bytes
        if len(self._rows) >= FLUSH_ROWS or self._num_bytes >= FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows, self._num_bytes = self._rows, [], 0
        names = [name for name in dict.fromkeys(name for row in rows for name in row) if self._knows(name)]
        columns = [_column(name, [row.get(name) for row in rows], self._dtype(name)) for name in names]
        self._frames.append(pl.DataFrame(columns))

    def _knows(self, name: str) -> bool:
        return name in COLUMNS or name in self._extra or name.startswith((SCORE_PREFIX, SLICE_PREFIX))

    def _dtype(self, name: str) -> pl.DataType:
        if name.startswith(SCORE_PREFIX):
            return pl.Float64()
        return self._extra.get(name) or COLUMNS.get(name, pl.String())

    def frame(self) -> pl.DataFrame:
        """Return all rows; columns that a row lacks are null."""
        if self._rows or not self._frames:
            self._flush()
        return pl.concat(self._frames, how="diagonal")


def _column(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    if not isinstance(dtype, pl.List):
        return pl.Series(name, values, dtype)
    # Polars makes a series of every inner list; one flat series, cut by row, is ten times as fast.
    rows = np.repeat(np.arange(len(values), dtype=np.int64), [len(value or ()) for value in values])
    flat = pl.DataFrame(
        {
            "row": rows,
            name: pl.Series([entry for value in values for entry in value or ()], dtype=dtype.inner),
        },
        schema_overrides={"row": pl.Int64},
    )
    lists = flat.group_by("row", maintain_order=True).agg(name)
    return pl.DataFrame({"row": np.arange(len(values))}).join(
        lists, on="row", how="left", maintain_order="left"
    )[name]


class SliceFields:
    """Finds which fields of a data row group the items: short texts and truth values of few kinds."""

    def __init__(self, leave_out: Iterable[str] = ()) -> None:
        self._values: dict[str, set[str]] | None = None
        self._leave_out = frozenset(leave_out)

    def of(self, fields: Any) -> dict[str, str]:
        """Return a row's `slice.<name>` values; a field that turns out to hold too many kinds is given up."""
        if not isinstance(fields, dict):
            return {}
        if self._values is None:
            self._values = {name: set() for name in fields if name not in self._leave_out}
        slices: dict[str, str] = {}
        for name, seen in list(self._values.items()):
            value = fields.get(name)
            if value is None:
                continue
            text = value if isinstance(value, str) else str(value).lower()
            if not isinstance(value, str | bool | int) or len(text) > _SLICE_LENGTH:
                del self._values[name]
                continue
            if text not in seen:
                seen.add(text)
                if len(seen) > _SLICE_VALUES:
                    del self._values[name]
                    continue
            slices[SLICE_PREFIX + name] = text
        return slices

    def prune(self, frame: pl.DataFrame, keep: Iterable[str] = ()) -> pl.DataFrame:
        """Drop the slices that were given up or group nothing: one kind only, or hardly two items a kind.

        Args:
            frame: the records.
            keep: columns that stay in any case.
        """
        num_items = frame["id"].n_unique()
        counts = {SLICE_PREFIX + name: len(seen) for name, seen in (self._values or {}).items()}
        kept = {name for name, count in counts.items() if 1 < count <= num_items / 2} | set(keep)
        gone = [name for name in frame.columns if name.startswith(SLICE_PREFIX) and name not in kept]
        return frame.drop(gone)


def binary_correct(frame: pl.DataFrame, score: str) -> pl.DataFrame:
    """Set `correct` from a score where the task's values of it are all 0 and 1."""
    column = SCORE_PREFIX + score
    if column not in frame.columns:
        return frame
    is_binary = pl.col(column).is_in([0.0, 1.0]).fill_null(True).all().over("task")
    return frame.with_columns(pl.when(is_binary).then(pl.col(column) == 1.0).alias("correct"))
