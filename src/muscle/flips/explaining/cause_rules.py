"""What tells the causes of wrong answers apart: built-in patterns, and rules of the user's own.

```yaml
rules:
  - name: markdown                    # a cause of your own; or refusal, format, cut_off: more patterns for these
    pattern: '```|^#+ '
    field: output                     # output (default), input or finish_reason
    ignore_case: true                 # default
```

Patterns are regular expressions in Rust's syntax, which polars runs in time linear in the text: no look-around, no
back-references, and nothing that a hostile answer could make hang. The first rule that fits decides; rules come
before the built-in patterns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from muscle.errors import ConfigError
from muscle.flips.options import CauseRule
from muscle.validation import short
from muscle.yaml_files import read_yaml

CAUSES = ("knowledge", "format", "refusal", "cut_off", "error")
FIELDS = ("output", "input", "finish_reason")
MAX_RULES = 50
MAX_NAME = 40

REFUSAL = (
    r"(?i)^\W{0,20}(?:i['\x{2019}]?m|i am|we['\x{2019}]?re) (?:very |so |really )?sorry\b",
    r"(?i)^\W{0,20}(?:sorry|apologies|unfortunately|i apologi[sz]e)\b.{0,80}"
    r"(?:can['\x{2019}]?t|cannot|can not|unable|not able|won['\x{2019}]?t)",
    r"(?i)\b(?:i|we) (?:can['\x{2019}]?t|cannot|can not|won['\x{2019}]?t|will not|am unable to|['\x{2019}]?m unable to|"
    r"am not able to|['\x{2019}]?m not able to|"
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


def read_rules(path: Path) -> tuple[CauseRule, ...]:
    """Read rules from YAML.

    Raises:
        ConfigError: there is no such file, it is no YAML, a key is unknown or missing, or a pattern cannot be used:
            file, rule, key, what was expected and found.
    """
    expected = "one key `rules` with a list of rules"
    raw = read_yaml(path, expected=expected)
    entries = raw.get("rules")
    if not isinstance(entries, list) or not entries or set(raw) != {"rules"}:
        raise ConfigError(f"{path}: expected {expected}, found {short(raw)}")
    if len(entries) > MAX_RULES:
        raise ConfigError(f"{path}: rules: expected at most {MAX_RULES}, found {len(entries)}")
    return tuple(_rule(entry, f"{path}: rules.{number}") for number, entry in enumerate(entries))


def _rule(entry: Any, where: str) -> CauseRule:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: expected a name and a pattern, found {short(entry)}")
    unknown = sorted(set(map(str, entry)) - {"name", "pattern", "field", "ignore_case"})
    if unknown:
        raise ConfigError(f"{where}.{unknown[0]}: expected name, pattern, field or ignore_case")
    name, pattern, field = entry.get("name"), entry.get("pattern"), entry.get("field", "output")
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME or name == "error":
        raise ConfigError(
            f"{where}.name: expected a cause's name of at most {MAX_NAME} characters, other than error, "
            f"found {short(name)}"
        )
    if not isinstance(pattern, str) or not pattern:
        raise ConfigError(f"{where}.pattern: expected a regular expression, found {short(pattern)}")
    if field not in FIELDS:
        raise ConfigError(f"{where}.field: expected one of {', '.join(FIELDS)}, found {short(field)}")
    ignore_case = entry.get("ignore_case", True)
    if not isinstance(ignore_case, bool):
        raise ConfigError(f"{where}.ignore_case: expected true or false, found {short(ignore_case)}")
    pattern = f"(?i){pattern}" if ignore_case else pattern
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{where}.pattern: no regular expression of Rust's syntax (no look-around, no back-references): {reason}"
        ) from error
    return CauseRule(name.strip(), pattern, field)
