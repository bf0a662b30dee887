"""Reading a row's fields, so that a wrong one is named with what was expected and what was found.

The messages name the field; `muscle.tasks.data` puts file and line before them.
"""

from __future__ import annotations

from collections.abc import Sequence

from muscle.errors import DataError
from muscle.tasks.task import Row


def found(value: object) -> str:
    """Return a short text for a value in a message.

    >>> found("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."
    """
    text = repr(value)
    return text if len(text) <= 42 else f"{text[:39]}..."


def read_text(row: Row, name: str) -> str:
    """Return a field that must hold text; it is not changed, not even stripped.

    Raises:
        DataError: the field is missing, is no text, or holds only white space.
    """
    value = read_column(row, name)
    if not isinstance(value, str):
        raise DataError(f"field {name!r}: expected text, found {found(value)}")
    if not value.strip():
        raise DataError(f"field {name!r}: expected text, found an empty one")
    return value


def read_texts(row: Row, name: str) -> tuple[str, ...]:
    """Return a field that must hold a list of at least two texts.

    Raises:
        DataError: the field is missing, is no list, is too short, or one of its texts is empty or no text.
    """
    value = read_column(row, name)
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise DataError(f"field {name!r}: expected a list of texts, found {found(value)}")
    if len(value) < 2:
        raise DataError(f"field {name!r}: expected at least two options, found {len(value)}")
    for index, item in enumerate(value):
        if not isinstance(item, str) or not item.strip():
            raise DataError(f"field {name!r}, option {index}: expected text, found {found(item)}")
    return tuple(value)


def read_label(row: Row, name: str, num_choices: int) -> int:
    """Return a field that must hold an index; digits in text count, since CSV files and the hub write them so.

    Raises:
        DataError: the field is missing, is no whole number, or lies outside 0 to `num_choices` - 1.
    """
    value = read_column(row, name)
    # `isdecimal`, not `isdigit`: `int("²")` fails.
    index = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < num_choices:
        hint = "; a test split of the hub has no labels: take its validation split" if value == "" else ""
        raise DataError(f"field {name!r}: expected a label from 0 to {num_choices - 1}, found {found(value)}{hint}")
    return index


def read_id(row: Row, position: int, name: str = "id") -> str:
    """Return the row's own id, or its position (from 0) where it has none.

    >>> read_id({"id": 7}, 3), read_id({"question": "?"}, 3)
    ('7', '3')
    """
    value = row.get(name)
    return str(position) if value is None or value == "" else str(value)


def read_column(row: Row, name: str) -> object:
    """Return what a row has in a column, null too.

    Raises:
        DataError: there is no such column.
    """
    if name not in row:
        raise DataError(f"field {name!r}: expected a column of this name, found {found(sorted(row))}")
    return row[name]
