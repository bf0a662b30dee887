"""Plain data against pydantic models: every error names the key, what was expected and what was found."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from muscle.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 60
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist = 2, 3, 3


def short(value: object) -> str:
    """Return a value as a message shows it: a large one is not written out to be cut afterwards.

    >>> short([list(range(1_000_000))] * 9)
    '[[0, 1, 2, ...], [0, 1, 2, ...], [0, 1, 2, ...], ...]'
    """
    return _SHORT.repr(value)


def validate(model: type[Model], raw: Mapping[str, Any], where: str) -> Model:
    """Validate plain data against a pydantic model.

    Raises:
        ConfigError: with `where`, each wrong key's path, what was expected and what was found.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain(error, model)}") from error


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """Say of each wrong key what was expected and found, and which known key is near an unknown one.

    Args:
        error: what validating against `model` raised.
        model: whose keys are suggested.
        prefix: put before each key's path.
    """
    lines = []
    for item in error.errors():
        key = prefix + ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(item["loc"][-1]), _keys(model), n=1)
            lines.append(f"{key}: unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))
        elif item["type"] == "missing":
            lines.append(f"{key}: missing; expected a value")
        elif item["type"] == "value_error":
            message = item["msg"].removeprefix("Value error, ")
            lines.append(f"{key}: {message}" if key else message)
        else:
            expected = item["msg"].removeprefix("Input should be ").removeprefix("List should have ")
            lines.append(f"{key}: expected {expected}, found {short(item['input'])}")
    return "; ".join(lines)


def _keys(model: type[BaseModel]) -> set[str]:
    """Every key of a model and its sections, for suggestions."""
    keys = set(model.model_fields)
    for field in model.model_fields.values():
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys |= _keys(part)
    return keys
