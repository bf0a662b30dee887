"""How every YAML file that a user writes is read: updates, tasks, policies, rules for causes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from muscle.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key that stands twice: the first would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(
    path: Path, *, expected: str = "a mapping of keys to values", missing: str = "there is no such file"
) -> dict[str, Any]:
    """Read a YAML mapping.

    Args:
        path: the file.
        expected: what the file should hold, for the message where it holds no mapping.
        missing: what is said where there is no such file.

    Raises:
        ConfigError: there is no such file, it cannot be read, it is no YAML mapping, or a key stands twice.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: {missing}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected YAML in UTF-8, found other bytes") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise ConfigError(f"{path}{line}: not valid YAML: {problem}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected {expected}, found {type(raw).__name__}")
    return raw
