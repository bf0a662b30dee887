"""Hostile changes: bytes that flip, files that are cut, values of another type, odd texts, numbers and depths."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from robust.files import Bundle, File, Key, encode

ODD_TEXTS: tuple[str, ...] = (
    "",
    " ",
    "\x00",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "a\u2028b\u2029c\x85d",
    "\u202eright to left\u202c",
    "\ud800",
    "half \udc9f pair",
    "\ufeff",
    "e\u0301\u200d\U0001f468\u200d\U0001f469",
    "::stop-commands::x\n##[error]x",
    "<script>alert(1)</script>",
    "=1+1",
    "{{ 7*7 }} ${x} %s {0} [bold]x[/bold] [/",
    "../../etc/passwd",
    "2024-02-30",
    "NaN",
    "-1e999",
    "9" * 400,
    "true",
    "null",
    "line\rfeed\ttab\n\n",
    '"',
    "'",
    ",",
)
ODD_NUMBERS: tuple[float, ...] = (
    0,
    -1,
    1,
    2,
    0.1,
    2**31,
    2**63,
    2**64,
    -(2**63) - 1,
    10**30,
    10**400,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    -float("inf"),
    True,
    False,
)
LONG_TEXT = 300_000
DEEP = "a part that is nested deeply"
"""Stands for a deeply nested part until the value is written as text."""


def odd_value(chance: random.Random) -> Any:
    """Return a value that nobody expects."""
    kind = chance.randrange(12)
    if kind < 2:
        return None
    if kind < 5:
        return chance.choice(ODD_TEXTS)
    if kind < 8:
        return chance.choice(ODD_NUMBERS)
    if kind == 8:
        return chance.choice(("x", "é", "\n", "[", "9", " ")) * chance.choice((100, 5_000, LONG_TEXT))
    if kind == 9:
        return DEEP
    inner = chance.choice((None, "x", 1, [], {}, odd_value(chance)))
    return chance.choice(([], {}, [inner], {"x": inner}, [[inner]], {"": inner}, [inner] * 50))


def places(value: Any, limit: int = 3_000) -> list[tuple[Any, Key]]:
    """Return every container in a value with every key of it, up to a limit."""
    found: list[tuple[Any, Key]] = []
    waiting = [value]
    while waiting and len(found) < limit:
        container = waiting.pop(0)
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], dict | list):
                waiting.append(container[key])
    return found


def swap_values(value: Any, chance: random.Random) -> Any:
    """Give a few parts of a value another value, another name, or take them away; in place, but for the whole."""
    if chance.random() < 0.03 or not isinstance(value, dict | list):
        return odd_value(chance)
    for _ in range(chance.choice((1, 1, 2, 5))):
        every = places(value)
        if not every:
            break
        container, key = chance.choice(every)
        way = chance.randrange(10)
        if way == 0:
            del container[key]
        elif way == 1 and isinstance(container, dict):
            container[chance.choice(ODD_TEXTS)] = container.pop(key)
        elif way == 2 and isinstance(container, list):
            container.insert(chance.randrange(len(container) + 1), container[key])
        else:
            container[key] = odd_value(chance)
    return value


def swap_everywhere(value: Any, chance: random.Random) -> Any:
    """Give one field another value in all records of a list: a column of another type."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    names = list(rows[0]) if rows else []
    if not names:
        return swap_values(value, chance)
    name, odd = chance.choice(names), odd_value(chance)
    for row in rows:
        row[name] = odd
    return value


def deepened(data: bytes, chance: random.Random) -> bytes:
    """Write the depth that `DEEP` stands for."""
    mark = json.dumps(DEEP).encode()
    if mark not in data:
        return data
    depth = chance.choice((20, 200, 1_100, 100_000))
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return data.replace(mark, opening * depth + b"0" + closing * depth, 1)


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 8, 40))):
        data[chance.randrange(len(data))] = chance.choice(
            (0, 10, 13, 34, 44, 58, 91, 93, 123, 125, 127, 255, chance.randrange(256))
        )


def _cut(data: bytearray, chance: random.Random) -> None:
    if chance.random() < 0.8:
        del data[chance.randrange(len(data)) :]
    else:
        del data[: chance.randrange(len(data))]


def _chunk(data: bytearray, chance: random.Random) -> tuple[int, int]:
    first = chance.randrange(len(data))
    return first, first + chance.choice((1, 7, 60, 1_000, len(data)))


def _remove(data: bytearray, chance: random.Random) -> None:
    first, end = _chunk(data, chance)
    del data[first:end]


def _double(data: bytearray, chance: random.Random) -> None:
    first, end = _chunk(data, chance)
    at = chance.choice((first, chance.randrange(len(data))))
    data[at:at] = data[first:end] * chance.choice((1, 1, 1, 3, 100 if end - first < 2_000 else 1))


def _insert(data: bytearray, chance: random.Random) -> None:
    text = chance.choice(ODD_TEXTS).encode("utf-8", "surrogatepass")
    if chance.random() < 0.1:
        text = chance.choice((b"[", b"{", b"x", b"\n", b'"', b"- ", b"&a [*a]", b" ")) * chance.choice((2_000, 100_000))
    at = chance.randrange(len(data) + 1)
    data[at:at] = text


def _lines(data: bytearray, chance: random.Random) -> None:
    lines = bytes(data).splitlines(keepends=True)
    way = chance.randrange(4)
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    if way == 0:
        lines[one], lines[other] = lines[other], lines[one]
    elif way == 1:
        lines.insert(other, lines[one])
    elif way == 2:
        lines[one] = b"".join(chance.sample(lines, min(3, len(lines))))
    else:
        lines[one] = lines[one].strip() + chance.choice((b"", b" ", b"\r\n", b",\n", b"\x00\n"))
    data[:] = b"".join(lines)


BYTE_WAYS: dict[str, Callable[[bytearray, random.Random], None]] = {
    "flip bytes": _flip,
    "cut": _cut,
    "remove a chunk": _remove,
    "double a chunk": _double,
    "insert a text": _insert,
    "move lines": _lines,
}


def damage(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Damage a file's bytes; return the way and what became of them."""
    way, damaged = chance.choice(list(BYTE_WAYS)), bytearray(data)
    if damaged:
        BYTE_WAYS[way](damaged, chance)
    return way, bytes(damaged)


def hurt(run: Bundle, folder: Any, chance: random.Random) -> tuple[str, Any]:
    """Write a run of which one file is hurt; return the way and what is to be read.

    Args:
        run: its values are changed.
        folder: where it is written.
        chance: what chooses.
    """
    path = chance.choice(list(run.files))
    file, way = run.files[path], "swap values"
    if file.kind != "bytes" and chance.random() < 0.65:
        everywhere = chance.random() < 0.2
        way = "swap a column" if everywhere else way
        swap = swap_everywhere if everywhere else swap_values
        try:
            value = swap(file.value, chance)
            data = deepened(encode(file.kind, value), chance)
        except (TypeError, ValueError, AttributeError, OverflowError, LookupError, pl_errors()):
            data = encode("json", None)  # no file of this kind can hold such a value
        run.files[path] = File("bytes", data)
    else:
        way, data = damage(encode(file.kind, file.value), chance)
        run.files[path] = File("bytes", data)
    return way, run.write(folder)


def pl_errors() -> type[BaseException]:
    """Return the root of polars' errors."""
    import polars as pl

    return pl.exceptions.PolarsError
