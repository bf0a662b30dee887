"""What a row or a file cannot be read for, in a one-line message."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from muscle.errors import DataError
from muscle.foreign_text import listing, shorten

Where = Callable[[int], str]
"""Turns a row's number, from 0, into the words that open a message."""


def refuse_rows(bad: pl.Series, name: str, expected: str, found: pl.Series, where: Where, hint: str = "") -> None:
    """Raise for the first row that `bad` marks.

    Args:
        bad: whether each row is.
        name: the field.
        expected: what it should hold.
        found: what it holds.
        where: turns a row's number into the words that open the message.
        hint: ends the message.

    Raises:
        DataError: a row is marked: row, field, what was expected, what was found.
    """
    rows = bad.fill_null(False).arg_true()
    if rows.len():
        row = int(rows[0])
        value = found[row].to_list() if isinstance(found[row], pl.Series) else found[row]
        raise DataError(f"{where(row)}, field '{listing([name])}': expected {expected}, found {shorten(value)}{hint}")


def reason(error: BaseException) -> str:
    """Return why something cannot be read, in one short line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 and text.isprintable() else shorten(text, 160)
