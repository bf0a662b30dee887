"""What a value says, however it is written: one meaning for JSON, CSV, Parquet, Arrow and tables in memory.

`3`, `3.0`, `3e0` and a column of floats say the text "3"; `true`, `"True"`, `"yes"`, `"pass"`, `1` and `1.0`
say right. Numbers become text as polars' JSON reader writes them: the shortest digits that give the number
back, never with an exponent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TypeGuard

import polars as pl

_TRUE = ("true", "t", "yes", "y", "pass", "passed", "ok", "success", "correct", "right", "✓", "✔", "✅")
_FALSE = ("false", "f", "no", "n", "fail", "failed", "failure", "incorrect", "wrong", "✗", "✘", "❌")
# As spreadsheets write true and false in German, French, Italian, Spanish and Portuguese.
_TRUE_ELSEWHERE = ("wahr", "vrai", "vero", "verdadero", "verdadeiro")
_FALSE_ELSEWHERE = ("falsch", "faux", "falso")
TRUTHS = dict.fromkeys((*_TRUE, *_TRUE_ELSEWHERE), True) | dict.fromkeys((*_FALSE, *_FALSE_ELSEWHERE), False)
"""The words for right and wrong, in small letters."""

NOTHING = (
    *("nan", "null", "none", "n/a", "na", "<na>", "-"),
    *("skip", "skipped", "error", "pending", "unknown", "unscored", "ungraded"),
)
"""What is written in a verdict's place where there is none, in small letters: such an item counts as missing."""

_WRITTEN_NULLS = ("nan", "NaN", "null", "NULL", "<NA>")


def says_truth(text: str) -> bool:
    """Whether a text says right, wrong, or that there is no verdict.

    >>> says_truth("Pass"), says_truth("1.0"), says_truth("NaN"), says_truth("0.7")
    (True, True, True, False)
    """
    word = text.strip().lower()
    return word in TRUTHS or word in NOTHING or re.fullmatch(r"[01](\.0*)?", word) is not None


def without_verdict(column: pl.Series) -> pl.Series:
    """Make null of the words of a column of texts that say that there is no verdict."""
    if column.dtype != pl.String:
        return column
    return column.set(column.str.strip_chars().str.to_lowercase().is_in(NOTHING).fill_null(False), None)


def without_written_nulls(table: pl.DataFrame) -> pl.DataFrame:
    """Make null of the words that CSV writers put where there is no answer (NaN, NULL), unless one is the reference.

    Args:
        table: texts in our names.
    """
    reference = pl.col("reference").str.strip_chars() if "reference" in table.columns else pl.lit(None, pl.String)
    answers = [name for name in ("output", "extracted_answer") if name in table.columns]
    is_word = {name: pl.col(name).str.strip_chars().is_in(_WRITTEN_NULLS) for name in answers}
    return table.with_columns(
        pl.when(is_word[name] & pl.col(name).str.strip_chars().ne_missing(reference))
        .then(None)
        .otherwise(pl.col(name))
        .alias(name)
        for name in answers
    )


def with_whole_numbers(table: pl.DataFrame) -> pl.DataFrame:
    """Write `3.0` as `3` where one of answers and references is whole numbers and the other the same with a `.0`.

    So pandas writes a column of whole numbers once a value is missing in it.

    Args:
        table: texts in our names.
    """
    names = [name for name in ("output", "extracted_answer", "reference") if name in table.columns]
    texts = {name: table[name].drop_nulls().str.strip_chars() for name in names}
    is_whole = {name: text.len() > 0 and text.str.contains(r"^-?\d+(\.0)?$").all() for name, text in texts.items()}
    if len(names) < 2 or not all(is_whole.values()):
        return table
    return table.with_columns(pl.col(name).str.replace(r"\.0(\s*)$", "$1") for name in names)


