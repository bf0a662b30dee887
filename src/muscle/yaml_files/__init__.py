"""How all YAML that a user writes is read and validated.

That is: updates, tasks, policies, rules for causes, the values of `--set`.
A file has a limit of bytes, of depth, and of values with every alias (`*name`) counted as often as it stands
there, so that no small file becomes a large one. Every error names the file, the line, the key, what was
expected and what was found.
"""

from __future__ import annotations

import copy
import difflib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from muscle.errors import ConfigError
from muscle.foreign_text import kind_word, listing, outline

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails
    from ruamel.yaml.nodes import Node

Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 1 << 20

_EXPONENT = re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d{1,3}")
"""Numbers that are texts in YAML 1.1, which wants a point and a sign (`1.0e-4`)."""

_MOST_KEYS = 30
_TYPE_NAME = re.compile(r"str|int|float|bool|(?:list|dict|tuple)\[.*\]")


class UserYaml:
    """Keys and values that a user wrote, and where each stands.

    Args:
        source: what messages call it: a file, or an option.
        values: its keys and values.
        root: its nodes, which know their lines; None where there is no file.
    """

    def __init__(self, source: str, values: dict[str, object], root: Node | None = None) -> None:
        self.source = source
        self.values = values
        self._root = root
        self._assigned: list[tuple[str | int, ...]] = []

    def assign(self, dotted: str, value: object) -> None:
        """Put a value in a key's place, such as `training.epochs`; messages name no line for it.

        Raises:
            ConfigError: something that is no section stands on the way.
        """
        keys = dotted.split(".")
        section = self.values
        for key in keys[:-1]:
            inner = section.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{dotted}: {key} is no section")
            section = inner
        section[keys[-1]] = value
        self._assigned.append(tuple(keys))

    def at(self, *keys: str | int) -> str:
        """Return where a key stands: `update.yaml, line 3: training.epochs`."""
        return f"{self.source}{self._line(keys, ', line {}')}: {'.'.join(map(str, keys))}"

    def validate(self, model: type[Model], **defaults: object) -> Model:
        """Validate against a pydantic model.

        Args:
            model: what is expected.
            **defaults: keys with what they are where they are left out.

        Raises:
            ConfigError: of each wrong key its line, its path, what was expected and what was found.
        """
        written = {**defaults, **self.values}
        try:
            return _validated(model, written)
        except ValidationError as error:
            found = _of_meant_forms([(item, _written_path(item, written)) for item in error.errors()])
            problems = [
                self._line(_key_path(item, path), "line {}: ") + _explained(item, path, model) for item, path in found
            ]
            joined = "; ".join(problems)
            colon = ", " if joined.startswith("line ") else ": "
            raise ConfigError(f"{self.source}{colon}{joined}") from error

    def _line(self, keys: tuple[str | int, ...], words: str) -> str:
        """Return `words` with a key's line, the deepest part's of its path that is there; nothing where none is."""
        if self._root is None or any(keys[: len(each)] == each for each in self._assigned):
            return ""
        from muscle.yaml_files.nodes import line_of

        line = line_of(self._root, keys)
        return words.format(line) if line else ""


def _validated(model: type[Model], written: dict[str, object]) -> Model:
    """Validate values; a text such as `1e-4` is a number where one is expected."""
    try:
        return model.model_validate(written)
    except ValidationError as error:
        wanted = [item for item in error.errors() if item["type"] == "float_type" and isinstance(item["input"], str)]
        texts = [(_written_path(item, written), item["input"]) for item in wanted]
        numbers = [(path, float(text)) for path, text in texts if _EXPONENT.fullmatch(text)]
        if not numbers:
            raise
    meant = copy.deepcopy(written)
    for path, number in numbers:
        section: Any = meant
        for key in path[:-1]:
            section = section[key]
        section[path[-1]] = number
    return model.model_validate(meant)


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """Say of each wrong key what was expected and found, and which keys there are in an unknown one's place.

    Args:
        error: what validating against `model` raised.
        model: whose keys are suggested.
        prefix: put before each key's path.
    """
    return "; ".join(_explained(item, item["loc"], model, prefix) for item in error.errors())


