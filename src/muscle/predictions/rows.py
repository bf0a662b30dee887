"""Rows as Python objects into a table, each field checked: slower than polars, but it names what is wrong.

A field may change its form from row to row (a reference as text here, as a list there; a score as a number
or an object); the table has one form for all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import polars as pl

from muscle.errors import DataError
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

CHUNK_ROWS = 50_000
"""Rows held as Python objects at a time; bounds the memory of a long file."""

INDEX_COLUMN = "reference_index"
"""The reference given as the index of an option; resolved once the options are known."""

NO_IDENTITY = "expected an 'id' or an 'input' by which the item is found in the other run"


class _Mismatch(Exception):
    """A value of a field is not what it should be; carries what was expected."""


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        # A lone surrogate (half an emoji, cut by a token limit) has no UTF-8 form.
        return value.encode("utf-8", "replace").decode() if not value.isascii() else value
    return json.dumps(value, ensure_ascii=False)


def _texts(value: Any) -> list[str | None] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise _Mismatch("a list of texts")
    return [_text(entry) for entry in value]


def _whole(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise _Mismatch("a whole number")


def _truth(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise _Mismatch("true or false")


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise _Mismatch("a finite number, or null where there is none")
    return float(value)


def _numbers(value: Any) -> list[float | None] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise _Mismatch("a list of numbers")
    return [_number(entry) for entry in value]


_FIELDS: dict[str, tuple[pl.DataType, Callable[[Any], Any]]] = {
    "task": (pl.String(), _text),
    "id": (pl.String(), _text),
    "filter": (pl.String(), _text),
    "repeat": (pl.Int64(), _whole),
    "input_hash": (pl.String(), _text),
    "input": (pl.String(), _text),
    "choices": (pl.List(pl.String()), _texts),
    "output": (pl.String(), _text),
    "extracted_answer": (pl.String(), _text),
    "choice": (pl.Int64(), _whole),
    "correct": (pl.Boolean(), _truth),
    "graded_by": (pl.String(), _text),
    "logprobs": (pl.List(pl.Float64()), _numbers),
    "error": (pl.String(), _text),
    "finish_reason": (pl.String(), _text),
}


def _reference(value: Any) -> dict[str, Any]:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"reference": [str(value)], INDEX_COLUMN: value}
    return {
        "reference": _texts(value)
        if isinstance(value, list)
        else [_text(value)]
        if value is not None
        else None
    }


def _members(name: str, value: Any, prefix: str, convert: Callable[[Any], Any]) -> dict[str, Any]:
    """Spread an object of scores or slices over columns."""
    if not isinstance(value, Mapping):
        raise _Mismatch("an object of names and values")
    flat: dict[str, Any] = {}
    for key, member in value.items():
        try:
            flat[prefix + key] = convert(member)
        except _Mismatch as mismatch:
            raise DataError(_complaint(f"{name}.{key}", str(mismatch), member)) from None
    return flat


def _slice_value(value: Any) -> str | None:
    if isinstance(value, list | Mapping):
        raise _Mismatch("a text, a number, true or false")
    return _text(value)


def _convert(name: str, value: Any) -> dict[str, Any]:
    if name == "reference":
        return _reference(value)
    if name == "score":
        return _members(
            name, value if isinstance(value, Mapping) else {"score": value}, SCORE_PREFIX, _number
        )
    if name == "slices":
        return _members(name, value or {}, SLICE_PREFIX, _slice_value)
    if name.startswith(SCORE_PREFIX):
        return {name: _number(value)}
    if name.startswith(SLICE_PREFIX):
        return {name: _slice_value(value)}
    return {name: _FIELDS[name][1](value)} if name in _FIELDS else {}


def shorten(value: Any, limit: int = 60) -> str:
    """Return a value as it may stand in a one-line message."""
    shown = repr(value)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _complaint(name: str, expected: str, value: Any) -> str:
    return f"field '{name}': expected {expected}, found {shorten(value)}"


def _flatten(row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise DataError(f"{place}: expected a JSON object, found {shorten(row)}")
    flat: dict[str, Any] = {}
    for name, value in row.items():
        try:
            flat.update(_convert(name, value))
        except _Mismatch as mismatch:
            raise DataError(f"{place}, {_complaint(name, str(mismatch), value)}") from None
        except DataError as error:
            raise DataError(f"{place}, {error}") from None
    if flat.get("id") is None and flat.get("input") is None:
        raise DataError(f"{place}, field 'id': {NO_IDENTITY}, found the fields {', '.join(row) or 'none'}")
    return flat


def _dtype(name: str) -> pl.DataType:
    if name == "reference":
        return pl.List(pl.String())
    if name == INDEX_COLUMN:
        return pl.Int64()
    if name.startswith(SCORE_PREFIX):
        return pl.Float64()
    return _FIELDS[name][0] if name in _FIELDS else pl.String()


def _chunk(rows: list[dict[str, Any]]) -> pl.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame(
        {name: pl.Series(name, [row.get(name) for row in rows], _dtype(name)) for name in names}
    )


def table_from_rows(rows: Iterable[tuple[int, Any]], *, where: Callable[[int], str]) -> pl.DataFrame:
    """Turn objects in the form on disk into a table with one column a field, score or slice.

    Args:
        rows: pairs of a row's place and its object; fields that the format does not know are passed over.
        where: turns a place into the words that open a message ("file, line 3").

    Raises:
        DataError: a field's value is not what it should be.
    """
    tables: list[pl.DataFrame] = []
    waiting: list[dict[str, Any]] = []
    for place, row in rows:
        try:
            waiting.append(_flatten(row, ""))
        except DataError as error:
            raise DataError(f"{where(place)}{error}") from None
        if len(waiting) == CHUNK_ROWS:
            tables.append(_chunk(waiting))
            waiting = []
    if waiting or not tables:
        tables.append(_chunk(waiting))
    return pl.concat(tables, how="diagonal")
