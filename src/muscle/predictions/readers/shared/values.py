"""What a JSON value says as a text or a number, whatever its type, and how a value is refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import NoReturn

from muscle.errors import DataError
from muscle.foreign_text import shorten

NOTHING_SET = "none"
"""What a fact says where the file is known to set nothing: unlike a fact that is not there, it can differ."""

_SECRET = re.compile(r"(?i)api_?key|secret|password|credential|authorization|cookie|headers?$|token$")
"""Names of settings whose values no report may show."""

_KINDS = {dict: "an object", list: "a list", type(None): "null"}


class Words:
    """Words that stand in a message in place of a value."""

    def __init__(self, word: str) -> None:
        self._word = word

    def __repr__(self) -> str:
        return self._word


def shown(value: object) -> object:
    """Return what a message shows of a value: of objects and lists only the kind, as they can be large and deep."""
    word = _KINDS.get(type(value))
    return value if word is None else Words(word)


def refuse(where: str, name: str, expected: str, found: object) -> NoReturn:
    """Raise for a field that is not what it should be.

    Raises:
        DataError: always; place, field, what was expected, what was found.
    """
    raise DataError(f"{where}, field '{name}': expected {expected}, found {shorten(found)}")


def known(values: Mapping[str, object]) -> dict[str, object]:
    """Leave out what is not known: null, empty texts, lists and objects."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}


def without_secrets(value: object) -> object:
    """Leave out of settings what gives access to a service.

    >>> without_secrets({"temperature": 0, "apiKey": "sk-1", "max_tokens": 5, "more": [{"authToken": "t"}]})
    {'temperature': 0, 'max_tokens': 5, 'more': [{}]}
    """
    if isinstance(value, dict):
        return {name: without_secrets(entry) for name, entry in value.items() if not _SECRET.search(str(name))}
    return [without_secrets(entry) for entry in value] if isinstance(value, list) else value


def float_of(value: object) -> float | None:
    """Return a value as a number; None for what is no finite one (a truth value, NaN, more than a float holds)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def text_of(value: object) -> str | None:
    """Return a value as text: as it is, or as JSON with sorted keys; None for null."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def message_text(value: object) -> str | None:
    """Return a prompt as text: a text, a message, or a list of messages or parts of one."""
    if isinstance(value, dict):
        text = message_text(value.get("content") if "content" in value else value.get("text"))
        return f"{value['role']}: {text}" if value.get("role") and text is not None else text
    if isinstance(value, list):
        return "\n".join(text for text in map(message_text, value) if text)
    return text_of(value)