def text_of_value(value: object, *, nan: str | None = None) -> str | None:
    """Return a JSON value as text; a list or an object as JSON.

    Args:
        value: what `json.loads` gives.
        nan: what NaN says; as a text it is none.

    >>> text_of_value(3.0), text_of_value(1e-7), text_of_value(True), text_of_value(float("nan"))
    ('3', '0.0000001', 'true', None)
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return nan if math.isnan(value) else _without_exponent(repr(value))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    # A lone surrogate (half an emoji, cut by a token limit) has no UTF-8 form.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _without_exponent(number: str) -> str:
    """Write a number's digits without exponent and trailing zeros."""
    digits = format(Decimal(number), "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def unsaid(column: pl.Series) -> pl.Series:
    """Tell which values say nothing: null, NaN, and texts of white space only."""
    if column.dtype.is_float():
        return column.is_null() | column.is_nan().fill_null(True)
    if column.dtype == pl.String:
        return column.is_null() | (column.str.strip_chars() == "").fill_null(True)
    return column.is_null()


def as_text(column: pl.Series) -> pl.Series:
    """Return a column as texts; null where a value has no text (NaN, bytes that are not UTF-8)."""
    dtype = column.dtype
    if dtype == pl.String:
        return column
    if dtype.is_float():
        texts = column.fill_nan(None).cast(pl.String).str.replace(r"\.0$", "")
        odd = texts.str.contains("[ei]").fill_null(False)
        return texts.scatter(odd.arg_true(), [_without_exponent(text) for text in texts.filter(odd)])
    if dtype.is_nested() or dtype == pl.Object:
        return pl.Series(column.name, [text_of_value(_without_nulls(value)) for value in column.to_list()], pl.String)
    if dtype == pl.Binary:
        return pl.Series(column.name, [_utf8_text(value) for value in column.to_list()], pl.String)
    return column.cast(pl.String, strict=False)


def _utf8_text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _without_nulls(value: object) -> object:
    """Leave out the members that a struct has only because other rows' have them."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(entry) for name, entry in value.items() if entry is not None}
    return [_without_nulls(entry) for entry in value] if isinstance(value, list) else value


def as_number(column: pl.Series) -> pl.Series:
    """Return a column as floats; null where a value is no number, nor a word for right (1) or wrong (0)."""
    if column.dtype.is_nested():
        return pl.Series(column.name, [None] * column.len(), pl.Float64)
    if column.dtype != pl.String:
        return column.cast(pl.Float64, strict=False)
    text = _with_decimal_points(column.str.strip_chars())
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() == column.null_count():
        return numbers
    words = text.str.to_lowercase().replace_strict(TRUTHS, default=None, return_dtype=pl.Boolean)
    return numbers.zip_with(numbers.is_not_null(), words.cast(pl.Float64))


def _with_decimal_points(text: pl.Series) -> pl.Series:
    """Write `0,5` as `0.5` in a column that has decimal commas; `1,234` alone may be a thousand, and is left."""
    has_comma = text.str.contains(r"^[-+]?\d*,\d+$").fill_null(False)
    may_be_thousands = text.str.contains(r"^[-+]?[1-9]\d{0,2}(,\d{3})+$").fill_null(False)
    if not (has_comma & ~may_be_thousands).any() or text.str.contains(".", literal=True).any():
        return text
    return text.zip_with(~has_comma, text.str.replace(",", ".", literal=True))


def as_whole(column: pl.Series) -> pl.Series:
    """Return a column as whole numbers; null where a value is none."""
    if column.dtype.is_integer():
        return column.cast(pl.Int64, strict=False)
    if column.dtype == pl.String:
        whole = column.str.strip_chars().cast(pl.Int64, strict=False)
        if whole.null_count() == column.null_count():
            return whole
        others = as_whole(column.str.strip_chars().cast(pl.Float64, strict=False))
        return whole.zip_with(whole.is_not_null(), others)
    if not column.dtype.is_numeric():
        return pl.Series(column.name, [None] * column.len(), pl.Int64)
    numbers = column.cast(pl.Float64, strict=False)
    return numbers.set(numbers.is_finite().not_() | (numbers != numbers.floor()), None).cast(pl.Int64, strict=False)


def as_truth(column: pl.Series) -> pl.Series:
    """Return a column as booleans; null where a value says neither right nor wrong."""
    if column.dtype == pl.Boolean:
        return column
    numbers = as_number(column)
    return numbers.set(numbers.is_in([0.0, 1.0]).not_(), None).cast(pl.Boolean)


def as_texts(column: pl.Series) -> pl.Series:
    """Return a column as lists of texts, a text of JSON read as such; null where a value is no list."""
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    if isinstance(column.dtype, pl.List) and _casts_to_text(column.dtype.inner):
        return column.cast(pl.List(pl.String))
    rows = [_json_list(value) for value in column.to_list()]
    texts = [None if row is None else [text_of_value(_without_nulls(entry)) for entry in row] for row in rows]
    return pl.Series(column.name, texts, pl.List(pl.String))


def as_numbers(column: pl.Series) -> pl.Series:
    """Return a column as lists of floats, a text of JSON read as such; null where a value is no list of numbers."""
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    if isinstance(column.dtype, pl.List) and column.dtype.inner.is_numeric():
        return column.cast(pl.List(pl.Float64))
    rows = [_json_list(value) for value in column.to_list()]
    numbers = [
        [None if entry is None else float(entry) for entry in row] if is_number_list(row) else None for row in rows
    ]
    return pl.Series(column.name, numbers, pl.List(pl.Float64))


def _casts_to_text(dtype: pl.datatypes.DataTypeClass | pl.DataType) -> bool:
    return dtype in (pl.String, pl.Null) or dtype.is_integer()


def is_number_list(value: object) -> TypeGuard[list[float | None]]:
    """Whether a JSON value is a list of numbers and nulls; a truth value is no number."""
    return isinstance(value, list) and all(
        entry is None or (isinstance(entry, int | float) and not isinstance(entry, bool)) for entry in value
    )


def _json_list(value: object) -> list[object] | None:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) else None
