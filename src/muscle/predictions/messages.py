"""How values, names and reasons are written in a one-line message."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable

import polars as pl

from muscle.errors import DataError

Where = Callable[[int], str]
"""Turns a row's number, from 0, into the words that open a message."""

_LISTED = 12


def shorten(value: object, limit: int = 60) -> str:
    """Return a value as it may stand in a one-line message: at most `limit` characters, no control character."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = limit
    if isinstance(value, str | bytes):
        value = value[:limit]  # reprlib makes the whole text first
    shown = repr(value) if isinstance(value, str | bytes) else short.repr(value)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def listing(names: Iterable[str], most: int = _LISTED) -> str:
    """Return names as they may stand in a one-line message: each short, the first few, and how many more."""
    every = list(names)
    shown = ", ".join(
        name if name.isprintable() and len(name) <= 60 else shorten(name).strip("'\"")
        for name in every[:most]
    )
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return f"{shown}{more}" if every else "none"


def refuse_rows(bad: pl.Series, name: str, expected: str, found: pl.Series, where: Where) -> None:
    """Raise for the first row that `bad` marks.

    Raises:
        DataError: a row is marked: row, field, what was expected, what was found.
    """
    rows = bad.fill_null(False).arg_true()
    if rows.len():
        row = int(rows[0])
        value = found[row].to_list() if isinstance(found[row], pl.Series) else found[row]
        raise DataError(
            f"{where(row)}, field '{listing([name])}': expected {expected}, found {shorten(value)}"
        )


def reason(error: BaseException) -> str:
    """Return why something cannot be read, in one short line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 and text.isprintable() else shorten(text, 160)
