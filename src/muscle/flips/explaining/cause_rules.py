"""What tells the causes of wrong answers apart: built-in patterns, and rules of the user's own.

```yaml
rules:
  - name: markdown                    # a cause of your own; or refusal, format, cut_off: more patterns for these
    pattern: '```|^#+ '
    field: output                     # output (default), input or finish_reason
    ignore_case: true                 # default
```

Patterns are regular expressions in Rust's syntax, which polars runs in time linear in the text: no
look-around, no back-references, and nothing that a hostile answer could make hang. The first rule that fits
decides; rules come before the built-in patterns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from muscle.errors import ConfigError
from muscle.yaml_files import read_yaml, short

CAUSES = ("knowledge", "format", "refusal", "cut_off", "error")
MAX_RULES = 50
MAX_NAME = 40

REFUSAL = (
    r"(?i)^\W{0,20}(?:i['\x{2019}]?m|i am|we['\x{2019}]?re) (?:very |so |really )?sorry\b",
    r"(?i)^\W{0,20}(?:sorry|apologies|unfortunately|i apologi[sz]e)\b.{0,80}"
    r"(?:can['\x{2019}]?t|cannot|can not|unable|not able|won['\x{2019}]?t)",
    r"(?i)\b(?:i|we) (?:can['\x{2019}]?t|cannot|can not|won['\x{2019}]?t|will not|am unable to|"
    r"['\x{2019}]?m unable to|am not able to|['\x{2019}]?m not able to|"
    r"must decline to|have to decline to|refuse to) "
    r"(?:help|assist|answer|provide|comply|fulfil|fulfill|do that|create|generate|give|"
    r"engage|discuss|support|share|offer|write|respond|complete)",
    r"(?i)\bas an? (?:ai|artificial intelligence|large language model)\b.{0,120}"
    r"(?:can['\x{2019}]?t|cannot|not able|unable|don['\x{2019}]?t)",
    r"(?i)\b(?:against|violates?) (?:my|our|the) (?:content |usage |safety )?(?:guidelines|policy|policies)\b",
    r"(?i)^\W{0,20}(?:es tut mir leid|je suis désolée?|lo siento|desculpe|mi dispiace|抱歉|对不起|申し訳|죄송)",
)
"""How refusals begin or what they say, within the first 400 characters of an answer."""

REFUSED = ("refusal", "content_filter", "content-filter", "safety", "prohibited_content", "blocklist")
"""Finish reasons, in lower case, that say that a model or its provider declined."""
CUT_OFF = (
    "length",
    "max_tokens",
    "max_output_tokens",
    "model_length",
    "token_limit",
    "max_length",
    "incomplete",
)
"""Finish reasons, in lower case, that say that an answer ended at a limit."""


@dataclass(frozen=True)
class Rule:
    """A rule of the user's own.

    Attributes:
        name: the cause that it gives.
        pattern: a regular expression in Rust's syntax.
        field: what it is looked for in.
    """

    name: str
    pattern: str
    field: str = "output"


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
            raise ValueError(f"expected a name and a pattern, found {short(value)}")
        return value

    @field_validator("name")
    @classmethod
    def _is_cause(cls, name: str) -> str:
        if not name.strip() or len(name) > MAX_NAME or name == "error":
            raise ValueError(
                f"expected a cause's name of at most {MAX_NAME} characters, other than error, found {short(name)}"
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


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Read rules from YAML.

    Raises:
        ConfigError: there is no such file, it is no YAML, a key is unknown or missing, or a pattern cannot be
            used: file, line, key, what was expected and found.
    """
    expected = "one key `rules` with a list of rules"
    written = read_yaml(path, expected=expected)
    entries = written.values.get("rules")
    if not isinstance(entries, list) or not entries or set(written.values) != {"rules"}:
        raise ConfigError(f"{path}: expected {expected}, found {short(written.values)}")
    return tuple(Rule(each.name, each.pattern, each.field) for each in written.validate(_File).rules)
