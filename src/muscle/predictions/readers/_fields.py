"""Fields of a JSON object by the type that they must have: a wrong type is met once, here, and named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from muscle.predictions.readers._values import refuse

MAX_WHOLE = 2**31 - 1
"""Largest count or index that is believed; it fits every column."""


def object_at(value: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """Return the object that a field holds; an empty one where the field is null or not there.

    Raises:
        DataError: it holds something else: place, field, what was found.
    """
    found = value.get(name)
    if found is None:
        return {}
    return found if isinstance(found, dict) else refuse(where, name, "an object", found)


def list_at(value: Mapping[str, Any], name: str, where: str) -> list[Any]:
    """Return the list that a field holds; an empty one where the field is null or not there.

    Raises:
        DataError: it holds something else.
    """
    found = value.get(name)
    if found is None:
        return []
    return found if isinstance(found, list) else refuse(where, name, "a list", found)


def objects_at(value: Mapping[str, Any], name: str, where: str) -> list[Mapping[str, Any]]:
    """Return the list of objects that a field holds; an empty one where the field is null or not there.

    Raises:
        DataError: it holds something else, or an entry is no object.
    """
    entries = list_at(value, name, where)
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            refuse(where, f"{name}[{place}]", "an object", entry)
    return entries


def text_at(value: Mapping[str, Any], name: str, where: str) -> str | None:
    """Return the text that a field holds; None where the field is null or not there.

    Raises:
        DataError: it holds something else.
    """
    found = value.get(name)
    return found if found is None or isinstance(found, str) else refuse(where, name, "a text", found)


def texts_at(value: Mapping[str, Any], name: str, where: str) -> list[str] | None:
    """Return the list of texts that a field holds; None where it is empty, null or not there.

    Raises:
        DataError: it holds something else, or an entry is no text.
    """
    entries = list_at(value, name, where)
    for place, entry in enumerate(entries):
        if not isinstance(entry, str):
            refuse(where, f"{name}[{place}]", "a text", entry)
    return entries or None


def whole_at(value: Mapping[str, Any], name: str, where: str, *, least: int = 0) -> int | None:
    """Return the whole number that a field holds; None where the field is null or not there.

    Args:
        value: the object.
        name: the field.
        where: file and line or member, for the message.
        least: the smallest number that makes sense.

    Raises:
        DataError: it holds something else, or a number below `least` or above `MAX_WHOLE`.
    """
    found = value.get(name)
    if found is None:
        return None
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= MAX_WHOLE:
        refuse(where, name, f"a whole number from {least}", found)
    return found
