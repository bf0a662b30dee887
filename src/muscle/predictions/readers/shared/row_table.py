"""Rows into a polars frame, a chunk at a time, and what readers do with whole columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from muscle.errors import DataError
from muscle.predictions.records import COLUMNS
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

FLUSH_ROWS = 20_000
FLUSH_BYTES = 64 << 20

MAX_COLUMNS = 2_000
"""Scores and groups that a run may have; each is a column, and no benchmark has more."""

_SLICE_VALUES = 50
_SLICE_LENGTH = 64


class _Column:
    """Values of one column; lists are kept flat, so that few Python objects are held."""

    def __init__(self, dtype: pl.DataType) -> None:
        self.dtype = dtype
        self.values: list[object] = []
        self.lengths: list[int] = []
        self.is_list = isinstance(dtype, pl.List)

    @property
    def appender(self) -> Callable[[Any], None]:
        """What takes one value."""
        return self._append_list if self.is_list else self.values.append

    def _append_list(self, value: Sequence[object] | None) -> None:
        if value:
            self.values.extend(value)
            self.lengths.append(len(value))
        else:
            self.lengths.append(0)

    def pad(self, num_rows: int) -> None:
        """Fill up with nulls."""
        if self.is_list:
            self.lengths.extend([0] * (num_rows - len(self.lengths)))
        else:
            self.values.extend([None] * (num_rows - len(self.values)))

    def series(self, name: str) -> pl.Series:
        """Return the column; an empty list is null."""
        if not isinstance(self.dtype, pl.List):
            return pl.Series(name, self.values, self.dtype)
        # Polars makes a series of every inner list; one flat series, cut by row, is ten times as fast.
        flat = pl.Series(name, self.values, self.dtype.inner)
        num_rows, first = len(self.lengths), self.lengths[0]
        if first and self.lengths.count(first) == num_rows:
            return flat.reshape((num_rows, first)).cast(self.dtype)
        places = np.repeat(np.arange(num_rows, dtype=np.int64), self.lengths)
        lists = pl.DataFrame({"row": places, name: flat}).group_by("row", maintain_order=True).agg(name)
        rows = pl.DataFrame({"row": np.arange(num_rows, dtype=np.int64)})
        return rows.join(lists, on="row", how="left", maintain_order="left")[name]


def _pass_over(value: object) -> None:
    """Take a value that is kept in no column."""


class RowTable:
    """Collects rows; holds at most a chunk of them as Python objects, column by column."""

    def __init__(self, extra: Mapping[str, pl.DataType] | None = None, *, where: str = "the rows") -> None:
        """Begin a table.

        Args:
            extra: columns beside those of the record format, for the reader's own use.
            where: the words that open a message: the file.
        """
        self._where = where
        self._extra = dict(extra or {})
        self._frames: list[pl.DataFrame] = []
        self._begin()

    def _begin(self) -> None:
        self._columns: dict[str, _Column | None] = {}
        """Names that are no columns are kept as None, to be passed over."""
        self._layout: tuple[str, ...] = ()
        self._appends: list[Callable[[Any], None]] = []
        self._num_rows = 0
        self._num_bytes = 0

    def add(self, row: Mapping[str, object]) -> None:
        """Take a row: names of columns (`score.acc`, `slice.topic` among them) to values.

        Args:
            row: names that are not columns of the record format are left out.

        Raises:
            DataError: the rows have more scores and groups than any run.
        """
        layout = tuple(row)
        if layout != self._layout:
            self._adopt(layout)
        for append, value in zip(self._appends, row.values(), strict=True):
            append(value)
        self._num_rows += 1
        asked, answered = row.get("input"), row.get("output")
        self._num_bytes += len(asked) if isinstance(asked, str) else 0
        self._num_bytes += len(answered) if isinstance(answered, str) else 0
        if self._num_rows >= FLUSH_ROWS or self._num_bytes >= FLUSH_BYTES:
            self._flush()

    def _adopt(self, layout: tuple[str, ...]) -> None:
        """Prepare for rows with these names; most rows of a file have the same."""
        for name in layout:
            if name not in self._columns:
                self._columns[name] = self._new_column(name)
        if len(self._columns) > MAX_COLUMNS:
            raise DataError(
                f"{self._where}: expected at most {MAX_COLUMNS:,} scores and fields, found more ({layout[-1][:60]!r})"
            )
        for column in self._columns.values():
            if column is not None:
                column.pad(self._num_rows)
        chosen = [self._columns[name] for name in layout]
        self._appends = [_pass_over if column is None else column.appender for column in chosen]
        self._layout = layout

    def _new_column(self, name: str) -> _Column | None:
        if name.startswith(SCORE_PREFIX):
            return _Column(pl.Float64())
        if name.startswith(SLICE_PREFIX):
            return _Column(pl.String())
        dtype = self._extra.get(name) or COLUMNS.get(name)
        return None if dtype is None else _Column(dtype)

    def _flush(self) -> None:
        series = []
        for name, column in self._columns.items():
            if column is not None:
                column.pad(self._num_rows)
                series.append(column.series(name))
        self._frames.append(pl.DataFrame(series))
        self._begin()

    def frame(self) -> pl.DataFrame:
        """Return all rows; columns that a row lacks are null."""
        if self._num_rows or not self._frames:
            self._flush()
        return pl.concat(self._frames, how="diagonal", rechunk=True)


class SliceFields:
    """Finds which fields of a data row group the items: short texts and truth values of few kinds."""

    def __init__(self, leave_out: Iterable[str] = ()) -> None:
        self._values: dict[str, set[str]] | None = None
        self._leave_out = frozenset(leave_out)

    def of(self, fields: object) -> dict[str, str]:
        """Return a row's `slice.<name>` values; a field that turns out to hold too many kinds is given up."""
        if not isinstance(fields, dict):
            return {}
        if self._values is None:
            self._values = {name: set() for name in fields if name not in self._leave_out}
        slices: dict[str, str] = {}
        given_up = []
        for name, seen in self._values.items():
            value = fields.get(name)
            if value is None:
                continue
            text = value if isinstance(value, str) else str(value).lower() if isinstance(value, int) else None
            if text in seen:
                slices[SLICE_PREFIX + name] = text
            elif text is None or len(text) > _SLICE_LENGTH or len(seen) == _SLICE_VALUES:
                given_up.append(name)
            else:
                seen.add(text)
                slices[SLICE_PREFIX + name] = text
        for name in given_up:
            del self._values[name]
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
