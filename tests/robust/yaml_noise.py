"""YAML that goes wrong: the texts that its parsers stumble over, put where a value stands."""

from __future__ import annotations

import random

from muscle.yaml_files import yaml_text, yaml_value
from robust.noise import LONG_TEXT, damage, swap_values

ODD_YAML: tuple[str, ...] = (
    "2024-02-30",
    "2024-13-01T99:99:99",
    "0001-01-01 00:00:00 +99:99",
    "2001-01-01",
    "!!python/object/apply:os.system ['true']",
    "!!binary aGVsbG8",
    "!!binary '%%%'",
    "!!int 'x'",
    "!!float x",
    "!!timestamp x",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!null x",
    "!unknown 1",
    "*nowhere",
    "&a [*a]",
    "&b {c: *b}",
    "{<<: [1], x: 2}",
    "{<<: {x: 1}}",
    "{[1, 2]: 3}",
    "{{a: 1}: 2}",
    "{null: 1, 1: 2, 1.5: 3, true: 4}",
    ".nan",
    ".inf",
    "-.inf",
    "1e999",
    "190:20:30",
    "0o17",
    "0x_",
    "1_000_000",
    "9" * 5_000,
    "yes",
    "~",
    "'\\ud800'",
    '"\\ud800"',
    '"\\0"',
    '"\\x1b[31m"',
    "'\u202e'",
    "|\n  text",
    ">-\n  folded",
    "[" * 300 + "]" * 300,
    "[" * 20_000,
    "{a: " * 300 + "1" + "}" * 300,
    "- - - -",
    "---\nb: 1",
    "%YAML 9.9",
    "x" * LONG_TEXT,
)
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Nine levels of anchors: a gigabyte where they are written out."""


def hurt_yaml(text: str, chance: random.Random) -> tuple[str, bytes]:
    """Return the way, and a YAML text that something was done to."""
    way = chance.randrange(10)
    if way < 3:
        return damage(text.encode(), chance)
    if way < 6:
        value = swap_values(yaml_value(text), chance)
        dumped = yaml_text(value)
        return "swap values", dumped.encode("utf-8", "surrogatepass")
    if way == 6 and chance.random() < 0.3:
        name = chance.choice(("rules", "default", "old", "tasks", "x", "prompt"))
        return "bomb", (BOMB + f"{name}: *i\n").encode()
    lines = text.splitlines()
    place = chance.randrange(len(lines))
    head, colon, _ = lines[place].partition(":")
    odd = chance.choice(ODD_YAML)
    lines[place] = f"{head}{colon} {odd}" if colon else odd
    return "odd YAML", ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
