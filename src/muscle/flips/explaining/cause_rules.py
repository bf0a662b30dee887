"""The user's own rules for causes of wrong answers, read from YAML.

```yaml
rules:
  - name: markdown                    # a cause of your own; or refusal, format, cut_off: more patterns for these
    pattern: '```|^#+ '
    field: output                     # output (default), input or finish_reason
    ignore_case: true                 # default
```

Patterns are regular expressions in Rust's syntax, which polars runs in time linear in the text: no look-around, no
back-references, and nothing that a hostile answer could make hang. The first rule that fits decides; rules come
before the built-in patterns (`muscle.flips.explaining.cause_patterns`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from muscle.errors import ConfigError
from muscle.flips.options import CauseRule
from muscle.foreign_text import outline
from muscle.yaml_files import read_yaml

MAX_RULES = 50
MAX_NAME = 40


class _Entry(BaseModel):
    """A rule as it stands in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    # Before the pattern, which is tried as it will be used: without case it is larger, and may be too large.
    ignore_case: bool = True
    pattern: Annotated[str, Field(min_length=1)]
    field: Literal["output", "input", "finish_reason"] = "output"

    @model_validator(mode="before")
    @classmethod
    def _is_section(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError(f"expected a name and a pattern, found {outline(value)}")
        return value

    @field_validator("name")
    @classmethod
    def _is_cause(cls, name: str) -> str:
        if not name.strip() or len(name) > MAX_NAME or name == "error":
            raise ValueError(
                f"expected a cause's name of at most {MAX_NAME} characters, other than error, found {outline(name)}"
            )
        return name.strip()

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, written: str, info: ValidationInfo) -> str:
        pattern = f"(?i){written}" if info.data.get("ignore_case", True) else written
        try:
            pl.Series([""]).str.contains(pattern)
        except pl.exceptions.PolarsError as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"no regular expression of Rust's syntax (no look-around, no back-references): {reason}"
            ) from error
        return pattern


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rules: Annotated[list[_Entry], Field(max_length=MAX_RULES)]


def read_rules(path: Path) -> tuple[CauseRule, ...]:
    """Read rules from YAML.

    Raises:
        ConfigError: there is no such file, it is no YAML, a key is unknown or missing, or a pattern cannot be
            used: file, line, key, what was expected and found.
    """
    expected = "one key `rules` with a list of rules"
    written = read_yaml(path, expected=expected)
    entries = written.values.get("rules")
    if not isinstance(entries, list) or not entries or set(written.values) != {"rules"}:
        raise ConfigError(f"{path}: expected {expected}, found {outline(written.values)}")
    return tuple(CauseRule(each.name, each.pattern, each.field) for each in written.validate(_File).rules)
