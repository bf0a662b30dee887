"""Which option is right, by whatever a data set writes: an index, a letter, or the option's text."""

from __future__ import annotations

from typing import Literal

from muscle.errors import DataError
from muscle.foreign_text import listing
from muscle.tasks.fields import found, read_column
from muscle.tasks.task import Row

LabelKind = Literal["auto", "index", "number", "letter", "text"]


def read_gold(row: Row, column: str, choices: tuple[str, ...], kind: LabelKind = "auto") -> int:
    """Return the index of the right option.

    Args:
        row: with the label's column.
        column: its name.
        choices: the options' texts.
        kind: how the label is meant; `auto` takes what fits and refuses a label that fits in two ways; `number` counts
            from 1, and is never guessed.

    Raises:
        DataError: the label fits no option, two options in different ways, or two options with the same text.

    >>> read_gold({"answer": "B"}, "answer", ("red", "blue"))
    1
    """
    value = read_column(row, column)
    kinds = ("index", "letter", "text") if kind == "auto" else (kind,)
    readings = {name: _read_label_as(value, choices, name) for name in kinds}
    fitting = {name: index for name, index in readings.items() if index is not None}
    if not fitting:
        what = "an index from 0, a letter from A or an option's text" if kind == "auto" else f"an option's {kind}"
        raise DataError(
            f"field {column!r}: expected {what} for {len(choices)} options ({listing(choices, 8)}), found "
            f"{found(value)}{_in_other_capitals(value, choices)}"
        )
    if len(set(fitting.values())) > 1:
        ways = " and as ".join(f"{name} (option {index})" for name, index in fitting.items())
        raise DataError(
            f"field {column!r}: {found(value)} can be read as {ways}; say which with label: "
            f"{{column: {column}, kind: {next(iter(fitting))}}}"
        )
    return next(iter(fitting.values()))


def _in_other_capitals(value: object, choices: tuple[str, ...]) -> str:
    text = value.strip().lower() if isinstance(value, str) else ""
    near = next((choice for choice in choices if text and choice.strip().lower() == text), None)
    return "" if near is None else f": that is {found(near)} in other capitals, write them alike"


def _read_label_as(value: object, choices: tuple[str, ...], kind: str) -> int | None:
    if isinstance(value, bool):  # an int in Python, but no index
        return None
    if kind in ("index", "number"):
        index = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
        if not isinstance(index, int):
            return None
        index -= kind == "number"
        return index if 0 <= index < len(choices) else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if kind == "letter":
        is_letter = len(text) == 1 and text.isascii() and text.isalpha()
        index = ord(text.upper()) - ord("A") if is_letter else len(choices)
        return index if index < len(choices) else None
    same = [index for index, choice in enumerate(choices) if choice.strip() == text]
    return same[0] if len(same) == 1 else None
