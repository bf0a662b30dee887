"""Typed objects as JSON and back: a report is written from dataclasses once, and read into the same dataclasses.

A dataclass is a JSON object with a key for each field. A field with `OPTIONAL_KEY` in its metadata has no key where
it is None; every other field is always written, None as null. Metadata `{"key": name}` gives a field another key, for
a word that cannot be a field's name; such an object is only written, not read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TypeVar

from muscle.errors import DataError

T = TypeVar("T")

OPTIONAL_KEY = {"optional_key": True}
"""Metadata of a dataclass's field that has no key in JSON where it is None."""


@cache
def _keys(kind: type) -> tuple[tuple[str, str, bool], ...] | None:
    """Return a dataclass's fields, the key of each, and whether it is left out where None; None of other types."""
    if not is_dataclass(kind):
        return None
    return tuple(
        (each.name, each.metadata.get("key", each.name), bool(each.metadata.get("optional_key")))
        for each in fields(kind)
    )


_PLAIN = frozenset({type(None), str, int, float, bool})
"""Types that JSON has. Looked up by type: a report has hundreds of thousands of values."""


def to_json(value: object) -> object:
    """Return a typed object as JSON's own: dicts, lists, text, numbers, true, false and None.

    Args:
        value: a dataclass, or a mapping, list or tuple of such; numbers and texts stay as they are.
    """
    kind: type = type(value)
    if kind in _PLAIN:
        return value
    keys = _keys(kind)
    if keys is not None:
        found = {}
        for name, key, left_out in keys:
            each = getattr(value, name)
            if type(each) not in _PLAIN:
                found[key] = to_json(each)
            elif each is not None or not left_out:
                found[key] = each
        return found
    if isinstance(value, list | tuple | set | frozenset):
        return [each if type(each) in _PLAIN else to_json(each) for each in value]
    if isinstance(value, Mapping):
        return {
            name if type(name) is str else str(name): each if type(each) in _PLAIN else to_json(each)
            for name, each in value.items()
        }
    if isinstance(value, str | int | float):  # of a type made from one of them
        return value
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def json_object(value: object) -> dict[str, object]:
    """Return a dataclass as a JSON object: see `to_json`."""
    found = to_json(value)
    assert isinstance(found, dict), "a dataclass is an object"
    return found


def from_json(kind: type[T], value: object, *, where: str) -> T:
    """Read a JSON value into a dataclass and those that it holds; keys that it does not know are passed over.

    Args:
        kind: the dataclass.
        value: what `json.loads` gave.
        where: the file, for messages.

    Raises:
        DataError: a key is missing, or holds something else.
    """
    from pydantic import TypeAdapter, ValidationError  # 0.1 s, which only reading back costs

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{where}: {key}: expected {kind.__name__} as this version of muscle writes it, found it changed, cut "
            f"or of another version ({first['msg']})"
        ) from None


def json_schema(kind: type) -> dict[str, object]:
    """Return the JSON Schema of a dataclass."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind).json_schema()
