"""Predictions in memory: tables of polars, pandas, pyarrow and their like, and lists of dicts.

No library is imported for it: a table is known by what it can do (`__arrow_c_stream__`, `to_polars`, `__dataframe__`),
pandas by its name. What Arrow cannot hold in one column, such as ids that are text here and a number there, is read
row by row, as JSON lines are.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import polars as pl

from muscle.errors import DataError, UnclearColumns
from muscle.foreign_text import listing
from muscle.predictions.messages import reason
from muscle.predictions.plain.files import row_records, table_records
from muscle.predictions.plain.to_records import name_task
from muscle.predictions.records import with_repeats_from_0
from muscle.predictions.run import UNNAMED_TASK, Run, RunFacts

_NO_VALUES = ("NAType", "NaTType")
"""The types of what pandas writes where there is no value."""


def run_of_table(source: object, columns: Mapping[str, str] | None, label: str) -> Run:
    """Read predictions that are in memory.

    Args:
        source: a table of polars, pandas, pyarrow or another library, or a list of dicts.
        columns: our field names to the table's.
        label: what the run is called, also in messages.

    Raises:
        DataError: it is no table, or a field holds what it should not: row and field.
    """

    def where(row: int) -> str:
        return f"{label}, row {row + 1}"

    taken = _taken_over(source, label)
    try:
        if isinstance(taken, pl.DataFrame):
            frame, told = table_records(taken, columns, where, label)
        else:
            frame, told = row_records(taken, columns, where)
    except UnclearColumns as error:
        raise UnclearColumns(f"{error}{_in_python(error.flags)}", flags=error.flags) from None
    kind = "list of dicts" if isinstance(source, list | tuple) else f"{type(source).__module__.partition('.')[0]} table"
    facts: RunFacts = {"source": kind, "format": "table", **told.facts()}
    if frame["task"].null_count() == frame.height:
        facts["default_task"] = UNNAMED_TASK
    return Run(label, with_repeats_from_0(name_task(frame, UNNAMED_TASK)), facts)


def _in_python(flags: str) -> str:
    """Return options of the command line as they are given in Python."""
    columns = dict(word.split("=", 1) for word in shlex.split(flags)[1::2])
    return f". In Python: options=muscle.CompareOptions(columns={columns})" if columns else ""


def _taken_over(source: object, label: str) -> pl.DataFrame | list[dict[str, object]]:
    """Take over a table, or rows, without importing what is not there."""
    if isinstance(source, pl.DataFrame):
        return source
    if isinstance(source, pl.LazyFrame):
        return source.collect()
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        return _taken_rows(source, label)
    if _is_pandas(source):
        return _taken_pandas(source, label)
    try:
        if hasattr(source, "to_polars"):
            found = source.to_polars()
            return found.collect() if isinstance(found, pl.LazyFrame) else _checked(found, label)
        if hasattr(source, "__arrow_c_stream__"):
            return pl.DataFrame(source)
        if hasattr(source, "__dataframe__"):
            return pl.from_dataframe(source)  # type: ignore[arg-type]
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise DataError(
            f"{label}: expected a table, found a {type(source).__name__} that cannot be read ({reason(error)}); give "
            "a list of dicts"
        ) from None
    raise _no_table(source, label)


def _taken_rows(source: Sequence[object], label: str) -> list[dict[str, object]]:
    rows = []
    for place, row in enumerate(source):
        if not isinstance(row, Mapping):
            raise DataError(
                f"{label}, row {place + 1}: expected a dict of fields, as in JSON lines, found {type(row).__name__}"
            )
        rows.append(_plain_row(row))
    return rows


def _taken_pandas(source: object, label: str) -> pl.DataFrame | list[dict[str, object]]:
    """Take over a table of pandas, its named index as columns: the ids often are one."""
    if any(name is not None for name in source.index.names):  # type: ignore[attr-defined]
        source = source.reset_index()  # type: ignore[attr-defined]
    names = [str(name) for name in source.columns]  # type: ignore[attr-defined]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise DataError(f"{label}: expected a name of its own for each column, found {listing(doubled[:1])} twice")
    try:
        return pl.from_pandas(source)
    except Exception:  # whatever Arrow says of a column of several types, or that it is not installed
        # As in Arrow's way, NaN is where there is no value.
        known = source.astype(object).where(source.notna(), None)  # type: ignore[attr-defined]
        return [_plain_row(row) for row in known.to_dict("records")]


def _checked(found: object, label: str) -> pl.DataFrame:
    if not isinstance(found, pl.DataFrame):
        raise _no_table(found, label)
    return found


def _no_table(source: object, label: str) -> DataError:
    return DataError(
        f"{label}: expected a path, a Run, a list of dicts, or a polars, pandas or pyarrow table, found "
        f"{type(source).__name__}"
    )


def _is_pandas(source: object) -> bool:
    """Whether it is a pandas table, or one of a library that builds on it."""
    kinds = type(source).__mro__
    return any(kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == "pandas" for kind in kinds)


def _plain_row(row: Mapping[object, object]) -> dict[str, object]:
    return {str(name): _json_value(value) for name, value in row.items()}


def _json_value(value: object) -> object:
    """Turn a value into one that JSON has: numpy's scalars and arrays, pandas' NA, dates and the like."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return _plain_row(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_json_value(entry) for entry in value]
    if type(value).__name__ in _NO_VALUES:
        return None
    if hasattr(value, "tolist"):  # numpy's, and torch's tensors
        return _json_value(value.tolist())
    return str(value)
