"""What readers take out of JSON objects, each with the type it must have.

A field that is missing or null is nothing; one of another type is refused with file, place and field, never passed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muscle.predictions.readers.shared.json_members import load_object
from muscle.predictions.readers.shared.values import message_text, refuse, text_of

MAX_LEVELS = 100
"""Nesting of settings that are compared between runs; none that is known has more than ten."""

_LARGEST = 2**53
"""Counts are whole numbers that a float holds too."""

_KINDS = {dict: "an object", list: "a list", type(None): "null"}


class Words:
    """Words that stand in a message in place of a value."""

    def __init__(self, word: str) -> None:
        self._word = word

    def __repr__(self) -> str:
        return self._word


def shown(value: Any) -> Any:
    """Return what a message shows of a value: of objects and lists only the kind, as they can be large and deep."""
    word = _KINDS.get(type(value))
    return value if word is None else Words(word)


def object_at(value: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """Return the object that a field holds; an empty one for nothing."""
    found = value.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        refuse(where, name, "an object", shown(found))
    return found


def list_at(value: Mapping[str, Any], name: str, where: str) -> list[Any]:
    """Return the list that a field holds; an empty one for nothing."""
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        refuse(where, name, "a list", shown(found))
    return found


def objects_at(value: Mapping[str, Any], name: str, where: str) -> list[Mapping[str, Any]]:
    """Return the objects in the list that a field holds; none for nothing."""
    found = list_at(value, name, where)
    for place, entry in enumerate(found):
        if not isinstance(entry, dict):
            refuse(where, f"{name}[{place}]", "an object", shown(entry))
    return found


def identity_at(value: Mapping[str, Any], name: str, where: str) -> str:
    """Return a text or number by which something is known, as text; it must be there."""
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        refuse(where, name, "a text or a number", shown(found))
    return str(found)


def truth_at(value: Mapping[str, Any], name: str, where: str) -> bool | None:
    """Return the truth value that a field holds; None for nothing."""
    found = value.get(name)
    if not isinstance(found, bool | None):
        refuse(where, name, "true or false", shown(found))
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
        refuse(where, name, "a whole number from 0", shown(found))
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
        refuse(where, label or name, "a finite number", shown(found))
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
        refuse(where, name, "JSON that is nested less deep", shown(value.get(name)))


def message_at(value: Mapping[str, Any], name: str, where: str) -> str | None:
    """Return a prompt or answer (a text, a message, or a list of them) as text; None for nothing."""
    try:
        return message_text(value.get(name))
    except RecursionError:
        refuse(where, name, "messages that are nested less deep", shown(value.get(name)))


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
