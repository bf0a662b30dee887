"""What readers take out of JSON objects, each with the type it must have.

A field that is missing or null is nothing; one of another type is refused with file, place and field, never
passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from muscle.errors import DataError
from muscle.predictions.readers.shared.json_members import load_object
from muscle.predictions.readers.shared.values import float_of, message_text, refuse, shown, text_of

MAX_LEVELS = 100
"""Nesting of settings that are compared between runs; none that is known has more than ten."""

_LARGEST = 2**53
"""Counts are whole numbers that a float holds too."""


def required(value: Mapping[str, object], name: str, where: str, what: str) -> object:
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


def object_at(value: Mapping[str, object], name: str, where: str) -> Mapping[str, object]:
    """Return the object that a field holds; an empty one for nothing."""
    found = value.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        refuse(where, name, "an object", shown(found))
    return found


def list_at(value: Mapping[str, object], name: str, where: str) -> list[object]:
    """Return the list that a field holds; an empty one for nothing."""
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        refuse(where, name, "a list", shown(found))
    return found


def objects_at(value: Mapping[str, object], name: str, where: str) -> list[Mapping[str, object]]:
    """Return the objects in the list that a field holds; none for nothing."""
    found: list[Mapping[str, object]] = []
    for place, entry in enumerate(list_at(value, name, where)):
        if not isinstance(entry, dict):
            refuse(where, f"{name}[{place}]", "an object", shown(entry))
        found.append(entry)
    return found


def text_at(value: Mapping[str, object], name: str, where: str) -> str | None:
    """Return the text that a field holds; None for nothing."""
    found = value.get(name)
    return found if found is None or isinstance(found, str) else refuse(where, name, "a text", found)


def texts_at(value: Mapping[str, object], name: str, where: str) -> list[str] | None:
    """Return the texts in the list that a field holds; None for nothing and for an empty list."""
    entries = value.get(name)
    if entries is None:
        return None
    if not isinstance(entries, list):
        refuse(where, name, "a list of texts", entries)
    for place, entry in enumerate(entries):
        if not isinstance(entry, str):
            refuse(where, f"{name}[{place}]", "a text", entry)
    return entries or None


def identity_at(value: Mapping[str, object], name: str, where: str) -> str:
    """Return a text or number by which something is known, as text; it must be there."""
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        refuse(where, name, "a text or a number", shown(found))
    return str(found)


def truth_at(value: Mapping[str, object], name: str, where: str) -> bool | None:
    """Return the truth value that a field holds; None for nothing."""
    found = value.get(name)
    if not isinstance(found, bool | None):
        refuse(where, name, "true or false", shown(found))
    return found


def count_at(value: Mapping[str, object], name: str, where: str) -> int | None:
    """Return a number of things, from 0, that a field holds; None for nothing."""
    found = value.get(name)
    if found is None:
        return None
    count = int(found) if isinstance(found, float) and found.is_integer() else found
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < _LARGEST:
        refuse(where, name, "a whole number from 0", shown(found))
    return count


def number_at(value: Mapping[str, object], name: str, where: str, label: str | None = None) -> float | None:
    """Return the finite number that a field holds; None for nothing.

    Args:
        value: the object.
        name: the field.
        where: file and line or member.
        label: what messages call the field; None is its name.
    """
    return None if value.get(name) is None else score_at(value, name, where, label)


def score_at(value: Mapping[str, object], name: str, where: str, label: str | None = None) -> float:
    """Return the finite number that a field holds; it must be there. The arguments are those of `number_at`."""
    found = value.get(name)
    number = float_of(found)
    if number is None:
        refuse(where, label or name, "a finite number", None if found is None else shown(found))
    return number


def json_at(value: Mapping[str, object], name: str, where: str) -> str | None:
    """Return a field as text: as it is, or as JSON; None for nothing."""
    try:
        return text_of(value.get(name))
    except RecursionError:
        refuse(where, name, "JSON that is nested less deep", shown(value.get(name)))


def message_at(value: Mapping[str, object], name: str, where: str) -> str | None:
    """Return a prompt or answer (a text, a message, or a list of them) as text; None for nothing."""
    try:
        return message_text(value.get(name))
    except RecursionError:
        refuse(where, name, "messages that are nested less deep", shown(value.get(name)))


def check_levels(value: object, where: str) -> None:
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


def load_settings(path: Path) -> dict[str, object]:
    """Return the JSON object in a small file of settings or aggregate results.

    Raises:
        DataError: it is no JSON object, too large, or nested too deeply.
    """
    value = load_object(path)
    check_levels(value, str(path))
    return value
