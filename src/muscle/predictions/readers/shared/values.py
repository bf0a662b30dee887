"""Small questions that every reader asks of a JSON value."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from muscle.errors import DataError
from muscle.predictions.rows import shorten


def object_in(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the object that a field holds; an empty one where it holds none."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not known: null, empty texts, lists and objects."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}


def text_of(value: Any) -> str | None:
    """Return a value as text: as it is, or as JSON with sorted keys; None for null."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def message_text(value: Any) -> str | None:
    """Return a prompt as text: a text, a message, or a list of messages or parts of one."""
    if isinstance(value, dict):
        text = message_text(value.get("content") if "content" in value else value.get("text"))
        return f"{value['role']}: {text}" if value.get("role") and text is not None else text
    if isinstance(value, list):
        return "\n".join(text for text in map(message_text, value) if text)
    return text_of(value)


def refuse(where: str, name: str, expected: str, found: Any) -> NoReturn:
    """Raise for a field that is not what it should be.

    Raises:
        DataError: always; place, field, what was expected, what was found.
    """
    raise DataError(f"{where}, field '{name}': expected {expected}, found {shorten(found)}")


def finite_number(value: Any, where: str, name: str) -> float:
    """Return a number that is one.

    Raises:
        DataError: it is not a finite number.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        refuse(where, name, "a finite number", value)
    return float(value)


def required(value: Mapping[str, Any], name: str, where: str, what: str) -> Any:
    """Return a field that must be there.

    Args:
        value: the object.
        name: the field.
        where: file and line or member.
        what: what the object should be ("a sample of Inspect").

    Raises:
        DataError: it is not there.
    """
    if name not in value:
        raise DataError(f"{where}, field '{name}': expected it in {what}, found no such field")
    return value[name]


def text_at(value: Mapping[str, Any], name: str, where: str) -> str | None:
    """Return the text that a field holds; None where the field is null or not there.

    Raises:
        DataError: it holds something else: place, field, what was found.
    """
    found = value.get(name)
    return found if found is None or isinstance(found, str) else refuse(where, name, "a text", found)


def texts_at(value: Mapping[str, Any], name: str, where: str) -> list[str] | None:
    """Return the list of texts that a field holds; None where it is empty, null or not there.

    Raises:
        DataError: it holds something else, or an entry is no text.
    """
    entries = value.get(name)
    if entries is None:
        return None
    if not isinstance(entries, list):
        refuse(where, name, "a list of texts", entries)
    for place, entry in enumerate(entries):
        if not isinstance(entry, str):
            refuse(where, f"{name}[{place}]", "a text", entry)
    return entries or None
