"""What readers take out of JSON objects, each with the type it must have.

A field that is missing or null is nothing; one of another type is refused with file, place and field, never passed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muscle.predictions.readers._json import load_object
from muscle.predictions.readers._values import message_text, refuse, text_of

MAX_LEVELS = 100
"""Nesting of settings that are compared between runs; none that is known has more than ten."""

MAX_WHOLE = 2**31 - 1
"""Largest count or index that is believed; it fits every column."""

_LARGEST = 2**63
_KINDS = {dict: "an object", list: "a list", type(None): "null"}


class Shown:
    """A value as it stands in a message: of objects and lists, which can be large, only the kind."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return _KINDS.get(type(self._value)) or repr(self._value)


def object_at(value: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """Return the object that a field holds; an empty one for nothing."""
    found = value.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        refuse(where, name, "an object", Shown(found))
    return found


def list_at(value: Mapping[str, Any], name: str, where: str) -> list[Any]:
    """Return the list that a field holds; an empty one for nothing."""
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        refuse(where, name, "a list", Shown(found))
    return found


def objects_at(value: Mapping[str, Any], name: str, where: str) -> list[Mapping[str, Any]]:
    """Return the objects in the list that a field holds; none for nothing."""
    found = list_at(value, name, where)
    for place, entry in enumerate(found):
        if not isinstance(entry, dict):
            refuse(where, f"{name}[{place}]", "an object", Shown(entry))
    return found


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


def identity_at(value: Mapping[str, Any], name: str, where: str) -> str:
    """Return a text or number by which something is known, as text; it must be there."""
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        refuse(where, name, "a text or a number", Shown(found))
    return str(found)


def truth_at(value: Mapping[str, Any], name: str, where: str) -> bool | None:
    """Return the truth value that a field holds; None for nothing."""
    found = value.get(name)
    if not isinstance(found, bool | None):
        refuse(where, name, "true or false", Shown(found))
    return found


def count_at(value: Mapping[str, Any], name: str, where: str) -> int | None:
    """Return a number of things, from 0, that a field holds; None for nothing."""
    found = value.get(name)
    if found is None:
        return None
    whole = isinstance(found, int) and not isinstance(found, bool)
    if isinstance(found, float) and found.is_integer():
        found, whole = int(found), True
    if not whole or not 0 <= found < _LARGEST:
        refuse(where, name, "a whole number from 0", Shown(found))
    return int(found)


def number_at(value: Mapping[str, Any], name: str, where: str, label: str | None = None) -> float | None:
    """Return the finite number that a field holds; None for nothing.

    Args:
        value: the object.
        name: the field.
        where: file and line or member.
        label: what messages call the field; None is its name.
    """
    found = value.get(name)
    if found is None:
        return None
    number = float_of(found)
    if number is None:
        refuse(where, label or name, "a finite number", Shown(found))
    return number


def float_of(value: Any) -> float | None:
    """Return a value as a number; None for one that is no finite number (a truth value, a NaN, more than a float holds)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def json_at(value: Mapping[str, Any], name: str, where: str) -> str | None:
    """Return a field as text: as it is, or as JSON; None for nothing."""
    try:
        return text_of(value.get(name))
    except RecursionError:
        refuse(where, name, "JSON that is nested less deep", Shown(value.get(name)))


def message_at(value: Mapping[str, Any], name: str, where: str) -> str | None:
    """Return a prompt or answer (a text, a message, or a list of them) as text; None for nothing."""
    try:
        return message_text(value.get(name))
    except RecursionError:
        refuse(where, name, "messages that are nested less deep", Shown(value.get(name)))


def check_levels(value: Any, where: str) -> None:
    """Refuse settings that are nested deeper than `MAX_LEVELS`, so that they can be walked through by recursion."""
    level, depth = [value], 0
    while level := [
        inner
        for each in level
        if isinstance(each, dict | list)
        for inner in (each.values() if isinstance(each, dict) else each)
    ]:
        depth += 1
        if depth > MAX_LEVELS:
            refuse(where, "settings", f"at most {MAX_LEVELS} levels", "more")


def load_settings(path: Path) -> dict[str, Any]:
    """Return the JSON object in a small file of settings or aggregate results.

    Raises:
        DataError: it is no JSON object, too large, or nested too deeply.
    """
    value = load_object(path)
    check_levels(value, str(path))
    return value
