"""How all YAML that a user writes is read: updates, tasks, policies, rules for causes, the values of `--set`.

Plain data alone, and little of it: a file has a limit of bytes, of depth, and of values with every alias (`*name`) counted as
often as it stands there, so that no small file becomes a large one. A date is a text: no key of ours is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from muscle.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000
MAX_DEPTH = 50

_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """YAML's safe loader within bounds, which also refuses a key that stands twice: the first would be lost in silence."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _count_values(node, {}, 0)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
            if isinstance(value, str):
                value.encode()  # "\\ud800" would fail wherever the text is written
            return value
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            # What the safe loader itself raises for `!!int x`, `!!timestamp x` and numbers of too many digits.
            raise _problem(f"{node.tag} cannot be read from this value ({error})", node) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key_node, yaml.ScalarNode):
                raise _problem("expected a text as a key, found a list or keys and values", key_node)
            if key_node.value in seen:
                raise _problem(f"the key {key_node.value!r} stands twice", key_node)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _problem(what: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def _count_values(node: yaml.Node, counts: dict[int, int | None], depth: int) -> int:
    """Return how many values a node holds, aliases written out; each node is looked at once.

    Args:
        node: the node.
        counts: by node, what was counted before; None while it is being counted.
        depth: of the node.
    """
    if depth > MAX_DEPTH:
        raise _problem(f"expected at most {MAX_DEPTH} levels", node)
    if id(node) in counts:
        known = counts[id(node)]
        if known is None:
            raise _problem("an alias stands within what it stands for", node)
        return known
    counts[id(node)] = None
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    total = 1 + sum(_count_values(child, counts, depth + 1) for child in children)
    if total > MAX_VALUES:
        raise _problem(
            f"expected at most {MAX_VALUES:,} values with all aliases written out, found more", node
        )
    counts[id(node)] = total
    return total


def read_yaml(
    path: Path, *, expected: str = "a mapping of keys to values", missing: str = "there is no such file"
) -> dict[str, Any]:
    """Read a YAML mapping.

    Args:
        path: the file.
        expected: what the file should hold, for the message where it holds no mapping.
        missing: what is said where there is no such file.

    Raises:
        ConfigError: there is no such file, it cannot be read, it is no YAML mapping, it is too large, too deep or refers to itself,
            or a key stands twice.
    """
    raw = _parsed(path, missing, _Loader.get_single_data)
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected {expected}, found {type(raw).__name__}")
    return raw


def read_nodes(path: Path) -> yaml.Node | None:
    """Read a YAML file as nodes, which know their lines.

    Raises:
        ConfigError: as `read_yaml`.
    """
    node: yaml.Node | None = _parsed(path, "there is no such file", _Loader.get_single_node)
    return node


def yaml_value(text: str) -> Any:
    """Return the value that a text stands for in YAML; the text itself where it is none.

    >>> yaml_value("3"), yaml_value("2026-02-31"), yaml_value("{")
    (3, '2026-02-31', '{')
    """
    try:
        return _load(text, _Loader.get_single_data)
    except (yaml.YAMLError, RecursionError):
        return text


def _load(text: str, read: Any) -> Any:
    loader = _Loader(text)
    try:
        return read(loader)
    finally:
        loader.dispose()


def _parsed(path: Path, missing: str, read: Any) -> Any:
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
        return _load(content.decode("utf-8"), read)
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected YAML in UTF-8, found other bytes") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "nested too deeply"
        raise ConfigError(f"{path}{line}: not valid YAML: {problem}") from None