def _written_path(item: ErrorDetails, values: Mapping[str, object]) -> tuple[str | int, ...]:
    """Return the path of a wrong value without the names of types by which pydantic tells one key's forms apart."""
    path: list[str | int] = []
    here: object = values
    for part in item["loc"]:
        listed = dict(enumerate(here)) if isinstance(here, list) else here
        is_there = isinstance(listed, Mapping) and part in listed
        if not is_there and _TYPE_NAME.fullmatch(str(part)):
            continue
        here = listed[part] if isinstance(listed, Mapping) and is_there else None
        path.append(part)
    return tuple(path)


def _of_meant_forms(
    problems: list[tuple[ErrorDetails, tuple[str | int, ...]]],
) -> list[tuple[ErrorDetails, tuple[str | int, ...]]]:
    """Leave out that a value has another form as a whole, where it is told what is wrong inside it."""
    inside = {path[:end] for _, path in problems for end in range(len(path))}
    return [(item, path) for item, path in problems if path not in inside or item["type"] == "value_error"]


def _explained(item: ErrorDetails, path: tuple[str | int, ...], model: type[BaseModel], prefix: str = "") -> str:
    key = prefix + ".".join(map(str, path))
    message, kind = item["msg"], item["type"]
    if kind == "extra_forbidden":
        unknown = str(path[-1])
        known = _keys_at(model, path[:-1])
        near = difflib.get_close_matches(unknown, known, n=1)
        told = f"did you mean {near[0]!r}?" if near else f"expected one of {listing(known, _MOST_KEYS)}"
        return f"{key}: unknown key; {told}"
    if kind == "missing":
        return f"{key}: missing; expected a value"
    if kind == "value_error":
        message = message.removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    if kind in ("model_type", "dict_type", "mapping_type"):
        expected = "keys and values"
    else:
        expected = message.removeprefix("Input should be ").removeprefix("List should have ")
    return f"{key}: expected {expected}, found {outline(item['input'])}"


def _key_path(item: ErrorDetails, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return the path of the key that is wrong; what a whole section is refused for begins with the key's own path."""
    if item["type"] != "value_error":
        return path
    named = item["msg"].removeprefix("Value error, ").partition(":")[0]
    parts = named.split(".")
    return (*path, *(int(part) if part.isdecimal() and len(part) < 9 else part for part in parts))


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the keys that a section may have, in their order; an index or a name of the user's own leads no deeper."""
    here = [model]
    for part in path:
        fields = [each.model_fields[part] for each in here if isinstance(part, str) and part in each.model_fields]
        here = [found for field in fields for found in _sections_in(field.annotation)] if fields else here
    return list(dict.fromkeys(key for each in here for key in each.model_fields))


def _sections_in(annotation: object) -> list[type[BaseModel]]:
    """Return the sections in a field's type: itself, or those in its list, mapping or choice."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _sections_in(part)]


def read_yaml(
    path: str | Path, *, expected: str = "a mapping of keys to values", missing: str = "there is no such file"
) -> UserYaml:
    """Read a YAML mapping.

    Args:
        path: the file.
        expected: what the file should hold, for the message where it holds no mapping.
        missing: what is said where there is no such file.

    Raises:
        ConfigError: there is no such file, it cannot be read, it is no YAML mapping, it is too large, too
            deep or refers to itself, or a key stands twice.
    """
    from muscle.yaml_files.nodes import NodeReader, NotYamlError

    text = _file_text(Path(path), missing)
    try:
        reader = NodeReader(text)
        values = reader.values()
    except NotYamlError as error:
        line = f", line {error.line}" if error.line else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected {expected}, found {kind_word(values)}")
    return UserYaml(str(path), values, reader.root)


def _file_text(path: Path, missing: str) -> str:
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: {missing}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: expected at most 1 MiB of YAML, found more")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected YAML in UTF-8, found other bytes") from None


def yaml_value(text: str) -> object:
    """Return the value that a text stands for in YAML; the text itself where it is none.

    >>> yaml_value("3"), yaml_value("2026-02-31"), yaml_value("{")
    (3, '2026-02-31', '{')
    """
    from muscle.yaml_files.nodes import NodeReader, NotYamlError

    try:
        return NodeReader(text).values()
    except NotYamlError:
        return text


def yaml_text(values: Mapping[str, object]) -> str:
    """Return keys and values as YAML that `read_yaml` reads back, in their order."""
    from ruamel.yaml import YAML

    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)  # quotes every word that stands for something else when it is read
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # declared as None
    yaml.dump(values, out)
    return out.getvalue().removeprefix("%YAML 1.1\n---\n")
