"""Rows as Python objects into a table, each field checked: slower than polars, but it names what is wrong.

A field may change its form from row to row (a reference as text here, as a list there; a score as a number
or an object); the table has one form for all, and `muscle.predictions.plain.to_records` gives it its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing, shorten
from muscle.predictions.plain.columns import is_number_list, text_of_value
from muscle.predictions.records import COLUMNS, all_names, is_known, unknown_fields
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

CHUNK_ROWS = 50_000
"""Rows held as Python objects at a time; bounds the memory of a long file."""

INDEX_COLUMN = "reference_index"
"""The reference given as the index of an option; resolved once the options are known."""


ASKED, ANSWERED = "@asked", "@answer"
"""Steps of a path into a chat: the messages before the model's own last one, and what that one says."""


@dataclass(frozen=True)
class Table:
    """What a file holds, its fields named as in the record format and not yet checked.

    Attributes:
        frame: one row a record.
        unread: the names of the fields that the format does not know.
    """

    frame: pl.DataFrame
    unread: tuple[str, ...] = ()


def unique_fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make a JSON object; for `json.loads(object_pairs_hook=...)`.

    Raises:
        DataError: a field stands there twice, so that nobody can tell which is meant.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise DataError(f"expected each field once in an object, found {shorten(doubled)} twice")
    return fields


def member(row: Mapping[str, object], path: str) -> object:
    """Return the value of a field, or of what stands inside of one by its path; KeyError where there is none.

    >>> member({"response": {"choices": [{"text": "Nairobi"}]}}, "response.choices.0.text")
    'Nairobi'
    >>> member({"chat": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}, "chat.@answer")
    'Ho'
    """
    if path in row:
        return row[path]
    value: object = row
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, list) and part == ASKED:
            value = value[:-1] if ends_in_answer(value) else value
        elif isinstance(value, list) and part == ANSWERED and ends_in_answer(value):
            value = value[-1].get("content")
        else:
            raise KeyError(path)
    return value


def ends_in_answer(value: object) -> bool:
    """Whether a value is a chat whose last message is the model's own."""
    last = value[-1] if isinstance(value, list) and value else None
    return isinstance(last, Mapping) and last.get("role") == "assistant"


def rename_fields(row: Mapping[str, object], columns: Mapping[str, str]) -> dict[str, object]:
    """Give an object's fields our names: those that `columns` maps, by name or by path, and the others as they are."""
    taken: dict[str, object] = {}
    for ours, theirs in columns.items():
        with suppress(KeyError):
            taken[ours] = member(row, theirs)
    mapped = {*columns, *(theirs if theirs in row else theirs.partition(".")[0] for theirs in columns.values())}
    return {name: value for name, value in row.items() if name not in mapped} | taken


def _entries_as_text(value: list[object]) -> list[str | None]:
    return [text_of_value(entry) for entry in value]


def _reference(value: object) -> dict[str, object]:
    if isinstance(value, list):
        return {"reference": _entries_as_text(value)}
    text = text_of_value(value)
    found: dict[str, object] = {"reference": None if text is None else [text]}
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value and value % 1 == 0:
        # Past 64 bits it has no place in the column, and is no option's index either.
        found[INDEX_COLUMN] = int(value) if abs(value) < 1 << 62 else -1
    return found


def _refuse(name: str, expected: str, value: object) -> NoReturn:
    raise DataError(f", field '{listing([name])}': expected {expected}, found {shorten(value)}")


def _columns_of_field(name: str, value: object) -> dict[str, object]:
    """Return a field of an object as the columns of the table have it."""
    if name == "reference":
        return _reference(value)
    if name == "choices":
        if not isinstance(value, list | None):
            _refuse(name, "a list of texts", value)
        return {name: None if value is None else _entries_as_text(value)}
    if name == "logprobs":
        if value is not None and not is_number_list(value):
            _refuse(name, "a list of numbers", value)
        return {name: value}
    if name.startswith(SLICE_PREFIX) and isinstance(value, list | dict):
        _refuse(name, "a text, a number, true or false", value)
    if name == "score" or name.startswith(SCORE_PREFIX):
        return {name: text_of_value(value, nan="NaN")}
    return {name: text_of_value(value)}


def _flatten(row: object, columns: Mapping[str, str], unread: dict[str, None]) -> dict[str, object]:
    if not isinstance(row, Mapping):
        raise DataError(f": expected a JSON object, found {shorten(row)}")
    if columns:
        row = rename_fields(row, columns)
    flat: dict[str, object] = {}
    for name, value in row.items():
        if is_known(name):
            flat |= _columns_of_field(name, value)
        else:
            unread[name] = None
    return flat


def _dtype(name: str) -> pl.DataType:
    if name in ("choices", "reference", "logprobs"):
        return COLUMNS[name]
    return pl.Int64() if name == INDEX_COLUMN else pl.String()


def _chunk(rows: list[dict[str, object]]) -> pl.DataFrame:
    names = all_names(rows)
    frame = pl.DataFrame(
        {name: pl.Series(name, [row.get(name) for row in rows], _dtype(name), strict=False) for name in names}
    )
    return frame if names else pl.DataFrame({"id": pl.Series([None] * len(rows), dtype=pl.String)})


def table_from_rows(
    rows: Iterable[tuple[int, object]],
    *,
    where: Callable[[int], str],
    columns: Mapping[str, str] | None = None,
) -> Table:
    """Turn objects in the form on disk into a table with one column a field.

    Args:
        rows: pairs of a row's place and its object.
        where: turns a place into the words that open a message ("file, line 3").
        columns: our field names to the rows'.

    Raises:
        DataError: a row is no object, or a list of it is none.
    """
    frames: list[pl.DataFrame] = []
    waiting: list[dict[str, object]] = []
    unread: dict[str, None] = {}
    for place, row in rows:
        try:
            waiting.append(_flatten(row, columns or {}, unread))
        except DataError as error:
            raise DataError(f"{where(place)}{error}") from None
        if len(waiting) == CHUNK_ROWS:
            frames.append(_chunk(waiting))
            waiting = []
    if waiting or not frames:
        frames.append(_chunk(waiting))
    return Table(pl.concat(frames, how="diagonal"), unknown_fields(unread))
