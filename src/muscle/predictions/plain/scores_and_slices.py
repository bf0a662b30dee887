"""Scores and slices as files have them, objects or bare values, into one column a name."""

from __future__ import annotations

import json
import re

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing, shorten
from muscle.predictions.messages import Where, refuse_rows
from muscle.predictions.plain.columns import as_number, as_text, text_of_value, unsaid
from muscle.predictions.plain.row_objects import unique_fields
from muscle.predictions.run import SCORE_PREFIX, SLICE_PREFIX

# Reduces `{"acc": 1.0, "f1": 0.5}` to its names, so that a column has few different texts to parse.
_MEMBER = r'"([^"]*)": ("[^"]*"|[^,}]+)'
_MEMBER_NAME = re.compile(r'"([^"]*)"')
_SKELETON = r'^\{("[^"\pC]*"(, "[^"\pC]*")*)?\}$'


def expand_objects(table: pl.DataFrame, where: Where) -> pl.DataFrame:
    """Spread `score` and `slices` over `score.<name>` and `slice.<name>` columns; check every score and slice.

    A bare score becomes `score.score`.

    Raises:
        DataError: a score is not a finite number, or a value has a form that it cannot have: row and field.
    """
    for name, prefix in (("score", SCORE_PREFIX), ("slices", SLICE_PREFIX)):
        if name in table.columns:
            members = _members(table[name], prefix, where)
            table = _with_members(table.drop(name), members, where)
    for name in table.columns:
        if name.startswith(SCORE_PREFIX):
            table = table.with_columns(_finite_numbers(table[name], where))
        elif name.startswith(SLICE_PREFIX):
            table = table.with_columns(_words(table[name], where))
    return table


def _with_members(table: pl.DataFrame, members: list[pl.Series], where: Where) -> pl.DataFrame:
    """Put columns in front of a table: the first score is the main one. Two of one name become one."""
    columns: dict[str, pl.Series] = {}
    for member in members:
        name = member.name
        given = columns.get(name, table[name] if name in table.columns else None)
        if given is not None:
            convert = _finite_numbers if name.startswith(SCORE_PREFIX) else _words
            given = convert(given, where)
            member = given.zip_with(given.is_not_null(), convert(member, where))
        columns[name] = member
    return pl.DataFrame([*columns.values(), *table.drop(list(columns), strict=False)])


def _finite_numbers(column: pl.Series, where: Where) -> pl.Series:
    numbers = as_number(column)
    missing = column.is_null() if column.dtype.is_float() else unsaid(column)
    bad = (numbers.is_null() & ~missing) | (~numbers.is_finite()).fill_null(False)
    refuse_rows(bad, column.name, "a finite number, or null where there is none", column, where)
    return numbers


def _words(column: pl.Series, where: Where) -> pl.Series:
    if column.dtype.is_nested():
        refuse_rows(column.is_not_null(), column.name, "a text, a number, true or false", column, where)
    return as_text(column)


def _members(column: pl.Series, prefix: str, where: Where) -> list[pl.Series]:
    """Return the columns that a column of objects, of JSON texts of them, or of bare values holds."""
    if column.null_count() == column.len():
        return []
    if isinstance(column.dtype, pl.Struct):
        return [member.alias(prefix + member.name) for member in column.struct.unnest().iter_columns()]
    is_object = pl.Series([False] * column.len())
    if column.dtype == pl.String:
        is_object = column.str.strip_chars_start().str.starts_with("{").fill_null(False)
    bare = column.set(is_object, None) if is_object.any() else column
    has_bare = not unsaid(bare).all()
    if prefix == SLICE_PREFIX:
        refuse_rows(~unsaid(bare), column.name, "an object of names and values", column, where)
        has_bare = False
    members = [_finite_numbers(bare, where).alias(prefix + column.name)] if has_bare else []
    if is_object.any():
        members += _members_of_json(column.set(~is_object, None), prefix, where)
    return members


def _members_of_json(column: pl.Series, prefix: str, where: Where) -> list[pl.Series]:
    """Decode JSON texts of objects: with polars where names and values are plain."""
    try:
        names = _member_names(column)
        dtype = pl.Float64() if prefix == SCORE_PREFIX else pl.String()
        if not names:
            return []
        structs = column.str.json_decode(pl.Struct(dict.fromkeys(names, dtype)))
        return [member.alias(prefix + member.name) for member in structs.struct.unnest().iter_columns()]
    except pl.exceptions.PolarsError:
        return _decoded_one_by_one(column, prefix, where)


def _member_names(column: pl.Series) -> list[str]:
    """Return the names in a column of objects as polars writes them: it escapes neither names nor backslashes."""
    skeletons = column.str.replace_all(_MEMBER, '"$1"').unique(maintain_order=True).drop_nulls()
    odd = skeletons.str.contains(_SKELETON).not_().any() or column.str.contains("\\", literal=True).any()
    if odd:
        raise pl.exceptions.InvalidOperationError("expected plain names and values")
    return list(dict.fromkeys(name for text in skeletons for name in _MEMBER_NAME.findall(text)))


def _decoded_one_by_one(column: pl.Series, prefix: str, where: Where) -> list[pl.Series]:
    values: dict[str, list[str | None]] = {}
    for row, text in enumerate(column):
        for name, value in (_json_object(text, row, column.name, where) if text is not None else {}).items():
            if isinstance(value, list | dict):
                what = "a finite number" if prefix == SCORE_PREFIX else "a text, a number, true or false"
                raise DataError(
                    f"{where(row)}, field '{listing([f'{column.name}.{name}'])}': expected {what}, found "
                    f"{shorten(value)}"
                )
            values.setdefault(name, [None] * column.len())[row] = text_of_value(
                value, nan="NaN" if prefix == SCORE_PREFIX else None
            )
    return [pl.Series(prefix + name, texts, pl.String) for name, texts in values.items()]


def _json_object(text: str, row: int, name: str, where: Where) -> dict[str, object]:
    try:
        value: dict[str, object] = json.loads(text, object_pairs_hook=unique_fields)
    except (ValueError, RecursionError):
        raise DataError(f"{where(row)}, field '{name}': expected a JSON object, found {shorten(text)}") from None
    except DataError as error:
        raise DataError(f"{where(row)}, field '{name}': {error}") from None
    return value
